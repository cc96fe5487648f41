"""Worker groups that outlive whoever asked for them are given back; nothing else is touched, and no search ends for it."""

from collections.abc import Callable

from ray.core.generated import common_pb2, gcs_pb2

from search.tune import groups as module
from search.tune.groups import CHECK_EVERY_S, PATIENCE_S, Group, Watchdog, own_groups

LEFT = Group(name="aa", placed=True, orphaned=True, devices={"CPU": 2.0})
WAITING = Group(name="bb", placed=False, devices={"CPU": 2.0})
HEALTHY = Group(name="cc", placed=True, devices={"CPU": 2.0})


class Scene:
    """A clock, the groups of a run, and what is done with them."""

    def __init__(self, *groups: Group) -> None:
        self.now = 0.0
        self.groups = list(groups)
        self.said: list[str] = []
        self.given_back: list[str] = []
        self.dog = Watchdog(
            self.said.append, groups=lambda: self.groups, give_back=self.give_back, clock=lambda: self.now
        )

    def give_back(self, group: Group) -> None:
        """Remove it, as Ray does."""
        self.given_back.append(group.name)
        self.groups.remove(group)

    def pass_by(self, seconds: float, every: Callable[[], None] = lambda: None) -> None:
        """Let time pass, looking each second."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            every()
            self.dog.check()


def test_a_group_whose_creator_is_gone_is_given_back_after_half_a_minute_and_told() -> None:
    scene = Scene(LEFT, WAITING, HEALTHY)
    scene.pass_by(PATIENCE_S)
    assert scene.given_back == []
    scene.pass_by(2 * CHECK_EVERY_S)
    assert scene.given_back == ["aa"]
    assert scene.said == [
        "1 worker group outlived the trial that had asked for it: given back, the search goes on"
    ]
    assert scene.groups == [WAITING, HEALTHY]


def test_groups_that_wait_or_hold_for_hours_are_nobodys_leak() -> None:
    scene = Scene(WAITING, HEALTHY)
    scene.pass_by(7200)
    assert scene.given_back == []
    assert scene.said == []


def test_one_that_ray_gives_back_by_itself_is_not_told() -> None:
    scene = Scene(LEFT)
    scene.pass_by(PATIENCE_S - 5)
    scene.groups.clear()
    scene.pass_by(200)
    scene.groups.append(LEFT)  # another one of that name begins anew
    scene.pass_by(PATIENCE_S)
    assert scene.given_back == []


def test_at_the_end_orphans_go_at_once() -> None:
    scene = Scene(LEFT, HEALTHY)
    scene.dog.settle()
    assert scene.given_back == ["aa"]
    assert scene.said == []


def table(job: str, *, state: int = 1, **fields: object) -> bytes:
    """Return a row of Ray's table of groups, as it sends it."""
    bundle = common_pb2.Bundle(unit_resources={"CPU": 1.0, "memory": 7.0})
    made = gcs_pb2.PlacementGroupTableData(
        placement_group_id=bytes.fromhex("ab" * 18),
        creator_job_id=bytes.fromhex(job),
        state=state,
        bundles=[bundle, bundle],
        **{"creator_actor_id": bytes(range(16)), **fields},
    )
    return bytes(made.SerializeToString())


def test_groups_of_other_jobs_removed_ones_and_those_without_devices_are_not_ours(monkeypatch) -> None:
    states = gcs_pb2.PlacementGroupTableData.PlacementGroupState
    bare = gcs_pb2.PlacementGroupTableData(
        creator_job_id=bytes.fromhex("01000000"),
        state=states.CREATED,
        bundles=[common_pb2.Bundle(unit_resources={"memory": 7.0})],
    )
    rows = [
        table("02000000", state=states.CREATED, creator_actor_dead=True),
        table("01000000", state=states.REMOVED, creator_actor_dead=True),
        bare.SerializeToString(),
        table("01000000", state=states.CREATED),
        table("01000000", state=states.PENDING),
        table("01000000", state=states.CREATED, creator_actor_dead=True),
        table("01000000", state=states.CREATED, creator_actor_dead=True, is_detached=True),
        table("01000000", state=states.CREATED, creator_actor_dead=True, creator_actor_id=b"\xff" * 16),
    ]

    class Told:
        def get_job_id(self) -> str:
            return "01000000"

        def get_placement_group_table(self) -> list[bytes]:
            return rows

        def _connect_and_get_accessor(self) -> "Told":
            return self

    monkeypatch.setattr(module.ray, "get_runtime_context", Told)
    monkeypatch.setattr(module.ray._private.state, "state", Told())
    found = own_groups()
    assert [(group.placed, group.orphaned) for group in found] == [
        (True, False),
        (False, False),
        (True, True),
        (True, False),
        (True, False),  # of a driver, or of a user's task
    ]
    assert {group.name for group in found} == {"ab" * 18}
    assert all(group.devices == {"CPU": 2.0, "GPU": 0.0} for group in found)
