"""Models that others have trained, for students to begin with: an image side of timm, a text side of the BERT kind."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer as Backend
from torch import Tensor

from spaces.errors import PluginError, TeacherError
from spaces.paths import settled, user_path
from trainables.families.origin import Published
from trainables.teachers.hub import CONFIG, hub_folder
from trainables.teachers.json_file import read_object
from trainables.teachers.weights import PLACES, SAFETENSORS, read_state, read_weights

IMAGE = "image"


def open_published(name: str, side: str) -> Published:
    """Return what lies in a folder or file, or under a published name.

    Args:
        name: a folder that `save_pretrained` wrote, or timm's; of an image side a file of weights, or a name of timm, as
            `deit_small_patch16_224.fb_in1k`, too; of a text side a hub id. What is not here is downloaded if there is a network.
        side: image or text.

    Raises:
        PluginError: nothing of that name, or files that cannot be used.
    """
    try:
        place = _place(name, side)
        state = tuple((one.name, one.stat().st_mtime_ns, one.stat().st_size) for one in _files(place))
        return _opened(place, state)
    except (TeacherError, PluginError) as error:
        told = str(error).replace("the teacher", "the model").removeprefix("teacher ")
        raise PluginError(f"student.{side}.weights: got {name}: {told}") from error
    except OSError as error:
        raise PluginError(
            f"student.{side}.weights: got {name}, which cannot be read ({error.strerror or error}). Make it readable."
        ) from error


def _place(name: str, side: str) -> Path:
    """Return a folder or file on this machine.

    Raises:
        TeacherError, PluginError: there is none.
    """
    path = user_path(name)
    if path.is_dir() or (path.is_file() and side == IMAGE):
        return settled(path)
    if path.is_file():
        raise PluginError("is a file; allowed: a folder with config.json, tokenizer and weights. Give that.")
    if path.is_absolute() or name.startswith("."):
        raise PluginError("is not there; allowed: a folder, or a published name. Look at the path.")
    if side != IMAGE:
        return hub_folder(name)
    from trainables.teachers.towers.timm_folder import OWNER, hub_id

    return hub_folder(hub_id(name if "/" in name else OWNER + name))


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(one for one in place.iterdir() if one.is_file())


@lru_cache(maxsize=8)
def _opened(place: Path, state: object) -> Published:
    """Return what lies there; `state` is what moves when somebody writes to it."""
    config = read_object(place / CONFIG) if place.is_dir() and (place / CONFIG).is_file() else {}
    weights = partial(_weights, place)
    return Published(
        place=str(place),
        config=config,
        shapes=_shapes(place, weights),
        weights=weights,
        vocabulary=lru_cache(maxsize=1)(partial(_vocabulary, place)),
    )


def _weights(place: Path) -> dict[str, Tensor]:
    if place.is_dir():
        return read_weights(place)[1]
    if place.suffix != ".safetensors":
        return read_state(place)
    from safetensors.torch import load_file

    try:
        return {name: one.float() for name, one in load_file(place).items()}
    except SafetensorError as error:
        raise TeacherError(f"{place}: cannot be read ({error}). Save or download it again.") from error


def _shapes(place: Path, weights: Callable[[], Mapping[str, Tensor]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights; of one file of safetensors without reading them."""
    path = place / SAFETENSORS if place.is_dir() else place
    if path.suffix == ".safetensors" and path.is_file():
        try:
            with safe_open(path, "pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise TeacherError(f"{path}: cannot be read ({error}). Save or download it again.") from error
    if place.is_dir() and not any((place / one).is_file() for one in PLACES):
        raise TeacherError(f"{place}: holds no weights; allowed: one of {', '.join(PLACES)}. Put them there.")
    return {name: tuple(one.shape) for name, one in weights().items()}


def _vocabulary(place: Path) -> dict[str, int]:
    """Return token -> id.

    Raises:
        TeacherError: the tokenizer's file is damaged.
    """
    whole, words, pairs = (place / name for name in ("tokenizer.json", "vocab.txt", "vocab.json"))
    found: dict[str, Any]
    try:
        if whole.is_file():
            return dict(Backend.from_file(str(whole)).get_vocab(with_added_tokens=True))
        if words.is_file():
            # `splitlines` would part at letters that are tokens themselves, and move all ids behind them
            lines = words.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            return {token: number for number, token in enumerate(lines)}
        if not pairs.is_file():
            return {}
        found = json.loads(pairs.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare exceptions
        raise TeacherError(
            f"{place}: its tokenizer cannot be read ({error}). Save or download it again."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(one, int) for one in found.values()):
        raise TeacherError(f"{pairs}: holds no ids of tokens. Save or download it again.")
    return found
