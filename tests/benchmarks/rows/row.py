"""A row of the table of `make bench`, and what a measurement is asked."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

STEADY = 0.02  # of a figure: where the quartiles of some repeats lie no farther apart, no more are made
ROOT = Path(__file__).resolve().parents[3]
SPACE = ROOT / "spaces" / "dlip.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a row is to be measured.

    Attributes:
        quick: few repeats and small data: does it run, and is it about right?
        run: a run folder to look at, instead of a search of its own.
    """

    quick: bool = False
    run: Path | None = None

    def repeats(self, full: int) -> int:
        """Return how often to measure at most: `full` times, or three times where that is enough."""
        return min(3, full) if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured, over what.
        ratio: the figure, the median of repeats; of two things that were measured in turn where it has no unit.
        spread: distance of the quartiles of the repeats, as a share of the figure; NaN where there is one repeat.
        unit: "" for a ratio.
        n: repeats, or what else was counted.
        command: what measures it again.
    """

    name: str
    ratio: float
    spread: float
    unit: str
    n: int
    command: str


def row_of(name: str, values: Sequence[float], command: str, *, unit: str = "", n: int = 0) -> Row:
    """Return the row of repeated figures.

    Args:
        name: of the row.
        values: the figure of each repeat.
        command: what measures it again.
        unit: "" for a ratio.
        n: what was counted, where it is not the repeats.

    Raises:
        ValueError: no figure, or one that is not finite: nothing was measured.
    """
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"{name}: measured {list(values)}; expected finite figures, one at least")
    return Row(
        name=name,
        ratio=statistics.median(values),
        spread=spread(values),
        unit=unit,
        n=n or len(values),
        command=command,
    )


def steady(measure: Callable[[], float], least: int, most: int) -> list[float]:
    """Return repeats of a figure: `least`, and more until they are steady, `most` at most."""
    values = [measure() for _ in range(least)]
    while len(values) < most and not spread(values) <= STEADY:
        values.append(measure())
    return values


def spread(values: Sequence[float]) -> float:
    """Return the distance of the quartiles as a share of the median, NaN for one value or a median of 0."""
    if len(values) < 2 or statistics.median(values) == 0:
        return math.nan
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / abs(statistics.median(values))


def again(number: int, asked: Asked) -> str:
    """Return the command that measures a row again."""
    words = ["--quick"] * asked.quick + (["--run", str(asked.run)] if asked.run and number == 3 else [])
    return " ".join(["python tests/benchmarks/bench.py --only", str(number), *words])


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of some intervals (start, end) lasted."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
