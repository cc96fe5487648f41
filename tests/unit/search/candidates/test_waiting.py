"""Candidates that wait for their latency: nobody else does, and the order is that of their proposals."""

from typing import Any

import pytest
from ray.tune.search import Searcher

from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.search_plan import Queued, SearchPlan
from search.candidates.waiting_line import LONG_S, MOST
from search.proposal import Admitted, Proposal, Rejected, Waiting
from search.searchers import SEARCHERS
from search.searchers.base import Proposer
from spaces.candidate import Candidate
from spaces.errors import LimitError
from spaces.plugins import resolve
from tests.unit.search.toy_admissions import DOMAINS, OBJECTIVES, ToyAdmissions, make_candidate, params_of

GOALS = {**OBJECTIVES, "latency_ms": "min"}


class SlowAdmissions(ToyAdmissions):
    """Admits a candidate once its latency is known; a figure comes with each wait, in the order in which they were asked for."""

    def __init__(self, *, known: bool = False, slowest: float = 1e9) -> None:
        super().__init__()
        self.all_known, self.slowest = known, slowest
        self.known: set[str] = set()
        self.wanted: dict[str, None] = {}
        self.waits = 0

    def admit(self, candidate: Candidate) -> Admitted | Rejected | Waiting:
        costs = {"params": params_of(candidate)}
        name = candidate.candidate_id
        if not self.all_known and name not in self.known:
            self.wanted.setdefault(name)
            return Waiting(costs=costs, limited=self.slowest < 1e9)
        costs["latency_ms"] = params_of(candidate) / 10
        if costs["latency_ms"] > self.slowest:
            return Rejected(reason="slow", costs=costs, limit="latency_ms <= x", excess=2.0, shown="slow")
        return Admitted(costs=costs)

    def await_figure(self, seconds: float) -> bool:
        self.waits += 1
        return self.measure_next()

    def measure_next(self) -> bool:
        """Let one more figure be known."""
        name = next((name for name in self.wanted if name not in self.known), None)
        if name is not None:
            self.known.add(name)
        return name is not None


def proposer(kind: str = "random") -> Proposer:
    cls = resolve(SEARCHERS, kind, "searchers")
    made: Proposer = cls(cls.Config(), DOMAINS, seed=3, objectives=GOALS)
    return made


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def searched(
    admissions: SlowAdmissions, *, trials: int = 6, kind: str = "random", queue: Any = (), clock: Any = None
) -> CandidateSearcher:
    plan = SearchPlan(trials=trials, queue=queue)
    return CandidateSearcher(proposer(kind), admissions, plan=plan, clock=clock or Clock())


def run_through(searcher: CandidateSearcher) -> list[str]:
    """Return the candidates in the order in which they are handed out, one trial at a time."""
    order: list[str] = []
    while True:
        trial = f"t{len(order)}"
        config = searcher.suggest(trial)
        if config == Searcher.FINISHED:
            return order
        if isinstance(config, dict):
            order.append(config["candidate_id"])
            row = {"candidate_id": order[-1], "epoch": 9, "status": "finished", **config}
            searcher.on_trial_complete(trial, row | {"retention": float(len(order)), "latency_ms": 1.0})


@pytest.mark.parametrize("kind", sorted(SEARCHERS))
def test_the_same_candidates_go_in_the_same_order_whether_figures_are_known_or_waited_for(kind: str) -> None:
    known = run_through(searched(SlowAdmissions(known=True), kind=kind, trials=12))
    waited = run_through(searched(SlowAdmissions(), kind=kind, trials=12))
    assert waited == known
    assert len(set(known)) == 12


def test_suggest_does_not_wait_while_a_trial_runs() -> None:
    admissions = SlowAdmissions()
    searcher = searched(admissions)
    searcher.suggest("first")  # nothing runs: it may wait
    waits = admissions.waits
    for _ in range(5):
        assert searcher.suggest("second") is None
    assert admissions.waits == waits
    admissions.measure_next()
    assert isinstance(searcher.suggest("second"), dict)


def test_one_that_waits_is_not_overtaken_before_it_has_waited_long() -> None:
    admissions, clock = SlowAdmissions(), Clock()
    searcher = searched(admissions, trials=20, clock=clock)
    searcher.suggest("runs")
    assert searcher.suggest("next") is None
    (head,) = set(admissions.wanted) - admissions.known
    clock.now = LONG_S - 1
    assert searcher.suggest("next") is None
    assert set(admissions.wanted) - admissions.known == {head}  # nothing was proposed meanwhile
    clock.now = LONG_S
    assert searcher.suggest("next") is None
    others = list(admissions.wanted)[2:]
    assert others  # now it was
    admissions.known.add(others[0])
    config = searcher.suggest("next")
    assert isinstance(config, dict)
    assert config["candidate_id"] == others[0]
    admissions.known |= set(admissions.wanted)
    config = searcher.suggest("then")
    assert isinstance(config, dict)
    assert config["candidate_id"] == head  # and it is the first again


def test_no_more_than_a_few_wait_at_a_time() -> None:
    admissions, clock = SlowAdmissions(), Clock()
    searcher = searched(admissions, trials=100, clock=clock)
    searcher.suggest("runs")
    for clock.now in range(0, 1000, 10):
        assert searcher.suggest("next") is None
    assert len(set(admissions.wanted) - admissions.known) == MOST


def test_the_trials_are_as_many_as_asked_for_and_refused_ones_are_replaced() -> None:
    slowest = 20.0
    admissions = SlowAdmissions(slowest=slowest)
    order = run_through(searched(admissions, trials=5))
    expected = run_through(searched(SlowAdmissions(known=True, slowest=slowest), trials=5))
    assert order == expected
    assert len(order) == 5
    assert {rejected.reason for _, rejected in admissions.rejected} == {"slow"}


def test_limits_on_latency_that_nothing_meets_are_told_before_the_search_begins() -> None:
    with pytest.raises(LimitError, match="latency_ms <= x"):
        searched(SlowAdmissions(slowest=0.0)).prime()


def test_without_a_limit_on_latency_nothing_waits_before_the_search_begins() -> None:
    admissions = SlowAdmissions()
    values = proposer().propose(0)
    queue = [Queued(proposal=Proposal(candidate=make_candidate(values), values=values))]
    searcher = searched(admissions, queue=queue)
    searcher.prime()
    assert (admissions.waits, len(admissions.wanted)) == (0, 1)
    config = searcher.suggest("first")
    assert isinstance(config, dict)
    assert config["candidate_id"] == make_candidate(values).candidate_id
