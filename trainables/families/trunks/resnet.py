"""Students with a residual trunk (He et al. 2016), of timm's blocks and under timm's names of weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, final

from timm.models.resnet import BasicBlock, Bottleneck, make_blocks
from torch import Tensor, nn

from spaces.rules import Number
from spaces.sizes import nearest
from trainables.families.base import Surroundings
from trainables.families.trunks.trunk import (
    POOL,
    STEM,
    Trunk,
    TrunkNetwork,
    TrunkOptions,
    TrunkSizes,
    around_trunk,
    halved,
)
from trainables.families.two_sided.architecture import (
    SideNetwork,
    SideSizes,
    TwoSidedArchitecture,
    VectorSizes,
)
from trainables.families.two_sided.options import WHY

BLOCKS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    14: (Bottleneck, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    26: (Bottleneck, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    200: (Bottleneck, (3, 24, 36, 3)),
}
"""Blocks of each depth, as timm's `resnet18` and so on have them; its 10 and 14 exist with a deeper stem only (`resnet10t`)."""
SMALLEST = {BasicBlock: 18, Bottleneck: 26}
"""The depth that has two blocks in each stage: what the parts of all others are like."""
STEM_PART = "stem"
CHANNELS, STEP = 64, 8  # of the first stage; what thin ones are a multiple of
WIDTH = {"rule": Number(low=0, open_low=True, high=16, why=WHY)}


@dataclass(frozen=True, kw_only=True)
class ResNetOptions(TrunkOptions):
    """A residual trunk.

    Attributes:
        depth: layers, as in the names of timm's models.
        width: times 64 are the channels of stem and first stage, to the nearest multiple of 8, at least 8; each later
            stage has twice as many as the one before.
        stem: `imagenet` halves the picture twice before the first stage; `small`, for pictures of 32 to 64 pixels, not
            at all: a 3 x 3 convolution without pooling.
        projection: what makes the embedding of the pooled feature: nothing, one linear layer, or two with ReLU between
            them; the text side has the same, and one linear layer where this is none.
        bottleneck: width between the two layers; without meaning for other projections.
        embedding: width E of the joint embedding; relative to the teacher's own. Without a projection it has no meaning:
            the embedding is as wide as the pooled feature then.
        text: whether there is a text side, which reads the teacher's text embedding; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the pooled feature.
    """

    depth: Literal[10, 14, 18, 26, 34, 50, 101, 152, 200] = 18
    width: float = field(default=1.0, metadata=WIDTH)
    stem: STEM = "imagenet"


@dataclass(frozen=True, kw_only=True)
class ResNetSizes(TrunkSizes):
    """Sizes of a residual trunk.

    Attributes:
        image_size: side S of the pictures.
        depth: see `BLOCKS`.
        channels: of stem and first stage.
        stem: see `ResNetOptions`.
    """

    image_size: int
    depth: int
    channels: int
    stem: STEM

    @property
    def width(self) -> int:
        """Channels of the last stage."""
        return 8 * self.channels * BLOCKS[self.depth][0].expansion

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """Sizes of the last feature map: halved by the stem twice or never, and by three stages."""
        side = halved(self.image_size, 5 if self.stem == "imagenet" else 3)
        return (self.width, side, side)

    def build(self) -> SideNetwork:
        """Return the trunk with fresh weights."""
        return ResNetNetwork(self)

    def parts(self) -> Mapping[str, tuple[SideSizes, int]]:
        """Return stem, pooling, the first block of each stage, and a further one of each, which are alike."""
        block, repeats = BLOCKS[self.depth]
        small = replace(self, depth=SMALLEST[block])
        found: dict[str, tuple[SideSizes, int]] = {STEM_PART: (small, 1), POOL: (small, 1)}
        for stage, count in enumerate(repeats, start=1):
            found[f"layer{stage}.0"] = (small, 1)
            if count > 1:
                found[f"layer{stage}.1"] = (small, count - 1)
        return found


class ResNetNetwork(TrunkNetwork):
    """Stem and four stages. timm's own class has a stem of 64 channels whatever the stages have, so that this is ours."""

    def __init__(self, sizes: ResNetSizes) -> None:
        super().__init__()
        block, repeats = BLOCKS[sizes.depth]
        first = sizes.channels
        if sizes.stem == "imagenet":
            self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(first)
        self.act1 = nn.ReLU(inplace=True)
        stages, _ = make_blocks(
            (block,) * 4, (first, 2 * first, 4 * first, 8 * first), repeats, inplanes=first, **_PLAIN
        )
        for name, stage in stages:
            self.add_module(name, stage)
        self.blocks = [f"{name}.{part}" for name, stage in stages for part, _ in stage.named_children()]
        self._reset_parameters()

    @property
    def parts(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Stem, and the blocks of all stages."""
        return {STEM_PART: self.stem} | {name: self.get_submodule(name) for name in self.blocks}

    def stem(self, pixels: Tensor) -> Tensor:
        """Return the map (B, D, Y, X) that the first block reads."""
        found: Tensor = self.maxpool(self.act1(self.bn1(self.conv1(pixels))))
        return found

    def _reset_parameters(self) -> None:
        """Draw weights as timm does: He et al. 2015 over the outputs; each block begins as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, BasicBlock | Bottleneck):
                module.zero_init_last()


_PLAIN: dict[str, Any] = {"act_layer": nn.ReLU, "norm_layer": nn.BatchNorm2d}


@dataclass(frozen=True, kw_only=True)
class ResNetArchitecture(TwoSidedArchitecture):
    """Sizes of a student with a residual trunk."""

    image: ResNetSizes | None
    text: VectorSizes | None


@final
class ResNet(Trunk):
    """A residual trunk, and a projection of the teacher's text embedding where the teacher has one."""

    Config = ResNetOptions
    Architecture = ResNetArchitecture

    @classmethod
    def settle(cls, options: dict[str, Any], notes: list[str]) -> None:
        """Write the width that the channels have: two that give the same are the same student."""
        super().settle(options, notes)
        channels, asked = _channels(options["width"]), options["width"]
        options["width"] = channels / CHANNELS
        if options["width"] != asked:
            notes.append(
                f"student.width {asked:g} of {CHANNELS} channels -> {channels} (multiple of {STEP}, at least {STEP})"
            )

    @classmethod
    def draft(cls, config: ResNetOptions, around: Surroundings) -> ResNetArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: a text side that the teacher cannot feed, or a classifier for data without classes.
        """
        sizes = ResNetSizes(
            image_size=around.image_size,
            depth=config.depth,
            channels=_channels(config.width),
            stem=config.stem,
        )
        return ResNetArchitecture(**around_trunk(config, sizes, around))


def _channels(width: float) -> int:
    """Return the channels of the first stage."""
    return nearest(CHANNELS * Fraction(width), STEP)
