"""DINO (v1, v2, with registers, v3), BEiT and other vision transformers, by the classes of the transformers library."""

import copy
import json
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self, final

import torch
from torch import Tensor, nn

from spaces.errors import ShapeError
from spaces.rules import show
from trainables.families.base import Sample
from trainables.families.towers.base import LOGITS, Sizes, Tower, View, kept
from trainables.signals import Wants


class Source(NamedTuple):
    """One class of the library.

    Attributes:
        model: its name.
        pooler: whether the pooled feature is what its own pooler says; else it is the first token.
        built, called: arguments of the class, and of a call of its model.
        head: number of features that its class head reads, as multiples of the width.
    """

    model: str
    pooler: bool
    built: Mapping[str, Any] = {}
    called: Mapping[str, Any] = {}
    head: int = 1


SOURCES: Mapping[str, Source] = {
    "beit": Source("BeitModel", pooler=True),
    "dinov2": Source("Dinov2Model", pooler=True, head=2),
    "dinov2_with_registers": Source("Dinov2WithRegistersModel", pooler=True, head=2),
    "dinov3_vit": Source("DINOv3ViTModel", pooler=True),
    "vit": Source(
        "ViTModel",
        pooler=False,  # DINO has none, and that of other checkpoints was trained for their classes
        built={"add_pooling_layer": False},
        called={"interpolate_pos_encoding": True},
    ),
}
"""`model_type` -> its class."""

OF_BACKBONES = ["stage_names", "out_features", "out_indices", "apply_layernorm", "reshape_hidden_states"]
OF_TRAINING = [
    "attention_dropout",
    "attention_probs_dropout_prob",
    "drop_path_rate",
    "hidden_dropout_prob",
    "initializer_range",
    "pos_embed_jitter",
    "pos_embed_rescale",
    "pos_embed_shift",
]
OF_HEADS = [
    "add_fpn",
    "auxiliary_channels",
    "auxiliary_concat_input",
    "auxiliary_loss_weight",
    "auxiliary_num_convs",
    "encoder_stride",
    "pool_scales",
    "pooler_act",
    "pooler_output_size",
    "semantic_loss_ignore_index",
    "use_auxiliary_head",
    "vocab_size",
]
"""What a config says that does not change what a model in eval mode answers."""


