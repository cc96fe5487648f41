"""A model as a folder: safetensors, config, tokenizer, preprocessing. Export writes it, teachers read it.

A student that reads signals of its teacher (a head) has the part of the teacher that says them in a folder of its own inside,
`reads/`, and its config names the signals.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spaces.errors import ShapeError, StudentSearchError, TeacherError
from spaces.files import atomic_path, make_folder, refusal, write_text
from spaces.rules import show
from trainables.datasets.texts import AS_THEY_ARE, TextForm
from trainables.families.base import Blueprint, Family
from trainables.preprocess import PreprocessConfig
from trainables.signals import NOTHING, Want, Wants
from trainables.tokenizer import Tokenizer, VocabularyConfig

FORMAT = "student-search"
"""Also the `model_type`: tools that read any folder (`transformers.AutoConfig`) then name what they do not know."""
VERSION = 2
READABLE = (1, 2)  # version 1 named no family, since there was one
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
READS = "reads"
LAYERS = (
    "blocks",
    "depth",
    "layers",
    "num_hidden_layers",
)  # options that count layers, each of which has weights
FEW = 64  # layers, that may be asked for by any config: they cost nothing, and the weights then tell what is wrong
LARGEST = 1 << 24  # of any other whole number in a config: more rows than any vocabulary has
WRONG = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    StudentSearchError,
)  # what a config of wrong contents raises when a model is made of it


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A model read from a folder.

    Attributes:
        model: in eval mode, float32.
        blueprint: of the model.
        tokenizer, preprocess: from raw text and picture to its input; no tokenizer where it reads no texts.
        measured: figures and origin that the writer noted: metrics, costs, data specification.
        fingerprint: hash of weights and config.
        source: the signals of its teacher that it reads; none of a model that sees and reads for itself.
        classes: names of the classes that it tells apart, in the order of its logits; () without such.
        texts: how it reads texts, before its tokenizer.
    """

    model: Family
    blueprint: Blueprint
    tokenizer: Tokenizer | None
    preprocess: PreprocessConfig
    measured: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    source: Wants = NOTHING
    classes: tuple[str, ...] = ()
    texts: TextForm = AS_THEY_ARE


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How raw input is read for a model, and its classes by name.

    Attributes:
        preprocess: picture size, mean and deviation.
        tokenizer: of a model that reads texts, else None.
        folder: where the tokenizer's files are copied from; may be the model's own.
        source: the signals of its teacher that it reads.
        classes: names of the classes that it tells apart, in the order of its logits.
        texts: how it reads texts, before its tokenizer.
    """

    preprocess: PreprocessConfig
    tokenizer: Tokenizer | None
    folder: Path
    source: Wants = NOTHING
    classes: tuple[str, ...] = ()
    texts: TextForm = AS_THEY_ARE


def fingerprint(model: Family) -> str:
    """Return a hash of config and weights, the same in whatever file they were stored."""
    digest = hashlib.sha256(json.dumps(model.architecture.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_model_folder(
    folder: Path,
    model: Family,
    *,
    kind: str,
    reading: Reading,
    measured: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write model, config and tokenizer files into `folder` (made if needed).

    Args:
        folder: target.
        model: the model.
        kind: name of its family.
        reading: from raw input to the model's.
        measured: kept in the config as it is.
        dtype: stored precision of the weights; float16 halves the file. Counters stay whole numbers.

    Raises:
        StorageError: a file cannot be written.
    """
    make_folder(folder)
    weights = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    needed = sum(tensor.nbytes for tensor in weights.values())
    with atomic_path(folder / WEIGHTS, needed=needed) as draft:
        mode = draft.stat().st_mode
        save_file(weights, str(draft), metadata={"format": "pt"})
        draft.chmod(mode)  # safetensors leaves it readable by its writer alone
    if reading.tokenizer:
        reading.tokenizer.save(folder, reading.folder)
    config = {
        "format": FORMAT,
        "model_type": FORMAT,
        "version": VERSION,
        "model": Blueprint(kind, model.architecture).to_dict(),
        "preprocess": reading.preprocess.to_dict(),
        "tokenizer": reading.tokenizer.to_dict() if reading.tokenizer else None,
        "measured": measured,
        **({"reads": sorted(map(str, reading.source))} if reading.source else {}),
        **({"classes": list(reading.classes)} if reading.classes else {}),
        **({"texts": reading.texts.to_dict()} if reading.texts != AS_THEY_ARE else {}),
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def sized_blueprint(fields: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Blueprint:
    """Return the blueprint of a config that was read, once it is clear that it asks for no more than its weights hold.

    Raises:
        ShapeError: a size that no model of these weights can have.
        KeyError, TypeError, ValueError, StudentSearchError: no blueprint.
    """
    for name, value in _sizes(fields):
        most = max(len(weights), FEW) if name in LAYERS else LARGEST
        if not isinstance(value, bool) and isinstance(value, int) and not -LARGEST <= value <= most:
            raise ShapeError(f"{name}: got {value}; allowed by the weights beside it: {most} at most.")
    return Blueprint.from_dict(fields)


def _sizes(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options of a config, nested ones too, by their last names."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _sizes(value)
        else:
            yield name, value


def _reason(path: Path, error: Exception) -> str:
    """Return one line on why a file cannot be read."""
    if isinstance(error, OSError) and error.errno:
        return refusal(path, error).rstrip(".")
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def is_model_folder(folder: Path) -> bool:
    """Return whether `folder` was written by this program."""
    return bool(_settings(folder).get("format") == FORMAT) if (folder / CONFIG).is_file() else False


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TeacherError(
            f"{folder / CONFIG}: cannot be read ({_reason(folder / CONFIG, error)}). Put back the model's own file."
        ) from error
    return settings if isinstance(settings, dict) else {}


def read_model_folder(folder: Path) -> ModelFolder:
    """Return the model of a folder that this program wrote.

    Raises:
        TeacherError: a file is missing, damaged, of another version, or its weights do not fit its config.
    """
    settings = _settings(folder)
    if settings.get("format") != FORMAT or settings.get("version") not in READABLE:
        raise TeacherError(
            f"{folder / CONFIG}: got format {show(settings.get('format'))} version {show(settings.get('version'))}; "
            f"allowed: {FORMAT!r} version {VERSION} or older. Export the model again with search/export.py."
        )
    if not isinstance(settings.get("measured", {}), dict):
        raise TeacherError(f"{folder / CONFIG}: measured: allowed is a mapping. Export the model again.")
    try:
        weights = load_file(str(folder / WEIGHTS))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise TeacherError(
            f"{folder / WEIGHTS}: cannot be read ({_reason(folder / WEIGHTS, error)}). Export the model again."
        ) from error
    try:
        blueprint = sized_blueprint(settings["model"], weights)
        preprocess = PreprocessConfig.from_dict(settings["preprocess"])
        shapes = blueprint.on_meta().state_dict()
    except WRONG as error:
        raise TeacherError(
            f"{folder / CONFIG}: not a model config ({_reason(folder / CONFIG, error)}). Export the model again."
        ) from error
    check_keys(folder / WEIGHTS, expected=shapes, got=weights)
    model = blueprint.build()  # as large as the weights that are there already
    model.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    )
    return ModelFolder(
        model=model.eval(),
        blueprint=blueprint,
        tokenizer=_tokenizer(folder, settings),
        preprocess=preprocess,
        measured=settings.get("measured", {}),
        fingerprint=fingerprint(model),
        source=frozenset(map(_want, _texts(folder, settings, "reads"))),
        classes=_texts(folder, settings, "classes"),
        texts=_form(folder, settings),
    )


def _texts(folder: Path, settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a list of texts of a config, () where there is none."""
    found = settings.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TeacherError(
            f"{folder / CONFIG}: {name}: got {show(found)}; allowed is a list of texts. Export the model again."
        )
    return tuple(found)


def _form(folder: Path, settings: Mapping[str, Any]) -> TextForm:
    """Return how texts are read, as they are where a config says nothing."""
    try:
        return TextForm.from_dict(settings.get("texts", {}))
    except (TypeError, ValueError) as error:
        raise TeacherError(f"{folder / CONFIG}: texts: {error}. Export the model again.") from error


def _want(text: str) -> Want:
    """Return the want that is written so; one of another form is one that nobody offers."""
    mode, _, what = text.partition(".")
    what, _, layer = what.partition(".")
    return Want(mode, what, int(layer) if layer.isdecimal() else None)


def _tokenizer(folder: Path, settings: dict[str, Any]) -> Tokenizer | None:
    """Return the tokenizer of a folder; version 1 kept its sizes among those of the model."""
    fields = settings["tokenizer"] if "tokenizer" in settings else settings["model"]
    if fields is None:
        return None
    try:
        vocabulary, longest = VocabularyConfig(**fields["vocabulary"]), int(fields["max_tokens"])
        prompt = str(fields.get("prompt", ""))
    except WRONG as error:
        raise TeacherError(
            f"{folder / CONFIG}: no tokenizer settings ({error}). Export the model again."
        ) from error
    return Tokenizer.from_folder(folder, vocabulary, longest).prompting(prompt)


def check_keys(path: Path, *, expected: dict[str, torch.Tensor], got: dict[str, torch.Tensor]) -> None:
    """Refuse weights whose names, shapes or kinds of numbers differ from the model's, or that are not finite.

    Raises:
        TeacherError: names what is missing, unknown, of another shape, no real numbers where the model has some, or infinite.
    """
    missing, unknown = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    shapes = [
        f"{name} {tuple(got[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(set(expected) & set(got))
        if got[name].shape != expected[name].shape
    ]
    shared = sorted(set(expected) & set(got))
    kinds = [
        f"{name} {str(got[name].dtype).removeprefix('torch.')}"
        for name in shared
        if expected[name].is_floating_point() and not got[name].is_floating_point()
    ]
    wild = [
        name for name in shared if got[name].is_floating_point() and not bool(torch.isfinite(got[name]).all())
    ]
    found = {
        "missing": missing,
        "unknown": unknown,
        "wrong shape": shapes,
        "no real numbers": kinds,
        "inf or nan": wild,
    }
    parts = [
        f"{label} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for label, names in found.items()
        if names
    ]
    if parts:
        raise TeacherError(
            f"{path}: the weights do not fit the model: {'; '.join(parts)}. "
            "Check that config and weights belong together."
        )
