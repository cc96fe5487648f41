"""Each rule that ends a search: when it is met, what it says, and whether running trials end with it."""

import pickle

import pytest

from search.stopping.hypervolume import Growth, TeacherBox
from search.stopping.stop_rules import Ending, StopRules, described, likeness
from search.stopping.time_used import TimeUsed
from spaces.sections import StopSection

OBJECTIVES = {"retention": "max", "params": "min"}
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """Rules over a clock and rows of our own."""

    def __init__(self, *, facts: dict | None = None, interrupted: bool = False, **settings: object) -> None:
        self.clock, self.rows = Clock(), list[dict]()
        usage = TimeUsed(facts or {}, lambda: sum(row["wall_s"] for row in self.rows), clock=self.clock)
        usage.open(workers=2, cpus=1, gpus=0)
        box = TeacherBox(OBJECTIVES, {"retention": 100.0, "params": 1000.0})
        self.rules = StopRules(
            StopSection.model_validate(settings),
            used=usage,
            growth=Growth(box, OBJECTIVES),
            interrupted=lambda: interrupted,
            clock=self.clock,
        )

    def after(self, seconds: float) -> Ending | None:
        self.clock.now += seconds
        return self.rules.ending

    def end(self, candidate_id: str, status: str, *, reason: str = "", retention: float = 0.0, role="search"):
        row = {"candidate_id": candidate_id, "status": status, "reason": reason, "role": role}
        self.rules.note_end({**row, "retention": retention, "params": 500.0})


def test_without_rules_nothing_ends_a_search() -> None:
    watched = Watched()
    for number in range(100):
        watched.end(f"c{number}", "finished", retention=50)
    assert watched.after(1000 * HOUR) is None
    assert not watched.rules.over()
    assert watched.rules.wall_left_s is None
    assert described(StopSection()) == []


def test_wall_clock_ends_running_trials_too_and_says_how_to_go_on() -> None:
    watched = Watched(wall_hours=2, facts={"wall_s": 1.5 * HOUR})
    assert watched.after(0.49 * HOUR) is None
    assert watched.rules.wall_left_s == pytest.approx(0.01 * HOUR)
    ending = watched.after(0.02 * HOUR)
    assert ending is not None
    assert (ending.ended_by, ending.cut, ending.more) == ("wall_clock", True, "--wall-hours 4")
    assert ending.reason == "2.01 hours of wall clock are over, search.stop.wall_hours is 2"
    assert watched.rules.over()
    assert watched.rules.wall_left_s == 0.0


def test_device_hours_are_those_of_all_trials() -> None:
    watched = Watched(device_hours=1)
    watched.rows += [{"wall_s": 0.3 * HOUR}, {"wall_s": 0.1 * HOUR}]  # of two workers each: 0.8 hours
    assert watched.after(2) is None
    watched.rows[1]["wall_s"] = 0.25 * HOUR
    ending = watched.after(2)
    assert ending is not None
    assert (ending.ended_by, ending.cut, ending.more) == ("device_hours", True, "--device-hours 2")
    assert ending.reason == "1.1 CPU-hours are used, search.stop.device_hours is 1"


ALL_TRIED = Ending(ended_by="trials", reason="3 of 3 candidates tried")


def test_time_that_is_over_after_the_last_trial_has_ended_nothing() -> None:
    watched = Watched(wall_hours=1)
    watched.after(2 * HOUR)
    assert watched.rules.conclusion(ALL_TRIED, unfinished=False) == ALL_TRIED
    for ended, unfinished in ((ALL_TRIED, True), (None, False), (None, True)):
        found = watched.rules.conclusion(ended, unfinished=unfinished)
        assert found is not None
        assert found.ended_by == "wall_clock"


def test_failures_all_alike_are_told_though_nothing_was_left_to_try() -> None:
    watched = Watched()
    assert watched.rules.conclusion(None, unfinished=False) is None
    for number in range(5):
        watched.end(f"c{number}", "oom", reason="CUDA out of memory")
    found = watched.rules.conclusion(ALL_TRIED, unfinished=False)
    assert found is not None
    assert found.ended_by == "failures"


def test_a_plateau_ends_the_proposals_only() -> None:
    watched = Watched(plateau={"trials": 3, "gain_percent": 5})
    watched.end("a", "finished", retention=50)
    for number in range(2):
        watched.end(f"s{number}", "stopped")
    assert watched.after(0) is None  # only two ends since the last gain
    watched.end("b", "finished", retention=52)  # 50 -> 52 at the same cost is a gain of 4 %
    ending = watched.after(0)
    assert ending is not None
    assert (ending.ended_by, ending.cut) == ("plateau", False)
    assert ending.reason == (
        "the last 3 candidates that ended raised the hypervolume by 4 %, from 25.00 to 26.00 % of the box "
        "(search.stop.plateau.gain_percent is 5)"
    )
    assert not watched.rules.over()


def test_students_that_get_better_than_the_teacher_are_no_plateau() -> None:
    watched = Watched(plateau={"trials": 2, "gain_percent": 1})
    for number, retention in enumerate((99, 103, 108, 113, 118)):
        watched.end(f"c{number}", "finished", retention=retention)
        assert watched.after(0) is None
    for number in range(2):
        watched.end(f"worse {number}", "finished", retention=117)
    ending = watched.after(0)
    assert ending is not None
    assert ending.ended_by == "plateau"


