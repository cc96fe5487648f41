"""How far apart two float32 computations of one value may lie, on any machine."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

EPS = torch.finfo(torch.float32).eps
MARGIN = 4.0  # a dozen standard deviations of rounding; what a mistake changes is thousands of them


def close(actual: Any, expected: Any, *, ops: int, size: float | None = None, message: str = "") -> None:
    """Assert that two tensors, numbers, or equal collections of them differ by float32's rounding alone.

    Each of the `ops` additions and multiplications that a value goes through, one after another, rounds by up to half an
    epsilon of the size of what is added up, as often up as down; so errors grow with the root of their number (Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd edition, section 2.8). Their order is the kernel's choice, and
    so differs from machine to machine and from shape to shape.

    Args:
        actual: what was computed.
        expected: the same computed in another way.
        ops: length of the sums on the way, added up: about 12 widths a layer of a network, twice that for gradients.
        size: of what is added up; the largest expected value where it is left out, which is right unless terms cancel.
        message: what is compared.
    """
    if isinstance(expected, Mapping):
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            close(actual[name], value, ops=ops, size=size, message=f"{message}{name}: ")
        return
    if isinstance(expected, Iterable) and not isinstance(expected, Tensor):
        for number, (mine, theirs) in enumerate(zip(actual, expected, strict=True)):
            close(mine, theirs, ops=ops, size=size, message=f"{message}{number}: ")
        return
    mine, theirs = (torch.as_tensor(value).detach().double() for value in (actual, expected))
    assert mine.shape == theirs.shape, f"{message}shapes {tuple(mine.shape)} and {tuple(theirs.shape)}"
    scale = float(theirs.abs().max()) if size is None else size
    allowed = MARGIN * ops**0.5 * EPS * scale
    apart = float((mine - theirs).abs().max())
    assert apart <= allowed, f"{message}{apart:.3g} apart, rounding explains {allowed:.3g}"  # NaN fails, too
