"""The box between an ideal student and the teacher, and how much of it a search has won."""

import math

import moocore
import numpy as np
import pytest

from search.stopping import hypervolume
from search.stopping.hypervolume import Growth, TeacherBox

TEACHER = {"retention": 100.0, "params": 1000.0, "latency_ms": 10.0}
TWO = {"retention": "max", "params": "min"}
THREE = {**TWO, "latency_ms": "min"}


def row(candidate_id: str, retention: float, params: float, status: str = "finished", **more: float) -> dict:
    return {
        "candidate_id": candidate_id,
        "status": status,
        "retention": retention,
        "params": params,
        "latency_ms": 5.0,
        **more,
    }


def grown(rows: list[dict], objectives: dict[str, str] = TWO) -> Growth:
    growth = Growth(TeacherBox(objectives, TEACHER), objectives)
    for one in rows:
        growth.add(one)
    return growth


def test_two_students_win_the_staircase_below_them() -> None:
    # 80 % at 0.5x the params wins 0.8 x 0.5 of the box; 40 % at 0.1x adds 0.4 x (0.5 - 0.1)
    growth = grown([row("a", 80, 500), row("b", 40, 100)])
    assert growth.percent == pytest.approx(100 * (0.8 * 0.5 + 0.4 * 0.4))
    assert growth.series == [(1, pytest.approx(40.0)), (2, pytest.approx(56.0))]


def test_three_objectives_agree_with_the_volume_in_plain_numbers() -> None:
    rng = np.random.default_rng(0)
    rows = [row(str(i), *rng.uniform((0, 0), (100, 1000)), latency_ms=rng.uniform(0, 10)) for i in range(40)]
    plain = np.array([[one["retention"], one["params"], one["latency_ms"]] for one in rows])
    volume = moocore.hypervolume(plain, ref=[0, 1000, 10], maximise=[True, False, False])
    assert grown(rows, THREE).percent == pytest.approx(100 * volume / (100 * 1000 * 10))


@pytest.mark.parametrize("known", [0, 5])
def test_what_a_newcomer_adds_to_a_long_front_comes_to_the_volume_in_plain_numbers(
    known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypervolume, "WHOLE", known)  # points from which on only that is computed
    rng = np.random.default_rng(3)
    figures = rng.uniform((0, 0, 0), (130, 1100, 11), size=(80, 3))
    figures[40:60] = figures[20:40] * (1.05, 0.9, 0.9)  # drive others off
    figures[60:] = figures[:20]  # again
    rows = [row(str(i), one[0], one[1], latency_ms=one[2]) for i, one in enumerate(figures)]
    growth = grown(rows, THREE)
    for count, percent in growth.series:
        volume = moocore.hypervolume(figures[:count], ref=[0, 1000, 10], maximise=[True, False, False])
        # a sum of at most 80 parts of double precision, each at most the box
        assert percent == pytest.approx(100 * volume / (100 * 1000 * 10), rel=1e-12, abs=1e-11)


def test_the_volume_does_not_depend_on_the_order_and_never_falls() -> None:
    rng = np.random.default_rng(1)
    rows = [row(str(i), *rng.uniform((0, 0), (120, 1500))) for i in range(30)]
    forth, back = grown(rows), grown(rows[::-1])
    assert forth.percent == pytest.approx(back.percent)
    volumes = [volume for _, volume in forth.series]
    assert volumes == sorted(volumes)


def test_what_lies_beyond_the_worst_corner_adds_nothing() -> None:
    assert grown([row("bigger than the teacher", 90, 1001)]).percent == 0.0
    assert grown([row("without quality", 0, 10)]).percent == 0.0
    assert grown([row("worse than none", -5, 10)]).percent == 0.0


