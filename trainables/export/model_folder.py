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
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig, PreprocessConfig
from trainables.tokenizer import FILES, Tokenizer

FORMAT = "student-search"
VERSION = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A model read from a folder.

    Attributes:
        model: in eval mode, float32.
        tokenizer, preprocess: from raw caption and picture to its input.
        measured: figures and origin that the writer noted: metrics, costs, data specification.
        fingerprint: hash of weights and config.
    """

    model: Blip
    tokenizer: Tokenizer
    preprocess: PreprocessConfig
    measured: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def fingerprint(model: Blip) -> str:
    """Return a hash of config and weights, the same in whatever file they were stored."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_model_folder(
    folder: Path,
    model: Blip,
    *,
    tokenizer_folder: Path,
    preprocess: PreprocessConfig,
    measured: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write model, config and tokenizer files into `folder` (made if needed).

    Args:
        folder: target.
        model: the model.
        tokenizer_folder: where the tokenizer's files are copied from; may be `folder` itself.
        preprocess: picture size, mean and deviation.
        measured: kept in the config as it is.
        dtype: stored precision of the weights; float16 halves the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it readable by its writer alone
    for name in FILES:
        source = tokenizer_folder / name
        if source.is_file() and source.resolve() != (folder / name).resolve():
            shutil.copyfile(source, folder / name)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "model": model.config.to_dict(),
        "preprocess": preprocess.to_dict(),
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
    if settings.get("format") != FORMAT or settings.get("version") != VERSION:
        raise TeacherError(
            f"{folder / CONFIG}: got format {settings.get('format')!r} version {settings.get('version')!r}; "
            f"allowed: {FORMAT!r} version {VERSION}. Export the model again with search/export.py."
        )
    try:
        config = BlipConfig.from_dict(settings["model"])
        preprocess = PreprocessConfig.from_dict(settings["preprocess"])
    except (KeyError, TypeError, StudentSearchError) as error:
        raise TeacherError(
            f"{folder / CONFIG}: not a model config ({error}). Export the model again."
        ) from error
    model = Blip(config)
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
        tokenizer=Tokenizer.from_folder(folder, config.vocabulary, config.max_tokens),
        preprocess=preprocess,
        measured=settings.get("measured", {}),
        fingerprint=fingerprint(model),
    )


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
