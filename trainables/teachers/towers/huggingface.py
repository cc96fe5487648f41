"""Load a vision transformer that the transformers library published: DINO v1 to v3, BEiT, ViT."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spaces.errors import ShapeError, TeacherError
from spaces.rules import show
from trainables.families.base import Blueprint
from trainables.families.towers.vision_transformer import (
    OF_BACKBONES,
    SOURCES,
    VisionArchitecture,
    VisionTransformer,
    library_class,
    plain_config,
)
from trainables.model_folder import fingerprint
from trainables.teachers.hub import CONFIG, hub_folder
from trainables.teachers.json_file import read_object
from trainables.teachers.preprocessing import read_preprocess
from trainables.teachers.quiet import quiet
from trainables.teachers.settings import natural, square_side
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import read_weights

CLASSIFIER, MASKED = "ForImageClassification", "ForMaskedImageModeling"
ENDINGS = ("Model", CLASSIFIER, MASKED, "Backbone")
"""Of the names of classes whose image model we can take; what stands on it is left behind, but the class head."""
HEADS_LEFT = {CLASSIFIER: (), MASKED: ("decoder.", "layernorm.", "lm_head.")}
BODY_LEFT = {"vit": ("pooler.", "embeddings.mask_token")}
"""Beginnings of the names of weights that are left behind: of what stands on an image model, and of that itself."""
FRESH = ("pooler.layernorm.",)
"""What weights may lack: BEiT's pooler, where only its masked modelling was published, then normalises and no more."""


class Folder(NamedTuple):
    """Config of a folder that has been looked at.

    Attributes:
        path: the file.
        config: the library's.
        named: the class whose weights the folder holds.
    """

    path: Path
    config: Any
    named: str


