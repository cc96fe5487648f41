"""What a search reached over compute, against going through all of its ends."""

import math

import pytest

from search.simulator.measures import Anytime, Volume, measure, simulate_seeds
from search.simulator.simulation import Event, Setup, Trace, simulate
from tests.unit.search.simulator.curves import GOALS, make_table, random_table

# scaled: a (0, 1), b (.5, .5), c (1, 0); alone a and c have .11, b .36; all three .46
TABLE = make_table(
    {name: [(1, 1.0, loss)] for name, loss in {"a": 0.0, "b": 0.5, "c": 1.0}.items()},
    params={"a": 10.0, "b": 5.0, "c": 0.0},
)
VOLUME = Volume(TABLE, GOALS)


def ended(*ends: tuple[float, str], **more) -> Trace:
    """Return a search that finished candidates at these computes."""
    events = [Event(compute=c, clock=c, candidate_id=n, epoch=1, status="finished") for c, n in ends]
    return Trace(events=events, compute=ends[-1][0] if ends else 0.0, **more)


def test_the_share_is_a_step_at_each_end() -> None:
    curve = Anytime(ended((2.0, "a"), (3.0, "b"), (7.0, "c")), VOLUME)
    assert curve.first == 2.0
    expected = {0.0: 0.0, 1.99: 0.0, 2.0: 0.11, 2.5: 0.11, 3.0: 0.41, 6.9: 0.41, 7.0: 0.46, 99.0: 0.46}
    assert {compute: curve.at(compute) for compute in expected} == {
        compute: pytest.approx(volume / 0.46) for compute, volume in expected.items()
    }


def test_compute_to_a_share_is_that_of_the_end_that_reaches_it() -> None:
    curve = Anytime(ended((2.0, "a"), (3.0, "b"), (7.0, "c")), VOLUME)
    assert curve.compute_to(0.2) == 2.0
    assert curve.compute_to(0.41 / 0.46) == 3.0
    assert curve.compute_to(0.95) == 7.0
    assert curve.compute_to(1.0) == 7.0
    assert Anytime(ended((2.0, "a")), VOLUME).compute_to(0.95) == math.inf
    assert Anytime(Trace(), VOLUME).compute_to(0.95) == math.inf


def test_every_answer_agrees_with_going_through_all_ends() -> None:
    table = random_table(60)
    volume = Volume(table, GOALS)
    trace = simulate(table, GOALS, setup=Setup(workers=3))
    curve = Anytime(trace, volume)
    ends = [(one.compute, one.candidate_id) for one in trace.finished]
    for compute in [trace.compute * part / 37 for part in range(38)]:
        assert curve.at(compute) == pytest.approx(volume.share(name for c, name in ends if c <= compute))
    for share in (0.3, 0.8, 0.95, 0.98, 1.0):
        so_far = [volume.share(name for _, name in ends[: place + 1]) for place in range(len(ends))]
        first = next(place for place, reached in enumerate(so_far) if reached >= share - 1e-9)
        assert curve.compute_to(share) == ends[first][0]


def test_the_numbers_of_a_search() -> None:
    trace = ended((2.0, "a"), (3.0, "b"), proposal_s=[0.001, 0.002, 0.009], duplicates=4, ended_by="trials")
    found = measure(trace, VOLUME, seed=5, anytime=Anytime(trace, VOLUME))
    assert (found.seed, found.finished, found.stopped, found.duplicates) == (5, 2, 0, 4)
    assert found.hypervolume == pytest.approx(0.41)
    assert found.share == pytest.approx(0.41 / 0.46)
    assert found.front_found == pytest.approx(2 / 3)
    assert found.compute == 3.0
    assert found.compute_to == {0.95: math.inf, 0.98: math.inf}
    assert (found.proposal_ms, found.proposal_ms_late) == pytest.approx((2.0, 9.0))


def test_an_engine_is_simulated_under_every_seed() -> None:
    table = random_table(40)
    told: list[tuple[int, float]] = []
    setup = Setup(workers=2, scheduler="moasha", trials=20)
    engine = simulate_seeds(
        Volume(table, GOALS), setup=setup, seeds=[4, 9], told=lambda place, share: told.append((place, share))
    )
    assert engine.name == setup.name == "random + moasha"
    assert [run.seed for run in engine.runs] == [4, 9]
    assert {place for place, _ in told} == {0, 1}
    for place, seed in enumerate((4, 9)):
        trace = simulate(table, GOALS, setup=Setup(workers=2, scheduler="moasha", trials=20, seed=seed))
        assert engine.runs[place].compute == trace.compute
        curve = Anytime(trace, Volume(table, GOALS))
        assert engine.shares[place] == [curve.at(compute) for compute in engine.compute]
    assert engine.compute[-1] == max(run.compute for run in engine.runs)
    assert list(engine.compute) == sorted(engine.compute)


def test_an_engine_that_finishes_nobody_has_no_curve() -> None:
    table = random_table(10)
    engine = simulate_seeds(
        Volume(table, GOALS),
        setup=Setup(compute=table.costs.min() / 2),
        seeds=[0],
        told=lambda place, share: None,
    )
    assert (engine.runs[0].share, engine.runs[0].finished, list(engine.compute)) == (0.0, 0, [])
