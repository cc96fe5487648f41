"""What every searcher of the table must do, alone and behind the Ray Searcher."""

import inspect
import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.tune.search import Searcher

from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.search_plan import Queued, SearchPlan
from search.proposal import Admitted, Past, Proposal, Rejected
from search.searchers import SEARCHERS
from search.searchers.base import Outcome, Proposer
from spaces.domains import Choice, Domain
from spaces.options import check_options
from spaces.plugins import resolve
from tests.unit.search.toy_admissions import DOMAINS, OBJECTIVES, ToyAdmissions, params_of

WORKERS = 3
SOURCES = {"evolution": "Deb", "hyperopt": "Bergstra", "random": "Bergstra"}


@pytest.fixture(params=sorted(SEARCHERS))
def plugin(request: pytest.FixtureRequest) -> type[Proposer]:
    return resolve(SEARCHERS, request.param, "searchers")


def make(plugin: type[Proposer], seed: int = 0, domains: dict[str, Domain] = DOMAINS) -> Proposer:
    return plugin(plugin.Config(), domains, seed=seed, objectives=OBJECTIVES)


def trained(proposal: Proposal) -> tuple[str, list[dict[str, Any]]]:
    """Return status and rows of a training: some crash, diverge, or are stopped at epoch 1 or 3; one never measures."""
    number, params = proposal.index, params_of(proposal.candidate)
    if number % 7 == 3:
        return "crashed", []
    if number % 7 == 5:
        return "diverged", [{"epoch": 1, "status": "diverged", "retention": math.nan, "params": params}]
    if number % 14 == 6:
        return "stopped", [{"epoch": 1, "loss": 1.0, "params": params}]
    quality = 50 - abs(params - 200) / 10
    epochs = {1: (1,), 2: (1, 3)}.get(number % 4, (1, 3, 9))
    rows = [{"epoch": e, "retention": quality - 9 / e, "params": params, "status": "running"} for e in epochs]
    if epochs[-1] == 9:
        rows[-1]["status"] = "finished"
    return "finished" if epochs[-1] == 9 else "stopped", rows


