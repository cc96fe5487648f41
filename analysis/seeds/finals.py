"""What the finals have shown: for each student the quality of each task over seeds, beside its teacher and two controls."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.seeds.contrast import Interval, contrast

TEACHER, STUDENT, PLAIN, RANDOM = "teacher", "student", "plain", "random"
LONGER = "longer"  # the training for all tasks; the others are called after their task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """One student, one task.

    Attributes:
        task: its name.
        metric: that counts.
        teacher: its figure, NaN if unknown.
        values: method -> seed -> figure.
    """

    task: str
    metric: str
    teacher: float
    values: Mapping[str, Mapping[int, float]]

    def kept(self, method: str) -> Interval:
        """Return the retention of a method, in percent of the teacher, with its interval over seeds."""
        return contrast([(1.0, list(self.shares(method).values()))])

    def shares(self, method: str) -> dict[int, float]:
        """Return seed -> retention of a method, in percent; {} without the teacher's figure."""
        if not self.teacher > 0.0:
            return {}
        return {seed: 100.0 * one / self.teacher for seed, one in self.values.get(method, {}).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentFigures:
    """One student on one kind of data, trained for all tasks at once or for each.

    Attributes:
        candidate_id: of the student.
        tuned: whether each task had a training of its own.
        domain: other data than that of the training, "" for its own.
        tasks: figures of each.
        costs: params, flops, size_mib, latency_ms of the student.
        teacher_costs: the same of its teacher.
    """

    candidate_id: str
    tuned: bool
    domain: str
    tasks: tuple[TaskFigures, ...]
    costs: Mapping[str, float]
    teacher_costs: Mapping[str, float]

    @property
    def beyond(self) -> tuple[str, ...]:
        """The tasks that the teacher cannot do at all on this data: nothing can be kept of them, as in `retention`."""
        return tuple(task.task for task in self.tasks if task.teacher <= 0.0)

    def means(self, method: str) -> dict[int, float]:
        """Return seed -> mean retention over all tasks, of seeds that have every task; see `beyond`."""
        shares = [task.shares(method) for task in self.tasks if task.task not in self.beyond]
        seeds = set.intersection(*(set(one) for one in shares)) if shares else set()
        return {seed: sum(one[seed] for one in shares) / len(shares) for seed in sorted(seeds)}

    def kept(self, method: str) -> Interval:
        """Return the mean retention of a method over tasks, in percent, with its interval over seeds."""
        return contrast([(1.0, list(self.means(method).values()))])

    def gain(self, control: str) -> Interval:
        """Return by how many points of retention the student is above a control."""
        return contrast(
            [(1.0, list(self.means(STUDENT).values())), (-1.0, list(self.means(control).values()))]
        )

    def share(self, cost: str) -> float:
        """Return a cost as a share of the teacher's, NaN if either is unknown."""
        mine, whole = self.costs.get(cost, math.nan), self.teacher_costs.get(cost, math.nan)
        return mine / whole if whole > 0 else math.nan

    @property
    def speedup(self) -> float:
        """How many times faster than its teacher it is, by the clock on the wall."""
        mine, whole = self.costs.get("latency_ms", math.nan), self.teacher_costs.get("latency_ms", math.nan)
        whole = self.costs.get("teacher_latency_ms", whole)  # of the session that timed it
        return whole / mine if mine > 0 and whole > 0 else math.nan


def summarised(finals: Mapping[str, Any]) -> list[StudentFigures]:
    """Return what one request has shown: each student on its own data, for all tasks at once, then tuned, then on other data.

    Args:
        finals: of `finalised.json`.
    """
    found = []
    for candidate_id in finals["candidates"]:
        rows = [row for row in finals["rows"] if row["candidate_id"] == candidate_id]
        teacher = (finals.get("teachers") or {}).get(candidate_id, "")
        for tuned, domain in _kinds(rows, finals):
            known = [row for row in rows if row["domain"] == domain and (row["stage"] != LONGER) == tuned]
            told = [
                row
                for row in finals["rows"]
                if row["method"] == TEACHER and row["stage"] == teacher and row["domain"] == domain
            ]
            tasks = tuple(
                _task(name, metric, told, [row for row in known if not tuned or row["stage"] == name])
                for name, metric in finals["counts"].items()
            )
            found.append(
                StudentFigures(
                    candidate_id=candidate_id,
                    tuned=tuned,
                    domain=domain,
                    tasks=tasks,
                    costs=_costs(finals["models"], candidate_id),
                    teacher_costs=_costs(finals["models"], "", teacher),
                )
            )
    return found


def _kinds(rows: Sequence[Mapping[str, Any]], finals: Mapping[str, Any]) -> Iterable[tuple[bool, str]]:
    """Yield what there are rows of: tuned or not, and the domain."""
    for tuned, domain in [(False, ""), (True, ""), *((False, one) for one in finals.get("domains") or [])]:
        if any(row["domain"] == domain and (row["stage"] != LONGER) == tuned for row in rows):
            yield tuned, domain


def _task(
    name: str, metric: str, teachers: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> TaskFigures:
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        figure = row["metrics"].get(metric)
        values.setdefault(row["method"], {})[row["seed"]] = 0.0 if figure is None else float(figure)
    told = [row["metrics"].get(metric) for row in teachers]
    teacher = next((float(one) for one in told if one is not None), math.nan)
    return TaskFigures(task=name, metric=metric, teacher=teacher, values=values)


def _costs(models: Sequence[Mapping[str, Any]], candidate_id: str, teacher: str = "") -> dict[str, float]:
    """Return the costs of a model in float32, {} where none were measured."""
    for one in models:
        own = one["candidate_id"] == candidate_id and one["form"] == "float32"
        if own and (not teacher or one.get("teacher") == teacher):
            return {name: math.nan if value is None else float(value) for name, value in one["costs"].items()}
    return {}
