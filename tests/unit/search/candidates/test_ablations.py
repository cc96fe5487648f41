"""The arms of an ablation: seed by seed, nothing proposed after them, two that are one refused, the rest after a resume."""

from pathlib import Path

import pytest

from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.warm_start import read_runs
from search.proposal import Proposal
from search.reporting.plan import describe
from spaces.arms import ablation_facts
from spaces.errors import LimitError, RunError, SpaceError
from tests.unit.search.candidates.test_first_candidates import begin, trials, write_folder
from tests.unit.search.earlier_run import load_recorder, prepare

WIDTH = "student.image.width"
ARMS = "ablation={seeds: [5, 7], arms: {narrow: {student.image.width: 0.25x}, wide: {student.image.width: 0.5x}}}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the space file."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a run that has just begun."""
    return write_folder(tmp_path / "run")


def handed_out(searcher: CandidateSearcher) -> list[str]:
    """Return the ids of all candidates until the search ends."""
    searcher.prime()
    return [config["candidate_id"] for _, config in trials(searcher)]


def test_arms_come_seed_by_seed_and_nothing_else_does(folder: Path, place: Path) -> None:
    inputs = prepare(place, ARMS, "search.trials=4")
    searcher, queue = begin(folder, inputs)
    assert [(one.values[WIDTH], one.candidate.seed) for one in queue] == [
        ("0.25x", 5),
        ("0.5x", 5),
        ("0.25x", 7),
        ("0.5x", 7),
    ]
    assert {one.candidate.role for one in queue} == {"search"}
    assert handed_out(searcher) == [one.candidate.candidate_id for one in queue]
    assert searcher.ended_by == "trials"


def test_each_seed_trains_otherwise(place: Path) -> None:
    made = [one.candidate for one in prepare(place, ARMS, "search.trials=4").arms]
    assert len({one.candidate_id for one in made}) == len({one.training_seed for one in made}) == 4
    assert made[0].config == made[2].config


def test_run_json_names_the_arm_of_each_candidate(place: Path) -> None:
    inputs = prepare(place, ARMS, "search.trials=4")
    facts = ablation_facts(inputs.space, inputs.arms)
    assert facts is not None
    assert facts["arms"] == ["narrow", "wide"]
    assert list(facts["candidates"].values()) == [
        {"arm": arm, "seed": seed} for seed in (5, 7) for arm in ("narrow", "wide")
    ]
    without = prepare(place)
    assert ablation_facts(without.space, without.arms) is None


def test_fewer_trials_leave_the_later_seeds_to_a_resume(folder: Path, place: Path) -> None:
    short = prepare(place, ARMS, "search.trials=2")
    searcher, queue = begin(folder, short)
    first = handed_out(searcher)
    assert first == [one.candidate.candidate_id for one in queue[:2]]
    recorder = load_recorder(folder, short)
    for one in first:
        recorder.finish(one, "finished")
    searcher, rest = begin(folder, prepare(place, ARMS, "search.trials=4"))
    assert handed_out(searcher) == [one.candidate.candidate_id for one in rest]
    assert {one.candidate.seed for one in rest} == {7}


def test_what_a_limit_refuses_is_replaced_by_nothing(folder: Path, place: Path) -> None:
    inputs = prepare(place, ARMS, "search.trials=4")
    free = inputs.arms
    sizes = [inputs.students.subject(one.candidate.config) for one in free[:2]]
    params = sorted(inputs.store.static(one).params for one in sizes)
    bound = f"limits.params.max={(params[0] + params[1]) // 2}"
    searcher, queue = begin(folder, prepare(place, ARMS, "search.trials=4", bound))
    assert handed_out(searcher) == [queue[0].candidate.candidate_id, queue[2].candidate.candidate_id]


def test_limits_that_admit_no_arm_are_told(folder: Path, place: Path) -> None:
    searcher, _ = begin(folder, prepare(place, ARMS, "search.trials=4", "limits.params.max=10"))
    with pytest.raises(LimitError, match=r"limits\.params"):
        searcher.prime()


def test_two_arms_that_are_one_candidate_are_refused(place: Path) -> None:
    same = ARMS.replace("wide: {student.image.width: 0.5x}", "also narrow: {student.image.width: 0.25x}")
    with pytest.raises(SpaceError, match=r"ablation.arms.also narrow: got the candidate that 'narrow' is"):
        prepare(place, same, "search.trials=4")


def test_an_arm_that_waited_for_its_latency_comes_again_with_its_own_seed(folder: Path, place: Path) -> None:
    inputs = prepare(place, ARMS, "search.trials=4")
    recorder = load_recorder(folder, inputs)
    first = inputs.arms[0]
    recorder.note_waiting(Proposal(candidate=first.candidate, values=first.values))
    _, queue = begin(folder, inputs, load_recorder(folder, inputs))
    assert [one.candidate.seed for one in queue] == [5, 5, 7, 7]


def test_an_ablation_learns_from_no_other_run(place: Path) -> None:
    with pytest.raises(RunError, match=r"--warm-start: got it for an ablation"):
        read_runs([], prepare(place, ARMS, "search.trials=4"))


def test_the_plan_tells_of_arms_that_may_be_stopped(place: Path) -> None:
    def told(factor: int) -> str:
        changes = (ARMS, "search.trials=4", f"search.scheduler.reduction_factor={factor}")
        return "\n".join(describe(prepare(place, *changes), measure=False))

    assert "2 arms (narrow, wide) with the seeds 5, 7: 4 candidates" in told(1)
    assert "WARNING: search.scheduler.reduction_factor is 2: arms may be stopped" in told(2)
    assert "WARNING: search.scheduler" not in told(1)
