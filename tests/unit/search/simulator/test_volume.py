"""Hypervolume and exact front against hand-worked figures and brute force."""

import math
import random

import pytest

from search.simulator.goals import Goal
from search.simulator.measures import Volume
from spaces.errors import TableError
from tests.unit.search.simulator.curves import GOALS, make_table

FINALS = {"a": (0.0, 10.0), "b": (0.5, 5.0), "c": (1.0, 0.0), "d": (0.75, 7.5), "e": (0.5, 5.0)}


def table_of(finals: dict[str, tuple[float, float]]):
    curves = {name: [(1, 1.0, 9.9), (2, 1.0, loss)] for name, (loss, _) in finals.items()}
    return make_table(curves, params={name: params for name, (_, params) in finals.items()})


def test_hand_worked_staircase() -> None:
    # scaled: a (0, 1), b and e (.5, .5), c (1, 0), d (.75, .75); reference (1.1, 1.1)
    volume = Volume(table_of(FINALS), GOALS)
    assert volume.of(["a"]) == pytest.approx(1.1 * 0.1)
    assert volume.of(["d"]) == pytest.approx(0.35 * 0.35)
    assert volume.of(["b", "d"]) == pytest.approx(0.6 * 0.6)
    assert volume.exact == pytest.approx(1.1 * 0.1 + 0.6 * 0.5 + 0.1 * 0.5)
    assert volume.share(["a", "b", "c"]) == pytest.approx(1.0)
    assert volume.of([]) == 0.0


def test_the_front_is_counted_in_different_points() -> None:
    volume = Volume(table_of(FINALS), GOALS)
    assert volume.front_size == 3
    assert volume.front_ids == ("a", "b", "c", "e")
    assert volume.front_share(["d"]) == 0.0
    assert volume.front_share(["b", "e"]) == pytest.approx(1 / 3)
    assert volume.front_share(["e", "c", "a", "d"]) == 1.0


def test_a_maximised_objective_is_turned_around() -> None:
    flipped = table_of({name: (-loss, params) for name, (loss, params) in FINALS.items()})
    goals = (Goal("val_loss", "max"), Goal("params", "min"))
    assert Volume(flipped, goals).exact == pytest.approx(Volume(table_of(FINALS), GOALS).exact)


def test_log_changes_the_volume_and_not_the_front() -> None:
    finals = {"a": (0.0, 1000.0), "b": (0.5, 10.0), "c": (1.0, 1.0)}
    plain = Volume(table_of(finals), GOALS)
    logs = Volume(table_of(finals), (GOALS[0], Goal("params", "min", log=True)))
    assert plain.front_ids == logs.front_ids == ("a", "b", "c")
    # b is at 9 / 999 of the way in params, at ln 10 / ln 1000 = 1 / 3 of it in their logarithm
    assert plain.of(["b"]) == pytest.approx(0.6 * (1.1 - 9 / 999))
    assert logs.of(["b"]) == pytest.approx(0.6 * (1.1 - 1 / 3))


def test_an_objective_that_never_differs_adds_a_constant_factor() -> None:
    volume = Volume(table_of({"a": (0.0, 3.0), "b": (1.0, 3.0)}), GOALS)
    assert volume.exact == pytest.approx(1.1 * 1.1)


def test_random_points_agree_with_counting_cells() -> None:
    rng = random.Random(5)
    finals = {f"c{n:02d}": (float(rng.randint(0, 10)), float(rng.randint(0, 10))) for n in range(40)}
    finals |= {"low": (0.0, 10.0), "high": (10.0, 0.0)}  # so that both are scaled from 0..10
    volume = Volume(table_of(finals), GOALS)
    picked = rng.sample(sorted(finals), 6)
    points = [(round(finals[name][0]), round(finals[name][1])) for name in picked]
    cells = sum(any(x >= a and y >= b for a, b in points) for x in range(11) for y in range(11))
    assert volume.of(picked) == pytest.approx(cells / 100)
    dominated = {
        one
        for one, (a, b) in finals.items()
        if any((c <= a and d <= b) and (c, d) != (a, b) for c, d in finals.values())
    }
    assert set(volume.front_ids) == set(finals) - dominated


def test_a_logarithm_of_zero_is_told() -> None:
    with pytest.raises(TableError, match=r"min:params\[log\]: got 0 for candidate c; .* Write min:params"):
        Volume(table_of(FINALS), (GOALS[0], Goal("params", "min", log=True)))


def test_a_candidate_without_a_final_value_is_told() -> None:
    table = make_table({"a": [(1, 1.0, 0.5)], "b": [(1, 1.0, math.nan)]})
    with pytest.raises(TableError, match="candidate b: val_loss is not measured at its last epoch"):
        Volume(table, GOALS)
    kept = table.complete(GOALS)
    assert kept.ids == ("a",)
    assert kept.notes == ("left out: 1 of 2 candidates, without all objectives at their last epoch",)


def test_who_lacks_an_objective_at_the_end_is_left_out_with_all_rows() -> None:
    table = make_table({"a": [(1, 1.0, 0.1), (2, 2.0, 0.2)], "b": [(1, 3.0, math.nan)], "c": [(4, 4.0, 0.4)]})
    kept = table.complete(GOALS)
    assert (kept.ids, kept.starts.tolist(), kept.epochs.tolist()) == (("a", "c"), [0, 2, 3], [1, 2, 4])
    assert kept.column("val_loss").tolist() == [0.1, 0.2, 0.4]
    assert kept.full_compute == 7.0
    assert [dict(one) for one in kept.values] == [{"x": "a"}, {"x": "c"}]


def test_an_unknown_column_is_told_with_the_near_miss() -> None:
    with pytest.raises(
        TableError, match=r"no measured column is called 'val_los'; allowed: params, val_loss. Did you mean"
    ):
        Volume(table_of(FINALS), (Goal("val_los", "min"),))
