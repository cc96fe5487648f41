"""Fronts agree with brute force, hypervolumes with rectangles added by hand, picks name what is allowed."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.pareto import front, front_ids, hypervolume, mark_fronts, nondominated, pick, reference_point
from analysis.run_folder import read_run
from spaces.errors import RunError

Make = Callable[..., Path]
SMALL = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf])


def brute_force(quality: list[float], cost: list[float], maximise: bool) -> list[bool]:
    sign = 1 if maximise else -1

    def beats(a: int, b: int) -> bool:
        gain, saving = sign * (quality[a] - quality[b]), cost[b] - cost[a]
        return gain >= 0 and saving >= 0 and (gain > 0 or saving > 0)

    finite = [i for i in range(len(cost)) if math.isfinite(quality[i]) and math.isfinite(cost[i])]
    return [i in finite and not any(beats(other, i) for other in finite) for i in range(len(cost))]


@settings(deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL), max_size=12), st.booleans())
def test_fronts_agree_with_brute_force(points: list[tuple[float, float]], maximise: bool) -> None:
    quality, cost = [point[0] for point in points], [point[1] for point in points]
    assert nondominated(quality, cost, maximise=maximise) == brute_force(quality, cost, maximise)


def finished(name: str, quality: float, cost: float, **more: Any) -> dict[str, Any]:
    base = {"candidate_id": name, "status": "finished", "role": "search", "epochs": 9, "config": "{}"}
    return base | {"retention": quality, "params": cost, "flops": cost, "latency_ms": float(cost)} | more


WORKED = [
    finished("aaaa0000", 60.0, 100_000),
    finished("bbbb0000", 80.0, 200_000),
    finished("cccc0000", 80.0, 200_000),  # equal to b: kept
    finished("dddd0000", 79.0, 300_000),  # dominated by b
    finished("eeee0000", 90.0, 800_000),
    finished("ffff0000", math.nan, 50_000),
    finished("abcd1234", 95.0, 100_000, status="stopped", epochs=3, reason="rung 3: rank 4 of 6"),
    finished("b11db11d", 99.0, 1, role="blind"),
]
TEACHER = {"name": "t", "params": 1_000_000, "flops": 1_000_000, "latency_ms": 1_000_000.0, "metrics": {}}


def test_a_front_is_of_finished_candidates_by_rising_cost(make_run: Make) -> None:
    run = read_run(make_run(WORKED, with_control=False, teacher=TEACHER))
    assert front_ids(run, "params") == ["aaaa0000", "bbbb0000", "cccc0000", "eeee0000"]
    assert [trial.candidate_id for trial in front(run, "flops")] == front_ids(run, "params")


def test_hypervolume_adds_the_rectangles_of_the_staircase(make_run: Make) -> None:
    run = read_run(make_run(WORKED, with_control=False, teacher=TEACHER))
    assert reference_point(run, "params") == (0.0, 1_000_000.0)
    by_hand = 60.0 * (0.2 - 0.1) + 80.0 * (0.8 - 0.2) + 90.0 * (1.0 - 0.8)
    assert hypervolume(run, "params") == pytest.approx(by_hand)


def test_a_minimised_quality_has_its_own_front_and_hypervolume(make_run: Make) -> None:
    rows = [
        finished("aaaa0000", 10.0, 100_000),
        finished("bbbb0000", 4.0, 500_000),
        finished("cccc0000", 11.0, 200_000),
    ]
    teacher = TEACHER | {"metrics": {"retention": 6.0}}
    run = read_run(make_run(rows, with_control=False, teacher=teacher, objectives={"retention": "min"}))
    assert front_ids(run, "params") == ["aaaa0000", "bbbb0000"]
    assert reference_point(run, "params") == (12.0, 1_000_000.0)
    assert hypervolume(run, "params") == pytest.approx(2.0 * 0.4 + 8.0 * 0.5)
    assert pick(run, "best").candidate_id == "bbbb0000"


def test_hypervolume_of_nothing_is_zero(make_run: Make) -> None:
    assert hypervolume(read_run(make_run([], with_control=False)), "params") == 0.0


def test_students_dearer_than_the_teacher_add_no_hypervolume(make_run: Make) -> None:
    run = read_run(make_run([finished("aaaa0000", 99.0, 2_000_000)], with_control=False, teacher=TEACHER))
    assert hypervolume(run, "params") == 0.0


def test_hypervolume_is_unknown_without_the_teacher(make_run: Make) -> None:
    run = read_run(make_run(WORKED, with_control=False, teacher={}))
    assert math.isnan(hypervolume(run, "params"))


def test_best_and_knee_are_members_of_the_front(make_run: Make) -> None:
    run = read_run(make_run(WORKED, with_control=False, teacher=TEACHER))
    # On log cost the chord goes from 60 at 100k to 90 at 800k; b stands (20/30 - 1/3) above it, the farthest.
    assert pick(run, "knee").candidate_id == "bbbb0000"
    assert pick(run, "best", "latency_ms").candidate_id == "eeee0000"


def test_a_front_that_nowhere_bends_upwards_has_its_best_as_knee(make_run: Make) -> None:
    """After its middle, cost buys most, not least."""
    low = {**WORKED[1], "retention": 61.0}
    run = read_run(make_run([WORKED[0], low, WORKED[4]], with_control=False, teacher=TEACHER))
    assert [trial.candidate_id for trial in front(run, "params")] == ["aaaa0000", "bbbb0000", "eeee0000"]
    assert pick(run, "knee").candidate_id == "eeee0000"


def test_a_front_of_two_has_its_best_as_knee(make_run: Make) -> None:
    run = read_run(make_run([WORKED[0], WORKED[4]], with_control=False, teacher=TEACHER))
    assert pick(run, "knee").candidate_id == "eeee0000"


def test_a_finished_candidate_is_picked_by_id_even_off_the_front(make_run: Make) -> None:
    run = read_run(make_run(WORKED, with_control=False))
    assert pick(run, "dddd0000").candidate_id == "dddd0000"


def test_the_first_digits_of_an_id_name_it_while_no_other_begins_so(make_run: Make) -> None:
    run = read_run(make_run(WORKED, with_control=False))
    long = [replace(trial, candidate_id=f"{trial.candidate_id}00000000") for trial in run.trials]
    twin = replace(long[0], candidate_id="bbbb000011111111")
    assert pick(replace(run, trials=tuple(long)), "bbbb0000").candidate_id == "bbbb000000000000"
    with pytest.raises(RunError, match=r"Did you mean bbbb0000.* or bbbb0000"):
        pick(replace(run, trials=(*long, twin)), "bbbb0000")


@pytest.mark.parametrize(
    ("which", "axis", "message"),
    [
        (
            "bbbb",
            "params",
            "no candidate is called 'bbbb'. Did you mean bbbb0000.*Allowed: best, knee.*aaaa0000",
        ),
        ("bbbb0001", "params", "Did you mean bbbb0000"),
        ("", "params", "no candidate is called ''. Allowed"),
        ("abcd1234", "params", r"is stopped after 3 epochs \(rung 3: rank 4 of 6\); only finished"),
        ("b11db11d", "params", "is the blind baseline"),
        ("best", "size_mib", "--axis: got 'size_mib'; allowed are params, flops, latency_ms"),
    ],
)
def test_a_wrong_pick_says_what_is_allowed(make_run: Make, which: str, axis: str, message: str) -> None:
    run = read_run(make_run(WORKED, with_control=False))
    with pytest.raises(RunError, match=message):
        pick(run, which, axis)


def test_an_empty_front_has_no_knee(make_run: Make) -> None:
    run = read_run(make_run([], with_control=False))
    with pytest.raises(RunError, match="front of retention against params is empty, 0 candidates finished"):
        pick(run, "knee")


def test_marked_rows_agree_with_the_fronts_of_the_run(make_run: Make) -> None:
    rng = random.Random(3)
    draws = [(rng.randint(1, 9), rng.randint(1, 9), rng.random()) for _ in range(40)]
    rows = [finished(f"{i:08x}", q, cost, latency_ms=ms) for i, (q, cost, ms) in enumerate(draws)]
    marked = mark_fronts(
        [*rows, {"candidate_id": "x", "status": "rejected", "epochs": 0}], "retention", maximise=True
    )
    run = read_run(make_run(marked, with_control=False))
    for axis in ("params", "flops", "latency_ms"):
        assert {row["candidate_id"] for row in marked if row[f"on_front_{axis}"]} == set(front_ids(run, axis))