def load_vision_transformer(name: str) -> Teacher:
    """Return the teacher of a folder, or of a hub id such as `facebook/dinov2-base`.

    Raises:
        TeacherError: files missing, damaged, or of a model that this program cannot hold exactly.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    told = _read_config(folder)
    preprocess = read_preprocess(folder)
    labels = _labels(told)
    try:
        architecture = VisionArchitecture(
            source=told.config.model_type,
            image_size=preprocess.image_size,
            config=plain_config(told.config),
            classes=told.config.num_labels if told.named.endswith(CLASSIFIER) else 0,
            labels=labels,
        )
    except ShapeError as error:
        raise TeacherError(f"{told.path}: {error}") from error
    network, classifier = _load(told, *read_weights(folder))
    parts = {"network": network} | ({"classifier": classifier} if classifier else {})
    model = VisionTransformer.holding(architecture, **parts)
    files = TeacherFiles(name=name, folder=folder, fingerprint=fingerprint(model))
    blueprint = Blueprint("vision_transformer", architecture)
    return Teacher(model, None, preprocess, files, blueprint=blueprint)


def _read_config(folder: Path) -> Folder:
    """Return the config as the library reads it.

    Raises:
        TeacherError: no config, an unknown class, or sizes that fit no model.
    """
    path = folder / CONFIG
    settings = read_object(path)
    kind = str(settings.get("model_type"))
    if kind not in SOURCES:
        raise TeacherError(f"{path}, model_type: got {show(kind)}; allowed: {', '.join(SOURCES)}.")
    base = SOURCES[kind].model
    names = [base.removesuffix("Model") + ending for ending in ENDINGS]
    allowed = [name for name in names if library_class(name)]
    named = settings.get("architectures") or [base]
    if not isinstance(named, list) or len(named) != 1 or named[0] not in allowed:
        raise TeacherError(
            f"{path}, architectures: got {show(named)}; allowed: one of {', '.join(allowed)}. "
            "Give the image model that it stands on."
        )
    try:
        config = library_class(base).config_class.from_dict(
            {name: value for name, value in settings.items() if name not in OF_BACKBONES}
        )
        config.image_size = square_side(path, "image_size", config.image_size)
        config.patch_size = square_side(path, "patch_size", config.patch_size)
    except TeacherError:
        raise
    except Exception as error:  # its validators have errors of their own
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise TeacherError(
            f"{path}: is no config of {base} ({reason}). Put back the model's own file."
        ) from error
    _require_sizes(path, config)
    name = base if named[0].endswith("Backbone") else named[0]
    return Folder(path, config, name)


def _require_sizes(path: Path, config: Any) -> None:
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
        natural(path, name, getattr(config, name))
    if config.hidden_size % config.num_attention_heads:
        raise TeacherError(
            f"{path}, num_attention_heads: got {config.num_attention_heads} with hidden_size {config.hidden_size}; "
            "allowed: a divisor of it."
        )
    if config.num_channels != 3:
        raise TeacherError(
            f"{path}, num_channels: got {show(config.num_channels)}; allowed: 3, red, green and blue."
        )


def _labels(told: Folder) -> tuple[str, ...]:
    """Return the names of the classes, () where the config has none but the numbers that the library makes up."""
    if not told.named.endswith(CLASSIFIER):
        return ()
    names = told.config.id2label
    if sorted(names) != list(range(len(names))):
        raise TeacherError(
            f"{told.path}, id2label: got {show(sorted(names))} as numbers; allowed: 0 to the last class, each once."
        )
    found = tuple(str(names[index]) for index in range(len(names)))
    return () if all(one == f"LABEL_{index}" for index, one in enumerate(found)) else found


def _load(told: Folder, path: Path, published: Mapping[str, Tensor]) -> tuple[nn.Module, nn.Module | None]:
    """Return the image model, loaded by the library, which knows older names of weights, and the class head.

    Of other classes than the image model's own, its part is loaded by itself: the library mixes up the two norms of a
    masked BEiT otherwise.

    Raises:
        TeacherError: names what is missing, unknown or of another shape.
    """
    source = SOURCES[told.config.model_type]
    kind = library_class(source.model)
    prefix = "" if told.named == source.model else f"{kind.base_model_prefix}."
    weights = {name.removeprefix(prefix): one for name, one in published.items() if name.startswith(prefix)}
    left = BODY_LEFT.get(told.config.model_type, ())
    weights = {name: one for name, one in weights.items() if not name.startswith(left)}
    standing = HEADS_LEFT.get(told.named.removeprefix(source.model.removesuffix("Model")), ())
    heads = {name: one for name, one in published.items() if not name.startswith((prefix, *standing))}
    try:
        with quiet():
            network, info = kind.from_pretrained(
                None,
                config=told.config,
                state_dict=weights,
                dtype=torch.float32,
                attn_implementation="sdpa",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **source.built,
            )
    except Exception as error:  # sizes that fit no model are told by whatever layer meets them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise TeacherError(
            f"{told.path}: no {source.model} can be made of it ({reason}). Put back the model's own file."
        ) from error
    classifier = _classifier(told, source.head)
    own = classifier.state_dict() if classifier else {}
    _require_all(path, info, _shapes(own, "classifier."), _shapes(heads))
    if classifier:
        classifier.load_state_dict({name: heads[f"classifier.{name}"] for name in ("weight", "bias")})
    return network, classifier


def _classifier(told: Folder, times: int) -> nn.Linear | None:
    """Return an empty class head, None where the class has none."""
    if not told.named.endswith(CLASSIFIER) or not told.config.num_labels:
        return None
    return nn.Linear(times * told.config.hidden_size, told.config.num_labels)


Shapes = dict[str, tuple[int, ...]]


def _shapes(weights: Mapping[str, Tensor], prefix: str = "") -> Shapes:
    return {f"{prefix}{name}": tuple(one.shape) for name, one in weights.items()}


def _require_all(path: Path, info: Mapping[str, Any], expected: Shapes, heads: Shapes) -> None:
    """Refuse weights that do not fit.

    Args:
        path: of the weights.
        info: what the library says of the image model.
        expected, heads: of the weights that stand on it.
    """
    missing = {name for name in info["missing_keys"] if not name.startswith(FRESH)} | (
        set(expected) - set(heads)
    )
    unknown = set(info["unexpected_keys"]) | (set(heads) - set(expected))
    shapes = [*info["mismatched_keys"]]
    shapes += [(name, heads[name], own) for name, own in expected.items() if heads.get(name, own) != own]
    told = sorted(f"{name} {tuple(got)} instead of {tuple(own)}" for name, got, own in shapes)
    parts = [
        f"{label} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for label, names in (
            ("missing", sorted(missing)),
            ("unknown", sorted(unknown)),
            ("wrong shape", told),
        )
        if names
    ]
    if parts:
        raise TeacherError(
            f"{path}: the weights do not fit the model: {'; '.join(parts)}. "
            "Check that config and weights belong together."
        )
