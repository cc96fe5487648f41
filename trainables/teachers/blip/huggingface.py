"""Load a Hugging Face `BlipForImageTextRetrieval` into our own model family.

Config, weights and tokenizer are read as files; the Hugging Face class itself is never built. Equality with
it is a test.
"""

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spaces.errors import TeacherError
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.model_folder import check_keys, fingerprint
from trainables.teachers.blip.huggingface_config import CONFIG, read_config, read_preprocess, read_tokenizer
from trainables.teachers.blip.huggingface_names import published_name
from trainables.teachers.teacher import Teacher, TeacherFiles

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
SMALL_FILES = ("*.json", "vocab.txt")
IGNORED = ("position_ids",)  # a constant that older releases of the library stored among the weights
DAMAGED = (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError)


def load_huggingface(name: str) -> Teacher:
    """Return the teacher of a folder, or of a hub id such as `Salesforce/blip-itm-base-coco`.

    It has no decoder: this class of checkpoints brings no language-model head, so that losses on logits of
    captions and answers cannot be fed by it.

    Raises:
        TeacherError: files missing, damaged, or of a model that this program cannot hold exactly.
    """
    folder = Path(name) if Path(name).is_dir() else _hub_folder(name)
    config, tokenizer = read_tokenizer(folder, read_config(folder))
    preprocess = read_preprocess(folder, config.image_size)
    model = _load_model(folder, config)
    files = TeacherFiles(name=name, folder=folder, fingerprint=fingerprint(model))
    return Teacher(model, tokenizer, preprocess, files, blueprint=Blueprint("blip", model.architecture))


def _load_model(folder: Path, config: BlipArchitecture) -> Blip:
    """Return the model with the weights of the folder; the temperature, which they lack, is BLIP's first."""
    path, published = _read_weights(folder)
    model = Blip(config)
    own = model.state_dict()
    temperature = own.pop("temperature")
    positions = published_name("text_network.positions.weight")
    if positions in published:  # see read_config: the rows beyond the task's text length are not used
        published[positions] = published[positions][: config.max_tokens]
    names = {key: published_name(key) for key in own}
    check_keys(path, expected={names[key]: tensor for key, tensor in own.items()}, got=published)
    weights = {key: published[names[key]].float() for key in own}
    model.load_state_dict({**weights, "temperature": temperature})
    return model.eval()


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    for path, read in _readers(folder).items():
        if not path.is_file():
            continue
        try:
            weights = read(path)
        except DAMAGED as error:
            raise TeacherError(
                f"{path}: cannot be read ({error}). Save or download the teacher again."
            ) from error
        return path, {key: tensor for key, tensor in weights.items() if not key.endswith(IGNORED)}
    raise TeacherError(
        f"{folder}: holds no weights; allowed: {SAFETENSORS} or {PICKLED}, in one piece. "
        "Save the teacher there with save_pretrained."
    )


def _readers(folder: Path) -> dict[Path, Callable[[Path], dict[str, Tensor]]]:
    return {
        folder / SAFETENSORS: lambda path: load_file(str(path)),
        folder / PICKLED: lambda path: torch.load(path, map_location="cpu", weights_only=True),
    }


def _hub_folder(name: str) -> Path:
    """Return the local snapshot of a hub id: from the hub's cache, or downloaded once.

    Raises:
        TeacherError: neither is possible; says how to bring the files here by hand.
    """
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        for weights in (SAFETENSORS, PICKLED):
            folder = _snapshot(name, [*SMALL_FILES, weights])
            if (folder / weights).is_file():
                return folder
    except (OSError, HTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TeacherError(
            f"teacher {name}: is no folder, stands not in the hub's cache, and could not be downloaded "
            f"({reason}). Check the name and the network, or download it elsewhere (hf download {name}), "
            "copy the folder here and give its path."
        ) from error
    return folder


def _snapshot(name: str, patterns: list[str]) -> Path:
    """Return the snapshot folder; the network is asked only when the cache lacks config or weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError):  # not cached yet: the download below is the answer
        folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        if (folder / CONFIG).is_file() and any((folder / part).is_file() for part in (SAFETENSORS, PICKLED)):
            return folder
    return Path(snapshot_download(name, allow_patterns=patterns))
