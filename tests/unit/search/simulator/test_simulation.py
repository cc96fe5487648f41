"""Searches on the virtual clock, against timetables worked out by hand."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from search.searchers import SEARCHERS
from search.searchers.base import Outcome
from search.searchers.random_search import RandomSearch
from search.simulator.measures import Volume
from search.simulator.rungs import Rungs
from search.simulator.simulation import Setup, Trace, simulate
from spaces.errors import PluginError, TableError
from tests.unit.search.simulator.curves import GOALS, make_table, random_table

# random search proposes a, b, c, b again, d under this seed
SEED = 55
FOUR = {
    "a": [(1, 1.0, 0.9), (2, 1.0, 0.7), (3, 1.0, 0.5)],
    "b": [(1, 2.0, 0.95), (2, 2.0, 0.4)],
    "c": [(1, 5.0, 0.6)],
    "d": [(1, 1.0, 0.8), (2, 1.0, 0.6), (3, 1.0, 0.55)],
}


def timetable(trace: Trace) -> list[tuple[float, str, int, str, float]]:
    return [(one.clock, one.candidate_id, one.epoch, one.status, one.compute) for one in trace.events]


def starts(trace: Trace) -> list[tuple[float, int, str, float]]:
    return [(one.clock, one.worker, one.candidate_id, one.compute) for one in trace.starts]


def test_one_worker_trains_one_after_the_other() -> None:
    trace = simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED))
    assert starts(trace) == [(0, 0, "a", 0), (3, 0, "b", 3), (7, 0, "c", 7), (12, 0, "d", 12)]
    assert (trace.compute, trace.clock, trace.duplicates) == (15, 15, 1)
    assert trace.ended_by == "trials"
    assert [one.candidate_id for one in trace.finished] == ["a", "b", "c", "d"]
    assert len(trace.proposal_s) == 4


def test_two_workers_share_the_clock() -> None:
    trace = simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED, workers=2))
    assert starts(trace) == [(0, 0, "a", 0), (0, 1, "b", 0), (3, 0, "c", 5), (4, 1, "d", 7)]
    assert timetable(trace) == [
        (1, "a", 1, "running", 1),
        (2, "a", 2, "running", 2),
        (2, "b", 1, "running", 4),
        (3, "a", 3, "finished", 5),
        (4, "b", 2, "finished", 7),
        (5, "d", 1, "running", 8),
        (6, "d", 2, "running", 9),
        (7, "d", 3, "finished", 10),
        (8, "c", 1, "finished", 15),
    ]


def test_one_candidate_is_proposed_ahead_as_under_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    # of two workers' three candidates the third is proposed before anybody has ended, the fourth after a's end only
    heard: list[str] = []
    observe = RandomSearch.observe

    def listen(self: RandomSearch, index: int, values: dict, outcome: Outcome) -> None:
        heard.append(f"{values['x']} {outcome.state}")
        observe(self, index, values, outcome)

    monkeypatch.setattr(RandomSearch, "observe", listen)
    simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED, workers=2))
    assert heard == [
        *("a pending", "b pending", "c pending"),
        *("a measured", "d pending"),
        *("b measured", "d measured", "c measured"),
    ]


def test_a_worker_that_frees_up_takes_the_next_and_idle_ones_stay_idle() -> None:
    trace = simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED, workers=9))
    assert [one.clock for one in trace.starts] == [0, 0, 0, 0]
    assert [one.worker for one in trace.starts] == [0, 1, 2, 3]
    assert (trace.clock, trace.compute) == (5, 15)


def test_the_scheduler_stops_at_its_rungs_and_frees_the_worker() -> None:
    # asha with 2: the first goes on; b is second of two at epoch 1 and stops; c ends in its first epoch, which is no rung;
    # d is first of three and goes on
    setup = Setup(
        seed=SEED,
        workers=2,
        scheduler="asha",
        scheduler_options={"reduction_factor": 2},
        rungs=Rungs.parse(["1"]),
    )
    trace = simulate(make_table(FOUR), GOALS, setup=setup)
    assert starts(trace) == [(0, 0, "a", 0), (0, 1, "b", 0), (2, 1, "c", 4), (3, 0, "d", 5)]
    assert timetable(trace)[:4] == [
        (1, "a", 1, "running", 1),
        (2, "a", 2, "running", 2),
        (2, "b", 1, "stopped", 4),
        (3, "a", 3, "finished", 5),
    ]
    assert [(one.candidate_id, one.rung, one.rank, one.size, one.verdict) for one in trace.decisions] == [
        ("a", 1, 0, 1, "continue"),
        ("b", 1, 1, 2, "stop"),
        ("d", 1, 0, 3, "continue"),
    ]
    assert trace.compute == 3 + 2 + 5 + 3


def test_a_stopped_candidate_does_not_count() -> None:
    # b would end best of all, but is behind at the first epoch
    setup = Setup(
        seed=SEED, scheduler="asha", scheduler_options={"reduction_factor": 2}, rungs=Rungs.parse(["1"])
    )
    table = make_table(FOUR)
    trace = simulate(table, GOALS, setup=setup)
    volume = Volume(table, GOALS)
    ids = [one.candidate_id for one in trace.finished]
    assert ids == ["a", "c", "d"]
    assert [one.candidate_id for one in trace.stopped] == ["b"]
    assert volume.front_ids == ("b",)
    assert volume.front_share(ids) == 0.0
    assert volume.share(ids) < 1.0 == volume.share([*ids, "b"])


def test_the_searcher_hears_of_stopped_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    monkeypatch.setattr(
        RandomSearch, "observe", lambda self, index, values, outcome: heard.append((values["x"], outcome))
    )
    setup = Setup(
        seed=SEED, scheduler="asha", scheduler_options={"reduction_factor": 2}, rungs=Rungs.parse(["1"])
    )
    simulate(make_table(FOUR), GOALS, setup=setup)
    ended = {name: outcome for name, outcome in heard if outcome.state == "measured"}
    assert [(row["epoch"], row["val_loss"], row["status"]) for row in ended["b"].rows] == [
        (1, 0.95, "running")
    ]
    assert [row["epoch"] for row in ended["a"].rows] == [1, 2, 3]
    assert {name: outcome.full_epochs for name, outcome in ended.items()} == {"a": 3, "b": 2, "c": 1, "d": 3}
    pending = [(name, outcome.costs) for name, outcome in heard if outcome.state == "pending"]
    assert pending == [(name, {"params": 1.0}) for name in "abcd"]


def test_epochs_without_all_objectives_are_paid_and_not_reported() -> None:
    table = make_table({"a": [(1, 1.0, math.nan), (2, 1.0, math.nan), (3, 1.0, 0.5)], "b": [(3, 2.0, 0.1)]})
    trace = simulate(table, GOALS, setup=Setup())
    assert trace.compute == 5
    with pytest.raises(
        TableError, match="no candidate is measured before its last epoch; nobody can be stopped"
    ):
        simulate(table, GOALS, setup=Setup(scheduler="moasha"))
    with pytest.raises(
        TableError, match="no candidate is measured before its last epoch; nobody can be stopped"
    ):
        simulate(table, GOALS, setup=Setup(scheduler="moasha", rungs=Rungs.parse(["1"])))


def test_fractions_compare_candidates_of_different_lengths() -> None:
    # a third of 3, 6 and 9 epochs: each is judged at its own epoch, against all the others
    def curve(length: int, loss: float) -> list[tuple[int, float, float]]:
        return [(epoch, 1.0, loss) for epoch in range(1, length + 1)]

    table = make_table({"a": curve(3, 0.5), "b": curve(6, 0.6), "c": curve(9, 0.4), "d": curve(9, 0.45)})
    setup = Setup(
        seed=SEED, scheduler="asha", scheduler_options={"reduction_factor": 2}, rungs=Rungs.parse(["1/3"])
    )
    trace = simulate(table, GOALS, setup=setup)
    judged = [(one.candidate_id, one.epoch, one.rung, one.rank, one.verdict) for one in trace.decisions]
    assert judged == [
        ("a", 1, 1, 0, "continue"),
        ("b", 2, 1, 1, "stop"),
        ("c", 3, 1, 0, "continue"),
        ("d", 3, 1, 1, "continue"),
    ]
    assert trace.compute == 3 + 2 + 9 + 9


def test_a_limit_on_compute_ends_the_search_before_it_is_passed() -> None:
    trace = simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED, workers=2, compute=7.5))
    assert trace.ended_by == "compute"
    assert trace.compute == 7
    assert [one.candidate_id for one in trace.finished] == ["a", "b"]
    assert simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED, compute=15)).ended_by == "trials"


def test_a_limit_on_trials_ends_the_search() -> None:
    trace = simulate(make_table(FOUR), GOALS, setup=Setup(seed=SEED, trials=2))
    assert [one.candidate_id for one in trace.starts] == ["a", "b"]
    assert trace.ended_by == "trials"


def test_nobody_is_handed_out_twice_and_everybody_in_the_end() -> None:
    table = random_table(60)
    trace = simulate(table, GOALS, setup=Setup(workers=3))
    assert sorted(one.candidate_id for one in trace.starts) == list(table.ids)
    assert trace.compute == pytest.approx(table.full_compute)


def test_the_clock_agrees_with_a_list_of_workers() -> None:
    table = random_table(40, lengths=(3, 6, 9))
    trace = simulate(table, GOALS, setup=Setup(workers=4))
    free = [0.0] * 4
    for one in trace.starts:
        assert one.clock == pytest.approx(min(free))
        place = table.places[one.candidate_id]
        free[one.worker] = one.clock + table.costs[table.starts[place] : table.starts[place + 1]].sum()
    assert trace.clock == pytest.approx(max(free))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("scheduler", ["none", "moasha"])
@pytest.mark.parametrize("searcher", sorted(SEARCHERS))
def test_the_same_seed_gives_the_same_search(searcher: str, scheduler: str, workers: int) -> None:
    table = random_table(30, lengths=(6, 9))
    setup = Setup(searcher=searcher, scheduler=scheduler, workers=workers, seed=3, trials=16)
    one, two = (simulate(table, GOALS, setup=setup) for _ in range(2))
    assert replace(one, proposal_s=[]) == replace(two, proposal_s=[])
    other = simulate(table, GOALS, setup=replace(setup, seed=4))
    assert [start.candidate_id for start in other.starts] != [start.candidate_id for start in one.starts]


def test_moasha_saves_compute_and_keeps_the_front() -> None:
    table = random_table(200)
    volume = Volume(table, GOALS)
    full = simulate(table, GOALS, setup=Setup(workers=4))
    early = simulate(table, GOALS, setup=Setup(workers=4, scheduler="moasha"))
    assert early.compute < 0.6 * full.compute
    assert volume.share(one.candidate_id for one in early.finished) > 0.95


def test_the_share_that_is_done_never_falls_and_ends_at_one() -> None:
    told: list[float] = []
    simulate(random_table(30), GOALS, setup=Setup(workers=4), told=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("setup", "error", "said"),
    [
        (Setup(searcher="randm"), PluginError, "Did you mean 'random'"),
        (Setup(scheduler="mosha"), PluginError, "Known: asha, moasha, none"),
        (Setup(workers=0), TableError, "--workers: got 0; allowed: above 0"),
        (Setup(trials=-1), TableError, "--trials: got -1"),
        (Setup(compute=0.0), TableError, "--compute: got 0.0"),
        (Setup(scheduler="moasha", rungs=Rungs.parse(["7"])), TableError, "no candidate is judged; measured before the end: 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_told(setup: Setup, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as told:
        simulate(make_table(FOUR), GOALS, setup=setup)
    assert said in str(told.value)


def test_final_values_cannot_be_stopped_and_no_field_cannot_be_searched() -> None:
    finals = make_table({"a": [(9, 1.0, 0.5)], "b": [(9, 1.0, 0.4)]})
    assert simulate(finals, GOALS, setup=Setup()).compute == 2
    with pytest.raises(TableError, match="has final values only"):
        simulate(finals, GOALS, setup=Setup(scheduler="moasha"))
    with pytest.raises(TableError, match="no column is searched"):
        simulate(replace(finals, fields={}), GOALS, setup=Setup())


def test_default_rungs_leave_out_what_nobody_meets() -> None:
    table = random_table(5, lengths=(3,))
    assert Rungs.of(table, GOALS).marks == (Fraction(1, 3),)
    assert Rungs.of(random_table(5), GOALS).marks == (Fraction(1, 9), Fraction(1, 3))
    assert Rungs.of(replace(table, rungs=(2, 3)), GOALS).marks == (2,)


@pytest.mark.parametrize(
    ("rungs", "epochs", "length", "expected"),
    [
        (["1", "3"], [1, 2, 3, 4], 4, {1: 1, 3: 3}),
        (["1", "3"], [2, 3], 3, {}),
        (["1/9", "1/3"], list(range(1, 10)), 9, {1: 1, 3: 2}),
        (["1/9", "1/3"], list(range(1, 19)), 18, {2: 1, 6: 2}),
        (["1/9", "1/3"], [1, 2, 3], 3, {1: 2}),
        (["1/9", "1/3"], [5, 10], 10, {5: 2}),
        (["0.5"], [1, 2, 3], 3, {2: 1}),
        (["1/3"], [3], 3, {}),
    ],
)
def test_where_a_candidate_is_judged(
    rungs: list[str], epochs: list[int], length: int, expected: dict
) -> None:
    assert Rungs.parse(rungs).stations(epochs, length) == expected


@pytest.mark.parametrize(
    "rungs", [["3", "1"], ["0"], ["1/3", "2"], ["x"], ["1/0"], ["-1"], ["1", "1"], ["nan"]]
)
def test_wrong_rungs_are_told(rungs: list[str]) -> None:
    with pytest.raises(TableError, match=r"--rungs: got .*; allowed: rising epochs"):
        Rungs.parse(rungs)


def test_epochs_may_have_gaps() -> None:
    table = make_table({"a": [(1, 1.0, 0.5), (5, 4.0, 0.3)], "b": [(2, 2.0, 0.6), (5, 3.0, 0.2)]})
    trace = simulate(table, GOALS, setup=Setup(scheduler="asha", rungs=Rungs.parse(["1/5"])))
    assert {(one.candidate_id, one.epoch) for one in trace.decisions} == {("a", 1), ("b", 2)}
    assert np.isclose(trace.compute, 10)
