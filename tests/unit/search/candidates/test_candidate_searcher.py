"""The order in which candidates are handed out, and what never is."""

import itertools
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from ray.tune.search import Searcher

from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.search_plan import Queued, SearchPlan
from search.proposal import Admitted, Past, Proposal
from search.searchers.base import Outcome, Proposer
from search.searchers.random_search import RandomSearch
from search.stopping.stop_rules import INTERRUPTED
from spaces.domains import Choice, Float, Int
from spaces.errors import LimitError, RunError
from tests.unit.search.toy_admissions import DOMAINS, OBJECTIVES, ToyAdmissions, make_candidate

VALUES = {"student.width": "0.5x", "student.depth": 2, "losses.itm.weight": 0, "training.lr": 1e-3}


def make(
    admissions: ToyAdmissions, plan: SearchPlan, *, domains=DOMAINS, clock=lambda: 0.0, seed=0, **more
) -> CandidateSearcher:
    proposer = RandomSearch(RandomSearch.Config(), domains, seed=seed, objectives=OBJECTIVES)
    return CandidateSearcher(proposer, admissions, plan=plan, clock=clock, **more)


def drain(searcher: CandidateSearcher) -> list[dict[str, object]]:
    configs = []
    for number in itertools.count():
        config = searcher.suggest(f"t{number}")
        if config == Searcher.FINISHED:
            return configs
        assert isinstance(config, dict)
        configs.append(config)
    raise AssertionError


def test_hands_out_so_many_trials_and_ends() -> None:
    searcher = make(ToyAdmissions(), SearchPlan(trials=7))
    configs = drain(searcher)
    assert len({config["candidate_id"] for config in configs}) == len(configs) == 7
    assert searcher.ended_by == "trials"


def test_queue_comes_first_and_the_blind_student_does_not_count() -> None:
    default = make_candidate(VALUES)
    plan = SearchPlan(
        trials=3,
        queue=[
            Queued(
                proposal=Proposal(candidate=make_candidate(VALUES, seed=5), index=4),
                admitted=Admitted(costs={}),
            ),
            Queued(proposal=Proposal(candidate=default.blinded())),
            Queued(proposal=Proposal(candidate=default, values=VALUES)),
        ],
    )
    configs = drain(make(ToyAdmissions(), plan))
    ids = [config["candidate_id"] for config in configs]
    assert ids[:3] == [queued.proposal.candidate.candidate_id for queued in plan.queue]
    assert [config["role"] for config in configs] == ["search", "blind", "search", "search"]


def test_a_known_candidate_is_never_handed_out_again() -> None:
    first = drain(make(ToyAdmissions(), SearchPlan(trials=5)))
    admissions = ToyAdmissions()
    known = [
        Proposal(
            candidate=make_candidate(RandomSearch(None, DOMAINS, seed=0, objectives=OBJECTIVES).draw(i)),
            index=i,
        )
        for i in range(5)
    ]
    past = [Past(proposal=one, status="finished") for one in known]
    searcher = make(admissions, SearchPlan(trials=8, past=past))
    again = drain(searcher)
    assert not {config["candidate_id"] for config in again} & {config["candidate_id"] for config in first}
    assert (len(again), searcher.duplicates) == (3, 5)


def test_a_candidate_of_an_earlier_version_is_known_by_its_shorter_id() -> None:
    first = make(ToyAdmissions(), SearchPlan(trials=5))
    drain(first)
    short = [
        replace(one, candidate=replace(one.candidate, candidate_id=one.candidate.candidate_id[:8]))
        for one in first._live.values()
    ]
    past = [Past(proposal=one, status="finished") for one in short]
    again = drain(make(ToyAdmissions(), SearchPlan(trials=8, past=past)))
    ids = {str(config["candidate_id"]) for config in again}
    assert len(ids) == 3
    assert not {one[:8] for one in ids} & {one.candidate.candidate_id for one in short}


def test_a_resumed_run_goes_on_as_an_unbroken_one() -> None:
    whole = [config["candidate_id"] for config in drain(make(ToyAdmissions(), SearchPlan(trials=12)))]
    admissions = ToyAdmissions()
    earlier = make(admissions, SearchPlan(trials=6))
    drain(earlier)
    past = [Past(proposal=proposal, status="finished") for proposal in earlier._live.values()]
    start = max(one.proposal.index for one in past) + 1
    later = drain(make(ToyAdmissions(), SearchPlan(trials=12, past=past, start_index=start)))
    assert whole[6:] == [config["candidate_id"] for config in later]


def test_rejected_candidates_are_reported_and_do_not_count() -> None:
    admissions = ToyAdmissions(limit=130)
    searcher = make(admissions, SearchPlan(trials=6))
    assert all(config["params"] <= 130 for config in drain(searcher))
    assert admissions.rejected
    assert all(rejected.reason.startswith("params ") for _, rejected in admissions.rejected)
    indices = [proposal.index for proposal, _ in admissions.rejected]
    assert indices == sorted(set(indices))


