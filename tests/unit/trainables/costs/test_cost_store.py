"""Costs kept on disk: measured once, measured again where the entry is damaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.trainables.costs.subjects import SMALL, subject_of
from trainables.costs import store as store_module
from trainables.costs.store import CostStore

ONE_LAYER = replace(SMALL, text=replace(SMALL.text, depth=1), fusion=(0,))
SUBJECT = subject_of(ONE_LAYER, "retrieval", tokenizer_bytes=10)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement made."""
    made: list[str] = []
    for name in ("measure_static", "measure_latency"):
        real = getattr(store_module, name)

        def counted(*arguments: object, real=real, name=name, **options: object) -> object:  # type: ignore[no-untyped-def]
            made.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(store_module, name, counted)
    return made


def test_an_architecture_is_measured_once_for_all_processes(tmp_path: Path, count: list[str]) -> None:
    first = CostStore(tmp_path).static(SUBJECT), CostStore(tmp_path).latency(SUBJECT, repeats=2)
    second = CostStore(tmp_path).static(SUBJECT), CostStore(tmp_path).latency(SUBJECT, repeats=2)
    assert first == second
    assert count == ["measure_static", "measure_latency"]


def test_another_architecture_task_tokenizer_code_or_machine_is_another_entry(
    tmp_path: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = CostStore(tmp_path)
    costs.static(SUBJECT)
    costs.static(subject_of(replace(ONE_LAYER, embedding=8), "retrieval", tokenizer_bytes=10))
    costs.static(subject_of(ONE_LAYER, "retrieval", tokenizer_bytes=11))
    costs.static(subject_of(ONE_LAYER, "captioning", tokenizer_bytes=10))
    costs.static(replace(SUBJECT, servings=SUBJECT.servings[:1]))
    costs.latency(SUBJECT, repeats=2)
    costs.latency(SUBJECT, repeats=3)
    monkeypatch.setattr(store_module, "device_name", lambda device: "another machine")
    costs.latency(SUBJECT, repeats=2)
    monkeypatch.setattr(store_module, "VERSION", store_module.VERSION + 1)
    costs.static(SUBJECT)
    monkeypatch.setattr(store_module.torch, "__version__", "99.0")
    costs.static(SUBJECT)
    costs.latency(SUBJECT, repeats=2)
    assert count.count("measure_static") == 7
    assert count.count("measure_latency") == 4


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
@pytest.mark.parametrize("kind", ["static", "latency"])
def test_a_damaged_entry_is_told_and_measured_again(
    tmp_path: Path, count: list[str], damage: str, kind: str
) -> None:
    said: list[str] = []
    costs = CostStore(tmp_path, say=said.append)

    def ask() -> object:
        return costs.static(SUBJECT) if kind == "static" else costs.latency(SUBJECT, repeats=2)

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
