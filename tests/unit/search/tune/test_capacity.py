"""How many trials a cluster takes, worked out by hand for clusters that others use, that grow, shrink, and begin with nothing."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from search.tune import capacity
from search.tune.capacity import BROUGHT, TOLD_S, Capacity, Cluster, Resources, fitted, scales
from spaces.errors import ResourceError

UNKNOWN = {"CPU": math.inf, "GPU": math.inf}


def cluster(*nodes: Mapping[str, float], free: Mapping[str, float] | None = None, **more: Any) -> Cluster:
    """Return a cluster, all of it free unless told otherwise."""
    whole = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    return Cluster(nodes=nodes, free=whole if free is None else free, **{"held": {}, **more})


def need(workers: int = 1, cpus: int = 1, gpus: float = 0.0) -> Resources:
    """Return what a trial takes."""
    return Resources(workers=workers, cpus=cpus, gpus=gpus, slots=1)


@pytest.mark.parametrize(
    ("found", "trial", "room"),
    [
        (cluster({"CPU": 4}), need(), 4),
        (cluster({"CPU": 4}, free={"CPU": 1.0}), need(), 1),  # others hold three
        (cluster({"CPU": 4}, free={"CPU": 1.0}, held={"CPU": 2.0}), need(), 3),  # of which two are ours
        (cluster({"CPU": 4}, free={}), need(), 0),  # Ray leaves out what is zero
        (cluster({"CPU": 2}, {"CPU": 2}), need(workers=2), 2),
        (cluster({"CPU": 2}, {"CPU": 1}), need(workers=2), 1),
        (cluster({"CPU": 3}, {"CPU": 3}), need(cpus=2), 2),  # a worker does not stretch over two nodes
        (cluster({"CPU": 8, "GPU": 2}), need(gpus=1.0), 2),
        (cluster({"CPU": 8, "GPU": 1}), need(gpus=0.1), 8),  # 1 / 0.1 is not quite 10, and CPUs bound it
        (cluster({"CPU": 32, "GPU": 1}), need(gpus=0.1), 10),
        (
            cluster({"CPU": 32, "GPU": 1}, free={"CPU": 30, "GPU": 0.34}, held={"CPU": 2, "GPU": 0.66}),
            need(gpus=0.33),
            3,
        ),
        (
            cluster({"CPU": 32, "GPU": 1}, free={"CPU": 29, "GPU": 0.01}, held={"CPU": 3, "GPU": 0.99}),
            need(gpus=0.33),
            3,
        ),
        (cluster({"CPU": 32, "GPU": 3}), need(gpus=0.3333), 9),
        (cluster({"CPU": 32, "GPU": 2}), need(gpus=0.4), 4),  # a share does not stretch over two devices
        (cluster({"CPU": 32, "GPU": 2}, {"CPU": 32, "GPU": 1}), need(gpus=0.6), 3),
        (cluster({"CPU": 32, "GPU": 1}, free={"CPU": 32, "GPU": 0.5}), need(gpus=0.25), 2),
        (
            cluster({"CPU": 2}, free={"CPU": 2.0}, held={"CPU": 2.0}),
            need(),
            2,
        ),  # told as free a moment too long
        (cluster(), need(), 0),
    ],
)
def test_room_is_what_is_free_and_what_is_ours(found: Cluster, trial: Resources, room: int) -> None:
    assert found.room(trial) == room


def test_what_a_trial_takes_is_told_in_the_singular_and_plural() -> None:
    one = fitted(cluster({"CPU": 1}), workers=1, cpus=1, gpus=0)
    assert one.describe() == "1 trial at a time, each 1 worker of 1 CPU"
    shared = fitted(cluster({"CPU": 8, "GPU": 1}), workers=1, cpus=1, gpus=0.25)
    assert shared.describe() == "4 trials at a time, each 1 worker of 1 CPU and 0.25 GPU"
    with pytest.raises(ResourceError, match=r"one trial needs 1 CPU and 1 GPU \(1 worker of 1 and 1\)"):
        fitted(cluster({"CPU": 1}), workers=1, cpus=1, gpus=1.0)


def test_gpus_are_taken_where_there_are_any() -> None:
    assert fitted(cluster({"CPU": 4}), workers=1, cpus=1, gpus=None).gpus == 0.0
    assert fitted(cluster({"CPU": 4}, {"CPU": 4, "GPU": 1}), workers=1, cpus=1, gpus=None).gpus == 1.0
    coming = cluster({"CPU": 4}, at_most={"CPU": 100, "GPU": 8})
    assert fitted(coming, workers=1, cpus=1, gpus=None).gpus == 1.0


def test_a_full_cluster_is_waited_for_with_what_is_lacking() -> None:
    found = fitted(cluster({"CPU": 4}, free={"CPU": 1.0}), workers=2, cpus=1, gpus=0)
    assert found.slots == 1
    assert found.waits.startswith("one trial needs 2 CPUs (2 workers of 1); 1 of 4 CPUs are free")
    assert fitted(cluster({"CPU": 4}), workers=2, cpus=1, gpus=0).waits == ""


@pytest.mark.parametrize("at_most", [UNKNOWN, {"CPU": 2.0}])
def test_nothing_at_the_start_is_waited_for_where_an_autoscaler_may_bring_it(
    at_most: Mapping[str, float],
) -> None:
    found = fitted(cluster({"memory": 1e9}, at_most=at_most), workers=1, cpus=2, gpus=0)
    assert found.slots == 1
    assert "0 of 0 CPUs are free; an autoscaler may bring more" in found.waits


@pytest.mark.parametrize(
    ("found", "trial", "said"),
    [
        (cluster({"CPU": 1}), {"workers": 2, "cpus": 1}, "the cluster has 1 CPU and has no autoscaler"),
        (cluster(), {"workers": 1, "cpus": 1}, "the cluster has 0 CPUs and has no autoscaler"),
        (
            cluster({"CPU": 1}, at_most={"CPU": 3.0}),
            {"workers": 4, "cpus": 1},
            "the cluster has 3 CPUs and may grow to no more",
        ),
        (
            cluster({"CPU": 2}, {"CPU": 2}),
            {"workers": 1, "cpus": 3},
            "no node has what one worker takes (at most 2 CPUs)",
        ),
        (cluster({"CPU": 4}), {"workers": 1, "cpus": 1, "gpus": 0.5}, "the cluster has 0 GPUs"),
    ],
)
def test_what_will_never_fit_is_refused_with_what_there_is(
    found: Cluster, trial: dict[str, Any], said: str
) -> None:
    with pytest.raises(ResourceError) as caught:
        fitted(found, **{"gpus": 0.0, **trial})
    told = str(caught.value)
    assert said in told
    assert told.startswith("resources: one trial needs ")
    assert "Lower resources.workers_per_trial or resources." in told
    assert told.endswith("or add nodes.")
    assert "\n" not in told


class Watched:
    """A cluster that changes, and who follows it."""

    def __init__(self, found: Cluster, trial: Resources, **options: Any) -> None:
        self.found, self.now, self.looks = found, 0.0, 0
        self.capacity = Capacity(trial, **{"ahead": 1, **options}, look=self.look, clock=lambda: self.now)

    def look(self) -> Cluster:
        """Ask."""
        self.looks += 1
        return self.found

    def becomes(self, found: Cluster) -> None:
        """Change, and let enough time pass to be seen."""
        self.found = found
        self.now += 60.0


def test_room_follows_a_cluster_that_grows_and_shrinks() -> None:
    watched = Watched(cluster({"CPU": 2}), need())
    assert (watched.capacity.slots, watched.capacity.room) == (2, 3)
    watched.becomes(cluster({"CPU": 2}, {"CPU": 4}))
    assert (watched.capacity.slots, watched.capacity.room) == (6, 7)
    watched.becomes(cluster({"CPU": 1}))
    assert (watched.capacity.slots, watched.capacity.room) == (1, 2)
    watched.becomes(cluster({"CPU": 1}, free={}))
    assert (watched.capacity.slots, watched.capacity.room) == (0, 1)  # one may wait for the others


def test_an_autoscaler_sees_a_few_candidates_wait_never_dozens() -> None:
    watched = Watched(cluster({"CPU": 2}, at_most=UNKNOWN), need())
    assert watched.capacity.room == 2 + BROUGHT
    watched.becomes(cluster({"CPU": 2}, at_most={"CPU": 5.0}))
    assert watched.capacity.room == 5
    watched.becomes(cluster({"CPU": 5}, at_most={"CPU": 5.0}))
    assert watched.capacity.room == 6


def test_what_the_user_wants_at_most_is_the_most_prepared_ones_included() -> None:
    watched = Watched(cluster({"CPU": 8}, at_most=UNKNOWN), need(), most=3)
    assert (watched.capacity.slots, watched.capacity.room) == (3, 3)


def test_it_is_not_asked_again_at_once() -> None:
    watched = Watched(cluster({"CPU": 2}), need())
    for _ in range(100):
        assert watched.capacity.room == 3
        assert watched.capacity.waiting == ""
    assert watched.looks == 1


def test_a_trial_that_waits_is_told_after_ten_seconds_with_the_reason_and_not_any_more_once_it_runs() -> None:
    taken = cluster({"CPU": 4}, free={"CPU": 1.0}, waiting=1)
    watched = Watched(taken, need(workers=2), ahead=0)
    assert watched.capacity.waiting == ""
    watched.now += TOLD_S
    assert (
        watched.capacity.waiting == "1 waits: one trial needs 2 CPUs (2 workers of 1), 1 of 4 CPUs are free"
    )
    watched.becomes(cluster({"CPU": 4}, free={}, held={"CPU": 2.0}, placed=1))
    assert watched.capacity.waiting == ""
    watched.becomes(taken)
    assert watched.capacity.waiting == ""  # ten seconds anew
    watched.becomes(cluster({"CPU": 1}, waiting=1))
    assert watched.capacity.waiting.endswith("1 of 1 CPUs are free; a node has gone or is still to come")


def test_the_candidate_that_is_prepared_while_all_slots_train_waits_for_nothing() -> None:
    watched = Watched(cluster({"CPU": 2}, free={}, held={"CPU": 2.0}, placed=2, waiting=1), need())
    assert watched.capacity.waiting == ""
    watched.becomes(watched.found)
    assert watched.capacity.waiting == ""


@pytest.mark.parametrize(
    ("status", "types", "answer"),
    [
        ({}, [], False),
        ({}, ["node_63ab"], False),
        ({"autoscaler_report": {"node_type_mapping": {"63ab": "node_63ab"}}}, ["node_63ab"], False),
        ({"autoscaler_report": {"node_type_mapping": {"63ab": "ray.head.default"}}}, ["node_63ab"], True),
        ({"autoscaler_report": {"node_type_mapping": None, "pending_launches": {"gpu": 2}}}, [], True),
        ({}, ["headgroup", "workers"], True),
    ],
)
def test_an_autoscaler_is_known_by_the_types_of_its_nodes(
    status: dict[str, Any], types: list[str], answer: bool
) -> None:
    assert scales(status, types) is answer


@pytest.mark.parametrize("speaks", [True, False])
def test_a_cluster_that_has_just_begun_is_not_refused_before_it_is_known_how_it_grows(
    speaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bytes] = []
    now = iter(range(1000))

    def look() -> Cluster:
        if len(told) < 6:  # two keys are asked for each time
            return cluster()
        return cluster(at_most=UNKNOWN if speaks else None)

    def ask(key: bytes) -> bytes | None:
        told.append(key)
        return b"127.0.0.1:1" if key == capacity.MONITOR_KEY else None

    monkeypatch.setattr(capacity, "look", look)
    monkeypatch.setattr(capacity, "_internal_kv_get", ask)
    monkeypatch.setattr(capacity.time, "monotonic", lambda: float(next(now)))
    if speaks:
        assert capacity.found_resources(workers=1, cpus=1, gpus=0, pause_s=0.0).waits
        return
    with pytest.raises(ResourceError):
        capacity.found_resources(workers=1, cpus=1, gpus=0, pause_s=0.0)
    assert next(now) < 3 * capacity.MONITOR_S, "it gave up"


def test_a_cluster_without_a_monitor_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "look", cluster)
    monkeypatch.setattr(capacity, "_internal_kv_get", lambda key: None)
    monkeypatch.setattr(capacity.time, "sleep", lambda seconds: pytest.fail("it waited"))
    with pytest.raises(ResourceError):
        capacity.found_resources(workers=1, cpus=1, gpus=0)


@pytest.mark.parametrize("left", [{}, {"CPU": 1.0}], ids=["nothing is free", "a half is free"])
@pytest.mark.parametrize("ours", [True, False])
def test_what_our_own_work_has_just_left_is_not_called_busy(
    monkeypatch: pytest.MonkeyPatch, ours: bool, left: dict[str, float]
) -> None:
    full, empty = cluster({"CPU": 2}, free=left), cluster({"CPU": 2})
    now, looks = [0.0], list[Cluster]()

    def look() -> Cluster:
        looks.append(empty if ours and len(looks) == 2 else full)
        return looks[-1]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(capacity, "look", look)
    monkeypatch.setattr(capacity.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(capacity.time, "sleep", sleep)
    found = capacity.found_resources(workers=1, cpus=1, gpus=0)
    assert (found.slots, bool(found.waits)) == ((2, False) if ours else (1, not left))
    assert now[0] == (2.0 if ours else capacity.LEFT_S)
