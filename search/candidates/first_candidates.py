"""Which candidates come before the searcher's own: unfinished ones, the blind one, baselines, the default, start points,
warm start.
"""

from collections.abc import Iterator

from search.candidates.admissions import StudentAdmissions
from search.candidates.search_plan import Queued, SearchPlan
from search.inputs.inputs import Inputs
from search.proposal import NOT_PROPOSED, Proposal
from search.run_folder.recorder import Recorder
from search.run_folder.warm_start_file import EarlierResults, read_earlier
from spaces.candidate import Candidate, is_known
from spaces.errors import IllegalCandidate, SpaceError


def default_candidate(inputs: Inputs, admissions: StudentAdmissions) -> Proposal | None:
    """Return the candidate of all defaults; None where a domain has none or they do not fit together."""
    values = inputs.space.default_values()
    if values is None:
        return None
    try:
        return admissions.build(values, NOT_PROPOSED)
    except IllegalCandidate as error:
        inputs.say(f"the defaults of the space are no candidate: {error}")
        return None


def blind_candidate(default: Candidate) -> Candidate:
    """Return the default student as the baseline that sees no image."""
    return default.blinded()


def start_points(inputs: Inputs, admissions: StudentAdmissions) -> Iterator[Proposal]:
    """Yield the candidates of `search.start`.

    Raises:
        SpaceError: the parts of one do not fit together.
    """
    for number, values in enumerate(inputs.space.start_values()):
        try:
            yield admissions.build(values, NOT_PROPOSED)
        except IllegalCandidate as error:
            place = inputs.space.where(f"search.start.{number}")
            raise SpaceError(
                [f"{place}, search.start: start point {number + 1} is no candidate: {error}"]
            ) from error


def first_candidates(
    inputs: Inputs, admissions: StudentAdmissions, earlier: EarlierResults
) -> Iterator[Proposal]:
    """Yield what a new run begins with: blind, baselines, default, start points, the fronts of earlier runs.

    An ablation begins, and ends, with its arms: its default is one of them, or nobody asked for it.
    """
    if inputs.space.ablation is not None:
        yield from (Proposal(candidate=one) for one in inputs.baselines)
        yield from (Proposal(candidate=arm.candidate, values=arm.values) for arm in inputs.arms)
        return
    default = default_candidate(inputs, admissions)
    if default is not None:
        yield Proposal(candidate=blind_candidate(default.candidate))
        yield from (Proposal(candidate=one) for one in inputs.baselines)
        yield default
    yield from start_points(inputs, admissions)
    for values in earlier.first:
        yield admissions.build(values, NOT_PROPOSED)


def plan_search(inputs: Inputs, recorder: Recorder, admissions: StudentAdmissions) -> SearchPlan:
    """Return what is handed out first, what the searcher learns from, and where it goes on.

    Raises:
        SpaceError: a start point that is no candidate.
        RunError: what the run was started from is damaged.
    """
    known = {row["candidate_id"] for row in recorder.rows}
    queue = [Queued(proposal=proposal, admitted=admitted) for proposal, admitted in recorder.unfinished()]
    earlier = read_earlier(recorder.folder)
    for proposal in first_candidates(inputs, admissions, earlier):
        if not is_known(proposal.candidate.candidate_id, known):
            known.add(proposal.candidate.candidate_id)
            queue.append(Queued(proposal=proposal))
    waited = recorder.waited() if inputs.space.ablation is None else ()  # arms come again, each with its seed
    for values, number in waited:  # for their latency, when the last session ended
        proposal = admissions.build(values, number)
        if not is_known(proposal.candidate.candidate_id, known):
            known.add(proposal.candidate.candidate_id)
            queue.append(Queued(proposal=proposal))
    return SearchPlan(
        trials=inputs.space.search.trials,
        queue=queue,
        past=recorder.past(),
        start_index=recorder.next_index,
        earlier=earlier.past,
        proposes=inputs.space.ablation is None,
    )