def test_what_cannot_be_built_is_rejected_with_its_reason_once() -> None:
    admissions = ToyAdmissions(legal_depth=3)
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(1,)), "training.lr": Choice(options=(1e-3,))}
    searcher = make(admissions, SearchPlan(trials=50), domains=domains)
    assert len(drain(searcher)) == 9
    illegal = [proposal for proposal, rejected in admissions.rejected if "allowed 1..3" in rejected.reason]
    assert len(illegal) == len({proposal.candidate.candidate_id for proposal in illegal}) == 9
    assert all(proposal.candidate.config == {} and proposal.values for proposal in illegal)


def test_an_exhausted_space_ends_the_search() -> None:
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(0, 1)), "training.lr": Choice(options=(1e-3,))}
    searcher = make(ToyAdmissions(), SearchPlan(trials=1000), domains=domains)
    assert len(drain(searcher)) == 3 * 6 * 2
    assert searcher.ended_by == "exhausted"
    assert searcher.ended.reason == "nothing new is left of the 36 points of the space"


def test_a_small_space_is_searched_to_its_last_point_however_seldom_that_is_drawn() -> None:
    rare = Choice(options=(1,), zero=0.001)
    domains = {**DOMAINS, "losses.itm.weight": rare, "training.lr": Choice(options=(1e-3,))}
    for seed in range(3):
        searcher = make(ToyAdmissions(), SearchPlan(trials=1000), domains=domains, seed=seed)
        assert len(drain(searcher)) == 3 * 6 * 2
        assert searcher.ended_by == "exhausted"


def test_a_space_without_end_is_left_after_so_many_known_proposals() -> None:
    narrow = Float(low=1.0, high=1.001)  # two values of four digits
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(1,)), "training.lr": narrow}
    searcher = make(ToyAdmissions(), SearchPlan(trials=1000), domains=domains)
    assert len(drain(searcher)) == 3 * 6 * 2
    assert searcher.ended.reason == "the last 500 proposals were all known: next to nothing new is left"


def test_a_small_space_that_the_limits_leave_empty_is_told_by_its_limit() -> None:
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(1,)), "training.lr": Choice(options=(1e-3,))}
    searcher = make(ToyAdmissions(limit=30), SearchPlan(trials=5), domains=domains)
    with pytest.raises(LimitError, match=r"^cost filter: 18 of 18 candidates do not meet params <= 30 "):
        searcher.prime()


def test_limits_that_nothing_meets_are_told_with_the_nearest_miss() -> None:
    admissions = ToyAdmissions(limit=30)
    blind = Queued(proposal=Proposal(candidate=make_candidate(VALUES).blinded()), admitted=Admitted(costs={}))
    searcher = make(admissions, SearchPlan(trials=5, queue=[blind]))
    with pytest.raises(LimitError) as caught:
        searcher.prime()
    nearest = min(admissions.rejected, key=lambda one: one[1].excess)[0].candidate.candidate_id
    assert str(caught.value).startswith(
        "cost filter: 500 of 500 candidates do not meet params <= 30 (nearest: 32, candidate "
    )
    assert nearest in str(caught.value)
    assert "Relax limits.params" in str(caught.value)


def test_a_space_of_illegal_candidates_tells_the_commonest_reason() -> None:
    searcher = make(ToyAdmissions(legal_depth=0), SearchPlan(trials=5))
    with pytest.raises(
        LimitError, match=r"500 of 500 candidates were rejected \(\d+ times: student.depth: got"
    ):
        searcher.suggest("t0")


def test_rejections_after_an_admitted_candidate_end_the_search_without_an_error() -> None:
    admissions = ToyAdmissions(limit=30)
    queue = [
        Queued(
            proposal=Proposal(candidate=make_candidate(VALUES), values=VALUES), admitted=Admitted(costs={})
        )
    ]
    searcher = make(admissions, SearchPlan(trials=5, queue=queue))
    assert len(drain(searcher)) == 1
    assert searcher.ended_by == "limits"
    assert searcher.ended.reason.startswith(
        "cost filter: 500 of 500 candidates do not meet params <= 30 (nearest: 32, candidate "
    )


# of the candidates of these spaces 1 in 300 and 1 in 30 is narrow and shallow enough
RARE = {**DOMAINS, "student.width": Choice(options=("0.25x",)), "student.depth": Int(low=1, high=300)}
SCARCE = {**RARE, "student.depth": Int(low=1, high=30)}


