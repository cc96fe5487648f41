"""Latency composed of block times that all candidates share: one table for each target, kept on disk across runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from trainables.costs.blocks import TimedPass, blocks_of, different
from trainables.costs.hardware import device_name
from trainables.costs.latency import FEWEST, ROUNDS, Latency, added_up, timed
from trainables.costs.runtimes import version_of
from trainables.costs.samples import SampleStore
from trainables.costs.subject import Subject
from trainables.costs.target import Target

Say = Callable[[str], None]


class LatencyTable:
    """Block times of one target on this very hardware, by this very version of the runtime.

    A block is measured once, for whatever candidate comes first; a candidate of known blocks is known at once. Several processes
    may read and measure at the same time: what each of them measured counts.
    """

    def __init__(self, folder: Path, target: Target, say: Say = print) -> None:
        """Use a folder that several tables may share; `say` takes one line about a damaged file.

        Raises:
            ResourceError: the target does not exist here.
        """
        target.check_here()
        self.target = target
        device = device_name(torch.device(target.device))
        self._samples = SampleStore(
            folder, {**target.to_dict(), "hardware": device, "software": version_of(target.runtime)}, say
        )

    def known(self, subject: Subject) -> Latency | None:
        """Return the latency of a subject, with what it reads of its teacher; None where a block has too few samples.

        Small files are read, and no model is built: it may be called where nothing may wait.
        """
        blocks = blocks_of(subject)
        times = {one.digest: self._samples.read(one) for one in different(blocks)}
        if any(len(ones) < FEWEST for ones in times.values()):
            return None
        return added_up(blocks, times, self.target, composed=True)

    def measure(self, subjects: Sequence[Subject], *, rounds: int | None = None) -> None:
        """Add samples of the blocks that have too few, interleaved in time and over blocks.

        Args:
            subjects: whose blocks.
            rounds: samples of every block, of those that have enough too; by default `ROUNDS` of those that do not.
        """
        blocks = different([block for subject in subjects for block in blocks_of(subject)])
        if rounds is None:
            blocks = [one for one in blocks if self._lacks(one)]
        if not blocks:
            return
        found = timed(blocks, self.target, rounds=ROUNDS if rounds is None else rounds)
        for one in blocks:
            self._samples.add(one, found[one.digest])

    def latency(self, subject: Subject) -> Latency:
        """Return what is known, measured first where it is not."""
        found = self.known(subject)
        if found is None:
            self.measure([subject])
            found = self.known(subject)
            assert found is not None  # what this process measured is there, whatever becomes of the files
        return found

    def _lacks(self, block: TimedPass) -> bool:
        return len(self._samples.read(block)) < FEWEST
