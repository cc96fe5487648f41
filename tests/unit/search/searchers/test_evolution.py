"""What evolution keeps, whom it lets have offspring, and how offspring differ."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.searchers.base import Outcome
from search.searchers.evolution import Evolution
from search.searchers.fidelity import Reached
from search.searchers.population import Member, Population, crowding_distance, tournament
from spaces.conditions import Condition, Conditions
from spaces.domains import Choice, Domain, Float, Int, Log, Scalar
from spaces.errors import PluginError

DOMAINS: dict[str, Domain] = {
    "depth": Int(low=1, high=12),
    "lr": Log(low=1e-4, high=1e-2),
    "share": Float(low=0, high=1),
    "weight": Log(low=2, high=60, zero=0.3),
    "width": Choice(options=("0.25x", "0.5x", "0.75x", "1x")),
}
OBJECTIVES = {"retention": "max", "params": "min"}
FACTORS = {"0.25x": 0.25, "0.5x": 0.5, "0.75x": 0.75, "1x": 1.0}
WIDTH_NEEDS_WEIGHT = {"width": (Condition(path="weight", values=(0,), negated=True),)}


def make(seed: int = 0, *, conditions: Conditions | None = None, **options: object) -> Evolution:
    config = Evolution.Config(**options)
    return Evolution(config, DOMAINS, seed=seed, objectives=OBJECTIVES, conditions=conditions)


def row(values: Mapping[str, Scalar]) -> dict[str, float]:
    """A student that grows better with its size, if its learning rate, share and weight are right."""
    params = FACTORS[str(values["width"])] * float(values["depth"])
    off = 0.3 if values["weight"] == 0 else 0.1 * abs(math.log(float(values["weight"]) / 20))
    wrong = abs(math.log10(float(values["lr"])) + 3) + abs(float(values["share"]) - 0.3) + off
    return {"retention": math.sqrt(params) - 2 * wrong, "params": params}


def measured(values: Mapping[str, Scalar], **more: float) -> Outcome:
    return Outcome(state="measured", rows=({**row(values), **more},))


def volume(rows: Sequence[Mapping[str, float]]) -> float:
    points = np.asarray([[-one["retention"], one["params"]] for one in rows])
    return float(moocore.hypervolume(points, ref=[5.0, 12.0]))


def member(index: int, *point: float, violation: float = 0.0) -> Member:
    reached = Reached(point=point, share=1) if point else None
    return Member(index=index, key=(index,), values={"n": index}, reached=reached, violation=violation)


def population(size: int, *members: Member) -> Population:
    found = Population(size, lambda reached: reached.point)
    for one in members:
        found.add(one)
    return found


def places(found: Population) -> list[int]:
    return [one.index for one, _ in found.parents()]


def test_crowding_is_the_gap_between_the_neighbours_in_parts_of_the_range() -> None:
    # ranges 10 and 4; point 1: (4-0)/10 + (4-1)/4, point 2: (10-1)/10 + (3-0)/4
    front = np.asarray([[0.0, 4.0], [1.0, 3.0], [4.0, 1.0], [10.0, 0.0]])
    assert crowding_distance(front) == pytest.approx([math.inf, 0.4 + 0.75, 0.9 + 0.75, math.inf])
    assert crowding_distance(front[[2, 0, 3, 1]]) == pytest.approx([1.65, math.inf, math.inf, 1.15])


def test_crowding_of_equal_values_is_finite_arithmetic() -> None:
    assert crowding_distance(np.asarray([[1.0, 2.0]] * 4)).tolist() == [math.inf] * 4


def test_an_objective_in_which_all_are_equal_says_nothing_of_crowding() -> None:
    """Else who came first and last would be ends of it, whatever they are."""
    front = np.asarray([[3.0, 3.0], [1.0, 5.0], [5.0, 1.0], [2.0, 4.0], [4.0, 2.0]])
    expected = crowding_distance(front)
    assert np.isinf(expected).tolist() == [False, True, True, False, False]
    assert crowding_distance(np.hstack([front, np.zeros((5, 1))])).tolist() == expected.tolist()


def test_the_last_front_loses_its_most_crowded_member() -> None:
    front = [member(0, 0, 4), member(1, 1, 3), member(2, 1.5, 2), member(3, 4, 1), member(4, 10, 0)]
    # crowding of 1: 1.5/10 + 2/4 = .65, of 2: 3/10 + 2/4 = .8, of 3: 8.5/10 + 2/4 = 1.35
    assert places(population(4, *front)) == [0, 2, 3, 4]
    # then of 5: 1.5/10 + 2/4 = .65, of 2: 2.8/10 + 1.2/4 = .58
    assert places(population(4, *front, member(5, 1.2, 2.2))) == [0, 3, 4, 5]


def test_a_dominated_newcomer_does_not_stay_and_a_dominating_one_does() -> None:
    found = population(2, member(0, 1, 2), member(1, 2, 1))
    found.add(member(2, 2, 2))
    assert places(found) == [0, 1]
    found.add(member(3, 0, 0))
    assert 3 in places(found)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=6, max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_member_is_dominated_by_one_that_left_at_the_same_time(points: list[tuple[int, ...]]) -> None:
    """Whoever leaves is not better in all objectives than somebody who stays."""
    found = Population(5, lambda reached: reached.point)
    for index, point in enumerate(points):
        before = {one.index: one for one, _ in found.parents()} | {index: member(index, *point)}
        found.add(member(index, *point))
        after = set(places(found))
        for left in before.keys() - after:
            gone = np.asarray(before[left].reached.point)
            for stays in after:
                kept = np.asarray(before[stays].reached.point)
                assert not ((gone <= kept).all() and (gone < kept).any())


def test_refused_candidates_fill_up_behind_the_feasible_by_their_violation() -> None:
    found = population(3, member(0, 1, 2), member(1, violation=0.5), member(2, violation=math.inf))
    found.add(member(3, violation=0.1))
    standings = dict((one.index, standing) for one, standing in found.parents())
    assert sorted(standings, key=standings.__getitem__) == [0, 3, 1]
    rng = random.Random(0)
    assert Counter(tournament(found.parents(), rng).index for _ in range(900))[0] == pytest.approx(
        500, abs=50
    )


def test_refused_candidates_have_no_offspring_once_the_feasible_are_enough() -> None:
    found = population(2, member(0, violation=0.1), member(1, 1, 2), member(2, 2, 1))
    assert places(found) == [1, 2]
    assert found.full


def test_the_population_stays_small() -> None:
    proposer = make(population=6)
    for index in range(60):
        values = proposer.propose(index)
        refused = Outcome(state="refused", violation=1.0 + index)
        proposer.observe(index, values, refused if index % 2 else measured(values))
    assert len(proposer._population._feasible) == 6
    assert len(proposer._population._refused) == 6


def test_finds_a_larger_volume_than_random_search() -> None:
    wins = 0
    for seed in range(5):
        proposer, found = make(seed), []
        for index in range(150):
            values = proposer.propose(index)
            proposer.observe(index, values, measured(values))
            found.append(row(values))
        wins += volume(found) > volume([row(proposer.draw(index)) for index in range(300)])
    assert wins == 5  # with half of the evaluations


def test_begins_with_random_proposals() -> None:
    proposer = make(population=8)
    for index in range(8):
        values = proposer.propose(index)
        assert values == proposer.draw(index)
        proposer.observe(index, values, measured(values))
    assert proposer.propose(8) != proposer.draw(8)
    assert proposer.propose(8, explore=True) == proposer.draw(8)


def test_earlier_candidates_of_a_warm_start_are_the_first_parents() -> None:
    proposer = make(population=8)
    for index in range(8):
        values = {**proposer.draw(index), "width": "0.5x"}
        proposer.observe(-1, values, measured(values))
    widths = [proposer.propose(index)["width"] for index in range(40)]
    assert widths.count("0.5x") > 25


def test_failed_candidates_have_no_offspring() -> None:
    proposer = make(population=4)
    for index in range(40):
        values = {**proposer.draw(index), "width": "0.25x" if index % 2 else "1x"}
        failures = (Outcome(state="failed"), measured(values, retention=math.nan), Outcome(state="measured"))
        proposer.observe(index, values, failures[index % 3] if index % 2 else measured(values))
    assert [one.values["width"] for one, _ in proposer._population.parents()] == ["1x"] * 4


def test_is_led_into_the_limits_by_what_was_refused() -> None:
    """One candidate in ten is within the limit; near the limit the next ones are found more often than by chance."""
    proposer, kept = make(population=10), []
    for index in range(120):
        values = proposer.propose(index)
        over = row(values)["params"] / 0.8
        kept.append(over <= 1)
        refused = Outcome(state="refused", violation=math.log(max(over, 1.01)))
        proposer.observe(index, values, measured(values) if over <= 1 else refused)
    by_chance = sum(row(proposer.draw(index))["params"] <= 0.8 for index in range(1000)) / 1000
    assert by_chance < 0.12
    assert sum(kept[60:]) / 60 > 3 * by_chance


def test_what_is_known_is_not_proposed_again_while_there_is_anything_else() -> None:
    domains = {path: Choice(options=tuple("abcd")) for path in ("one", "three", "two")}
    proposer = Evolution(Evolution.Config(population=4), domains, seed=0, objectives={"loss": "min"})
    seen = set()
    for index in range(40):
        values = proposer.propose(index)
        proposer.observe(
            index, values, Outcome(state="measured", rows=({"loss": float("abcd".index(values["one"]))},))
        )
        seen.add(tuple(values.values()))
    assert len(seen) >= 38  # the four random ones at first may meet


def test_a_value_that_is_switched_off_makes_no_difference() -> None:
    """All that differs from the known is the width of candidates without weight: no such child is proposed."""
    proposer = make(population=2, conditions=WIDTH_NEEDS_WEIGHT)
    for index in range(30):
        values = {**proposer.draw(index % 2), "weight": 0, "width": ("0.25x", "1x")[index % 2]}
        proposer.observe(index, values, measured(values))
    known = {proposer.key({**proposer.draw(index), "weight": 0}) for index in range(2)}
    for index in range(30, 130):
        assert proposer.key(proposer.propose(index)) not in known


def test_only_what_counts_is_mutated_and_what_is_switched_on_is_drawn_anew() -> None:
    proposer = make(population=2, mutation=0.5, crossover=0.0, conditions=WIDTH_NEEDS_WEIGHT)
    for index in range(2):
        values = {**proposer.draw(index), "weight": 0, "width": "0.25x"}
        proposer.observe(index, values, measured(values))
    off, widths = 0, Counter()
    for index in range(30, 430):
        child = proposer.propose(index)
        if child["weight"] == 0:
            off += child["width"] != "0.25x"
        else:
            widths[child["width"]] += 1
    assert off == 0
    assert len(widths) > 1


def test_goes_on_identically_after_the_same_observations() -> None:
    """Trials end out of order, some are stopped: who has observed the same in the same order proposes the same."""
    first, observed = make(3), []
    for index in range(60):
        values = first.propose(index)
        rows = [
            {**row(values), "epoch": epoch, "retention": row(values)["retention"] - 9 / epoch}
            for epoch in (1, 9)
        ]
        ended = Outcome(state="measured", rows=rows[: 1 + index % 2], full_epochs=9)
        observed.append((index, values, Outcome(state="pending")))
        first.observe(*observed[-1])
        if index % 4 == 3:
            for late in (index, index - 2, index - 1, index - 3):
                observed.append((late, next(v for i, v, _ in observed if i == late), ended))
                first.observe(*observed[-1])
    second = make(3)
    for entry in observed:
        second.observe(*entry)
    assert [first.propose(index) for index in range(60, 70)] == [
        second.propose(index) for index in range(60, 70)
    ]


def test_a_stopped_candidate_has_the_standing_of_its_full_fidelity() -> None:
    """Four candidates gain 5 after epoch 1; one stopped there with 4 would have reached 9 and is the best."""
    proposer = make(population=5)
    for index, (early, end) in enumerate([(0, 5), (1, 6), (2, 7), (3, 8), (4, None)]):
        rows = [{"epoch": 1, "retention": float(early), "params": 1.0}]
        rows += [{"epoch": 9, "retention": float(end), "params": 1.0}] if end else []
        values = proposer.draw(index)
        proposer.observe(index, values, Outcome(state="measured", rows=rows, full_epochs=9))
    standing = {one.index: standing for one, standing in proposer._population.parents()}
    assert min(standing, key=standing.__getitem__) == 4


@pytest.mark.parametrize(
    "options",
    [{"population": 1}, {"crossover": 1.5}, {"mutation": 0.0}, {"mutation": math.inf}, {"step": 0.0}],
)
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(PluginError, match=r"got .*allowed"):
        Evolution.Config(**options)