def test_limits_that_less_than_one_in_a_hundred_meets_end_the_search_by_name() -> None:
    admissions = ToyAdmissions(limit=32, legal_depth=300)
    searcher = make(admissions, SearchPlan(trials=50), domains=RARE)
    admitted = len(drain(searcher))
    assert 0 < admitted < 50
    assert searcher.ended_by == "limits"
    new = [proposal.index for proposal, _ in admissions.rejected]
    refused = sum(index > max(new) - 500 for index in new)  # nothing is proposed twice here
    assert refused > 495
    assert searcher.ended.reason.startswith(
        f"cost filter: {refused} of 500 candidates do not meet params <= 32"
    )


def test_limits_that_more_than_one_in_a_hundred_meets_do_not_end_the_search() -> None:
    searcher = make(ToyAdmissions(limit=32), SearchPlan(trials=50), domains=SCARCE)
    assert len(drain(searcher)) == 50
    assert searcher.ended_by == "trials"


def test_known_proposals_are_no_refused_ones() -> None:
    # 18 candidates, 17 of them refused: whatever is proposed after them is known, so the space is exhausted
    domains = {**DOMAINS, "losses.itm.weight": Choice(options=(1,)), "training.lr": Choice(options=(1e-3,))}
    searcher = make(ToyAdmissions(limit=32), SearchPlan(trials=50), domains=domains)
    assert len(drain(searcher)) == 1
    assert searcher.ended_by == "exhausted"


def test_priming_hands_out_the_same_candidates() -> None:
    default = Proposal(candidate=make_candidate(VALUES).blinded())
    plan = SearchPlan(trials=4, queue=[Queued(proposal=default)])
    primed = make(ToyAdmissions(limit=200), plan)
    primed.prime()
    primed.prime()
    assert drain(primed) == drain(make(ToyAdmissions(limit=200), plan))


def test_the_driver_is_not_held_up_while_trials_run() -> None:
    ticks = itertools.count()
    searcher = make(ToyAdmissions(limit=40), SearchPlan(trials=50), clock=lambda: next(ticks) * 0.3)
    answers = [searcher.suggest(f"t{number}") for number in range(40)]
    assert isinstance(answers[0], dict)
    assert None in answers
    assert searcher.ended_by is None


def test_an_interrupt_ends_the_search() -> None:
    searcher = make(ToyAdmissions(), SearchPlan(trials=5), ending=lambda: INTERRUPTED)
    assert searcher.suggest("t0") == Searcher.FINISHED
    assert searcher.ended_by == "interrupted"


def test_no_more_trials_are_added_where_the_past_has_enough() -> None:
    past = [Past(proposal=Proposal(candidate=make_candidate(VALUES), index=0), status="finished")]
    searcher = make(ToyAdmissions(limit=0.1), SearchPlan(trials=1, past=past, start_index=1))
    searcher.prime()
    assert drain(searcher) == []
    assert searcher.ended_by == "trials"


def test_ray_can_save_but_not_restore_it(tmp_path: Path) -> None:
    searcher = make(ToyAdmissions(), SearchPlan(trials=5))
    drain(searcher)
    searcher.save_to_dir(str(tmp_path), "s")
    (saved,) = tmp_path.iterdir()
    assert json.loads(saved.read_text())["admitted"] == 5
    with pytest.raises(RunError, match="--resume"):
        searcher.restore(str(saved))
    assert pickle.loads(pickle.dumps(searcher)).ended_by == "trials"
    assert searcher.set_search_properties(None, None, {})


class Listener(Proposer):
    """Draws at random and keeps what it is told."""

    def prepare(self) -> None:
        self.told: list[tuple[str, int]] = []

    def propose(self, index: int, *, explore: bool = False) -> dict:
        return self.draw(index)

    def observe(self, index: int, values: dict, outcome: Outcome) -> None:
        self.told.append((outcome.state, len(outcome.rows)))


def test_a_candidate_that_lacks_an_objective_is_told_as_a_failure() -> None:
    listener = Listener(None, DOMAINS, seed=0, objectives={**OBJECTIVES, "vqa_accuracy": "max"})
    searcher = CandidateSearcher(listener, ToyAdmissions(), plan=SearchPlan(trials=3))
    whole = {"epoch": 1, "params": 1.0, "retention": 50.0, "vqa_accuracy": 40.0}
    dual = whole | {"vqa_accuracy": None}
    for trial, row in (("whole", whole), ("dual", dual), ("early", {"epoch": 1, "params": 1.0})):
        searcher.suggest(trial)
        searcher.on_trial_result(trial, row)
        searcher.on_trial_complete(trial, None)
    ended = [told for told in listener.told if told[0] != "pending"]
    assert ended == [("measured", 1), ("failed", 0), ("measured", 0)]
    proposal = Proposal(candidate=make_candidate(VALUES), values=VALUES)
    past = [Past(proposal=proposal, status="finished", rows=[{"epoch": 9, "retention": 50.0, "params": 1.0}])]
    CandidateSearcher(listener, ToyAdmissions(), plan=SearchPlan(trials=3, past=past))
    assert listener.told[-1] == ("failed", 0)
