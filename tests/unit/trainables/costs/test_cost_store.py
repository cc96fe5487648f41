"""Costs kept on disk: measured once, measured again where the entry is damaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.trainables.costs.subjects import SMALL, subject_of
from trainables.costs import store as store_module
from trainables.costs import table as tables
from trainables.costs.blocks import TimedPass
from trainables.costs.static import StaticCosts
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject
from trainables.costs.target import Target

ONE_LAYER = replace(SMALL, text=replace(SMALL.text, depth=1), fusion=(0,))
SUBJECT = subject_of(ONE_LAYER, "retrieval", tokenizer_bytes=10)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement made, and what of."""
    made: list[str] = []
    real = store_module.measure_static

    def counted(subject: Subject) -> StaticCosts:
        made.append("static")
        return real(subject)

    def timed(passes: list[TimedPass], target: Target, *, rounds: int) -> dict[str, list[float]]:
        made.append(f"{len(passes)} blocks, {target.describe()}")
        return {one.digest: [1.0] * rounds for one in passes}

    monkeypatch.setattr(store_module, "measure_static", counted)
    monkeypatch.setattr(tables, "timed", timed)
    return made


def test_an_architecture_is_measured_once_for_all_processes(tmp_path: Path, count: list[str]) -> None:
    first, second = (
        (store.static(SUBJECT), store.latency(SUBJECT))
        for store in (CostStore(tmp_path), CostStore(tmp_path))
    )
    assert first == second
    assert count == ["static", "4 blocks, cpu, eager, float32, batch 1, 1 thread"]


def test_another_target_is_another_latency(tmp_path: Path, count: list[str]) -> None:
    store = CostStore(tmp_path)
    batch = Target(batch=2)
    assert store.latency(SUBJECT, batch).latency_ms == store.latency(SUBJECT).latency_ms / 2
    assert store.table(batch) is store.table(Target(batch=2))
    assert store.table(batch).known(SUBJECT) == store.latency(SUBJECT, batch)
    assert [line.partition(", ")[0] for line in count] == ["4 blocks"] * 2


def test_another_architecture_task_tokenizer_or_code_is_another_entry(
    tmp_path: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = CostStore(tmp_path)
    costs.static(SUBJECT)
    costs.static(subject_of(replace(ONE_LAYER, embedding=8), "retrieval", tokenizer_bytes=10))
    costs.static(subject_of(ONE_LAYER, "retrieval", tokenizer_bytes=11))
    costs.static(subject_of(ONE_LAYER, "captioning", tokenizer_bytes=10))
    costs.static(replace(SUBJECT, servings=SUBJECT.servings[:1]))
    monkeypatch.setattr(store_module, "VERSION", store_module.VERSION + 1)
    costs.static(SUBJECT)
    monkeypatch.setattr(store_module.torch, "__version__", "99.0")
    costs.static(SUBJECT)
    assert count == ["static"] * 7


def test_costs_that_cannot_be_kept_are_said_once_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    costs = CostStore(tmp_path, say=said.append)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("spaces.files.os.open", refuse)
    assert costs.static(SUBJECT).params > 0
    costs.static(subject_of(replace(ONE_LAYER, embedding=8), "retrieval", tokenizer_bytes=10))
    (line,) = said
    assert line.startswith(f"costs: measured, but not kept for the next time: {tmp_path}/static-")
    assert "read-only file system" in line


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"key": {}, "value": {}}', "truncated", "missing", "extra"]
)
def test_a_damaged_entry_is_told_and_measured_again(tmp_path: Path, count: list[str], damage: str) -> None:
    said: list[str] = []
    costs = CostStore(tmp_path, say=said.append)

    def ask() -> object:
        return costs.static(SUBJECT)

    ask()
    (entry,) = tmp_path.iterdir()
    whole = entry.read_text()
    fields = json.loads(whole)
    if damage == "missing":
        fields["value"].popitem()
    if damage == "extra":
        fields["value"]["surprise"] = 1
    entry.write_text({"truncated": whole[:-20]}.get(damage, damage))
    if damage in ("missing", "extra"):
        entry.write_text(json.dumps(fields))
    ask()
    ask()
    assert len(count) == 2
    assert len(said) == 1
    assert "damaged" in said[0]
    assert str(entry) in said[0]


def test_an_entry_tells_what_was_measured(tmp_path: Path) -> None:
    CostStore(tmp_path).static(SUBJECT)
    (entry,) = tmp_path.iterdir()
    key = json.loads(entry.read_text())["key"]
    assert key["kind"] == "static"
    assert key["model"] == SUBJECT.blueprint.to_dict()
    assert key["servings"] == [
        {"mode": "image", "tokens": 0, "repeats": 1},
        {"mode": "text", "tokens": 8, "repeats": 1},
    ]
    assert key["tokenizer_bytes"] == 10


def test_the_cache_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    CostStore().static(SUBJECT)
    assert len(list((tmp_path / "student-search" / "costs").iterdir())) == 1