@dataclass(frozen=True, kw_only=True)
class VisionArchitecture:
    """All sizes of a vision transformer.

    Attributes:
        source: row of `SOURCES`.
        image_size: side S of the pictures that it is shown; its own positions are interpolated where S is another.
        config: what the library's config says, its defaults included, as far as a model in eval mode hangs on it.
        classes: C of the class head; 0 without one.
        labels: names of the classes; () where the config has none.
    """

    source: str
    image_size: int
    config: Mapping[str, Any] = field(hash=False)
    classes: int = 0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ShapeError(f"source: got {show(self.source)}; allowed: {', '.join(SOURCES)}.")
        if self.image_size < self.patch:
            raise ShapeError(
                f"pictures of side {self.image_size}; allowed: at least one patch of {self.patch}."
            )
        if self.labels and len(self.labels) != self.classes:
            raise ShapeError(f"{len(self.labels)} labels for {self.classes} classes; allowed: one for each.")

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.config["patch_size"])

    @property
    def special(self) -> int:
        """Number of tokens before those of the patches: [CLS] and registers."""
        return 1 + int(self.config.get("num_register_tokens", 0))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {
            "source": self.source,
            "image_size": self.image_size,
            "config": dict(self.config),
            "classes": self.classes,
            "labels": list(self.labels),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the architecture that `to_dict` wrote."""
        return cls(**{**fields, "labels": tuple(fields["labels"])})


@final
class VisionTransformer(Tower):
    """One of `SOURCES` with its class head, if it has one.

    Attention runs in the fused kernel, but in the layers whose maps are wanted.
    """

    Architecture = VisionArchitecture
    architecture: VisionArchitecture

    def __init__(self, architecture: VisionArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        source = SOURCES[architecture.source]
        config = library_config(architecture)
        self.network = library_class(source.model)(config, **source.built)
        width = source.head * architecture.config["hidden_size"]
        self.classifier = nn.Linear(width, architecture.classes) if architecture.classes else None

    @classmethod
    def measured(cls, architecture: VisionArchitecture) -> Sizes:
        """Return the sizes that the config says."""
        width, heads = architecture.config["hidden_size"], architecture.config["num_attention_heads"]
        depth, side = architecture.config["num_hidden_layers"], architecture.image_size // architecture.patch
        tokens = (architecture.special + side * side, width)
        return Sizes(
            tokens=tokens,
            pooled=width,
            special=architecture.special,
            grid=(side, side),
            states=(tokens,) * depth,
            heads=(heads,) * depth,
            classes=architecture.classes,
            labels=architecture.labels,
        )

    @classmethod
    def deployed(cls, architecture: VisionArchitecture, wants: Wants) -> VisionArchitecture:
        """Return the model without its class head where nobody wants it."""
        return architecture if LOGITS in wants else replace(architecture, classes=0, labels=())

    @classmethod
    def sample(cls, architecture: VisionArchitecture) -> Sample:
        """Return the model with one layer, which stands for all: they cost the same."""
        small = replace(architecture, config={**architecture.config, "num_hidden_layers": 1})
        with torch.device("meta"):
            (layer,) = _named(cls(small).network, "hidden_states")
        return Sample(
            architecture=small, repeats={f"network.{layer}": architecture.config["num_hidden_layers"]}
        )

    def look(
        self, pixels_B3SS: Tensor, hidden: Set[int] = frozenset(), attention: Set[int] = frozenset()
    ) -> View:
        """Return what the library's class says."""
        source, states, maps = SOURCES[self.architecture.source], dict[int, Tensor](), dict[int, Tensor]()
        with ExitStack() as hooks:
            for index, layer in enumerate(_named(self.network, "hidden_states").values()):
                if index in hidden:
                    hooks.enter_context(kept(layer, states, index, place=0))
            for index, layer in enumerate(_named(self.network, "attentions").values()):
                if index in attention:
                    hooks.enter_context(_explicit(layer))
                    hooks.enter_context(kept(layer, maps, index, place=1))
            said = self.network(pixels_B3SS, **source.called)
        tokens: Tensor = said.last_hidden_state
        pooled: Tensor = said.pooler_output if source.pooler else tokens[:, 0]
        return View(
            tokens=tokens, pooled=pooled, states=states, maps=maps, logits=self._logits(tokens, pooled)
        )

    def _logits(self, tokens_BPD: Tensor, pooled_BD: Tensor) -> Tensor | None:
        """Return what the class of the library with a class head says: DINOv2's reads the mean of the patches, too."""
        if self.classifier is None:
            return None
        if SOURCES[self.architecture.source].head == 2:
            patches = tokens_BPD[:, self.architecture.special :].mean(dim=1)
            pooled_BD = torch.cat([pooled_BD, patches], dim=1)
        found: Tensor = self.classifier(pooled_BD)
        return found


def library_class(name: str) -> Any:
    """Return a class of the library, imported now; None where it has no such class."""
    import transformers

    return getattr(transformers, name, None)


def plain_config(config: Any) -> dict[str, Any]:
    """Return what a config of the library says of a model in eval mode, as JSON reads it back."""
    from transformers import PreTrainedConfig

    of_any = (
        {*OF_BACKBONES, *OF_TRAINING, *OF_HEADS}
        | set(PreTrainedConfig().to_dict())
        | {"_name_or_path", "model_type", "architectures"}
    )
    found = {
        name: value for name, value in config.to_dict().items() if name not in of_any and value is not None
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def library_config(architecture: VisionArchitecture) -> Any:
    """Return the library's config, with the fused kernel for attention.

    Raises:
        ShapeError: values that are none of its own.
    """
    model = library_class(SOURCES[architecture.source].model)
    try:
        return model.config_class(**copy.deepcopy(dict(architecture.config)), attn_implementation="sdpa")
    except Exception as error:  # its validators have errors of their own
        raise ShapeError(f"config: {' '.join(str(error).split())[:200]}") from error


def _named(network: nn.Module, record: str) -> dict[str, nn.Module]:
    """Return the modules of each layer that the library's own recorder looks at: `hidden_states` or `attentions`."""
    watched: Any = network._can_record_outputs[record]  # type: ignore[index]
    return {name: part for name, part in network.named_modules() if isinstance(part, watched)}


@contextmanager
def _explicit(attention: Any) -> Iterator[None]:
    """Let one layer compute its map, which the fused kernel never holds."""
    fused = attention.config
    attention.config = copy.copy(fused)
    attention.config._attn_implementation = "eager"
    try:
        yield
    finally:
        attention.config = fused
