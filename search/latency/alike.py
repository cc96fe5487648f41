"""Latency on a cluster of several kinds of machines: all that a run compares is measured on one kind."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch

from search.latency.process import Say, measured
from trainables.costs.hardware import device_name
from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target

TRIES, TRYING_S = (
    8,
    60.0,
)  # for a node of the wanted kind: each is on its way to another one, and ends at once on a wrong one


def measured_alike(
    target: Target, folder: Path, subjects: Sequence[Subject], device: str, *, say: Say
) -> list[Latency] | str:
    """Return the latency of each subject, see `process.measured`; or the name of this device, where it is not the wanted one.

    Args:
        target: where to measure.
        folder: of the table.
        subjects: what is measured.
        device: name of the CPU or GPU that is wanted; "" takes any.
        say: takes a line.

    Raises:
        ResourceError: the target does not exist here.
    """
    target.check_here()
    here = device_name(torch.device(target.device))
    return here if device not in ("", here) else measured(target, folder, subjects, say=say)


@final
class Alike:
    """Measures on nodes of the kind on which it began; where none is to be had, on another one, which is told."""

    def __init__(
        self,
        run: Callable[..., Any],
        target: Target,
        folder: Path,
        *,
        say: Say,
        device: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where to measure.

        Args:
            run: returns what a function returns on some node.
            target: of the search.
            folder: of the table, which every node sees.
            say: takes a line.
            device: on which an earlier session measured; "" for none.
            clock: seconds, monotonic.
        """
        self._run, self._target, self._folder, self._say, self._clock = run, target, folder, say, clock
        self._device, self._begun, self._told = device, False, set[str]()

    def __call__(self, subjects: Sequence[Subject]) -> list[Latency]:
        """Return the latency of each subject.

        Raises:
            StudentSearchError: the target does not exist there.
        """
        began, tries = self._clock(), 0
        while True:
            tries += 1
            any_will_do = tries >= TRIES or self._clock() - began >= TRYING_S
            wanted = "" if any_will_do else self._device
            found = self._run(measured_alike, self._target, self._folder, list(subjects), wanted)
            if not isinstance(found, str):
                self._compare(found)
                return list(found)

    def _compare(self, found: Sequence[Latency]) -> None:
        """Remember the first kind of device, and tell of others."""
        for here in {one.device for one in found}:
            if not self._begun:
                self._device, self._begun = here, True
            elif here != self._device and here not in self._told:
                self._told.add(here)
                self._say(
                    f"WARNING: latency of some candidates is measured on {here}, of others on {self._device}, of which no node "
                    "was free: these figures do not compare. Give the search nodes of one kind, or leave latency_ms out of "
                    "objectives and limits."
                )
