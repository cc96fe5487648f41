"""Files of weights for a backbone of timm: what must be in one, what may, and what is told about the rest."""

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn

from spaces.errors import PluginError
from spaces.plugins import listed
from trainables.families.trunks.timm_models import made

COUNTERS = ".num_batches_tracked"  # of batch norms; files of early versions lack it, and nothing hangs on it


def fitting(path: Path, name: str, image_size: int) -> None:
    """Accept a file that holds the weights of a backbone; looked into once, as long as it does not change.

    Raises:
        PluginError: it is not there, broken, or not of this backbone.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise _refused(path, f"which cannot be read ({error.strerror})") from error
    _fitting(path, name, image_size, (facts.st_mtime_ns, facts.st_size))


@functools.lru_cache(maxsize=64)
def _fitting(path: Path, name: str, image_size: int, version: tuple[int, int]) -> None:
    """Accept a file; `version` is when it changed, and its size."""
    with torch.device("meta"):
        model = made(name, image_size)
    _weights(path, model, name)


def load(path: Path, model: nn.Module, name: str) -> None:
    """Overwrite all weights of a backbone by those of a file.

    Args:
        path: of the file.
        model: made by timm, without classifier.
        name: of the backbone.

    Raises:
        PluginError: the file is not there, broken, or not of this backbone.
    """
    found = _weights(path, model, name)
    model.load_state_dict(found, strict=False)  # counters aside, nothing lacks


def _weights(path: Path, model: nn.Module, name: str) -> dict[str, Tensor]:
    """Return those weights of a file that the model has.

    Raises:
        PluginError: a weight lacks or has another shape, or there are others than those of a classifier.
    """
    given = _prepared(path, model)
    own = model.state_dict()
    lacking = [one for one in own if one not in given and not one.endswith(COUNTERS)]
    misshapen = [one for one in own if one in given and given[one].shape != own[one].shape]
    foreign = sorted(set(given) - set(own))
    if foreign:
        with torch.device("meta"):
            whole = set(timm.create_model(name).state_dict())
        foreign = [one for one in foreign if one not in whole]
    if lacking or misshapen or foreign:
        parts = [
            f"{len(own) - len(lacking) - len(misshapen)} of {len(own)} weights fit",
            *_told("it lacks", lacking),
            *_told("of other shapes are", misshapen),
            *_told("the backbone has no", foreign),
        ]
        raise _refused(path, f"which is not of {name} ({'; '.join(parts)})")
    return {one: given[one] for one in own if one in given}


def _told(words: str, names: list[str]) -> Iterable[str]:
    return (
        [f"{words} {listed(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"]
        if names
        else []
    )


def _prepared(path: Path, model: nn.Module) -> dict[str, Any]:
    """Return the weights of a file, as the backbone's own filter of timm renames and resizes them."""
    if not path.is_file():
        raise _refused(path, "which is no file")
    try:
        given = load_state_dict(str(path), weights_only=True)
    except (OSError, RuntimeError, SafetensorError, UnpicklingError, EOFError, ValueError) as error:
        why = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
        raise _refused(path, f"which cannot be read ({why})") from error
    except (AttributeError, KeyError, TypeError) as error:  # timm looks for names
        raise _refused(path, "which holds no weights by their names") from error
    if not isinstance(given, dict) or not all(isinstance(one, Tensor) for one in given.values()):
        raise _refused(path, "which holds no weights by their names")
    rename: Callable[[dict[str, Any], nn.Module], dict[str, Any]] | None
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return given if rename is None else rename(given, model)


def _refused(path: Path, why: str) -> PluginError:
    return PluginError(
        f"student.pretrained: got {path}, {why}; allowed: a file of all weights of the backbone, its classifier's "
        "aside, as safetensors or written by torch.save. Give that, or false."
    )
