"""A teacher of random weights: as large as another one, and nothing of it."""

from pathlib import Path

import pytest
import torch

from search.finals.teachers import random_teacher, write_initial
from tests.unit.trainables.small import make_job, silent, write_teacher
from trainables.datasets.cache_folder import stored_in
from trainables.teachers.loading import load_teacher
from trainables.training import checkpoint
from trainables.training.build import build_step


def test_it_has_sizes_and_words_of_the_other_and_no_weight_of_it(tmp_path: Path) -> None:
    teacher = load_teacher(str(write_teacher(tmp_path / "teacher")))
    (tmp_path / "storage").mkdir()
    before = torch.get_rng_state()
    with stored_in(str(tmp_path / "storage")):
        folder = random_teacher(teacher, say=silent)
        assert random_teacher(teacher, say=silent) == folder
    assert torch.equal(torch.get_rng_state(), before)
    other = load_teacher(str(folder))
    assert other.blueprint == teacher.blueprint
    assert other.preprocess == teacher.preprocess
    assert other.tokenizer is not None
    assert other.tokenizer.captions(["a red circle"]) == teacher.tokenizer.captions(["a red circle"])  # type: ignore[union-attr]
    assert other.files.fingerprint != teacher.files.fingerprint
    mine, theirs = other.model.state_dict(), teacher.model.state_dict()
    assert not any(torch.equal(mine[name], theirs[name]) for name in mine if mine[name].ndim > 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_student_of_it_begins_with_what_it_inherits_of_its_own_teacher(tmp_path: Path, seed: int) -> None:
    teacher = load_teacher(str(write_teacher(tmp_path / "teacher")))
    job = make_job(tmp_path / "teacher", tmp_path / "job")
    write_initial(job, teacher, seed, tmp_path / "initial", say=silent)
    own, _ = build_step(job.config, teacher, seed=job.seed + seed)
    model, _ = checkpoint.load_model(tmp_path / "initial")
    assert all(torch.equal(own.student.state_dict()[name], one) for name, one in model.state_dict().items())
