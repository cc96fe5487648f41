"""Whose weights a run keeps, against fronts computed anew, and what a kill between table and files leaves."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.pareto import mark_fronts
from analysis.table import read_trials
from search.proposal import Admitted
from search.run_folder.kept_weights import GOES, STAYS, WEIGHTS_ALONE, Change, Fronts, KeptWeights, why_gone
from search.run_folder.recorder import Recorder
from spaces.objectives import FRONT_COSTS
from tests.unit.search.run_folder.test_recorder import COSTS, LOSSES, METRICS, epoch, proposal
from trainables.training import checkpoint

VALUE = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf])
STATE = {
    "candidate_id": "a",
    "config": {},
    "model": {},
    "trainer": {"step": {"weight": torch.ones(3)}, "optimizer": {"moment": torch.ones(6)}},
    "progress": {"epochs_done": 1},
    "random": {"torch": torch.ones(2)},
}


def row(name: str, quality: float | None, cost: float, **more: Any) -> dict[str, Any]:
    costs = dict.fromkeys(FRONT_COSTS, cost)
    return {
        "candidate_id": name,
        "role": "search",
        "status": "finished",
        "retention": quality,
        **costs,
        **more,
    }


def weights(folder: Path, keep: str = "fronts") -> KeptWeights:
    return KeptWeights(folder, Fronts("retention", maximise=True), keep=keep, say=pytest.fail)


@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.tuples(VALUE, VALUE, VALUE, VALUE), max_size=25),
    maximise=st.booleans(),
)
def test_fronts_that_grow_are_those_that_are_computed_anew(
    points: list[tuple[float, ...]], maximise: bool
) -> None:
    fronts, rows, on = Fronts("retention", maximise=maximise), [], set()
    for number, (quality, *costs) in enumerate(points):
        one = {**row(str(number), quality, 0.0), **dict(zip(FRONT_COSTS, costs, strict=True))}
        rows.append(one)
        before, off = on, fronts.add(one)
        marked = {each["candidate_id"]: each for each in mark_fronts(rows, "retention", maximise=maximise)}
        names = [f"on_front_{cost}" for cost in FRONT_COSTS]
        for name, each in marked.items():
            assert fronts.marks(name) == {column: each[column] for column in names}
        on = {name for name, each in marked.items() if any(each[column] for column in names)}
        assert before - on <= set(off) <= before


def test_who_is_driven_off_the_last_front_goes_and_the_others_stay(tmp_path: Path) -> None:
    kept = weights(tmp_path)
    (first,) = kept.ended(row("a", 50.0, 10.0), "finished")
    assert (first.fate, first.fields["checkpoint"], first.fields["on_front_params"]) == (
        STAYS,
        "checkpoints/a",
        True,
    )
    second = kept.ended(row("b", 60.0, 5.0), "finished")
    assert [(one.candidate_id, one.fate, one.fields["checkpoint"]) for one in second] == [
        ("b", STAYS, "checkpoints/b"),
        ("a", GOES, ""),
    ]
    assert not any(second[1].fields.values())
    (third,) = kept.ended(row("c", 55.0, 7.0), "finished")
    assert third.fate == GOES
    half = kept.ended({**row("d", 70.0, 9.0), "params": 4.0}, "finished")
    assert {one.candidate_id: one.fate for one in half} == {"d": STAYS, "b": STAYS}, (
        "b is on two fronts still"
    )


@pytest.mark.parametrize(
    ("status", "role", "fronts", "everything"),
    [
        ("stopped", "search", GOES, WEIGHTS_ALONE),
        ("diverged", "search", GOES, WEIGHTS_ALONE),
        ("collapsed", "blind", GOES, WEIGHTS_ALONE),
        ("crashed", "search", STAYS, STAYS),
        ("oom", "search", STAYS, STAYS),
        ("finished", "blind", STAYS, STAYS),
        ("finished", "baseline", STAYS, STAYS),
    ],
)
def test_what_becomes_of_each_ending(
    tmp_path: Path, status: str, role: str, fronts: str, everything: str
) -> None:
    one = row("a", 1.0, 1.0, role=role)
    assert [change.fate for change in weights(tmp_path).ended(one, status)] == [fronts]
    (change,) = weights(tmp_path, "all").ended(one, status)
    assert change.fate == everything
    assert bool(change.fields["checkpoint"]) == (status in ("finished", "stopped"))


def test_a_dominated_student_of_a_run_that_keeps_all_stays(tmp_path: Path) -> None:
    kept = weights(tmp_path, "all")
    kept.ended(row("a", 50.0, 10.0), "finished")
    assert [one.fate for one in kept.ended(row("b", 60.0, 5.0), "finished")] == [STAYS, STAYS]


def saved(folder: Path, name: str) -> Path:
    place = folder / "checkpoints" / name
    for file in (checkpoint.FILE, checkpoint.BEST, checkpoint.epoch_file(1)):
        checkpoint.save(place, STATE, file)
    (place / "candidate.json").write_text("{}")
    return place


def change(name: str, fate: str) -> Change:
    return Change(candidate_id=name, fields={}, fate=fate)


def test_what_goes_and_what_stays_on_disk(tmp_path: Path) -> None:
    gone, slim, whole = (saved(tmp_path, name) for name in ("gone", "slim", "whole"))
    kept = weights(tmp_path)
    kept.carry_out(
        [change("gone", GOES), change("slim", WEIGHTS_ALONE), change("whole", STAYS), change("none", GOES)]
    )
    kept.close()
    assert [path.name for path in gone.iterdir()] == ["candidate.json"]
    state = checkpoint.load(slim)
    assert state is not None
    assert checkpoint.is_weights_alone(state)
    assert state["trainer"]["step"]["weight"].tolist() == [1.0] * 3
    assert len(list(slim.iterdir())) == len(list(whole.iterdir())) == 4
    assert checkpoint.load(whole)["trainer"].keys() == {"step", "optimizer"}  # type: ignore[index]
    kept.carry_out([change("whole", GOES)])  # a session after the first
    kept.close()
    assert not list(whole.glob("*.pt"))


def test_what_cannot_be_removed_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    kept = KeptWeights(tmp_path, Fronts("retention", maximise=True), keep="fronts", say=told.append)
    for name in ("a", "b"):
        (tmp_path / "checkpoints" / name / "checkpoint.pt").mkdir(parents=True)  # no file
    kept.carry_out([change("a", GOES), change("b", GOES)])
    kept.close()
    assert len(told) == 1
    assert told[0].startswith("checkpoints of 2 candidates could not be removed, and stay: ")
    assert f"{tmp_path / 'checkpoints/a'}: cannot be" in told[0]


def test_a_kill_at_any_moment_leaves_all_weights_that_the_table_names(tmp_path: Path) -> None:
    """The table is read from disk each time before files go, as after a kill at that moment; the next session tidies up."""
    rng = random.Random(3)
    recorder = Recorder(tmp_path, metric_names=METRICS, loss_names=LOSSES)
    kept, undone = weights(tmp_path), []
    for index in range(12):
        recorder.add_running(proposal(index), Admitted(costs={**COSTS, "params": float(rng.randrange(9))}))
        one = str(recorder.rows[-1]["candidate_id"])
        saved(tmp_path, one)
        recorder.record_epoch(epoch(one, 1, retention=float(rng.randrange(9))))
        status = rng.choice(["finished", "finished", "stopped"])
        changes = kept.ended(recorder.row(one), status)
        for each in changes:
            recorder.update(each.candidate_id, each.fields)
        recorder.finish(one, status)
        check_named(tmp_path)
        if index % 3:
            kept.carry_out(changes)
            kept.close()
            check_named(tmp_path)
        else:
            undone += [each.candidate_id for each in changes if each.fate == GOES]
    assert undone
    again, taken = Recorder.load(tmp_path, metric_names=METRICS, loss_names=LOSSES), weights(tmp_path)
    changes = taken.take_up(again.rows, killed=True)
    assert set(undone) <= {each.candidate_id for each in changes}
    for each in changes:
        again.update(each.candidate_id, each.fields)
    again.write()
    taken.carry_out(changes)
    taken.close()
    check_named(tmp_path)
    files = {path.parent.name for path in tmp_path.glob("checkpoints/*/*.pt")}
    assert files == {row["candidate_id"] for row in again.rows if row["checkpoint"]}
    assert not weights(tmp_path).take_up(again.rows, killed=False), "nothing is left to do"


def check_named(folder: Path) -> None:
    for one in read_trials(folder / "trials.arrow").to_pylist():
        if one["checkpoint"] or any(one[f"on_front_{cost}"] for cost in FRONT_COSTS):
            assert checkpoint.load(folder / "checkpoints" / one["candidate_id"]) is not None


def test_what_is_told_of_weights_that_went_names_the_command_that_brings_them_back() -> None:
    told = why_gone(Path("runs/my run"), "0badcafe0badcafe")
    place = "'runs/my run/checkpoints/0badcafe0badcafe"
    assert told.endswith(f"python -m trainables.worker {place}/candidate.json' --out {place}'")
