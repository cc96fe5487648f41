"""Backbones of timm: their names, the sizes of what they say, and their last state as a feature map."""

import functools
import math
from typing import Any

import timm
import torch
from torch import Tensor, nn

from spaces.errors import PluginError, ShapeError
from spaces.plugins import meant

PREFIXES = ("hf-hub:timm/", "hf_hub:timm/", "timm/")


def known_name(name: str) -> str:
    """Return a backbone's name as timm has it: without library before it, and without the name of weights behind a dot.

    Raises:
        PluginError: timm has no such backbone, or none with weights of that name.
    """
    bare = next((name.removeprefix(one) for one in PREFIXES if name.startswith(one)), name)
    found, _, tag = bare.partition(".")
    if not timm.is_model(found):
        hint = meant(found, timm.list_models(), "`timm.list_models()` names them all.")
        raise PluginError(
            f"name: got {name[:100]!r}; allowed: a backbone that timm {timm.__version__} has, as resnet18 or "
            f"timm/resnet18. {hint}"
        )
    tags = _tags(found)
    if tag and tag not in tags:
        raise PluginError(
            f"name: got {name[:100]!r}, and timm knows {found} without weights of that name; allowed behind the dot: "
            f"{', '.join(tags) or 'nothing'}. {meant(tag, tags, 'Leave out the dot and what follows.')}"
        )
    return found


def made(name: str, image_size: int) -> nn.Module:
    """Return a backbone with fresh weights and without classifier, for pictures of a size where it hangs on that.

    Raises:
        TypeError, ValueError, AssertionError, ...: it cannot be built for such pictures.
    """
    try:
        return timm.create_model(name, num_classes=0, img_size=image_size)
    except TypeError as error:
        if "img_size" not in str(error):  # a convolutional one, say, is built alike for all sizes
            raise
        return timm.create_model(name, num_classes=0)


@functools.cache
def measured(name: str, image_size: int) -> tuple[int, tuple[int, ...]]:
    """Return the size D of a backbone's pooled feature, and the sizes (D, Y, X) of its last map, () without one.

    Found out on the meta device, once for each name and size.

    Raises:
        ShapeError: it does not read such pictures, or says no vector.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            model: Any = made(name, image_size).eval()
            found = model.forward_features(torch.empty(1, 3, image_size, image_size))
            pooled = model.forward_head(found)
            grid = as_map(model, found)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError) as error:
        raise _unfit(name, image_size, error) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise _unfit(name, image_size, error) from error
    if not isinstance(pooled, Tensor) or pooled.ndim != 2:
        raise _unfit(name, image_size, ValueError("it says no vector for a picture"))
    return int(pooled.shape[1]), () if grid is None else tuple(grid.shape[1:])


def as_map(model: Any, found: object) -> Tensor | None:
    """Return what a backbone says before it pools as a map (B, D, Y, X); None where it is none.

    Args:
        model: of timm.
        found: what its `forward_features` gave: a map, its channels first or last, or tokens, special ones first.
    """
    if not isinstance(found, Tensor):
        return None
    if found.ndim == 4:
        return found.permute(0, 3, 1, 2) if str(getattr(model, "output_fmt", "NCHW")) == "NHWC" else found
    if found.ndim != 3 or not hasattr(model, "num_prefix_tokens"):
        return None
    places = found[:, model.num_prefix_tokens :]
    side = math.isqrt(places.shape[1])
    if side * side != places.shape[1]:
        return None
    return places.transpose(1, 2).unflatten(2, (side, side))


@functools.cache
def _tags(name: str) -> tuple[str, ...]:
    """Return the names of the published weights of a backbone."""
    known = timm.list_pretrained(f"{name}.*")
    return tuple(one.partition(".")[2] for one in known)


def _unfit(name: str, image_size: int, error: Exception) -> ShapeError:
    return ShapeError(
        f"student.name: got {name} for pictures of {image_size} x {image_size} pixels, which timm cannot run "
        f"({str(error).splitlines()[0][:200] if str(error) else type(error).__name__}); allowed: a backbone that reads "
        "such pictures and makes a vector of them. Take another, or other pictures."
    )
