"""How far the trainings are, and how long the rest will take."""

import math
import time
from collections.abc import Callable, Sequence
from typing import final

from analysis.wording import duration, on_terminal
from search.finals.lines import Beat, Line, finished

Say = Callable[[str], None]
TELL_EVERY_S = 10.0
ENOUGH = 2  # epochs in each place that runs trainings: one alone may have just begun, or just ended


@final
class Pace:
    """Hears the beats of all trainings, and tells now and then how it stands; all other lines are passed on.

    What is expected of an epoch is what it took in the search; how far the clock on the wall is off that is seen on the way,
    from the first epoch on: models and data that are loaded before it would be counted with every epoch that is left.
    """

    def __init__(
        self, lines: Sequence[Line], *, say: Say, slots: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what is to be done.

        Args:
            lines: all of it.
            say: takes a line for the user.
            slots: lines that run at a time.
            clock: says the time in seconds.
        """
        self._clock, self._heard = clock, set[str]()
        self._say, self._slots = say, max(1, min(slots, len(lines)))
        self._stages = {stage.key: stage for line in lines for stage in line.stages}
        self._epochs = {
            key: stage.job.epochs if finished(stage) is not None else 0 for key, stage in self._stages.items()
        }
        self._first = dict(self._epochs)
        self._lines, self._through = len(lines), 0
        self._began = self._told = clock()

    @property
    def total(self) -> int:
        """Epochs of all trainings."""
        return sum(stage.job.epochs for stage in self._stages.values())

    @property
    def expected_s(self) -> float:
        """Seconds that what is left is expected to take, by the epochs of the search; NaN where nothing tells."""
        known = all(math.isfinite(one.epoch_s) and one.epoch_s > 0 for one in self._stages.values())
        return self._work(self._left()) / self._slots if known else math.nan

    def hear(self, line: str) -> None:
        """Take a line of a process."""
        beat = Beat.heard(line)
        if beat is None:
            self._say(line)
            return
        if beat.key not in self._epochs:
            return
        self._note_start(beat)
        self._epochs[beat.key] = max(self._epochs[beat.key], beat.epochs)
        if self._clock() - self._told >= TELL_EVERY_S:
            self.tell()

    def _note_start(self, beat: Beat) -> None:
        """Note from where a training counts: one that goes on tells of old epochs first; those that are the first to be heard
        began before the clock did.
        """
        if beat.key in self._heard:
            return
        if not self._heard:
            self._began = self._clock()
        counted = 0 if len(self._heard) < self._slots else 1
        self._first[beat.key] = max(self._first[beat.key], beat.epochs - counted)
        self._heard.add(beat.key)

    def line_through(self) -> None:
        """Note that a line is trained and measured."""
        self._through += 1
        self.tell()

    def tell(self) -> None:
        """Say how it stands."""
        self._told = self._clock()
        left = self.left_s()
        expected = self.expected_s
        rest = f", about {on_terminal(duration(left))} left" if math.isfinite(left) else ""
        if not rest and expected > 0:
            rest = f", about {on_terminal(duration(expected))} of training, as long as an epoch took in the search"
        done = sum(self._epochs.values())
        self._say(
            f"finals: {done:,} of {self.total:,} epochs, {self._through} of {self._lines} through{rest}"
        )

    def left_s(self) -> float:
        """Return how many seconds are left, by what was done since the beginning; NaN where that is too little yet."""
        done = {key: self._epochs[key] - self._first[key] for key in self._epochs}
        left, spent = self._work(self._left()), self._clock() - self._began
        if left == 0.0:
            return 0.0
        return spent * left / self._work(done) if sum(done.values()) >= ENOUGH * self._slots else math.nan

    def _left(self) -> dict[str, int]:
        return {key: stage.job.epochs - self._epochs[key] for key, stage in self._stages.items()}

    def _work(self, epochs: dict[str, int]) -> float:
        """Return the seconds of some epochs, as expected; where nothing is expected of any, their number."""
        known = [stage.epoch_s for stage in self._stages.values()]
        alike = any(not math.isfinite(one) or one <= 0 for one in known)
        return sum(
            count * (1.0 if alike else self._stages[key].epoch_s) for key, count in epochs.items() if count
        )
