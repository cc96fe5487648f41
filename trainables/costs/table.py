"""Latency composed of block times: signatures that others build on; bodies follow."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target

Say = Callable[[str], None]


class LatencyTable:
    """Samples of block times of one target, shared by all candidates, kept on disk across runs."""

    def __init__(self, folder: Path, target: Target, say: Say = print) -> None:
        """Use a folder that several processes may share; `say` takes one line about a damaged file."""
        raise NotImplementedError

    def known(self, subject: Subject) -> Latency | None:
        """Return the latency of a subject, with what it reads of its teacher; None where a block has too few samples.

        Reads files alone, no model is built with weights: it may be called where nothing may wait.
        """
        raise NotImplementedError

    def measure(self, subjects: Sequence[Subject], *, rounds: int | None = None) -> None:
        """Add samples of all blocks of the subjects that have too few, interleaved in time and over blocks.

        Raises:
            ResourceError: the target does not exist here.
        """
        raise NotImplementedError

    def latency(self, subject: Subject) -> Latency:
        """Return what is known, measured first where it is not."""
        raise NotImplementedError


def measure_whole(subject: Subject, target: Target) -> Latency:
    """Return the latency of a whole model by the wall clock: for finalists, while nothing else runs."""
    raise NotImplementedError
