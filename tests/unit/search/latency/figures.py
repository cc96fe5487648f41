"""A fake table of latency: figures that are known or measured without any clock."""

import threading
from collections.abc import Sequence

from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target


def told(value: float, spread: float = 0.0, **more: object) -> Latency:
    """Return a latency of so many ms."""
    fields: dict[str, object] = dict.fromkeys(Latency.__dataclass_fields__, 0)
    target = Target().to_dict()
    fields |= {name: target[name] for name in target if name in fields}
    fields |= {"latency_ms": value, "spread_ms": spread, "modes": {}, "device": "a CPU", **more}
    return Latency(**fields)  # type: ignore[arg-type]


def of_size(subject: Subject) -> Latency:
    """Return a latency that follows from the parameters of a model: 1 ms for a million, a tenth of it spread."""
    size = sum(p.numel() for part in subject.parts.values() for p in part.model.parameters()) / 1e6
    return told(size, size / 10)


class Slow:
    """Measures only when it is let go, and remembers what it was asked for together."""

    def __init__(self) -> None:
        self.batches: list[list[Subject]] = []
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, subjects: Sequence[Subject]) -> list[Latency]:
        self.batches.append(list(subjects))
        assert self.go.acquire(timeout=60)
        if self.error is not None:
            raise self.error
        return [of_size(subject) for subject in subjects]
