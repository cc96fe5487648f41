"""The result of a command as lines, as JSON and as a page."""

import json
import math

import pytest

from search.simulator.comparison import Comparison, head_lines, result_lines, result_page, statistics, to_json
from search.simulator.measures import Engine, Measures, Volume
from search.simulator.rungs import Rungs
from search.simulator.simulation import Setup
from tests.unit.search.simulator.curves import GOALS, make_table

TABLE = make_table(
    {"a": [(1, 1.0, 0.9), (2, 2.0, 0.0)], "b": [(1, 3.0, 0.5)], "c": [(1, 4.0, 1.0)]},
    params={"a": 10.0, "b": 5.0, "c": 0.0},
)


def measures(seed: int, share: float, **more) -> Measures:
    fields = {
        "hypervolume": 0.46 * share, "front_found": 0.5, "compute": 1000.0 * (seed + 1), "clock": 9.0,
        "compute_to": {0.95: 100.0 * (seed + 1), 0.98: math.inf}, "trials": 3, "finished": 2, "stopped": 1, "duplicates": seed,
        "proposal_ms": 0.5, "proposal_ms_late": 0.6, "ended_by": "trials",
    }  # fmt: skip
    return Measures(seed=seed, share=share, **(fields | more))


def comparison(**more) -> Comparison:
    setup = Setup(workers=4, scheduler="moasha", scheduler_options={"reduction_factor": 2})
    runs = [measures(seed, share, **more) for seed, share in enumerate((0.8, 1.0, 0.9))]
    engine = Engine(setup=setup, runs=runs, compute=[10.0, 20.0], shares=[[0.1, 0.8], [0.3, 1.0], [0.2, 0.9]])
    return Comparison(
        table=TABLE, goals=GOALS, volume=Volume(TABLE, GOALS), rungs=Rungs.parse(["1/3"]), engines=[engine]
    )


def test_statistics_are_median_and_deciles_over_seeds() -> None:
    found = statistics(comparison().engines[0])
    assert found["share"] == pytest.approx((0.9, 0.82, 0.98))
    assert found["compute"] == pytest.approx((2000.0, 1200.0, 2800.0))
    assert found["compute_to_95"] == pytest.approx((200.0, 120.0, 280.0))
    assert found["compute_to_98"] == (math.inf, math.inf, math.inf)


def test_the_head_says_what_is_simulated() -> None:
    made = comparison()
    lines = list(head_lines(made, made.engines[0].setup, 3))
    assert lines[0] == "table toy: 3 candidates of 1 to 2 epochs; to train them all costs 10 epoch_cost"
    assert lines[1] == "searched: x (choice of 3)"
    assert lines[2].startswith("objectives: min:val_loss min:params; quality")
    assert lines[3].startswith("exact front: 3 points; exact hypervolume 0.46000")
    assert lines[4] == "workers 4, seeds 3; rungs 1/3"


def test_the_lines_hold_medians_and_below_them_the_spread() -> None:
    lines = list(result_lines(comparison()))
    assert lines[0].split("  ")[-1] == "proposal"
    assert lines[1].split() == [
        "random", "+", "moasha", "0.9000", "0.500", "2,000", "200", "never", "3", "2", "1", "0.50", "ms"
    ]  # fmt: skip
    assert lines[2].split() == ["0.8200..0.9800", "1,200..2,800", "120..280", "0..2"]
    assert [line for line in lines if "nothing new" in line] == []
    assert any("proposed nothing new" in line for line in result_lines(comparison(ended_by="exhausted")))


def test_json_holds_every_seed_and_null_for_what_was_never_reached() -> None:
    content = json.loads(json.dumps(to_json(comparison()), allow_nan=False))
    assert set(content) == {
        "schema_version", "table", "objectives", "exact", "workers", "rungs", "engines"
    }  # fmt: skip
    assert content["table"]["fields"] == {"x": {"choice": ["a", "b", "c"]}}
    assert content["exact"]["front"] == ["a", "b", "c"]
    assert content["rungs"] == ["1/3"]
    (engine,) = content["engines"]
    assert engine["scheduler"] == {"kind": "moasha", "reduction_factor": 2}
    assert [run["seed"] for run in engine["seeds"]] == [0, 1, 2]
    assert engine["seeds"][1]["compute_to_95"] == 200.0
    assert engine["seeds"][1]["compute_to_98"] is None
    assert engine["median"]["compute_to_98"] is None
    assert engine["curve"]["compute"] == [10.0, 20.0]
    assert engine["curve"]["median"] == [0.2, 0.9]
    assert engine["median"]["share"] == pytest.approx(0.9)
    assert to_json(comparison())["exact"]["hypervolume"] == pytest.approx(0.46)


def test_the_page_stands_alone_and_shows_figure_and_numbers() -> None:
    text = result_page(comparison())
    assert text.startswith("<!DOCTYPE html>")
    assert "<script src=" not in text
    assert 'id="anytime"' in text
    assert "random + moasha" in text
    assert "0.9000 (0.8200 to 0.9800)" in text
