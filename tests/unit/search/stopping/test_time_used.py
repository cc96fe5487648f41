"""Wall clock and device-hours, counted on from session to session."""

import time

import pytest

from search.reporting.status_line import StatusLine
from search.stopping.time_used import TimeUsed


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def used(facts: dict, rows: list[dict], **devices: float) -> tuple[TimeUsed, Clock]:
    clock = Clock()
    usage = TimeUsed(facts, lambda: sum(row["wall_s"] for row in rows), clock=clock)
    if devices:
        usage.open(**devices)
    return usage, clock


def test_wall_clock_goes_on_where_the_last_session_ended() -> None:
    usage, clock = used({"wall_s": 60.0}, [])
    clock.now += 5
    assert usage.wall_s == 65.0
    assert usage.session_s == 5.0
    assert used(usage.to_dict(), [])[0].wall_s == 65.0


@pytest.mark.parametrize(
    ("devices", "expected", "unit"),
    [
        ({"workers": 1, "cpus": 1, "gpus": 0}, 12.0, "CPU"),
        ({"workers": 2, "cpus": 3, "gpus": 0}, 72.0, "CPU"),
        ({"workers": 2, "cpus": 3, "gpus": 0.5}, 12.0, "GPU"),
        ({"workers": 4, "cpus": 1, "gpus": 1}, 48.0, "GPU"),
    ],
)
def test_device_time_is_training_time_times_what_a_trial_holds(
    devices: dict, expected: float, unit: str
) -> None:
    rows = [{"wall_s": 10.0}, {"wall_s": 2.0}]
    usage, _ = used({}, rows, **devices)
    assert usage.device_s == pytest.approx(expected)
    assert usage.device == unit


def test_device_time_of_earlier_sessions_keeps_the_devices_of_its_time() -> None:
    rows = [{"wall_s": 10.0}]
    first, _ = used({}, rows, workers=4, cpus=1, gpus=0)
    facts = first.to_dict()
    rows.append({"wall_s": 5.0})  # trained by the second session, with one worker
    second, _ = used(facts, rows, workers=1, cpus=1, gpus=0)
    assert second.device_s == pytest.approx(4 * 10 + 5)


def test_what_a_killed_session_trained_is_counted_by_the_next() -> None:
    rows = [{"wall_s": 10.0}, {"wall_s": 6.0}]
    usage, _ = used({"trained_s": 10.0, "device_s": 20.0, "wall_s": 30.0}, rows, workers=2, cpus=1, gpus=0)
    assert usage.device_s == pytest.approx(20 + 2 * 6)


def test_a_session_that_ends_before_it_knows_its_devices_loses_nothing() -> None:
    rows = [{"wall_s": 10.0}]
    unopened, _ = used({"trained_s": 4.0, "device_s": 8.0}, rows)
    assert unopened.device_s == 8.0
    again, _ = used(unopened.to_dict(), rows, workers=2, cpus=1, gpus=0)
    assert again.device_s == pytest.approx(8 + 2 * 6)


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_is_set_under_a_running_search_ends_it_neither_early_nor_late(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, line = TimeUsed({"wall_s": 60.0}, lambda: 0.0), StatusLine(None)
    there = time.time()
    monkeypatch.setattr(time, "time", lambda: there + hours * 3600)
    assert 60.0 <= usage.wall_s < 60.0 + 600.0
    assert 0.0 <= usage.session_s < 600.0
    assert 0.0 <= line.elapsed_s < 600.0
    assert 60.0 <= float(usage.to_dict()["wall_s"]) < 60.0 + 600.0
