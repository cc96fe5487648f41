"""Decisions at rungs, and the file that remembers them."""

import json
import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from analysis.rungs import read_rungs
from search.run_folder.rung_book import RungBook
from search.schedulers.asha import Asha
from search.schedulers.moasha import MOAsha
from search.schedulers.rung_config import RungConfig
from spaces.errors import PluginError, RunError

OBJECTIVES = {"retention": "max", "params": "min"}


def scheduler(folder: Path | None, rungs: tuple[int, ...] = (1, 3), kind: type = MOAsha):
    return kind(RungConfig(rungs=rungs, reduction_factor=3), OBJECTIVES, folder=folder)


def row(retention: float | None, params: float, epoch: int = 1, **more: object) -> dict[str, object]:
    metrics = {} if retention is None else {"retention": retention}
    return {"epoch": epoch, "params": params, **metrics, **more}


def verdicts(judge: MOAsha | Asha, rows: list[dict[str, object]]) -> list[str]:
    decisions = [judge.judge(f"c{number}", one) for number, one in enumerate(rows)]
    return [one.verdict if one else "none" for one in decisions]


STUDENTS = [(80, 100), (60, 10), (70, 120), (85, 90), (60, 150), (50, 130), (30, 2)]


def test_the_dominated_is_stopped_and_the_small_student_is_not(tmp_path: Path) -> None:
    found = verdicts(scheduler(tmp_path), [row(*student) for student in STUDENTS])
    assert found == ["continue", "continue", "stop", "continue", "stop", "stop", "continue"]


def test_asha_looks_at_quality_only(tmp_path: Path) -> None:
    found = verdicts(scheduler(tmp_path, kind=Asha), [row(*student) for student in STUDENTS])
    assert found == ["continue", "continue", "stop", "continue", "stop", "stop", "stop"]


