"""Integer random streams that no library version can change.

numpy guarantees its bit generators, not the numbers that its distributions draw. Scenes are public reference
data, so they come from splitmix64 (Steele, Lea and Flood 2014), written out here in a dozen lines.
"""

from collections.abc import MutableSequence, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def _mix(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


class IntegerStream:
    """A stream of integers fixed by a key of integers, the same on every machine and numpy."""

    def __init__(self, *key: int) -> None:
        state = 0
        for part in key:
            state = _mix((state + part + STEP) & MASK)
        self._state = state

    def bits(self) -> int:
        """Return the next 64 bits."""
        self._state = (self._state + STEP) & MASK
        return _mix(self._state)

    def below(self, bound: int) -> int:
        """Return an integer in 0..bound-1 (bias below 2**-50 for the bounds used here)."""
        return (self.bits() * bound) >> 64

    def between(self, low: int, high: int) -> int:
        """Return an integer in low..high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True in `percent` of 100 draws."""
        return self.below(100) < percent

    def choose(self, items: Sequence[T]) -> T:
        """Return one item."""
        return items[self.below(len(items))]

    def shuffled(self, count: int) -> list[int]:
        """Return a permutation of 0..count-1 (Fisher and Yates)."""
        order = list(range(count))
        self.shuffle(order)
        return order

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Shuffle in place."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]

    def grid(self, count: int, low: int, high: int) -> np.ndarray:
        """Return `count` integers in low..high as int64, drawn at once."""
        with np.errstate(over="ignore"):
            state = np.uint64(self.bits()) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(STEP)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        span = np.uint64(high - low + 1)
        return ((state >> np.uint64(32)) * span >> np.uint64(32)).astype(np.int64) + low
