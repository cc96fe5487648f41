"""Students with a densely connected trunk (Huang et al. 2017), timm's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from timm.models.densenet import DenseNet as TimmDenseNet
from torch import Tensor, nn

from spaces.errors import ShapeError
from spaces.rules import Number
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

BLOCKS = {
    13: (1, 1, 1, 1),
    21: (2, 2, 2, 2),
    37: (2, 4, 6, 4),
    63: (3, 6, 12, 8),
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
}
"""Layers of the four blocks of each depth; from 121 on the paper's and timm's, those below are thin forms of ours."""
GROWTH = {"rule": Number(whole=True, low=1, high=1024, why=WHY)}


@dataclass(frozen=True, kw_only=True)
class DenseNetOptions(TrunkOptions):
    """A densely connected trunk.

    Attributes:
        depth: layers; 121, 161, 169 and 201 are the published ones, 13, 21, 37 and 63 thin forms of them.
        growth: channels that each layer adds, and half of those of the stem; 32 is usual, and 48 with a depth of 161.
        stem: `imagenet` halves the picture twice before the first block; `small`, for pictures of 32 to 64 pixels, not
            at all: a 3 x 3 convolution without pooling.
        projection: what makes the embedding of the pooled feature: nothing, one linear layer, or two with ReLU between
            them; the text side has the same, and one linear layer where this is none.
        bottleneck: width between the two layers; without meaning for other projections.
        embedding: width E of the joint embedding; relative to the teacher's own. Without a projection it has no meaning:
            the embedding is as wide as the pooled feature then.
        text: whether there is a text side, which reads the teacher's text embedding; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the pooled feature.
    """

    depth: Literal[13, 21, 37, 63, 121, 161, 169, 201] = 121
    growth: int = field(default=32, metadata=GROWTH)
    stem: STEM = "imagenet"


@dataclass(frozen=True, kw_only=True)
class DenseNetSizes(TrunkSizes):
    """Sizes of a densely connected trunk.

    Attributes:
        image_size: side S of the pictures.
        depth: see `BLOCKS`.
        growth: channels that each layer adds.
        stem: see `DenseNetOptions`.
    """

    image_size: int
    depth: int
    growth: int
    stem: STEM

    @property
    def width(self) -> int:
        """Channels behind the last block: each transition before it halves them, downwards."""
        *early, last = BLOCKS[self.depth]
        channels = 2 * self.growth
        for layers in early:
            channels = (channels + layers * self.growth) // 2
        return channels + last * self.growth

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """Sizes of the last feature map; a side of 0 is a picture too small for three transitions."""
        side = halved(self.image_size, 2 if self.stem == "imagenet" else 0)
        side = halved(side, len(BLOCKS[self.depth]) - 1, up=False)
        return (self.width, side, side)

    def build(self) -> SideNetwork:
        """Return the trunk with fresh weights."""
        return DenseNetNetwork(self)

    def parts(self) -> Mapping[str, tuple[SideSizes, int]]:
        """Return stem, blocks, transitions and pooling; what a block costs hangs on all layers before it."""
        last = len(BLOCKS[self.depth])
        blocks = [f"denseblock{index}" for index in range(1, last + 1)]
        between = [f"transition{index}" for index in range(1, last)]
        return {name: (self, 1) for name in ("conv0", "norm0", "pool0", *blocks, *between, "norm5", POOL)}


class DenseNetNetwork(TrunkNetwork):
    """timm's layers up to the last norm, with our small stem where that is asked for."""

    def __init__(self, sizes: DenseNetSizes) -> None:
        super().__init__()
        made = TimmDenseNet(growth_rate=sizes.growth, block_config=BLOCKS[sizes.depth], num_classes=0)
        self.layers = made.features
        if sizes.stem == "small":
            stem = nn.Conv2d(3, 2 * sizes.growth, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(stem.weight)  # as all others there
            self.layers.conv0, self.layers.pool0 = stem, nn.Identity()

    @property
    def parts(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The layers of the stem, the blocks, the transitions between them, and the last norm with its ReLU."""
        return dict(self.layers.named_children())


@dataclass(frozen=True, kw_only=True)
class DenseNetArchitecture(TwoSidedArchitecture):
    """Sizes of a student with a densely connected trunk."""

    image: DenseNetSizes | None
    text: VectorSizes | None


@final
class DenseNet(Trunk):
    """A densely connected trunk, and a projection of the teacher's text embedding where the teacher has one."""

    Config = DenseNetOptions
    Architecture = DenseNetArchitecture

    @classmethod
    def draft(cls, config: DenseNetOptions, around: Surroundings) -> DenseNetArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: pictures of which nothing is left, a text side that the teacher cannot feed, or a classifier for
                data without classes.
        """
        sizes = DenseNetSizes(
            image_size=around.image_size, depth=config.depth, growth=config.growth, stem=config.stem
        )
        if not sizes.map_sizes[-1]:
            least, do = (29, "Set stem: small, or take") if config.stem == "imagenet" else (8, "Take")
            raise ShapeError(
                f"student.stem: got {config.stem} with pictures of {around.image_size} pixels, of which this trunk "
                f"leaves nothing; allowed with it: at least {least} pixels. {do} larger pictures."
            )
        return DenseNetArchitecture(**around_trunk(config, sizes, around))
