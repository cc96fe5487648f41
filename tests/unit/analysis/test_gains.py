"""Gains are worked by hand: paired over seeds, with an honest verdict."""

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.gains import Gain, control_metrics, gains
from analysis.run_folder import read_run

Make = Callable[..., Path]


def rows(with_: dict[int, float], without: dict[int, float], data: str = "noisy") -> list[dict[str, Any]]:
    sides = ((True, with_), (False, without))
    return [
        {"candidate_id": "a", "data": data, "seed": seed, "distilled": side, "retention": value}
        for side, values in sides
        for seed, value in values.items()
    ]


def gain_of(folder: Path, found: list[dict[str, Any]]) -> Gain:
    (folder / "control.json").write_text(json.dumps({"seeds": [0, 1, 2], "rows": found}))
    (gain,) = gains(read_run(folder), "retention")
    return gain


def test_gains_are_paired_by_seed(make_run: Make) -> None:
    gain = gain_of(make_run(), rows({0: 80.0, 1: 70.0, 2: 90.0}, {0: 60.0, 1: 52.0, 2: 68.0}))
    assert (gain.distilled, gain.plain, gain.gain, gain.seeds) == (80.0, 60.0, 20.0, 3)
    assert gain.spread == pytest.approx(2.0)  # of 20, 18, 22; each side alone has 8 and 10
    assert gain.verdict == "clear gain"


@pytest.mark.parametrize(
    ("without", "verdict"),
    [
        ({0: 79.0, 1: 83.0, 2: 76.0}, "not clear of the spread"),
        ({0: 88.0, 1: 89.0, 2: 90.0}, "clear loss"),
        ({0: 78.0, 1: 79.0, 2: 77.0}, "clear gain"),
        ({}, "not compared"),
    ],
)
def test_the_verdict_is_clear_beyond_two_spreads(
    make_run: Make, without: dict[int, float], verdict: str
) -> None:
    gain = gain_of(make_run(), rows({0: 80.5, 1: 80.0, 2: 80.0}, without))
    assert gain.verdict == verdict


def test_one_distilled_seed_takes_its_spread_from_the_other_side(make_run: Make) -> None:
    plain = {0: 60.0, 1: 62.0, 2: 64.0}
    gain = gain_of(make_run(), rows({7: 80.0}, plain))
    assert gain.gain == 18.0
    assert gain.spread == pytest.approx(statistics.stdev(plain.values()))


def test_one_seed_has_no_spread(make_run: Make) -> None:
    gain = gain_of(make_run(), rows({0: 80.0}, {0: 60.0}))
    assert math.isnan(gain.spread)
    assert gain.verdict == "one seed, no spread"


def test_transfer_sets_are_kept_apart(make_run: Make) -> None:
    folder = make_run()
    found = [*rows({0: 80.0}, {0: 60.0}), *rows({0: 85.0}, {0: 80.0}, "clean")]
    (folder / "control.json").write_text(json.dumps({"seeds": [0], "rows": found}))
    run = read_run(folder)
    assert [(gain.data, gain.gain) for gain in gains(run, "retention")] == [("noisy", 20.0), ("clean", 5.0)]
    assert control_metrics(run) == ("retention",)


def test_a_minimised_quality_gains_when_it_falls(make_run: Make) -> None:
    folder = make_run(objectives={"retention": "min"})
    assert gain_of(folder, rows({0: 3.0}, {0: 5.0})).gain == 2.0


def test_no_control_run_has_no_gains(make_run: Make) -> None:
    run = read_run(make_run(with_control=False))
    assert (gains(run, "retention"), control_metrics(run)) == ([], ())
