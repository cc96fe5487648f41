"""A model as a folder: safetensors, config, tokenizer, preprocessing. Export writes it, teachers read it."""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spaces.errors import StudentSearchError, TeacherError
from trainables.families.base import Blueprint, Family
from trainables.preprocess import PreprocessConfig
from trainables.tokenizer import FILES, Tokenizer, VocabularyConfig

FORMAT = "student-search"
VERSION = 2
READABLE = (1, 2)  # version 1 named no family, since there was one
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A model read from a folder.

    Attributes:
        model: in eval mode, float32.
        blueprint: of the model.
        tokenizer, preprocess: from raw text and picture to its input; no tokenizer where it reads no texts.
        measured: figures and origin that the writer noted: metrics, costs, data specification.
        fingerprint: hash of weights and config.
    """

    model: Family
    blueprint: Blueprint
    tokenizer: Tokenizer | None
    preprocess: PreprocessConfig
    measured: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How raw input is read for a model.

    Attributes:
        preprocess: picture size, mean and deviation.
        tokenizer: of a model that reads texts, else None.
        folder: where the tokenizer's files are copied from; may be the model's own.
    """

    preprocess: PreprocessConfig
    tokenizer: Tokenizer | None
    folder: Path


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
        dtype: stored precision of the weights; float16 halves the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it readable by its writer alone
    for name in FILES if reading.tokenizer else ():
        source = reading.folder / name
        if source.is_file() and source.resolve() != (folder / name).resolve():
            shutil.copyfile(source, folder / name)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "model": Blueprint(kind, model.architecture).to_dict(),
        "preprocess": reading.preprocess.to_dict(),
        "tokenizer": reading.tokenizer.to_dict() if reading.tokenizer else None,
        "measured": measured,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def is_model_folder(folder: Path) -> bool:
    """Return whether `folder` was written by this program."""
    return bool(_settings(folder).get("format") == FORMAT) if (folder / CONFIG).is_file() else False


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / CONFIG).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise TeacherError(f"{folder / CONFIG}: cannot be read ({error}).") from error
    return settings if isinstance(settings, dict) else {}


def read_model_folder(folder: Path) -> ModelFolder:
    """Return the model of a folder that this program wrote.

    Raises:
        TeacherError: a file is missing, damaged, of another version, or its weights do not fit its config.
    """
    settings = _settings(folder)
    if settings.get("format") != FORMAT or settings.get("version") not in READABLE:
        raise TeacherError(
            f"{folder / CONFIG}: got format {settings.get('format')!r} version {settings.get('version')!r}; "
            f"allowed: {FORMAT!r} version {VERSION} or older. Export the model again with search/export.py."
        )
    try:
        blueprint = Blueprint.from_dict(settings["model"])
        preprocess = PreprocessConfig.from_dict(settings["preprocess"])
    except (KeyError, TypeError, StudentSearchError) as error:
        raise TeacherError(
            f"{folder / CONFIG}: not a model config ({error}). Export the model again."
        ) from error
    model = blueprint.build()
    try:
        weights = load_file(str(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise TeacherError(
            f"{folder / WEIGHTS}: cannot be read ({error}). Export the model again."
        ) from error
    check_keys(folder / WEIGHTS, expected=model.state_dict(), got=weights)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return ModelFolder(
        model=model.eval(),
        blueprint=blueprint,
        tokenizer=_tokenizer(folder, settings),
        preprocess=preprocess,
        measured=settings.get("measured", {}),
        fingerprint=fingerprint(model),
    )


def _tokenizer(folder: Path, settings: dict[str, Any]) -> Tokenizer | None:
    """Return the tokenizer of a folder; version 1 kept its sizes among those of the model."""
    fields = settings["tokenizer"] if "tokenizer" in settings else settings["model"]
    if fields is None:
        return None
    try:
        vocabulary, longest = VocabularyConfig(**fields["vocabulary"]), int(fields["max_tokens"])
    except (KeyError, TypeError, ValueError) as error:
        raise TeacherError(
            f"{folder / CONFIG}: no tokenizer settings ({error}). Export the model again."
        ) from error
    return Tokenizer.from_folder(folder, vocabulary, longest)


def check_keys(path: Path, *, expected: dict[str, torch.Tensor], got: dict[str, torch.Tensor]) -> None:
    """Refuse weights whose names or shapes differ from the model's.

    Raises:
        TeacherError: names what is missing, unknown or of another shape.
    """
    missing, unknown = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    shapes = [
        f"{name} {tuple(got[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(set(expected) & set(got))
        if got[name].shape != expected[name].shape
    ]
    parts = [
        f"{label} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for label, names in (("missing", missing), ("unknown", unknown), ("wrong shape", shapes))
        if names
    ]
    if parts:
        raise TeacherError(
            f"{path}: the weights do not fit the model: {'; '.join(parts)}. "
            "Check that config and weights belong together."
        )
