"""Students whose trunk is any backbone that timm has, with fresh weights or those of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from torch import Tensor, nn

from spaces.errors import PluginError
from spaces.paths import settled
from spaces.rules import show
from trainables.families.base import Surroundings
from trainables.families.trunks.timm_models import as_map, known_name, made, measured
from trainables.families.trunks.timm_weights import fitting, load
from trainables.families.trunks.trunk import (
    Trunk,
    TrunkOptions,
    TrunkSizes,
    around_trunk,
)
from trainables.families.two_sided.architecture import Said, SideNetwork, TwoSidedArchitecture, VectorSizes


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(TrunkOptions):
    """A backbone of timm.

    Attributes:
        name: as timm calls it, with or without `timm/` before it; what follows a dot names published weights, which are
            not downloaded, and is left out.
        pretrained: false, or a file of weights that lies here: safetensors, or what `torch.save` wrote. All weights of
            the backbone must be in it, and beside them nothing but those of its classifier.
        projection: what makes the embedding of the pooled feature: nothing, one linear layer, or two with ReLU between
            them; the text side has the same, and one linear layer where this is none.
        bottleneck: width between the two layers; without meaning for other projections.
        embedding: width E of the joint embedding; relative to the teacher's own. Without a projection it has no meaning:
            the embedding is as wide as the pooled feature then.
        text: whether there is a text side, which reads the teacher's text embedding; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the pooled feature.
    """

    name: str
    pretrained: str | Literal[False] = False

    def __post_init__(self) -> None:
        known_name(self.name)
        if self.pretrained is not False and not (isinstance(self.pretrained, str) and self.pretrained):
            raise PluginError(
                f"pretrained: got {show(self.pretrained)}; allowed: false, or the path of a file of weights. "
                "Nothing is downloaded: give the file."
            )


@dataclass(frozen=True, kw_only=True)
class BackboneSizes(TrunkSizes):
    """Sizes of a backbone of timm.

    Attributes:
        image_size: side S of the pictures.
        name: as timm calls it.
        pooled: size D of the pooled feature.
        map: sizes (D, Y, X) of the last feature map; () without one.
    """

    image_size: int
    name: str
    pooled: int
    map: tuple[int, ...]

    @property
    def width(self) -> int:
        """Size of the pooled feature."""
        return self.pooled

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """Sizes of the last feature map."""
        return self.map

    def build(self) -> SideNetwork:
        """Return the backbone with fresh weights."""
        return BackboneNetwork(self)


class BackboneNetwork(SideNetwork):
    """A backbone of timm, pooled as its own class pools."""

    def __init__(self, sizes: BackboneSizes) -> None:
        super().__init__()
        # a name out of a damaged config must not send timm to a hub
        self.backbone: nn.Module = made(known_name(sizes.name), sizes.image_size)

    def forward(self, given: Tensor, mask: Tensor | None, *, maps: bool) -> Said:
        """Return the pooled feature (B, D) of normalised pixels (B, 3, S, S), and the last feature map where it has one."""
        model: Any = self.backbone
        found = model.forward_features(given)
        return Said(pooled=model.forward_head(found), map=as_map(model, found))


@dataclass(frozen=True, kw_only=True)
class BackboneArchitecture(TwoSidedArchitecture):
    """Sizes of a student with a backbone of timm."""

    image: BackboneSizes | None
    text: VectorSizes | None


@final
class Backbone(Trunk):
    """A backbone of timm, and a projection of the teacher's text embedding where the teacher has one."""

    Config = BackboneOptions
    Architecture = BackboneArchitecture

    @classmethod
    def settle(cls, options: dict[str, Any], notes: list[str]) -> None:
        """Write the name as timm has it, and the file from the root: a trial runs in another folder."""
        super().settle(options, notes)
        options["name"] = known_name(options["name"])
        if isinstance(options["pretrained"], str):
            options["pretrained"] = str(settled(options["pretrained"]))

    @classmethod
    def draft(cls, config: BackboneOptions, around: Surroundings) -> BackboneArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: a backbone that does not read such pictures, a text side that the teacher cannot feed, or a
                classifier for data without classes.
            PluginError: a file of weights that is not there, or not of this backbone.
        """
        name = known_name(config.name)
        pooled, grid = measured(name, around.image_size)
        sizes = BackboneSizes(image_size=around.image_size, name=name, pooled=pooled, map=grid)
        found = BackboneArchitecture(**around_trunk(config, sizes, around))
        if isinstance(config.pretrained, str):
            fitting(Path(config.pretrained), name, around.image_size)
        return found

    def inherit(self, teacher: nn.Module, config: BackboneOptions) -> None:
        """Overwrite the backbone's weights by those of the file; the teacher gives none.

        Raises:
            PluginError: a file of weights that is not there, or not of this backbone.
        """
        if isinstance(config.pretrained, str):
            assert isinstance(self.image, BackboneNetwork)  # what is trained has its trunk
            load(Path(config.pretrained), self.image.backbone, self.architecture.image.name)

    @classmethod
    def reads_teacher(cls, config: BackboneOptions) -> bool:
        """Return False: what it begins with lies in a file."""
        return False
