"""Worker groups that outlive their trials end the search, but not before two minutes."""

from types import SimpleNamespace

import pytest

from search.tune import watchdog
from search.tune.watchdog import Watchdog
from spaces.errors import ResourceError

JOB = "01000000"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def group(state: str = "CREATED", **bundle: float) -> dict:
    return {"state": state, "bundles": {0: bundle}}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Return the table of groups that Ray is made to tell."""
    found: dict[str, dict] = {}
    monkeypatch.setattr(watchdog.ray.util, "placement_group_table", lambda: found)
    context = SimpleNamespace(get_job_id=lambda: JOB)
    monkeypatch.setattr(watchdog.ray, "get_runtime_context", lambda: context)
    return found


def watched(seconds: range, running: int) -> float | None:
    """Return when the watchdog ends the search."""
    clock = Clock()
    dog = Watchdog(clock=clock)
    for second in seconds:
        clock.now = float(second)
        try:
            dog.check(running)
        except ResourceError:
            return clock.now
    return None


def test_a_group_too_many_is_told_after_two_minutes(groups: dict[str, dict]) -> None:
    groups |= {f"a{JOB}": group(CPU=1.0), f"b{JOB}": group("PENDING", CPU=1.0)}
    assert watched(range(400), running=1) == 147  # seen at 21, and looked at every 21 s
    assert watched(range(400), running=2) is None


@pytest.mark.parametrize(
    ("name", "other"),
    [
        (f"b{JOB}", group("REMOVED", CPU=1.0)),
        (f"b{JOB}", group(memory=1.0)),
        ("b02000000", group(CPU=1.0)),  # of another job on the same cluster
    ],
)
def test_groups_removed_without_devices_or_of_others_do_not_count(
    name: str, other: dict, groups: dict[str, dict]
) -> None:
    groups |= {f"a{JOB}": group(CPU=1.0), name: other}
    assert watched(range(400), running=1) is None
