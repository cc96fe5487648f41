"""The placement groups of this run: what they hold; and who gives back those that outlived whoever started them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import ray
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, remove_placement_group

Table: Any = gcs_pb2.PlacementGroupTableData  # type: ignore[attr-defined]  # made when it is imported
NOBODY = ray.ActorID.nil().binary()
DEVICES = ("CPU", "GPU")
PATIENCE_S = 30.0  # Ray Train's own clean-up needs 1 to 3
CHECK_EVERY_S = 10.0
SETTLE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One placement group.

    Attributes:
        name: its id in hex digits.
        placed: it holds what it asked for; else it waits for it.
        orphaned: whoever asked for it is gone. Never true of those that the driver of the search asked for itself.
        devices: CPUs and GPUs that it holds or waits for.
    """

    name: str
    placed: bool
    orphaned: bool = False
    devices: Mapping[str, float] = field(default_factory=dict)


def own_groups() -> list[Group]:
    """Return the groups of this driver's job that hold devices or wait for some; those of others are not looked at.

    Ray's public table does not say who made a group (none up to 2.60), so the one below it is read.
    """
    job = ray.get_runtime_context().get_job_id()
    accessor = ray._private.state.state._connect_and_get_accessor()
    tables = map(Table.FromString, accessor.get_placement_group_table())
    groups = (_group(table) for table in tables if table.creator_job_id.hex() == job and _lives(table))
    return [group for group in groups if any(group.devices.values())]


def _lives(table: Any) -> bool:
    return bool(table.state != Table.PlacementGroupState.REMOVED)


def _group(table: Any) -> Group:
    return Group(
        name=table.placement_group_id.hex(),
        placed=table.state == Table.PlacementGroupState.CREATED,
        # Ray says of groups that a driver or a task has asked for that their actor is dead: there was none
        orphaned=table.creator_actor_dead and table.creator_actor_id != NOBODY and not table.is_detached,
        devices={
            name: sum(bundle.unit_resources.get(name, 0.0) for bundle in table.bundles) for name in DEVICES
        },
    )


def give_back(group: Group) -> None:
    """Remove a placement group."""
    remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(group.name)))


@final
class Watchdog:
    """Looks after the placement groups of nested trials, whose drivers make groups of their own for their workers.

    A driver that is killed, with its trial or its node, takes its workers along, but not their group: Ray keeps that until
    the whole job ends. Ray Train removes it by way of the dashboard, and gives up where there is none or a second one (up to
    2.60); a group that still waited for room it does not know at all. The next trial would wait for ever for what it holds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        groups: Callable[[], Sequence[Group]] = own_groups,
        give_back: Callable[[Group], None] = give_back,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch.

        Args:
            say: takes a line for the user.
            groups: the placement groups of this run.
            give_back: removes one.
            clock: seconds, monotonic.
        """
        self._say, self._groups, self._give_back, self._clock = say, groups, give_back, clock
        self._orphaned: dict[str, float] = {}  # group -> when it was first seen without its creator
        self._checked = clock()

    def check(self) -> None:
        """Remove groups whose creator is gone for half a minute; looks every 10 s only. The search goes on."""
        now = self._clock()
        if now - self._checked < CHECK_EVERY_S:
            return
        self._checked = now
        orphans = [group for group in self._groups() if group.orphaned]
        self._orphaned = {group.name: self._orphaned.get(group.name, now) for group in orphans}
        due = [group for group in orphans if now - self._orphaned[group.name] >= PATIENCE_S]
        for group in due:
            self._give_back(group)
        if due:
            self._say(
                f"{len(due)} worker {'group' if len(due) == 1 else 'groups'} outlived the trial that had asked for "
                f"{'it' if len(due) == 1 else 'them'}: given back, the search goes on"
            )

    def settle(self) -> None:
        """Remove what the last trials leave behind: a Ray that goes on running would keep it. Waits a few seconds at most."""
        deadline = self._clock() + SETTLE_S
        while True:
            groups = self._groups()
            for group in groups:
                if group.orphaned:
                    self._give_back(group)
            if all(group.placed or group.orphaned for group in groups) or self._clock() >= deadline:
                return
            time.sleep(0.2)  # one still waits for room, and whoever had asked for it is about to end
