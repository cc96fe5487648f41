"""How many trials a cluster takes: of what is free now, of what others give back, and of what an autoscaler may bring."""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.experimental.internal_kv import _internal_kv_get

from analysis.wording import plural
from search.tune.groups import DEVICES, own_groups
from spaces.errors import ResourceError

LOOK_EVERY_S = 2.0
SHARE = 20  # a look takes at most one part in so many of the driver's time: a table of groups can grow long
TOLD_S = 10.0  # a trial that waits longer is told
BROUGHT = 8  # candidates prepared beyond what there is room for, so that an autoscaler sees what is wanted
NODE_TYPE = "node_"  # before a node's id: what Ray calls the type of nodes that no autoscaler has brought
KIND = "accelerator_type:"  # before the name of a kind of GPU, among the resources of a node
ROUNDING = 1e-6
STATUS_KEY = b"__autoscaling_status"  # in Ray's own table; `ray status` reads it there
MONITOR_KEY = b"AutoscalerMetricsAddress"  # there, too, as soon as a cluster's monitor runs, which then looks for an autoscaler
MONITOR_S = 15.0
LEFT_S = 3.0  # in which Ray takes back what work that has ended had


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial takes of this cluster, and how many run side by side.

    Attributes:
        workers: training processes.
        cpus, gpus: of each.
        slots: trials that there is room for now, at least 1.
        waits: why not even one can begin at once; "" where one can.
    """

    workers: int
    cpus: int
    gpus: float
    slots: int
    waits: str = ""

    def describe(self) -> str:
        """Return one line."""
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        workers = f"{plural(self.workers, 'worker')} of {self.cpus} CPU{gpus}"
        return f"{plural(self.slots, 'trial')} at a time, each {workers}"

    @property
    def each(self) -> Mapping[str, float]:
        """What one worker takes."""
        return {name: need for name, need in zip(DEVICES, (self.cpus, self.gpus), strict=True) if need}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What Ray tells of a cluster at one moment.

    Attributes:
        nodes: all that each living node has.
        free: what nobody holds.
        held: what the trials of this search hold.
        placed, waiting: how many groups of workers of this search have what they asked for, and how many have not.
        at_most: what the cluster may grow to, infinite where its autoscaler does not say; None where it has none.
    """

    nodes: Sequence[Mapping[str, float]]
    free: Mapping[str, float]
    held: Mapping[str, float]
    placed: int = 0
    waiting: int = 0
    at_most: Mapping[str, float] | None = None

    def whole(self, name: str) -> float:
        """Return what all nodes have together."""
        return sum(node.get(name, 0.0) for node in self.nodes)

    def could_hold(self, need: Resources) -> int:
        """Return how many trials the nodes hold if nobody else is there; a worker does not stretch over two nodes."""
        return int(sum(_times(node, need.each) for node in self.nodes) // need.workers)

    def room(self, need: Resources) -> int:
        """Return how many trials there is room for beside what others hold, those of this search included."""
        ours = {name: self.free.get(name, 0.0) + self.held.get(name, 0.0) for name in need.each}
        # what has just been given out may still be told as free
        return min(int(_times(ours, need.each) // need.workers), self.could_hold(need))

    def may_come(self, need: Resources) -> float:
        """Return how many trials more there may be room for once an autoscaler has brought all that it may."""
        if self.at_most is None:
            return 0
        most = _times(self.at_most, need.each) / need.workers
        return max(most if math.isinf(most) else int(most) - self.could_hold(need), 0)


def _times(have: Mapping[str, float], each: Mapping[str, float]) -> float:
    """Return how often `each` goes into what there is."""
    return min((_fits(have.get(name, 0.0), need) for name, need in each.items()), default=math.inf)


def _fits(have: float, need: float) -> float:
    """Return how often one need goes into what there is; a share of a device does not stretch over two of them.

    Sums of shares are no exact numbers, and Ray itself counts ten-thousandths.
    """
    if math.isinf(have):
        return have
    if need >= 1:
        return int(have / need + ROUNDING)
    whole = int(have + ROUNDING)
    return whole * int(1 / need + ROUNDING) + int(max(have - whole, 0.0) / need + ROUNDING)


def look() -> Cluster:
    """Ask Ray."""
    groups = own_groups()
    placed = [group for group in groups if group.placed]
    return Cluster(
        nodes=[node["Resources"] for node in ray.nodes() if node["Alive"]],
        free=ray.available_resources(),
        held={name: sum(group.devices[name] for group in placed) for name in DEVICES},
        placed=len(placed),
        waiting=len(groups) - len(placed),
        at_most=at_most(ray.get_runtime_context().gcs_address),
    )


@cache
def at_most(address: str) -> Mapping[str, float] | None:
    """Return what an autoscaler may let a cluster grow to, infinite where it does not say; None where there is none.

    Ray has no public call for that (none up to 2.60). Some providers publish the limits of their node groups, which Ray Train
    reads, too. Of all others only this is known: nodes have another type than the one that Ray makes up from their ids.

    Args:
        address: of the cluster that this process has joined.
    """
    limits: Mapping[str, float] | None = ray._private.state.state.get_max_resources_from_cluster_config()
    if limits is not None:
        return limits
    told = _internal_kv_get(STATUS_KEY)  # of the first autoscaler; the second one tells it to Ray itself
    found = get_cluster_status(address)
    types = [node.ray_node_type_name for node in (*found.active_nodes, *found.idle_nodes)]
    if scales(json.loads(told) if told else {}, types):
        return dict.fromkeys(DEVICES, math.inf)
    return None


def scales(status: Mapping[str, Any], types: Iterable[str]) -> bool:
    """Return whether there is an autoscaler, by what a cluster's monitor has written and by the types of its nodes."""
    report = status.get("autoscaler_report") or {}
    told = (report.get("node_type_mapping") or {}).values()
    return bool(report.get("pending_launches")) or any(
        not name.startswith(NODE_TYPE) for name in (*told, *types) if name
    )


def gpu_kinds() -> list[str]:
    """Return the names of the kinds of GPUs of the cluster that this process has joined, none where it has joined none."""
    nodes = ray.nodes() if ray.is_initialized() else []
    kinds = set()
    for node in nodes:
        if node["Alive"] and node["Resources"].get("GPU", 0):
            named = [one.removeprefix(KIND) for one in node["Resources"] if one.startswith(KIND)]
            kinds.add(", ".join(sorted(named)) or "unknown")
    return sorted(kinds)


def found_resources(
    *, workers: int, cpus: int, gpus: float | None, most: int | None = None, pause_s: float = 1.0
) -> Resources:
    """Return what a trial takes of this cluster, see `fitted`; of one that has just been started, once it is known how it grows.

    A cluster that seems busy is looked at for some seconds: work of our own that has just ended, such as filling a cache, is told
    as busy for a moment.

    Raises:
        ResourceError: it will never take one.
    """
    deadline, left = time.monotonic() + MONITOR_S, time.monotonic() + LEFT_S
    while True:
        try:
            seen = look()
            found = fitted(seen, workers=workers, cpus=cpus, gpus=gpus, most=most)
            wanted = seen.could_hold(found) if most is None else min(most, seen.could_hold(found))
            if (not found.waits and found.slots >= wanted) or time.monotonic() >= left:
                return found
        except ResourceError:
            silent = _internal_kv_get(MONITOR_KEY) is not None and _internal_kv_get(STATUS_KEY) is None
            if not silent or time.monotonic() >= deadline:
                raise
            at_most.cache_clear()
        time.sleep(pause_s)


def fitted(
    found: Cluster, *, workers: int, cpus: int, gpus: float | None, most: int | None = None
) -> Resources:
    """Return what a trial takes of a cluster, and how many it takes now.

    Args:
        found: the cluster.
        workers: training processes per trial.
        cpus: CPUs of each.
        gpus: GPUs of each; None is 1 where the cluster has any, else 0.
        most: trials at a time that the user wants at most.

    Raises:
        ResourceError: it will never take one.
    """
    if gpus is None:
        gpus = 1.0 if found.whole("GPU") or 0 < (found.at_most or {}).get("GPU", 0.0) < math.inf else 0.0
    need = Resources(workers=workers, cpus=cpus, gpus=gpus, slots=1)
    if not found.could_hold(need) and not found.may_come(need):
        raise ResourceError(f"resources: {_never(found, need)}")
    slots = found.room(need)
    waits = "" if slots else f"{_asks(need)}; {_lacks(found, need)}. The search waits for that"
    slots = min(max(1, slots), most or slots)
    return Resources(workers=workers, cpus=cpus, gpus=gpus, slots=max(1, slots), waits=waits)


def _asks(need: Resources) -> str:
    told = " and ".join(amount(need.workers * each, name) for name, each in need.each.items())
    share = " and ".join(f"{one:g}" for one in need.each.values())
    return f"one trial needs {told} ({plural(need.workers, 'worker')} of {share})"


def amount(number: float, name: str) -> str:
    """Return `1 CPU`, `2 CPUs`, `0.25 GPUs`."""
    return f"{number:g} {name}{'' if number == 1 else 's'}"


def _never(found: Cluster, need: Resources) -> str:
    """Return that not even one trial fits, of what there is too little, and what to do."""
    lacking = [name for name, each in need.each.items() if _most(found, name) < need.workers * each]
    if not lacking:
        largest = [max((node.get(name, 0.0) for node in found.nodes), default=0.0) for name in need.each]
        have = " and ".join(map(amount, largest, need.each))
        lacking, told = list(need.each), f"no node has what one worker takes (at most {have})"
    else:
        told = "the cluster has " + " and ".join(amount(_most(found, name), name) for name in lacking)
    ever = "may grow to no more" if found.at_most is not None else "has no autoscaler that would bring more"
    lower = " or ".join(f"resources.{name.lower()}s_per_worker" for name in lacking)
    return f"{_asks(need)}, {told} and {ever}. Lower resources.workers_per_trial or {lower}, or add nodes."


def _most(found: Cluster, name: str) -> float:
    return max(found.whole(name), (found.at_most or {}).get(name, 0.0))


def _lacks(found: Cluster, need: Resources) -> str:
    """Return what is free, and who may bring more."""
    free = ", ".join(f"{found.free.get(name, 0.0):g} of {found.whole(name):g} {name}s" for name in need.each)
    more = "; an autoscaler may bring more" if found.may_come(need) else ""
    left = "" if found.could_hold(need) else "; a node has gone or is still to come"
    return f"{free} are free{more or left}"


@final
class Capacity:
    """Follows a cluster while it grows and shrinks."""

    def __init__(
        self,
        need: Resources,
        *,
        ahead: int,
        most: int | None = None,
        look: Callable[[], Cluster] = look,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what there is to follow.

        Args:
            need: of one trial.
            ahead: candidates to prepare beyond those that there is room for.
            most: trials at a time that the user wants at most.
            look: asks Ray.
            clock: seconds, monotonic.
        """
        self._need, self._ahead, self._most, self._look, self._clock = need, ahead, most, look, clock
        self._found: Cluster | None = None
        self._looked_at, self._pause = -math.inf, LOOK_EVERY_S
        self._short_since: float | None = None

    @property
    def slots(self) -> int:
        """Trials that there is room for now, those of this search included."""
        slots = self._cluster().room(self._need)
        return slots if self._most is None else min(slots, self._most)

    @property
    def room(self) -> int:
        """Candidates that may be prepared or in training at a time, at least 1."""
        found = self._cluster()
        coming = int(min(found.may_come(self._need), BROUGHT))
        room = max(found.room(self._need) + max(self._ahead, coming), 1)
        return room if self._most is None else min(room, self._most)

    @property
    def waiting(self) -> str:
        """Which trials have waited for resources for ten seconds, and why; "" for none."""
        found, now = self._cluster(), self._clock()
        could = found.could_hold(self._need) if self._most is None else self._most
        short = found.waiting if not found.placed else min(found.waiting, max(could - found.placed, 0))
        if short <= 0:
            self._short_since = None
            return ""
        self._short_since = now if self._short_since is None else self._short_since
        if now - self._short_since < TOLD_S:
            return ""
        return (
            f"{short} {'waits' if short == 1 else 'wait'}: {_asks(self._need)}, {_lacks(found, self._need)}"
        )

    def _cluster(self) -> Cluster:
        now = self._clock()
        if self._found is None or now - self._looked_at >= self._pause:
            self._found = self._look()
            self._looked_at = self._clock()
            self._pause = max(LOOK_EVERY_S, SHARE * (self._looked_at - now))
        return self._found
