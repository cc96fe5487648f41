"""What a proposer is told of candidates, in which order, and that a resumed search tells it the same."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.search_plan import Queued, SearchPlan
from search.proposal import Admitted, Past, Proposal, Rejected
from search.run_folder.recorder import Recorder
from search.searchers.base import Outcome, Proposer, Values
from search.stopping.stop_rules import INTERRUPTED, Ending
from spaces.domains import Scalar
from tests.unit.search.toy_admissions import DOMAINS, OBJECTIVES, ToyAdmissions, make_candidate, params_of

VALUES = {"student.width": "0.5x", "student.depth": 2, "losses.itm.weight": 0, "training.lr": 1e-3}
PLATEAU = Ending(ended_by="plateau", reason="no gain")


class Listener(Proposer):
    """Proposes by what it was told, in the order in which candidates ended, and remembers all of it."""

    def prepare(self) -> None:
        self.told: list[tuple[int, Outcome]] = []
        self._ends = ""

    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        return self.draw(int(hashlib.sha256(f"{self._ends}{index}".encode()).hexdigest()[:8], 16))

    def observe(self, index: int, values: Values, outcome: Outcome) -> None:
        self.told.append((index, outcome))
        if outcome.last is not None:
            self._ends += f"{index}: {[self.point(row) for row in outcome.rows]}; "


def make(
    plan: SearchPlan,
    admissions: ToyAdmissions | None = None,
    objectives: dict[str, str] = OBJECTIVES,
    **more: Any,
) -> tuple[CandidateSearcher, Listener]:
    listener = Listener(None, DOMAINS, seed=3, objectives=objectives)
    return CandidateSearcher(
        listener, admissions or ToyAdmissions(), plan=plan, clock=lambda: 0.0, **more
    ), listener


def result(epoch: int, retention: float | None = None, **more: Any) -> dict[str, Any]:
    metrics = {} if retention is None else {"retention": retention}
    return {"candidate_id": "x", "epoch": epoch, "status": "running", "params": 64.0, **metrics, **more}


def last(listener: Listener) -> Outcome:
    return listener.told[-1][1]


def test_a_trial_is_pending_with_its_costs_before_it_has_ended() -> None:
    searcher, listener = make(SearchPlan(trials=5))
    config = searcher.suggest("t0")
    assert [index for index, _ in listener.told] == [0]
    assert last(listener) == Outcome(state="pending", costs={"params": config["params"]}, full_epochs=9)


def test_the_rows_with_all_objectives_come_by_rising_epoch_the_stopping_one_included() -> None:
    searcher, listener = make(SearchPlan(trials=5))
    searcher.suggest("t0")
    searcher.on_trial_result("t0", result(1, 40.0, loss=2.0))
    searcher.on_trial_result("t0", result(2))  # no metrics at this epoch
    searcher.on_trial_result("t0", result(1, 40.0))  # a restarted trial tells its rows again
    searcher.on_trial_complete("t0", result(3, 50.0))  # Tune tells the row at which it is stopped only here
    assert last(listener).state == "measured"
    assert [(row["epoch"], row["retention"], row["params"]) for row in last(listener).rows] == [
        (1, 40.0, 64.0),
        (3, 50.0, 64.0),
    ]
    assert last(listener).last == last(listener).rows[-1]


@pytest.mark.parametrize(
    ("told", "error"),
    [(None, True), (result(2, 60.0), True)]
    + [(result(2, 60.0, status=status), False) for status in ("diverged", "collapsed", "oom", "crashed")],
)
def test_a_failure_is_told_as_one_and_never_as_a_value(told: dict[str, Any] | None, error: bool) -> None:
    searcher, listener = make(SearchPlan(trials=5))
    searcher.suggest("t0")
    searcher.on_trial_result("t0", result(1, 40.0))
    searcher.on_trial_complete("t0", told, error=error)
    assert (last(listener).state, last(listener).rows, last(listener).last) == ("failed", (), None)


@pytest.mark.parametrize(
    ("told", "stopped", "state"),
    [
        (result(2, 60.0), False, "failed"),  # its process ended without an error, and without a last row
        (None, False, "failed"),
        (result(2, 60.0), True, "measured"),
        (result(9, 60.0, status="finished"), False, "measured"),
    ],
)
def test_a_trial_without_a_last_row_has_failed_for_the_proposer_as_in_the_table(
    told: dict[str, Any] | None, stopped: bool, state: str
) -> None:
    searcher, listener = make(SearchPlan(trials=5), stopped=lambda candidate_id: stopped)
    searcher.suggest("t0")
    searcher.on_trial_result("t0", result(1, 40.0))
    searcher.on_trial_complete("t0", told)
    assert last(listener).state == state


@pytest.mark.parametrize("lost", [{"mean_recall": math.nan}, {"mean_recall": None}, {}])
def test_a_row_that_lacks_an_objective_is_no_measurement(lost: dict[str, Any]) -> None:
    searcher, listener = make(SearchPlan(trials=5), objectives={**OBJECTIVES, "mean_recall": "max"})
    searcher.suggest("t0")
    searcher.on_trial_result("t0", result(1, 40.0, mean_recall=30.0))
    searcher.on_trial_complete("t0", result(3, 50.0, **lost))
    assert [row["epoch"] for row in last(listener).rows] == [1]


def test_refused_candidates_carry_how_far_they_are_beyond_the_limits() -> None:
    admissions = ToyAdmissions(limit=150, legal_depth=4)
    searcher, listener = make(SearchPlan(trials=12), admissions)
    while searcher.suggest("t") != Searcher.FINISHED:
        pass
    refused = {index: outcome for index, outcome in listener.told if outcome.state == "refused"}
    expected = {
        proposal.index: math.log(params_of(proposal.candidate) / 150)
        if proposal.candidate.config
        else math.inf  # could not even be built
        for proposal, _ in admissions.rejected
    }
    assert {index: outcome.violation for index, outcome in refused.items()} == pytest.approx(expected)
    assert math.inf in expected.values()
    assert all(outcome.last is None for outcome in refused.values())


def test_nothing_is_told_of_the_blind_student() -> None:
    blind = Proposal(candidate=make_candidate(VALUES).blinded(), values=VALUES)
    searcher, listener = make(SearchPlan(trials=1, queue=[Queued(proposal=blind)]))
    searcher.suggest("t0")
    searcher.on_trial_result("t0", result(1, 20.0))
    searcher.on_trial_complete("t0", result(9, 20.0, status="finished"))
    assert listener.told == []


def test_nothing_is_told_of_trials_that_were_cut_off() -> None:
    now: list[Ending] = []
    searcher, listener = make(SearchPlan(trials=5), ending=lambda: now[0] if now else None)
    searcher.suggest("t0")
    searcher.on_trial_result("t0", result(1, 40.0))
    now.append(INTERRUPTED)
    searcher.on_trial_complete("t0", None, error=True)  # a worker that dies with the search is no failure
    assert [outcome.state for _, outcome in listener.told] == ["pending"]
    assert searcher.suggest("t1") == Searcher.FINISHED
    assert searcher.ended_by == "interrupted"


def test_a_plateau_hands_out_what_an_earlier_session_had_begun_and_nothing_else() -> None:
    begun = [
        Queued(
            proposal=Proposal(candidate=make_candidate({**VALUES, "student.depth": depth}), values=VALUES),
            admitted=Admitted(costs={}),
        )
        for depth in (3, 4)
    ]
    fresh = Queued(proposal=Proposal(candidate=make_candidate(VALUES), values=VALUES))
    plan = SearchPlan(trials=9, queue=[begun[0], fresh, begun[1]])
    for primed in (False, True):
        searcher, _ = make(plan, ending=lambda: PLATEAU)
        if primed:
            searcher.prime()
        handed = [searcher.suggest(f"t{number}") for number in range(3)]
        ids = [config["candidate_id"] for config in handed[:2]]
        assert ids == [queued.proposal.candidate.candidate_id for queued in begun]
        assert handed[2] == Searcher.FINISHED
        assert (searcher.ended_by, searcher.ended.reason) == ("plateau", "no gain")


def test_a_waiting_candidate_is_pending_once_it_is_admitted() -> None:
    start = Queued(proposal=Proposal(candidate=make_candidate(VALUES), values=VALUES))
    refused, listener = make(SearchPlan(trials=1, queue=[start]), ToyAdmissions(limit=100))
    assert listener.told == []
    refused.suggest("t0")
    assert listener.told[0][1].state == "refused"


class RecordingDesk(ToyAdmissions):
    """A toy admissions that writes candidates down as the experiment's does."""

    def __init__(self, recorder: Recorder, **limits: float) -> None:
        super().__init__(**limits)
        self.recorder = recorder

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        self.recorder.add_running(proposal, admitted)
        return super().trial_config(proposal, admitted)

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        self.recorder.add_rejected(proposal, rejected)


