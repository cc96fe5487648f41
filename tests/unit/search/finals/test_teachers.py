"""A teacher of random weights: as large as another one, and nothing of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from search.finals.teachers import Taught, filled, random_teacher, write_initial
from spaces.errors import RunError
from tests.unit.trainables.small import SCENES, candidate_config, make_job, silent, write_teacher
from tests.unit.trainables.teachers.blip.asked import save_class
from tests.unit.trainables.teachers.cache.caches import parts
from trainables.datasets.cache_folder import stored_in
from trainables.losses.base import Needs
from trainables.losses.logits.token_logits import LOOKS_AT, TokenLogits
from trainables.signals import Want
from trainables.teachers.cache.part_file import PartFile
from trainables.teachers.loading import load_teacher
from trainables.training import checkpoint
from trainables.training.build import build_step


def test_it_has_sizes_and_words_of_the_other_and_no_weight_of_it(tmp_path: Path) -> None:
    teacher = load_teacher(str(write_teacher(tmp_path / "teacher")))
    (tmp_path / "storage").mkdir()
    before = torch.get_rng_state()
    with stored_in(str(tmp_path / "storage")):
        name = random_teacher(teacher, say=silent)
        assert random_teacher(teacher, say=silent) == name
    assert torch.equal(torch.get_rng_state(), before)
    other = load_teacher(name)
    assert other.blueprint == teacher.blueprint
    assert other.preprocess == teacher.preprocess
    assert other.tokenizer is not None
    assert other.tokenizer.captions(["a red circle"]) == teacher.tokenizer.captions(["a red circle"])  # type: ignore[union-attr]
    assert other.files.fingerprint != teacher.files.fingerprint
    mine, theirs = other.model.state_dict(), teacher.model.state_dict()
    assert not any(torch.equal(mine[name], theirs[name]) for name in mine if mine[name].ndim > 1)


@pytest.mark.parametrize("temperature", [0.05, None])
@pytest.mark.parametrize("several", [True, False])
def test_of_a_published_class_whose_temperature_is_no_weight_it_has_that_of_the_other(
    tmp_path: Path, several: bool, temperature: float | None
) -> None:
    place = str(save_class(tmp_path / "retrieval", "retrieval"))
    if several:
        place = f"retrieval={place},captioning={save_class(tmp_path / 'captioning', 'captioning')}"
    teacher = load_teacher(place if temperature is None else f"{place},temperature={temperature}")
    (tmp_path / "storage").mkdir()
    with stored_in(str(tmp_path / "storage")):
        other = load_teacher(random_teacher(teacher, say=silent))
    assert other.temperature == temperature, "what nobody has told is not invented"
    assert other.lacks_temperature is (temperature is None)
    assert other.offers == teacher.offers
    mine, theirs = other.model.state_dict(), teacher.model.state_dict()
    assert not any(torch.equal(mine[name], theirs[name]) for name in mine if mine[name].ndim > 1)
    if temperature is not None:
        (told,) = (one for name, one in mine.items() if name.endswith("temperature"))
        assert float(told) == pytest.approx(temperature)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_student_of_it_begins_with_what_it_inherits_of_its_own_teacher(tmp_path: Path, seed: int) -> None:
    teacher = load_teacher(str(write_teacher(tmp_path / "teacher")))
    job = make_job(tmp_path / "teacher", tmp_path / "job")
    write_initial(job, teacher, seed, tmp_path / "initial", say=silent)
    own, _ = build_step(job.config, teacher, seed=job.seed + seed)
    model, _ = checkpoint.load_model(tmp_path / "initial")
    assert all(torch.equal(own.student.state_dict()[name], one) for name, one in model.state_dict().items())


class Inline:
    """Does in this process what goes to a cluster."""

    gpus = 0.0

    def run_all(self, function: Any, orders: Any, *, single: bool) -> Any:
        """Yield what becomes of each call."""
        for order in orders:
            value = function(*order)
            yield SimpleNamespace(result=lambda value=value: value)


def test_logits_are_kept_as_the_run_kept_them_unless_a_training_reads_them_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_teacher(tmp_path / "teacher")
    config = candidate_config() | {"losses": {"lm_logit": {"weight": 1.0}}}
    (tmp_path / "storage").mkdir()
    tasks: Any = Inline()
    with stored_in(str(tmp_path / "storage")):
        taught = Taught(
            place=str(tmp_path / "teacher"), dataset=SCENES, configs=[config], precision="float16", top_k=4
        )
        folder = filled(taught, tasks, say=silent)
        shapes = {PartFile(path).arrays["decoder.logits"].shape[-1] for path in parts(Path(folder))}
        assert shapes == {4}
        want = frozenset({Want(LOOKS_AT["lm_logit"][0], "logits")})
        monkeypatch.setattr(
            TokenLogits, "needs_of", classmethod(lambda cls, config, ends: Needs(student=want, source=want))
        )
        with pytest.raises(
            RunError, match=r"top_k: the run has 4, and these trainings read decoder\.logits whole"
        ):
            filled(taught, tasks, say=silent)
