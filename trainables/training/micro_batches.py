"""A step in parts, where a whole one does not fit into memory: the same losses over the whole batch, and the same gradient.

Contrast compares all pairs of a batch, so that a mean over parts would be another loss. As in Gao et al. 2021 (GradCache) the
student first says all its signals part by part without keeping what backward needs; the losses look at the whole batch; and
their gradients at the signals are then carried through the student part by part. It costs one more forward pass. What is added
in another order differs by rounding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from trainables.signals import Batch, Signals
from trainables.training.parts import num_rows, part_of, spans
from trainables.training.step import DistillationStep, StepReport

Cast = Callable[[], AbstractContextManager[object]]
"""Opens the autocast of a pass. A pass without gradient must have one of its own: its copies of weights carry none."""


def split_backward(
    step: DistillationStep,
    example: tuple[Batch, Signals],
    skipped: frozenset[str],
    *,
    count: int,
    share: float,
    cast: Cast,
) -> StepReport:
    """Add the gradient of one batch in parts; return its losses, which are those of the whole.

    Args:
        step: with a student that is `divisible`.
        example: the whole batch, and what the source says about it.
        skipped: modes that are not run.
        count: parts.
        share: of the gradient that is added.
        cast: see `Cast`.
    """
    batch, given = example
    active, size = step.active(skipped), num_rows(batch)
    parts = spans(size, count)
    offers = step.student.offers(step.student.architecture)
    said = []
    for span in parts:
        with torch.no_grad(), cast():
            said.append(step.say(*part_of(batch, given, *span), active))
    whole = Signals(
        {
            want: _leaf(torch.cat([one[want] for one in said]) if offers[want].rows else value)
            for want, value in said[0].items()
        }
    )
    del said
    with cast():
        report = step.judge(whole, given, batch, active)
    (report.total * share).backward()
    for first, last in parts:
        with cast():
            found = step.say(*part_of(batch, given, first, last), active)
        slopes = {want: _slope(whole[want], offers[want].rows, first, last) for want in found}
        ends = [(value, slopes[want]) for want, value in found.items() if value.requires_grad]
        ends = [(value, slope) for value, slope in ends if slope is not None]
        if ends:
            torch.autograd.backward([value for value, _ in ends], [slope for _, slope in ends])
    return report


def _leaf(value: Tensor) -> Tensor:
    """Return a signal as the losses get it: with a gradient of its own."""
    return value.detach().requires_grad_(value.is_floating_point())


def _slope(value: Tensor, rows: str, first: int, last: int) -> Tensor | None:
    """Return the losses' gradient at the rows of a part; that at a single value of the model belongs to the first part."""
    if value.grad is None or (not rows and first):
        return None
    return value.grad[first:last] if rows else value.grad
