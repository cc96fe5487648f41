"""Published weights as float32 tensors by their published names: one file or shards, safetensors or pickled."""

import re
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from spaces.errors import TeacherError
from spaces.rules import show
from trainables.teachers.json_file import read_object

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX = ".index.json"
PLACES = (SAFETENSORS, SAFETENSORS + INDEX, PICKLED, PICKLED + INDEX)
"""What may hold the weights of a folder, in the order in which `transformers` looks for it."""
IGNORED = ("position_ids",)  # a constant that older releases of the library stored among the weights
AGAIN = "Save or download the teacher again."


def read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Return the weights of a folder that `save_pretrained` wrote, and the file that names them all.

    Floating tensors of any precision (float16, bfloat16) come out as float32, others (counters, indices) as they are.
    Pickled files are read with `weights_only`: no code of theirs runs.

    Raises:
        TeacherError: no weights, a damaged file, or an index whose shards do not hold what it names.
    """
    path = next((folder / name for name in PLACES if (folder / name).is_file()), None)
    if path is None:
        raise TeacherError(
            f"{folder}: holds no weights; allowed: {SAFETENSORS} or {PICKLED}, in one piece or in shards with "
            f"{SAFETENSORS}{INDEX} or {PICKLED}{INDEX}. Save the teacher there with save_pretrained."
        )
    found = _sharded(path) if path.name.endswith(INDEX) else _one_file(path)
    kept = {key: tensor for key, tensor in found.items() if not key.endswith(IGNORED)}
    return path, {key: one.float() if one.is_floating_point() else one for key, one in kept.items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the weights of one pickled file, which may lie in it under `model`, beside what training kept.

    Raises:
        TeacherError: a damaged file, one that needs code to be read, or without weights.
    """
    found = _read(path)
    state = found.get("model", found) if isinstance(found, dict) else found
    if not _names_tensors(state) or not state:
        raise TeacherError(
            f"{path}: holds a {type(state).__name__} where weights should be; allowed: a mapping of names to dense, real "
            f"tensors, alone or under 'model'. {AGAIN}"
        )
    return {
        key: one.float() if one.is_floating_point() else one
        for key, one in state.items()
        if not key.endswith(IGNORED)
    }


def shards_of(index: Path) -> dict[str, str]:
    """Return what an index says: name of each weight -> name of the file beside the index that holds it.

    Raises:
        TeacherError: the index is damaged, or names a file outside its folder.
    """
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise TeacherError(
            f"{index}, weight_map: got {show(places)}; allowed: a mapping of weights to files. {AGAIN}"
        )
    for name in places.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise TeacherError(
                f"{index}, weight_map: got {show(name)}; allowed: names of files beside the index. {AGAIN}"
            )
    return places


def _sharded(index: Path) -> dict[str, Tensor]:
    """Return the weights of all shards: exactly those that the index names."""
    places = shards_of(index)
    found: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        shard = index.parent / name
        if not shard.is_file():
            raise TeacherError(f"{shard}: is missing; {index.name} names it. {AGAIN}")
        held = _one_file(shard)
        lacking = sorted(key for key, place in places.items() if place == name and key not in held)
        if lacking:
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            raise TeacherError(
                f"{shard}: lacks {', '.join(lacking[:3])}{more}; {index.name} names them. {AGAIN}"
            )
        found |= held
    return found


def _one_file(path: Path) -> dict[str, Tensor]:
    weights = _read(path)
    if not _names_tensors(weights):
        raise TeacherError(
            f"{path}: holds a {type(weights).__name__}; allowed: a mapping of names to dense, real tensors. {AGAIN}"
        )
    return weights


def _names_tensors(found: Any) -> bool:
    """Return whether something maps names to tensors that a model can hold: no sparse ones, no complex numbers."""
    return isinstance(found, dict) and all(
        isinstance(key, str)
        and isinstance(one, Tensor)
        and one.layout == torch.strided
        and not one.is_complex()
        for key, one in found.items()
    )


def _read(path: Path) -> Any:
    """Return what a file holds, whatever it is.

    Raises:
        TeacherError: it is damaged, or only code that it brings could read it.
    """
    read = _safetensors if path.suffix == ".safetensors" else _pickled
    try:
        return read(path)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if not named:
            raise TeacherError(f"{path}: cannot be read (no pickle of tensors). {AGAIN}") from error
        raise TeacherError(
            f"{path}: cannot be read without running code that it asks for ({named[1]}), which is never done; allowed: tensors "
            "and plain values. Save the state dict alone: torch.save({'model': model.state_dict()}, FILE)."
        ) from error
    except Exception as error:  # unpickling a damaged file may raise anything
        raise TeacherError(f"{path}: cannot be read ({_reason(error)}). {AGAIN}") from error


_safetensors: Callable[[Path], Any] = load_file


def _pickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """Return the first line of what a reader says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
