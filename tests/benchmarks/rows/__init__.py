"""The rows of `make bench`: which there are, and who measures each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from tests.benchmarks.rows.row import Asked, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of the table.

    Attributes:
        title: what it is about.
        module, function: who measures it; imported in the process that does.
    """

    title: str
    module: str
    function: str

    def rows(self, asked: Asked) -> list[Row]:
        """Measure."""
        found: Callable[[Asked], list[Row]] = getattr(
            import_module(f"{__name__}.{self.module}"), self.function
        )
        return found(asked)


MEASURES: Mapping[int, Measure] = {
    1: Measure(title="training step from the cache", module="steps", function="from_cache"),
    2: Measure(title="training step with the live teacher", module="steps", function="with_live_teacher"),
    3: Measure(title="time in training or evaluation", module="share", function="share_of_time"),
    4: Measure(title="overhead of a trial", module="trials", function="overhead"),
    5: Measure(title="filling the teacher cache", module="filling", function="filling"),
    6: Measure(title="cost filter", module="admission", function="cost_filter"),
    7: Measure(title="memory of concurrent trials", module="trials", function="memory"),
    8: Measure(title="latency", module="scripts", function="latency"),
    9: Measure(title="driver of a search", module="scripts", function="driver"),
}
