"""Prepare data on a cluster: `python -m trainables.datasets.prepare --address ADDRESS` takes its processes from here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.tune.cluster_token import offer_token
from spaces.errors import ResourceError
from trainables.datasets.base import Progress
from trainables.datasets.prepare.making import Made, Order, make_shards
from trainables.datasets.prepare.work import Spread

ROUNDS = 8  # groups of shards for each CPU: what a lost node had begun is little, and so is what the last one waits for


@dataclass(frozen=True, kw_only=True)
class _Takes:
    """What a process that makes shards takes: one CPU."""

    cpus: float = 1.0
    gpus: float = 0.0


def on_cluster(address: str, *, places: Mapping[str, Path], say: Progress) -> Spread:
    """Return what carries orders out on the nodes of a cluster, a CPU each.

    Args:
        address: `host:port` or `auto`.
        places: that are read, by their flags: a node that does not see one would leave all of its pictures out as missing.
        say: takes a line for the user.

    Raises:
        ResourceError: there is no such cluster.
    """
    offer_token()  # before anything imports ray
    from search.tune.address import check_address

    check_address(address)

    def spread(orders: Sequence[Order]) -> Iterator[Made]:
        import ray

        from search.tune.cluster import joined
        from search.tune.shared import check_seen, unseen
        from search.tune.tasks import run_all

        if not orders:
            return
        with joined(address):
            check_seen({"--out": Path(orders[0].out)})
            for flag, place in places.items():
                if blind := unseen([str(place)]):
                    raise ResourceError(
                        f"{flag} {place}: the nodes {', '.join(blind)} do not see it. Put it on storage that every node "
                        "mounts at the same path."
                    )
            cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
            size = max(1, len(orders) // (ROUNDS * cpus))
            groups = [list(orders[first : first + size]) for first in range(0, len(orders), size)]
            say(f"{len(orders):,} shards in {len(groups):,} parts on {cpus} CPUs of the cluster")
            for outcome in run_all(make_shards, [(group,) for group in groups], resources=_Takes(), say=say):
                yield from outcome.result()

    return spread