def test_students_better_than_the_teacher_count_in_full() -> None:
    # 130 % at 0.25x the params wins 1.3 x 0.75; 108 % at 0.1x adds 1.08 x 0.15
    growth = grown([row("a", 130, 250), row("b", 108, 100)])
    assert growth.series == [(1, pytest.approx(97.5)), (2, pytest.approx(97.5 + 16.2))]
    assert growth.gain(1) == (pytest.approx(97.5), pytest.approx(113.7))  # and no plateau comes of it


def test_beyond_the_teacher_it_is_the_volume_in_plain_numbers_too() -> None:
    rng = np.random.default_rng(2)
    rows = [row(str(i), *rng.uniform((90, 0), (160, 1000)), latency_ms=rng.uniform(0, 10)) for i in range(40)]
    plain = np.array([[one["retention"], one["params"], one["latency_ms"]] for one in rows])
    volume = moocore.hypervolume(plain, ref=[0, 1000, 10], maximise=[True, False, False])
    growth = grown(rows, THREE)
    assert growth.percent == pytest.approx(100 * volume / (100 * 1000 * 10))
    assert growth.percent > 100.0
    assert growth.best["retention"].value == max(one["retention"] for one in rows)


def test_the_directions_say_which_end_is_ideal() -> None:
    box = TeacherBox({"loss": "min", "params": "max"}, {"loss": 2.0, "params": 1000.0})
    assert box.ends == {
        "loss": (0.0, 4.0),
        "params": (1000.0, 0.0),
    }  # a minimised metric ends at twice the teacher's
    assert box.point({"loss": 1.0, "params": 900.0}) == pytest.approx([0.25, 0.1])


def test_stopped_candidates_add_no_volume_and_no_best() -> None:
    growth = grown([row("a", 50, 500), row("b", 99, 10, status="stopped")])
    assert growth.percent == pytest.approx(25.0)
    assert growth.series == [(1, pytest.approx(25.0))]
    assert growth.best["retention"].candidate_id == "a"


def test_best_of_every_objective_in_its_own_direction() -> None:
    growth = grown([row("a", 80, 500), row("b", 40, 100), row("c", 60, 300)])
    found = {name: (best.value, best.candidate_id) for name, best in growth.best.items()}
    assert found == {"retention": (80.0, "a"), "params": (100.0, "b")}


def test_a_student_that_was_not_measured_is_left_out() -> None:
    growth = grown([row("a", math.nan, 500), {**row("b", 0, 100), "retention": None}, row("c", 50, 500)])
    assert growth.series == [(1, pytest.approx(25.0))]
    assert growth.best["retention"].candidate_id == "c"


def test_without_the_teachers_figures_there_is_no_volume_but_a_best() -> None:
    for teacher in ({"params": 1000.0}, {"params": 1000.0, "retention": 0.0}):
        growth = Growth(TeacherBox(TWO, teacher), TWO)
        growth.add(row("a", 50, 500))
        assert growth.percent is None
        assert growth.gain(1) is None
        assert growth.best["params"].value == 500.0


def test_gain_is_counted_over_the_last_ends() -> None:
    stopped = [row(f"s{i}", 10, 900, status="stopped") for i in range(3)]
    growth = grown([row("a", 50, 500), *stopped, row("b", 60, 500)])
    assert growth.gain(1) == (pytest.approx(25.0), pytest.approx(30.0))
    assert growth.gain(4) == (pytest.approx(25.0), pytest.approx(30.0))
    assert growth.gain(5) is None  # there were no five ends before that
    assert grown(stopped).gain(2) is None  # no volume yet, so none that could have grown


def test_run_json_gets_box_and_series_as_plain_numbers() -> None:
    growth = Growth(TeacherBox(TWO, {"retention": 100.0}), TWO)
    assert growth.to_dict() == {
        "percent": None,
        "box": {"retention": [100.0, 0.0], "params": [0.0, None]},
        "series": [],
    }
    assert grown([row("a", 50, 500)]).to_dict()["series"] == [[1, pytest.approx(25.0)]]
