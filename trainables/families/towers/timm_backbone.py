"""Any image backbone of timm, as it is: transformers and convolutional trunks behind one interface."""

import copy
import json
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from spaces.errors import ShapeError
from trainables.families.towers.base import LOGITS, Sizes, Tower, View, kept
from trainables.signals import Wants

BUILT = ("num_classes", "input_size", "global_pool", "fixed_input_size", "pool_size")
"""What of a `pretrained_cfg` timm builds a model by."""
FETCHING = {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
"""Arguments of `timm.create_model` that get weights from elsewhere; here they come from the model's own folder."""


@dataclass(frozen=True, kw_only=True)
class TimmArchitecture:
    """A model of timm with all sizes that its offers follow from.

    Attributes:
        name: of the model, without the tag of its weights.
        image_size: side S of the pictures.
        config: `BUILT` of its `pretrained_cfg`.
        args: what else the model is built with.
        sizes: see `Sizes`; `measured` of a model without weights.
        layers: path of the module after which each state is taken.
    """

    name: str
    image_size: int
    config: Mapping[str, Any] = field(hash=False)
    args: Mapping[str, Any] = field(hash=False)
    sizes: Sizes
    layers: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_built_alone(self.name, self.config, self.args)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        found = {
            **vars(self),
            "config": dict(self.config),
            "args": dict(self.args),
            "sizes": asdict(self.sizes),
        }
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the architecture that `to_dict` wrote."""
        told = fields["sizes"]
        pairs = {"tokens": tuple(told["tokens"]), "states": tuple(map(tuple, told["states"]))}
        grid = None if told["grid"] is None else tuple(told["grid"])
        plain = {"grid": grid, "heads": tuple(told["heads"]), "labels": tuple(told["labels"])}
        return cls(
            **{**fields, "sizes": Sizes(**{**told, **pairs, **plain}), "layers": tuple(fields["layers"])}
        )


@final
class TimmBackbone(Tower):
    """A model of timm with its class head, if it has one.

    Attention runs in the fused kernel, but in the layers whose maps are wanted.
    """

    Architecture = TimmArchitecture
    architecture: TimmArchitecture

    def __init__(self, architecture: TimmArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.network = created(architecture.name, architecture.config, architecture.args)

    @classmethod
    def measured(cls, architecture: TimmArchitecture) -> Sizes:
        """Return the sizes that were measured when the model was loaded."""
        return architecture.sizes

    @classmethod
    def deployed(cls, architecture: TimmArchitecture, wants: Wants) -> TimmArchitecture:
        """Return the model without its class head where nobody wants it."""
        if LOGITS in wants:
            return architecture
        config = {**architecture.config, "num_classes": 0}
        return replace(architecture, config=config, sizes=replace(architecture.sizes, classes=0, labels=()))

    def look(
        self, pixels_B3SS: Tensor, hidden: Set[int] = frozenset(), attention: Set[int] = frozenset()
    ) -> View:
        """Return what timm's class says: its `forward_head` before and after the class head."""
        states, maps, network = dict[int, Tensor](), dict[int, Tensor](), self.network
        last = is_channels_last(network)
        with ExitStack() as hooks:
            for index, path in enumerate(self.architecture.layers):
                part = network.get_submodule(path)
                if index in hidden:
                    hooks.enter_context(kept(part, states, index))
                if index in attention:
                    hooks.enter_context(_explicit(part, maps, index))
            features = network.forward_features(pixels_B3SS)  # type: ignore[operator]
        return View(
            tokens=cells(features, channels_last=last),
            pooled=network.forward_head(features, pre_logits=True),  # type: ignore[operator]
            states={index: cells(state, channels_last=last) for index, state in states.items()},
            maps=maps,
            logits=network.forward_head(features) if self.architecture.sizes.classes else None,  # type: ignore[operator]
        )


def created(name: str, config: Mapping[str, Any], args: Mapping[str, Any], **more: Any) -> nn.Module:
    """Return timm's model.

    Args:
        name: of the model.
        config: of its `pretrained_cfg`; what it leaves out is timm's own default, not that of the model's first weights.
        args: of the model.
        more: of `timm.create_model`.
    """
    import timm

    told = {"architecture": name, **copy.deepcopy(dict(config))}
    made: nn.Module = timm.create_model(name, pretrained_cfg=told, **copy.deepcopy(dict(args)), **more)
    return made


def measure(
    name: str, config: Mapping[str, Any], args: Mapping[str, Any], labels: tuple[str, ...]
) -> TimmArchitecture:
    """Return the architecture of a model of timm, measured on the meta device: no weights, no memory.

    Args:
        name: of the model.
        config, args: see `created`.
        labels: names of the classes, () where nobody says them.

    Raises:
        ShapeError: a model whose features are none that we can offer, or that gets weights from elsewhere.
        Exception: what timm raises for arguments that fit no model.
    """
    _check_built_alone(name, config, args)
    side = int(config["input_size"][-1])
    with torch.device("meta"):
        network = created(name, config, args).eval()
        pixels = torch.empty(1, 3, side, side)
    last = is_channels_last(network)
    listed = [str(told["module"]) for told in getattr(network, "feature_info", ())]
    parts = dict(network.named_modules())
    seen, states = [path for path in listed if path in parts], dict[int, Tensor]()
    with torch.no_grad(), ExitStack() as hooks:
        for index, path in enumerate(seen):
            hooks.enter_context(kept(parts[path], states, index))
        features = network.forward_features(pixels)  # type: ignore[operator]
        pooled = network.forward_head(features, pre_logits=True)  # type: ignore[operator]
        logits = network.forward_head(features)  # type: ignore[operator]
    if not isinstance(features, Tensor) or features.ndim not in (3, 4) or pooled.ndim != 2:
        raise ShapeError(f"timm model {name!r}: its features are no tokens and no map; allowed: one of them.")
    tokens = cells(features, channels_last=last)
    special = int(getattr(network, "num_prefix_tokens", 0)) if features.ndim == 3 else 0
    usable = [index for index in sorted(states) if states[index].ndim == features.ndim]
    layers = tuple(seen[index] for index in usable)
    classes = int(config.get("num_classes", 0))
    return TimmArchitecture(
        name=name,
        image_size=side,
        config=config,
        args=args,
        layers=layers,
        sizes=Sizes(
            tokens=(tokens.shape[1], tokens.shape[2]),
            pooled=pooled.shape[1],
            special=special,
            grid=_grid(features, tokens.shape[1] - special, channels_last=last),
            states=tuple(
                (one.shape[1], one.shape[2]) for one in (cells(states[i], channels_last=last) for i in usable)
            ),
            heads=_heads(network, layers),
            classes=logits.shape[1] if classes else 0,
            labels=labels if len(labels) == classes else (),
        ),
    )


def _check_built_alone(name: str, config: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    """Refuse what would let timm get weights from elsewhere, which a model's own folder may ask for.

    Raises:
        ShapeError: such a key.
    """
    if foreign := sorted({*config} - {*BUILT} | {*args} & FETCHING):
        raise ShapeError(
            f"timm model {name!r}: got {', '.join(foreign)}; allowed: what a model is built by, not where weights are."
        )


def is_channels_last(network: nn.Module) -> bool:
    """Return whether maps of a model of timm are (B, Y, X, D) instead of (B, D, Y, X)."""
    return str(getattr(network, "output_fmt", "NCHW")) == "NHWC"


def cells(features: Tensor, *, channels_last: bool) -> Tensor:
    """Return tokens (B, P, D) of tokens, or of a map."""
    if features.ndim == 3:
        return features
    return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)


def _grid(features: Tensor, patches: int, *, channels_last: bool) -> tuple[int, int] | None:
    """Return Y and X; of tokens those of a square, None where they are none."""
    if features.ndim == 4:
        shape = features.shape[1:3] if channels_last else features.shape[2:4]
        return shape[0], shape[1]
    side = round(patches**0.5)
    return (side, side) if side * side == patches else None


def _heads(network: nn.Module, layers: tuple[str, ...]) -> tuple[int, ...]:
    """Return the heads of each layer, () where some have no map of all tokens with all."""
    found = [getattr(network.get_submodule(path), "attn", None) for path in layers]
    if not all(isinstance(one, _with_maps()) for one in found):
        return ()
    return tuple(int(one.num_heads) for one in found if one is not None)


def _with_maps() -> tuple[type[nn.Module], ...]:
    """Return the classes of attention whose `attn_drop` is given the map of all tokens with all."""
    from timm.layers.attention import Attention, AttentionRope
    from timm.models import beit, eva

    return Attention, AttentionRope, beit.Attention, eva.EvaAttention


@contextmanager
def _explicit(layer: Any, maps: dict[int, Tensor], index: int) -> Iterator[None]:
    """Let one layer compute its map, which the fused kernel never holds: timm's `AttentionExtract` does so, too."""
    attention = layer.attn
    fused, attention.fused_attn = attention.fused_attn, False
    try:
        with kept(attention.attn_drop, maps, index):
            yield
    finally:
        attention.fused_attn = fused