def test_a_gain_above_the_bound_is_no_plateau_and_failures_are_no_ends() -> None:
    watched = Watched(plateau={"trials": 2, "gain_percent": 5})
    watched.end("a", "finished", retention=50)
    watched.end("b", "stopped")
    for number in range(9):
        watched.end(f"f{number}", "crashed", reason="x")
    assert watched.after(0) is None
    watched.end("c", "finished", retention=55)
    assert watched.after(0) is None
    watched.end("blind", "finished", retention=1, role="blind")
    assert watched.after(0) is None
    watched.end("d", "stopped")
    watched.end("e", "stopped")
    assert watched.after(0) is not None


def test_a_bound_of_zero_means_no_gain_at_all() -> None:
    watched = Watched(plateau={"trials": 1, "gain_percent": 0})
    watched.end("a", "finished", retention=50)
    watched.end("b", "finished", retention=50.001)
    assert watched.after(0) is None
    watched.end("c", "finished", retention=40)
    assert watched.after(0) is not None


def test_early_stops_before_anything_is_finished_are_no_plateau() -> None:
    watched = Watched(plateau={"trials": 3, "gain_percent": 100})
    for number in range(30):
        watched.end(f"s{number}", "stopped")
    assert watched.after(0) is None


def reason_of(candidate_id: str, step: int) -> str:
    return f"trial {candidate_id}: RuntimeError: CUDA error {step}: no device; see logs/{candidate_id}.log"


def test_the_first_five_trials_failing_alike_end_the_search_with_reason_and_log() -> None:
    watched = Watched()
    watched.end("blind", "finished", role="blind")
    for number in range(4):
        watched.end(f"c{number}", "crashed", reason=reason_of(f"c{number}", number))
        assert watched.after(0) is None
    watched.end("c4", "crashed", reason=reason_of("c4", 9))
    ending = watched.after(0)
    assert ending is not None
    assert (ending.ended_by, ending.cut) == ("failures", True)
    assert ending.reason == (
        "the first 5 candidates all ended alike, crashed: trial c4: RuntimeError: CUDA error 9: no device; "
        "see logs/c4.log"
    )


def test_divergence_is_one_cause_whatever_became_nan_first() -> None:
    watched = Watched()
    for number in range(5):
        what = f"loss '{'itc' if number % 2 else 'lm'}' is nan"
        watched.end(f"c{number}", "diverged", reason=f"trial c{number}, step {number}: {what}; lr 1.0e+06")
    ending = watched.after(0)
    assert ending is not None
    assert ending.reason.endswith("diverged: trial c4, step 4: loss 'lm' is nan; lr 1.0e+06; see logs/c4.log")


@pytest.mark.parametrize(
    "other",
    [
        ("finished", ""),
        ("stopped", "place 3 of 3"),
        ("oom", "trial c2, epoch 1: CUDA out of memory"),
        ("crashed", "trial c2: ValueError: the picture is broken; see logs/c2.log"),
    ],
)
def test_five_failures_with_another_end_among_them_do_not_end_the_search(other: tuple[str, str]) -> None:
    watched = Watched()
    for number in range(12):
        status, reason = other if number == 2 else ("crashed", reason_of(f"c{number}", number))
        watched.end(f"c{number}", status, reason=reason)
    assert watched.after(0) is None


def test_crashes_are_compared_without_ids_and_numbers() -> None:
    rows = [
        {
            "candidate_id": name,
            "status": "crashed",
            "reason": f"trial {name}: RuntimeError: mat{n} and mat{n} do not fit; see logs/{name}.log",
        }
        for n, name in enumerate(("7f3a91c2", "0badcafe"))
    ]
    assert [likeness(row) for row in rows] == [("crashed", "RuntimeError: mat# and mat#")] * 2


def test_a_signal_comes_before_every_rule() -> None:
    watched = Watched(interrupted=True, wall_hours=1)
    ending = watched.after(2 * HOUR)
    assert ending is not None
    assert (ending.ended_by, ending.cut) == ("interrupted", True)


def test_time_is_looked_at_once_a_second() -> None:
    watched = Watched(device_hours=1)
    assert watched.after(5) is None
    watched.rows.append({"wall_s": HOUR})
    assert watched.after(0.5) is None
    assert watched.after(0.6) is not None


def test_the_rules_are_told_in_words() -> None:
    settings = {"wall_hours": 2, "device_hours": 16, "plateau": {"trials": 20}}
    assert described(StopSection.model_validate(settings)) == [
        "2 hours of wall clock",
        "16 device-hours of training",
        "20 candidates that raise the hypervolume by 1 % or less",
    ]


def test_ray_can_pickle_them_in_the_middle_of_a_search() -> None:
    assert isinstance(pickle.loads(pickle.dumps(Watched(wall_hours=1).rules)), StopRules)


def test_run_json_gets_time_used_and_hypervolume() -> None:
    watched = Watched(facts={"wall_s": 10.0})
    watched.end("a", "finished", retention=50)
    watched.clock.now = 5.0
    facts = watched.rules.to_dict()
    assert (facts["wall_s"], facts["device"]) == (15.0, "CPU")
    assert facts["hypervolume"]["percent"] == pytest.approx(25.0)
    del facts["hypervolume"]["series"]
    assert watched.rules.so_far() == facts
