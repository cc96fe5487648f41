"""Ablations: intervals against scipy, verdicts by hand, the command on a run, its refusals."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from analysis.ablation import main
from analysis.seeds.arms import Arm
from analysis.seeds.contrast import contrast, quantile
from analysis.seeds.verdicts import FAILS, HOLDS, UNDECIDED, Judge, Verdict
from tests.unit.analysis.test_grid import Make, row, write

Claim = dict[str, Any]
A, B, C = [91.0, 91.4, 91.2], [88.0, 88.1, 88.6], [91.1, 91.5, 91.0]


@pytest.mark.parametrize("freedom", [1.0, 1.7, 2.0, 3.4, 4.0, 10.0, 30.0, 200.0])
def test_quantiles_are_those_of_students_distribution(freedom: float) -> None:
    # Simpson's rule of 4,000 steps on a smooth curve; below two degrees of freedom its slope is infinite at the right angle
    assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-3 if freedom < 2 else 1e-6)


def test_a_difference_is_welchs() -> None:
    found = contrast([(1.0, A), (-1.0, B)])
    truth = stats.ttest_ind(A, B, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high), rel=1e-6)
    assert found.estimate == pytest.approx(91.2 - 264.7 / 3)


def test_one_seed_has_no_interval_and_no_spread_has_no_width() -> None:
    assert not contrast([(1.0, [3.0]), (-1.0, B)]).known
    assert math.isnan(contrast([(1.0, []), (-1.0, B)]).estimate)
    same = contrast([(1.0, [3.0, 3.0]), (-1.0, [2.0, 2.0])])
    assert (same.low, same.estimate, same.high) == (1.0, 1.0, 1.0)


def arm(name: str, values: list[float], curves: list[dict[int, float]] | None = None) -> Arm:
    return Arm(
        name=name,
        values=dict(enumerate(values)),
        curves=dict(enumerate(curves or [])),
        costs={},
        ends={},
    )


def judged(claim: Claim, *arms: Arm, maximise: bool = True) -> Verdict:
    return Judge(arms={one.name: one for one in arms}, maximise=maximise).verdict("it", claim)


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        ({"better": ["a", "b"]}, HOLDS),
        ({"better": ["b", "a"]}, FAILS),
        ({"better": ["a", "c"]}, UNDECIDED),
        ({"better": ["a", "b"], "above": 2}, HOLDS),
        ({"better": ["a", "b"], "above": 2.9}, UNDECIDED),
        ({"better": ["a", "b"], "above": 4}, FAILS),
        ({"better": ["a", "b"], "than": ["a", "c"]}, HOLDS),
        ({"better": ["a", "c"], "than": ["a", "b"]}, FAILS),
        ({"same": ["a", "c"]}, HOLDS),
        ({"same": ["a", "c"], "within": 0.1}, UNDECIDED),
        ({"same": ["a", "b"]}, FAILS),
        ({"better": ["a", "one seed"]}, UNDECIDED),
        ({"same": ["a", "nothing"]}, UNDECIDED),
    ],
)
def test_verdicts_by_intervals(claim: Claim, outcome: str) -> None:
    arms = (arm("a", A), arm("b", B), arm("c", C), arm("one seed", [50.0]), arm("nothing", []))
    assert judged(claim, *arms).outcome == outcome


@pytest.mark.parametrize(
    ("claim", "without"),
    [
        ({"better": ["a", "b"]}, HOLDS),
        ({"better": ["b", "a"]}, FAILS),
        ({"better": ["c", "d"], "than": ["d", "b"]}, FAILS),
        ({"same": ["c", "b"], "within": 9}, HOLDS),
        ({"saturates": ["b", "a"], "at": "b"}, FAILS),
        ({"faster": ["b", "a"]}, FAILS),
    ],
)
def test_nothing_follows_where_the_worse_seeds_of_an_arm_were_stopped(claim: Claim, without: str) -> None:
    curves = [{1: 90.0, 2: value} for value in B]
    arms = {one.name: one for one in (arm("a", A, curves), arm("b", B, curves), arm("c", C), arm("d", C))}
    assert Judge(arms=arms).verdict("it", claim).outcome == without
    arms["b"] = replace(arms["b"], ends={"crashed": 1})
    assert Judge(arms=arms).verdict("it", claim).outcome == without, "what crashed did not do worse for that"
    for end in ("stopped", "collapsed", "diverged"):
        arms["b"] = replace(arms["b"], ends={end: 2, "crashed": 1})
        found = Judge(arms=arms).verdict("it", claim)
        assert found.outcome == UNDECIDED
        told = f"; ended early for their values: 2 of b {end}, so that those left are a choice"
        assert found.told.endswith(told)
    assert judged({"same": ["a", "c"]}, *arms.values()).outcome == HOLDS, "it is of other arms"


def test_an_arm_that_two_differences_share_adds_no_chance_to_their_difference() -> None:
    noisy = [70.0, 80.0, 90.0]
    found = judged({"better": ["a", "c"], "than": ["b", "c"]}, arm("a", A), arm("b", B), arm("c", noisy))
    truth = stats.ttest_ind(A, B, equal_var=False).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((truth.low, truth.high), rel=1e-6)
    assert found.outcome == HOLDS
    twice = judged({"better": ["a", "c"], "than": ["c", "b"]}, arm("a", A), arm("b", B), arm("c", C))
    parts = [(1.0, A), (1.0, B), (-2.0, C)]
    assert twice.interval == contrast(parts)


def test_where_less_is_better_the_sign_turns() -> None:
    assert judged({"better": ["b", "a"]}, arm("a", A), arm("b", B), maximise=False).outcome == HOLDS


def test_the_knee_is_the_first_arm_that_the_best_surely_does_not_beat_by_more() -> None:
    rising = [
        arm(name, [level - 0.1, level, level + 0.1])
        for name, level in zip("1234", (80, 88, 90, 90.2), strict=True)
    ]
    judge = Judge(arms={one.name: one for one in rising})
    assert judge.knee(list("1234"), 1.0) == "3"
    assert judge.knee(list("1234"), 5.0) == "2"
    assert judge.verdict("it", {"saturates": list("1234"), "at": "3"}).outcome == HOLDS
    assert judge.verdict("it", {"saturates": list("1234"), "at": "2"}).outcome == FAILS
    assert "from 3 on" in judge.verdict("it", {"saturates": list("1234"), "at": "2"}).told


def test_what_falls_again_behind_the_knee_is_no_saturation() -> None:
    arms = [
        arm(name, [level - spread, level, level + spread])
        for name, level, spread in (("1", 90, 0.1), ("2", 80, 0.1), ("3", 90.2, 0.1), ("4", 90.3, 0.1))
    ]
    judge = Judge(arms={one.name: one for one in arms})
    assert judge.knee(list("1234"), 1.0) == "3"
    found = judge.verdict("it", {"saturates": list("1234"), "at": "1"})
    assert found.outcome == FAILS
    assert "from 3 on; 4 over 2: +10.30 points" in found.told
    unsure = [arm("2", [88.0, 92.0]) if one.name == "2" else one for one in arms]
    assert judged({"saturates": list("1234"), "at": "1"}, *unsure).outcome == UNDECIDED
    fallen = [arm(name, [level - 0.1, level + 0.1]) for name, level in zip("123", (80, 90, 85), strict=True)]
    assert judged({"saturates": list("123"), "at": "2"}, *fallen).outcome == HOLDS, (
        "nothing behind it is better"
    )


def test_without_a_measurement_there_is_no_knee() -> None:
    verdict = judged({"saturates": ["a", "b"], "at": "a"}, arm("a", []), arm("b", []))
    assert verdict.outcome == UNDECIDED
    assert "nowhere" in verdict.told


def test_epochs_to_be_as_good_are_read_between_measurements() -> None:
    slow = arm("slow", [80.0, 80.0, 80.0], [{4: 70.0, 8: 80.0}] * 3)
    # 60 at epoch 1 and 90 at 3: 80 after 1 + 2 * 20 / 30 epochs
    fast = arm("fast", [90.0] * 3, [{1: 60.0, 3: 90.0}] * 3)
    found = judged({"faster": ["fast", "slow"], "above": 3}, slow, fast)
    assert found.interval.estimate == pytest.approx(8 / (1 + 2 * 20 / 30))
    assert found.outcome == HOLDS
    assert judged({"faster": ["fast", "slow"], "above": 4}, slow, fast).outcome == FAILS
    assert judged({"faster": ["fast", "slow"], "above": 0}, slow, fast).outcome == HOLDS
    slower = arm("slower", [80.0] * 3, [{8: 79.0, 16: 80.0}] * 3)
    assert judged({"faster": ["slower", "slow"], "above": 0}, slow, slower).outcome == HOLDS
    never = arm("never", [70.0] * 3, [{8: 70.0}] * 3)
    assert judged({"faster": ["never", "slow"]}, slow, never).outcome == FAILS
    some = arm("some", [70.0, 90.0], [{8: 70.0}, {1: 90.0}])
    assert judged({"faster": ["some", "slow"]}, slow, some).outcome == UNDECIDED


def test_trainings_that_go_on_may_come_yet_to_where_they_are_not() -> None:
    slow = arm("slow", [80.0, 80.0], [{4: 70.0, 8: 80.0}] * 2)
    claim = {"faster": ["fast", "slow"]}
    begun = arm("fast", [], [{1: 60.0}, {1: 61.0}, {1: 62.0}])
    assert judged(claim, slow, begun).outcome == UNDECIDED
    half = Arm(name="fast", values={0: 90.0, 1: 90.0}, curves={0: {2: 80.0, 8: 90.0}, 1: {2: 80.0, 8: 90.0}, 2: {1: 60.0}},
               costs={}, ends={})  # fmt: skip
    found = judged(claim, slow, half)
    assert (found.outcome, found.interval.estimate) == (HOLDS, 4.0)
    assert judged(claim, slow, arm("fast", [70.0], [{8: 70.0}])).outcome == UNDECIDED, (
        "one seed tells nothing"
    )


def test_nothing_saturates_while_an_arm_is_not_measured() -> None:
    rising = [
        arm(name, [level - 0.1, level, level + 0.1]) for name, level in (("1", 80), ("2", 90), ("3", 90.2))
    ]
    claim = {"saturates": ["1", "2", "3", "4"], "at": "2"}
    found = judged(claim, *rising, arm("4", [90.1]))
    assert found.outcome == UNDECIDED
    assert found.told.endswith("; of less than two seeds: 4")
    assert judged(claim, *rising, arm("4", [90.2, 90.3])).outcome == HOLDS
    assert judged(claim | {"at": "1"}, *rising, arm("4", [])).outcome == FAILS, "what is better stays better"


ROWS = [
    row(name, "embedded", "blip", seed=seed, at={10: value}, top1=value)
    for name, seed, value in (
        ("a0000000", 0, 90.0),
        ("a0000001", 1, 91.0),
        ("b0000000", 0, 80.0),
        ("b0000001", 1, 80.5),
    )
] + [row("c0000000", "embedded", "blip", status="oom", epochs=0, at={})]
FACTS = {
    "arms": ["wide", "narrow", "<b>huge</b>"],
    "candidates": {
        "a0000000": {"arm": "wide", "seed": 0},
        "b0000000": {"arm": "narrow", "seed": 0},
        "a0000001": {"arm": "wide", "seed": 1},
        "b0000001": {"arm": "narrow", "seed": 1},
        "c0000000": {"arm": "<b>huge</b>", "seed": 0},
        "c0000001": {"arm": "<b>huge</b>", "seed": 1},
    },
    "claims": {"wide is <i>better</i>": {"better": ["wide", "narrow"], "same": None, "above": None}},
}


def test_the_command_prints_and_draws_arms_and_verdicts(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(make_run, "run", ROWS, ablation=FACTS)
    assert main([str(folder)]) == 0
    told = capsys.readouterr().out
    assert "HOLDS: wide is <i>better</i>" in told
    # 90.5 - 80.25; variances .5 / 2 and .125 / 2
    assert "+10.25 points" in told
    assert "1 not begun, 1 oom" in told
    page = (folder / "ablation.html").read_text()
    assert "wide is &lt;i&gt;better&lt;/i&gt;" in page
    assert "<b>huge</b>" not in page


@pytest.mark.parametrize(
    "change",
    [
        {"arms": None},
        {"arms": ["wide"]},
        {"candidates": ["a0000000"]},
        {"candidates": {"a0000000": {"arm": "wide"}}},
        {"claims": {"it": {"better": ["wide", "other"]}}},
        {"claims": {"it": {}}},
        {"claims": {"it": {"same": ["wide", "narrow"], "within": "much"}}},
        {"claims": {"it": {"saturates": ["wide", "narrow"], "at": "other"}}},
    ],
)
def test_a_damaged_ablation_is_told(
    change: dict[str, Any], make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(make_run, "run", ROWS, ablation={**FACTS, **change})
    assert main([str(folder)]) == 2
    assert "run.json, ablation: is not what a search writes" in capsys.readouterr().err


def test_a_run_of_no_ablation_and_an_unknown_metric_are_told(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run()
    assert main([str(folder)]) == 2
    assert "is no run of an ablation" in capsys.readouterr().err
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "ablation": FACTS}))
    assert main([str(folder), "--metric", "mean_recal"]) == 2
    assert "Did you mean 'mean_recall'" in capsys.readouterr().err