def test_the_decision_tells_place_and_size(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    verdicts(judge, [row(80, 100), row(60, 10), row(70, 120)])
    decision = judge.verdict("c2")
    assert (decision.rank, decision.size, decision.rung, decision.epoch) == (2, 3, 1, 1)
    assert decision.reason == "place 3 of 3 at epoch 1, the best 1 go on"


QUOTA = RungConfig(rungs=(1, 3), reduction_factor=2, quota=True)
LEARNING = [(10, 100), (20, 100), (15, 100), (30, 100), (25, 100), (40, 100), (35, 100), (5, 1), (38, 100)]


def test_under_a_quota_the_decision_tells_who_has_gone_on(tmp_path: Path) -> None:
    judge = MOAsha(QUOTA, OBJECTIVES, folder=tmp_path)
    found = verdicts(judge, [row(*student) for student in LEARNING])
    assert found == ["continue"] * 2 + ["stop", "continue", "stop"] + ["continue"] + [
        "stop",
        "continue",
        "stop",
    ]
    assert judge.verdict("c2").reason == "place 2 of 3 at epoch 1, where it is dominated and 2 have gone on"
    assert judge.verdict("c7").reason == "place 2 of 8 at epoch 1, where 4 have gone on"


def test_a_quota_is_resumed_with_its_record_and_refilled_from_the_history_without_one(tmp_path: Path) -> None:
    judge = MOAsha(QUOTA, OBJECTIVES, folder=tmp_path)
    for number, student in enumerate(LEARNING[:6]):
        if judge.judge(f"c{number}", row(*student)).verdict == "continue":
            judge.judge(f"c{number}", row(*student, epoch=3))
    judge.close()
    resumed = MOAsha(QUOTA, OBJECTIVES, folder=tmp_path)
    rows = [
        row(*student, epoch=epoch, candidate_id=f"c{number}")
        for number, student in enumerate(LEARNING[:6])
        for epoch in ((1,) if number in (2, 4) else (1, 2, 3, 4))
    ]
    refilled = MOAsha(QUOTA, OBJECTIVES, folder=None)
    assert refilled.refill(reversed(rows)) == 6 + 4
    for one in (judge, resumed, refilled):
        assert one.judge("new", row(38, 100)).reason.endswith("where it is dominated and 4 have gone on")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(points=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_who_dominates_all_recorded_is_never_stopped(tmp_path_factory, points) -> None:
    judge = scheduler(tmp_path_factory.mktemp("rungs"))
    verdicts(judge, [row(float(quality), cost) for quality, cost in points])
    assert judge.judge("new", row(10.0, 0)).verdict == "continue"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(points=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=12))
def test_who_is_dominated_by_all_recorded_is_stopped_once_the_rung_is_full(tmp_path_factory, points) -> None:
    judge = scheduler(tmp_path_factory.mktemp("rungs"))
    verdicts(judge, [row(float(quality), cost) for quality, cost in points])
    assert judge.judge("new", row(0.0, 10)).verdict == "stop"


def test_equal_candidates_are_not_stopped_for_coming_later(tmp_path: Path) -> None:
    assert verdicts(scheduler(tmp_path), [row(0, 5)] * 6) == ["continue"] * 6


def test_rows_without_metrics_off_the_rungs_blind_or_finished_are_let_through(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    rows = [row(None, 5), row(50, 5, epoch=2), row(50, 5, role="blind"), row(50, 5, status="finished")]
    assert verdicts(judge, rows) == ["none"] * 4
    assert judge.book.rungs == {1: {}, 3: {}}


def test_a_row_without_an_objective_is_not_ranked(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    assert judge.judge("c7", {"epoch": 1, "retention": 50.0}) is None
    assert judge.book.rungs[1] == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_stops_with_its_reason(tmp_path: Path, value: float) -> None:
    judge = scheduler(tmp_path)
    decision = judge.judge("bad", row(value, 5))
    assert (decision.verdict, decision.rank) == ("stop", None)
    assert decision.reason == "retention is not a finite number at epoch 1"
    judge.close()
    assert json.loads((tmp_path / "rungs.json").read_text())["rungs"]["1"]["bad"]["retention"] is None
    assert verdicts(judge, [row(1, 5), row(2, 4)]) == ["continue", "continue"]  # all better than that


def test_a_row_that_comes_again_gets_the_same_decision_once(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    verdicts(judge, [row(80, 100), row(60, 10), row(70, 120)])
    resumed = scheduler(tmp_path)
    assert resumed.judge("c2", row(99, 1)).verdict == "stop"
    assert resumed.judge("c0", row(80, 100)).verdict == "continue"
    assert len(resumed.book.decisions) == 3
    assert resumed.book.rungs[1]["c2"] == {"retention": 70.0, "params": 120.0}


def test_a_resumed_search_decides_as_an_unbroken_one(tmp_path: Path) -> None:
    rows = [row(float(quality), cost) for quality, cost in zip(range(40, 60), range(30, 10, -1), strict=True)]
    rows += [
        row(float(quality), cost) for quality, cost in zip(range(50, 30, -1), range(40, 20, -1), strict=True)
    ]
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    unbroken = scheduler(tmp_path / "whole")
    whole = verdicts(unbroken, rows)
    unbroken.close()
    broken = [scheduler(tmp_path / "broken").judge(f"c{n}", one).verdict for n, one in enumerate(rows)]
    assert broken == whole
    assert (tmp_path / "whole/rungs.json").read_text() == (tmp_path / "broken/rungs.json").read_text()


def test_the_file_has_the_public_form(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    judge.judge("aa", row(80, 100))
    judge.judge("aa", row(90, 100, epoch=3))
    judge.close()
    content = json.loads((tmp_path / "rungs.json").read_text())
    assert (content["version"], content["scheduler"]) == (2, "moasha")
    assert content["rungs"] == {
        "1": {"aa": {"retention": 80.0, "params": 100.0}},
        "3": {"aa": {"retention": 90.0, "params": 100.0}},
    }
    names = ("candidate_id", "epoch", "rung", "rank", "size", "verdict")
    assert [tuple(one[name] for name in names) for one in content["decisions"]] == [
        ("aa", 1, 1, 0, 1, "continue"),
        ("aa", 3, 3, 0, 1, "continue"),
    ]
    assert content["decisions"][0]["reason"] == "only 1 candidate at epoch 1 yet"
    assert [path.name for path in tmp_path.iterdir()] == ["rungs.json"]


def test_the_report_reads_the_file_as_it_was_written(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    for number in range(40):
        for epoch in (1, 3):
            value = math.nan if number == 5 else float(number * 7 % 12)
            judge.judge(f"c{number}", row(value, number, epoch=epoch))
    rungs = read_rungs(tmp_path / "rungs.json")
    assert (rungs.scheduler, rungs.num_unjudged) == ("moasha", 0)
    assert rungs.decisions == tuple(judge.book.decisions)
    assert len(rungs.decisions) > 40


def test_every_entry_and_decision_has_a_line_of_its_own(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    verdicts(judge, [row(*student) for student in STUDENTS])
    judge.close()
    lines = (tmp_path / "rungs.json").read_text().splitlines()
    assert sum(line.startswith('"c') for line in lines) == len(STUDENTS)
    assert sum(line.startswith('{"candidate_id"') for line in lines) == len(STUDENTS)


def test_a_file_without_a_version_is_read_and_gone_on_with(tmp_path: Path) -> None:
    before = [
        {
            "candidate_id": "c0",
            "epoch": 1,
            "rung": 1,
            "rank": 0,
            "size": 1,
            "verdict": "continue",
            "reason": "few",
        },
        {
            "candidate_id": "c1",
            "epoch": 1,
            "rung": 1,
            "rank": 1,
            "size": 2,
            "verdict": "continue",
            "reason": "few",
        },
    ]
    rungs = {
        "1": {"c0": {"retention": 80.0, "params": 100.0}, "c1": {"retention": None, "params": 10}},
        "3": {},
    }
    old = {"scheduler": "moasha", "rungs": rungs, "decisions": before}
    (tmp_path / "rungs.json").write_text(json.dumps(old))
    decision = scheduler(tmp_path).judge("c2", row(70, 120))
    assert (decision.verdict, decision.rank, decision.size) == ("stop", 1, 3)
    content = json.loads((tmp_path / "rungs.json").read_text())
    assert content["version"] == 2
    assert content["decisions"][:2] == before
    assert content["rungs"]["1"]["c1"] == {"retention": None, "params": 10.0}


def test_a_file_with_the_bracket_of_earlier_programs_is_read(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    verdicts(judge, [row(80, 100), row(60, 10)])
    judge.close()
    path = tmp_path / "rungs.json"
    content = json.loads(path.read_text())
    marked = [one | {"bracket": 0} for one in content["decisions"]]
    path.write_text(json.dumps(content | {"brackets": 1, "decisions": marked}))
    assert scheduler(tmp_path).judge("c2", row(70, 120)).verdict == "stop"
    path.write_text(json.dumps(content | {"brackets": 3}))
    with pytest.raises(RunError, match="got 3 brackets; this program reads one"):
        scheduler(tmp_path)


def test_a_file_of_a_newer_version_is_refused_by_number(tmp_path: Path) -> None:
    (tmp_path / "rungs.json").write_text('{"version": 3}')
    with pytest.raises(RunError, match="got version 3; this program reads up to 2"):
        scheduler(tmp_path)


def test_without_a_folder_rungs_live_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [row(*student) for student in STUDENTS]
    kept = scheduler(tmp_path)
    assert verdicts(scheduler(None), rows) == verdicts(kept, rows)
    kept.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rungs.json"]
    assert verdicts(scheduler(None), rows)[2] == "stop"


def test_only_rungs_below_full_fidelity_are_left() -> None:
    config = RungConfig(rungs=(1, 3, 9), reduction_factor=2)
    assert config.below(9) == RungConfig(rungs=(1, 3), reduction_factor=2)
    assert config.below(1) == RungConfig(rungs=(), reduction_factor=2)
    assert config.below(10) == config


def test_lost_rungs_are_refilled_without_judging(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    rows = [
        row(80, 100, candidate_id="a", role="search"),
        row(60, 10, candidate_id="b", role="search"),
        row(60, 10, candidate_id="z", role="blind"),
        row(None, 10, epoch=2, candidate_id="a", role="search"),
    ]
    assert judge.refill(rows) == 2
    assert judge.refill(rows) == 0
    assert judge.book.decisions == []
    assert scheduler(tmp_path).judge("c", row(70, 120)).verdict == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"scheduler": "moasha", "rungs": 3, "decisions": []}',
        '{"scheduler": "moasha", "rungs": {"1": {"a": {"params": "many"}}}, "decisions": []}',
        '{"scheduler": "moasha", "rungs": {}, "decisions": [{"candidate_id": "a"}]}',
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "rungs.json").write_text(text)
    with pytest.raises(RunError, match=r"rungs.json: damaged.*Put back a copy"):
        scheduler(tmp_path)


def test_the_file_of_another_scheduler_is_refused(tmp_path: Path) -> None:
    RungBook(tmp_path, scheduler="asha", rungs=[1]).save()
    with pytest.raises(RunError, match=r"'asha'.*'moasha'"):
        scheduler(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"rungs": (3, 1)},
        {"rungs": (0,)},
        {"rungs": (1, 1)},
        {"reduction_factor": 0},
    ],
)
def test_wrong_options_are_told(options: dict[str, object]) -> None:
    with pytest.raises(PluginError, match=r"got .*allowed"):
        RungConfig(**options)


def test_a_factor_of_one_measures_at_the_rungs_and_stops_nobody() -> None:
    for kind in (Asha, MOAsha):
        judge = kind(RungConfig(rungs=(1,), reduction_factor=1), OBJECTIVES, folder=None)
        worse_and_worse = [row(50 - number, 10 + number) for number in range(5)]
        assert verdicts(judge, worse_and_worse) == ["continue"] * 5
        assert len(judge.book.rungs[1]) == 5


def test_what_is_compared_with_is_never_judged() -> None:
    judge = MOAsha(RungConfig(rungs=(1,), reduction_factor=2), OBJECTIVES, folder=None)
    for role in ("blind", "baseline"):
        assert judge.judge(role, row(50, 10, role=role)) is None
    assert not judge.book.rungs[1]


def test_ray_asks_and_gets_its_words(tmp_path: Path) -> None:
    judge = scheduler(tmp_path)
    words = []
    for number, one in enumerate([row(80, 100), row(60, 10), row(70, 120), row(1, 999)]):
        trial = SimpleNamespace(
            config={"candidate_id": f"c{number}", "role": "blind" if number == 3 else "search"}
        )
        words.append(judge.on_trial_result(None, trial, one))
    assert words == ["CONTINUE", "CONTINUE", "STOP", "CONTINUE"]
    assert judge.debug_string() == "moasha: 1 stopped; candidates at rung 1: 3, 3: 0"
    assert pickle.loads(pickle.dumps(judge)).name == "moasha"


# begin, wait again after a loss, be told to pause, end
STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["RUNNING", "again", "PAUSED", "TERMINATED", "ERROR"]))
)


@settings(deadline=None)
@given(STEPS)
def test_trials_begin_in_the_order_of_ray_tune(steps: list[tuple[int, str]]) -> None:
    made, trials, added = scheduler(None), list[Trial](), 0
    tune = SimpleNamespace(get_trials=lambda: trials)
    for number, status in steps:
        if number >= len(trials):
            trials.append(Trial("toy", stub=True, trial_id=str(added)))
            added += 1
            made.on_trial_add(tune, trials[-1])
        elif status == "again" and trials[number].status != Trial.TERMINATED:
            trials.append(trials.pop(number))
            trials[-1].set_status(Trial.PENDING)
            made.on_trial_add(tune, trials[-1])
        elif status != "again" and not trials[number].is_finished():
            trials[number].set_status(status)
        assert made.choose_trial_to_run(tune) is FIFOScheduler().choose_trial_to_run(tune)