class Session:
    """Two trials side by side that end in an order of their own, written down by a real recorder."""

    def __init__(self, folder: Path, trials: int) -> None:
        names = {"metric_names": ["retention"], "loss_names": []}
        resumed = (folder / "trials.arrow").exists()
        self.recorder = Recorder.load(folder, **names) if resumed else Recorder(folder, **names)
        plan = SearchPlan(
            trials=trials,
            queue=[Queued(proposal=one, admitted=costs) for one, costs in self.recorder.unfinished()],
            past=self.recorder.past(),
            start_index=self.recorder.next_index,
        )
        admissions = RecordingDesk(self.recorder, limit=300, legal_depth=5)
        self.searcher, self.listener = make(plan, admissions)

    def play(self, ends: int) -> list[str]:
        """Let so many trials end; return the candidates that were handed out meanwhile."""
        handed: list[str] = []
        live: list[str] = []
        for candidate_id in self._suggested():
            handed.append(candidate_id)
            live = sorted([*live, candidate_id])
            if len(live) == 2 and ends:
                self._end(live.pop(0))
                ends -= 1
            if not ends:
                break
        self.recorder.close()
        return handed

    def _suggested(self) -> Iterator[str]:
        while (config := self.searcher.suggest("new")) != Searcher.FINISHED:
            assert isinstance(config, dict)
            candidate_id = str(config["candidate_id"])
            self.searcher._live[candidate_id] = self.searcher._live.pop("new")
            yield candidate_id

    def _end(self, candidate_id: str) -> None:
        number = int(candidate_id, 16)
        status = "crashed" if number % 5 == 0 else "finished" if number % 3 else "stopped"
        params = float(self.recorder.row(candidate_id)["params"])
        rows = [
            result(1, float(number % 91), candidate_id=candidate_id, params=params),
            result(9, float(number % 97), candidate_id=candidate_id, params=params, status=status),
        ]
        for row in rows if status == "finished" else rows[:1]:
            self.recorder.record_epoch({**row, "loss": 1.0, "wall_s": 1.0, "cpu_s": 1.0})
            self.searcher.on_trial_result(candidate_id, row)
        self.recorder.finish(candidate_id, status)
        told = rows[0] if status == "stopped" else rows[1]
        self.searcher.on_trial_complete(candidate_id, told, error=status == "crashed")


