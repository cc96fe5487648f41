"""What every searcher of the table must do, alone and behind the Ray Searcher."""

import inspect
import itertools
import math

import pytest
from ray.tune.search import Searcher

from search.admission import Past, Proposal
from search.searchers import SEARCHERS
from search.searchers.base import Proposer
from search.searchers.candidate_searcher import CandidateSearcher, SearchPlan
from spaces.domains import Choice
from spaces.options import check_options
from spaces.plugins import resolve
from tests.unit.search.desk import DOMAINS, OBJECTIVES, ToyDesk, params_of


@pytest.fixture(params=sorted(SEARCHERS))
def plugin(request: pytest.FixtureRequest) -> type[Proposer]:
    return resolve(SEARCHERS, request.param, "searchers")


def make(plugin: type[Proposer], seed: int = 0) -> Proposer:
    return plugin(plugin.Config(), DOMAINS, seed=seed, objectives=OBJECTIVES)


def outcome(number: int, proposal: Proposal) -> tuple[dict | None, bool]:
    """Return a row and whether the trial failed: some crash, are NaN, or stop before they are measured."""
    if number % 7 == 3:
        return None, True
    if number % 7 == 5:
        return {"retention": math.nan, "status": "diverged"}, False
    if number % 7 == 6:
        return {"loss": 1.0}, False
    return {"retention": 50 - abs(params_of(proposal.candidate) - 200) / 10}, False


def run(searcher: CandidateSearcher, steps: int) -> list[Past]:
    """Hand out and complete trials one after the other; return what a resume would know of them."""
    past = []
    for number in range(steps):
        trial_id = f"t{number}"
        assert isinstance(searcher.suggest(trial_id), dict)
        proposal = searcher._live[trial_id]
        row, error = outcome(proposal.index, proposal)
        searcher.on_trial_complete(trial_id, row, error=error)
        failed = error or (row or {}).get("status") == "diverged"
        past.append(Past(proposal=proposal, row=row or {}, failed=failed, admitted=True))
    return past


def ids(past: list[Past]) -> list[str]:
    return [one.proposal.candidate.candidate_id for one in past]


def test_table_is_sorted() -> None:
    assert list(SEARCHERS) == sorted(SEARCHERS)


def test_is_final_names_its_source_and_nests_a_frozen_config(plugin: type[Proposer]) -> None:
    assert issubclass(plugin, Proposer)
    assert getattr(plugin, "__final__", False)
    assert "Bergstra" in inspect.getdoc(plugin)
    assert plugin.Config.__dataclass_params__.frozen
    assert check_options(plugin.Config, {}, str) == []
    assert check_options(plugin.Config, {"no_such": 1}, str) != []


def test_stays_inside_the_domains(plugin: type[Proposer]) -> None:
    past = run(CandidateSearcher(make(plugin), ToyDesk(), plan=SearchPlan(trials=60)), 60)
    for one in past:
        assert one.proposal.values.keys() == DOMAINS.keys()
        assert all(DOMAINS[path].contains(value) for path, value in one.proposal.values.items())


def test_repeats_under_a_seed_and_differs_under_another(plugin: type[Proposer]) -> None:
    runs = [
        ids(run(CandidateSearcher(make(plugin, seed), ToyDesk(), plan=SearchPlan(trials=30)), 30))
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])


def test_a_proposal_is_the_same_whatever_was_proposed_before_it(plugin: type[Proposer]) -> None:
    fresh, used = make(plugin), make(plugin)
    for index in range(5):
        used.propose(index)
    assert used.propose(7) == fresh.propose(7)


@pytest.mark.parametrize("limit", [1e9, 300])
def test_resumes_in_mid_search_identically(plugin: type[Proposer], limit: float) -> None:
    whole = run(CandidateSearcher(make(plugin), ToyDesk(limit=limit), plan=SearchPlan(trials=40)), 40)
    desk = ToyDesk(limit=limit)
    first = run(CandidateSearcher(make(plugin), desk, plan=SearchPlan(trials=25)), 25)
    rejected = [Past(proposal=p, row={}, failed=True, admitted=False) for p, _ in desk.rejected]
    past = sorted([*first, *rejected], key=lambda one: one.proposal.index)
    plan = SearchPlan(trials=40, past=past, start_index=past[-1].proposal.index + 1)
    second = run(CandidateSearcher(make(plugin), ToyDesk(limit=limit), plan=plan), 15)
    assert ids(first + second) == ids(whole)


def test_copes_when_every_trial_fails(plugin: type[Proposer]) -> None:
    searcher = CandidateSearcher(make(plugin), ToyDesk(), plan=SearchPlan(trials=40))
    for number in range(40):
        searcher.suggest(f"t{number}")
        searcher.on_trial_complete(
            f"t{number}", None if number % 2 else {"retention": math.nan}, error=bool(number % 2)
        )
    assert searcher.suggest("end") == Searcher.FINISHED


def test_never_proposes_a_candidate_twice(plugin: type[Proposer]) -> None:
    searcher = CandidateSearcher(make(plugin), ToyDesk(), plan=SearchPlan(trials=100))
    past = run(searcher, 100)
    assert len(set(ids(past))) == 100
    assert searcher.suggest("end") == Searcher.FINISHED


def test_empties_a_small_space(plugin: type[Proposer]) -> None:
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(1, 2)), "training.lr": Choice(options=(1e-3,))}
    proposer = plugin(plugin.Config(), domains, seed=0, objectives=OBJECTIVES)
    searcher = CandidateSearcher(proposer, ToyDesk(), plan=SearchPlan(trials=99))
    for number in itertools.count():
        if searcher.suggest(f"t{number}") == Searcher.FINISHED:
            break
        searcher.on_trial_complete(f"t{number}", {"retention": float(number)})
    assert (number, searcher.ended_by) == (36, "exhausted")


def test_knows_nothing_to_propose_where_nothing_is_searched(plugin: type[Proposer]) -> None:
    proposer = plugin(plugin.Config(), {}, seed=0, objectives=OBJECTIVES)
    assert proposer.propose(0) == {}
    proposer.observe(0, {}, {"retention": 1.0}, failed=False)
    assert proposer.propose(1) == {}
