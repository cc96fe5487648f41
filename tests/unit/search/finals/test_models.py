"""Forms of models in the finals: which are measured."""

from types import SimpleNamespace
from typing import Any

import pytest

from search.finals import models
from search.finals.lines import LONGER, STUDENT
from trainables.costs.target import Target
from trainables.training.compressed import Forms


class Ran:
    """Takes what is measured, and returns one row for each."""

    def __init__(self) -> None:
        self.asked: list[Forms] = []

    def run(self, function: Any, forms: Forms, target: Target) -> list[dict[str, Any]]:
        """Keep it."""
        self.asked.append(forms)
        return [{"form": models.FLOAT32}]


def test_a_student_is_told_how_fast_its_teacher_was_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = dict.fromkeys(
        [("a", ""), ("a", "one"), ("b", ""), ("b", "two")], SimpleNamespace(params=1, flops=2, size_mib=3)
    )
    monkeypatch.setattr(models, "_subjects", lambda plan: subjects)
    monkeypatch.setattr(models, "static_costs", lambda subject: subject)
    monkeypatch.setattr(models, "_target", lambda plan: Target())
    found = [SimpleNamespace(latency_ms=value, spread_ms=0.0) for value in (8.0, 2.0, 9.0, 3.0)]
    tasks: Any = SimpleNamespace(run=lambda *asked: found)
    rows = models.model_rows(None, tasks, samples=1, say=lambda line: None)  # type: ignore[arg-type]
    told = {row["candidate_id"]: row["costs"].get("teacher_latency_ms") for row in rows}
    assert told == {"": None, "one": 8.0, "two": 9.0}


def test_a_student_that_reads_its_teacher_has_no_forms_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = {
        ("teacher", ""): SimpleNamespace(reads=None, params=90),
        ("teacher", "trunk"): SimpleNamespace(reads=None, params=10),
        ("teacher", "head"): SimpleNamespace(reads="a part of the teacher", params=70),
    }
    monkeypatch.setattr(models, "_subjects", lambda plan: subjects)
    monkeypatch.setattr(models, "static_costs", lambda subject: subject)
    monkeypatch.setattr(models, "_target", lambda plan: Target())
    monkeypatch.setattr(models, "finished", lambda stage: {"status": "finished"})
    monkeypatch.setattr(models, "replace", lambda one, **changes: one)
    asked = SimpleNamespace(order="what is measured")
    plan: Any = SimpleNamespace(
        finalists=[SimpleNamespace(job=SimpleNamespace(teacher="teacher"))],
        measuring=lambda finalist, of: asked,
    )
    stage = SimpleNamespace(name=LONGER, job=SimpleNamespace(folder="somewhere"))
    lines: Any = [
        SimpleNamespace(candidate_id=name, method=STUDENT, seed=0, stages=(stage,))
        for name in ("trunk", "head")
    ]
    said, tasks = list[str](), Ran()
    rows = models.form_rows(plan, lines, [], tasks, say=said.append)  # type: ignore[arg-type]
    assert [row["candidate_id"] for row in rows] == ["", "trunk"]
    assert "forms of head: left out, it reads its teacher whenever it is used" in said
    assert tasks.asked[0].keep == {"pruned to the weights of trunk": 10}
