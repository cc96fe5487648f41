"""What becomes of a point of the space: a candidate less what cannot be fed, and a job that names its teacher and cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.candidates.admissions import StudentAdmissions
from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches
from spaces.errors import IllegalCandidate
from spaces.load import load_space
from tests.unit.search.earlier_run import DEFAULTS, ONE_WORKER, SPACE, load_recorder
from trainables.signals import Want
from trainables.teachers.cache.contents import read_contents

TAUGHT = ("losses.image_embedding={weight: 1}", "losses.itm={weight: 1}")
COSTS = {"params": 1.0, "flops": 2.0, "latency_ms": 3.0, "size_mib": 4.0}
TEMPERATURE = Want("contrast", "temperature")


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Return what the user was told."""
    return []


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Inputs:
    """Return the tiny space with two losses that look at the teacher."""
    file = tmp_path_factory.mktemp("space") / "tiny.yaml"
    file.write_text(SPACE)
    return Inputs(load_space(file, TAUGHT), say=told.append)


@pytest.fixture
def admissions(inputs: Inputs, tmp_path: Path) -> StudentAdmissions:
    """Return the admissions of a new run folder, not opened yet."""
    return StudentAdmissions(inputs, load_recorder(tmp_path, inputs), folder=tmp_path, rungs=(1,))


@pytest.fixture(scope="module")
def cache(inputs: Inputs) -> str:
    """Return the filled cache of the teacher."""
    return fill_teacher_caches(inputs)["embedded"]


def opened(admissions: StudentAdmissions, folder: str) -> StudentAdmissions:
    admissions.open(caches={"embedded": folder} if folder else {}, launch=ONE_WORKER)
    return admissions


def part_of(cache: str, folder: Path, *lacking: Want) -> str:
    """Return a cache that is told to lack some signals."""
    folder.mkdir()
    contents = read_contents(Path(cache))
    sets = [
        replace(one, wants=tuple(want for want in one.wants if want not in lacking)) for one in contents.sets
    ]
    replace(contents, sets=tuple(sets)).write(folder)
    assert (Want("image", "embedding") in read_contents(folder).wants) is (
        Want("image", "embedding") not in lacking
    )
    return str(folder)


def test_a_candidate_reads_the_cache_that_holds_all_it_needs(
    admissions: StudentAdmissions, cache: str, told: list[str]
) -> None:
    told.clear()  # other tests may have had the same candidate
    candidate = admissions.build(DEFAULTS, 0).candidate
    assert opened(admissions, cache).job(candidate, COSTS).cache == cache
    assert not [line for line in told if candidate.candidate_id in line]


@pytest.mark.parametrize("lacking", [Want("image", "embedding"), TEMPERATURE])
def test_a_candidate_whose_needs_the_cache_lacks_runs_with_a_live_teacher(
    lacking: Want, admissions: StudentAdmissions, cache: str, tmp_path: Path, told: list[str]
) -> None:
    # no loss reads the temperature: it is the model that draws its negatives by the teacher
    candidate = admissions.build(DEFAULTS, 0).candidate
    folder = part_of(cache, tmp_path / "part", lacking)
    assert opened(admissions, folder).job(candidate, COSTS).cache == ""
    assert told[-1] == (
        f"candidate {candidate.candidate_id}: the teacher cache lacks what it needs; runs with a live teacher"
    )


def test_only_the_candidates_own_needs_count(
    admissions: StudentAdmissions, cache: str, tmp_path: Path
) -> None:
    dual = admissions.build({**DEFAULTS, "student.fusion.layers": 0}, 0).candidate
    assert set(dual.config["losses"]) == {"itc", "image_embedding"}  # it can feed neither lm nor itm
    folder = part_of(cache, tmp_path / "part", TEMPERATURE)
    assert opened(admissions, folder).job(dual, COSTS).cache == folder


def test_without_caches_every_candidate_has_a_live_teacher(admissions: StudentAdmissions) -> None:
    candidate = admissions.build(DEFAULTS, 0).candidate
    assert opened(admissions, "").job(candidate, COSTS).cache == ""


def test_a_candidate_that_can_feed_no_loss_is_none(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(SPACE)
    inputs = Inputs(load_space(file, ["losses.itc.weight=0"]), say=lambda line: None)
    admissions = StudentAdmissions(inputs, load_recorder(tmp_path, inputs), folder=tmp_path, rungs=(1,))
    values = {path: value for path, value in DEFAULTS.items() if path != "losses.itc.weight"}
    assert set(admissions.build(values, 0).candidate.config["losses"]) == {"itc", "lm"}
    with pytest.raises(IllegalCandidate, match="losses: "):
        admissions.build({**values, "student.fusion.layers": 0}, 0)


def test_candidates_that_differ_in_what_cannot_be_fed_are_one(admissions: StudentAdmissions) -> None:
    dual = {**DEFAULTS, "student.fusion.layers": 0}
    one, other = (admissions.build({**dual, "losses.lm.weight": weight}, 0) for weight in (0.1, 0.9))
    assert one.candidate == other.candidate
    assert one.values != other.values


def test_the_job_is_written_beside_the_checkpoint(
    admissions: StudentAdmissions, cache: str, tmp_path: Path
) -> None:
    candidate = admissions.build(DEFAULTS, 0).candidate
    job = opened(admissions, cache).job(candidate, {**COSTS, "latency_spread_ms": np.nan})
    folder = tmp_path / "checkpoints" / candidate.candidate_id
    assert (folder / "candidate.json").is_file()
    assert type(job).read(folder / "candidate.json", folder) == job
    assert job.costs == COSTS
    assert set(job.tasks) == {"retrieval", "vqa", "captioning"}
    assert job.tasks["vqa"]["decode"] == job.tasks["captioning"]["decode"] == "teacher_forced"
    assert job.tasks["retrieval"]["rerank"] == 0
    assert job.evaluate_at == (1,)