@pytest.mark.parametrize("ends", [1, 5, 9])
def test_a_resumed_search_proposes_what_an_unbroken_one_does(tmp_path: Path, ends: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole = Session(tmp_path / "whole", 20)
    expected = whole.play(19)
    first = Session(tmp_path / "broken", 20).play(ends)
    unfinished = [one for one in first if one not in _through(tmp_path / "broken")]
    resumed = Session(tmp_path / "broken", 20)
    again = resumed.play(19 - ends)
    assert again[: len(unfinished)] == unfinished
    assert first + again[len(unfinished) :] == expected
    assert _ends(resumed.listener) == _ends(whole.listener)


def _through(folder: Path) -> set[str]:
    recorder = Recorder.load(folder, metric_names=["retention"], loss_names=[])
    return {past.proposal.candidate.candidate_id for past in recorder.past() if past.status != "rejected"}


def _ends(listener: Listener) -> list[tuple[int, Any]]:
    """Return what was told of the measured ones, in the order in which they ended."""
    return [(index, told.rows, told.full_epochs) for index, told in listener.told if told.state == "measured"]


def test_the_past_is_told_as_it_was_when_it_happened(tmp_path: Path) -> None:
    session = Session(tmp_path, 12)
    session.play(9)
    resumed = Session(tmp_path, 12)
    live = {index: told for index, told in session.listener.told if told.state != "pending"}
    past = {index: told for index, told in resumed.listener.told if told.state != "pending"}
    assert past == live
    assert {told.state for told in past.values()} == {"measured", "failed", "refused"}
    waiting = [index for index, told in resumed.listener.told if told.state == "pending"]
    assert waiting == [one.index for one, _ in resumed.recorder.unfinished()]


def test_a_past_row_that_lacks_an_objective_does_not_break_a_resume() -> None:
    proposal = Proposal(candidate=make_candidate(VALUES), index=0, values=VALUES)
    past = Past(proposal=proposal, status="stopped", rows=[{"epoch": 1, "params": 64.0}])
    _, listener = make(SearchPlan(trials=5, past=[past], start_index=1))
    assert (last(listener).state, last(listener).rows) == ("measured", ())