class JournalAdmissions(ToyAdmissions):
    """Keeps the past as a run's own tables do: in the order in which candidates ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.past: list[Past] = []

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        super().on_rejected(proposal, rejected)
        self.past.append(Past(proposal=proposal, status="rejected", costs=rejected.costs))


@dataclass
class Run:
    """A search with several workers, whose trials end out of order."""

    searcher: CandidateSearcher
    admissions: JournalAdmissions
    live: list[tuple[str, Proposal]] = field(default_factory=list)
    handed_out: list[str] = field(default_factory=list)

    def fill(self) -> None:
        while len(self.live) < WORKERS:
            trial_id = f"t{len(self.handed_out)}"
            config = self.searcher.suggest(trial_id)
            if not isinstance(config, dict):
                return
            self.handed_out.append(config["candidate_id"])
            self.live.append((trial_id, self.searcher._live[trial_id]))

    def end_one(self) -> None:
        trial_id, proposal = self.live.pop(2 * self.live[0][1].index % len(self.live))
        status, rows = trained(proposal)
        for row in rows:
            self.searcher.on_trial_result(trial_id, row)
        last = rows[-1] if rows else None
        self.searcher.on_trial_complete(trial_id, last, error=status == "crashed")
        self.admissions.past.append(Past(proposal=proposal, status=status, rows=rows))

    def go(self, ends: int) -> "Run":
        self.fill()
        for _ in range(ends):
            self.end_one()
            self.fill()
        return self


def start(plugin: type[Proposer], *, seed: int = 0, trials: int = 999, **limits: Any) -> Run:
    admissions = JournalAdmissions(**limits)
    return Run(CandidateSearcher(make(plugin, seed), admissions, plan=SearchPlan(trials=trials)), admissions)


def test_table_is_sorted() -> None:
    assert list(SEARCHERS) == sorted(SEARCHERS)


def test_is_final_names_its_source_and_nests_a_frozen_config(plugin: type[Proposer]) -> None:
    assert issubclass(plugin, Proposer)
    assert getattr(plugin, "__final__", False)
    assert any(source in str(inspect.getdoc(plugin)) for source in SOURCES.values())
    assert plugin.Config.__dataclass_params__.frozen
    assert check_options(plugin.Config, {}, str) == []
    assert check_options(plugin.Config, {"no_such": 1}, str) != []


def test_stays_inside_the_domains(plugin: type[Proposer]) -> None:
    run = start(plugin).go(50)
    for past in run.admissions.past:
        assert past.proposal.values.keys() == DOMAINS.keys()
        assert all(DOMAINS[path].contains(value) for path, value in past.proposal.values.items())


def test_repeats_under_a_seed_and_differs_under_another(plugin: type[Proposer]) -> None:
    runs = [start(plugin, seed=seed).go(30).handed_out for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])


def test_a_proposal_is_the_same_whatever_was_proposed_before_it(plugin: type[Proposer]) -> None:
    fresh, used = make(plugin), make(plugin)
    for index in range(25):
        for one in (fresh, used):
            values = one.draw(index)
            row = {"retention": float(values["student.depth"]), "params": float(index), "status": "finished"}
            one.observe(index, values, Outcome(state="measured", rows=(row,)))
        used.propose(index)
    assert used.propose(27) == fresh.propose(27)


@pytest.mark.parametrize("limits", [{}, {"limit": 300}, {"limit": 300, "legal_depth": 4}])
def test_resumes_in_mid_search_identically(plugin: type[Proposer], limits: dict[str, Any]) -> None:
    """Trials end out of order, some stopped or failed; those in training at the cut are handed out again."""
    whole = start(plugin, **limits).go(45)
    first = start(plugin, **limits).go(25)
    unfinished = [proposal for _, proposal in first.live]
    indices = [past.proposal.index for past in first.admissions.past] + [one.index for one in unfinished]
    plan = SearchPlan(
        trials=999,
        past=first.admissions.past,
        queue=[Queued(proposal=one, admitted=Admitted(costs={})) for one in unfinished],
        start_index=max(indices) + 1,
    )
    admissions = JournalAdmissions(**limits)
    second = Run(CandidateSearcher(make(plugin), admissions, plan=plan), admissions).go(20)
    assert first.handed_out + second.handed_out[WORKERS:] == whole.handed_out


def test_copes_when_every_trial_fails(plugin: type[Proposer]) -> None:
    searcher = CandidateSearcher(make(plugin), ToyAdmissions(), plan=SearchPlan(trials=40))
    for number in range(40):
        searcher.suggest(f"t{number}")
        row = {"epoch": 1, "retention": math.nan, "params": 1.0}
        searcher.on_trial_complete(f"t{number}", None if number % 2 else row, error=bool(number % 2))
    assert searcher.suggest("end") == Searcher.FINISHED


def test_hands_out_no_candidate_twice_in_a_small_space(plugin: type[Proposer]) -> None:
    """200 of 432: plain TPE repeats itself in more than half of them."""
    domains = {
        **DOMAINS,
        "losses.itm.weight": Choice(options=(0, 0.1, 0.3, 1, 3, 10)),
        "training.lr": Choice(options=(5e-4, 1e-3, 2e-3, 3e-3)),
    }
    searcher = CandidateSearcher(make(plugin, domains=domains), ToyAdmissions(), plan=SearchPlan(trials=200))
    handed_out = []
    for number in itertools.count():
        config = searcher.suggest(f"t{number}")
        if not isinstance(config, dict):
            break
        handed_out.append(config["candidate_id"])
        params = float(config["params"])
        row = {"epoch": 9, "status": "finished", "retention": 50 - abs(params - 200) / 10, "params": params}
        searcher.on_trial_complete(f"t{number}", row)
    assert (len(handed_out), len(set(handed_out)), searcher.ended_by) == (200, 200, "trials")


def test_empties_a_small_space(plugin: type[Proposer]) -> None:
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(1, 2)), "training.lr": Choice(options=(1e-3,))}
    searcher = CandidateSearcher(make(plugin, domains=domains), ToyAdmissions(), plan=SearchPlan(trials=99))
    for number in itertools.count():
        config = searcher.suggest(f"t{number}")
        if not isinstance(config, dict):
            break
        searcher.on_trial_complete(
            f"t{number}", {"epoch": 9, "retention": float(number), "params": float(config["params"])}
        )
    assert (number, searcher.ended_by) == (36, "exhausted")


def test_knows_nothing_to_propose_where_nothing_is_searched(plugin: type[Proposer]) -> None:
    proposer = make(plugin, domains={})
    assert proposer.propose(0) == {}
    for index in range(25):
        row = {"retention": 1.0, "params": 1.0}
        proposer.observe(index, {}, Outcome(state="measured", rows=(row,)))
    assert proposer.propose(30) == {}
