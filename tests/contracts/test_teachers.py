"""What every row of `TEACHERS` promises, and the shipped teacher in particular."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.plugins import resolve
from tests.unit.trainables.teachers.blip.asked import save_class
from tests.unit.trainables.teachers.clip import small_clip
from tests.unit.trainables.teachers.published_towers import save
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.preprocess import Framing
from trainables.signals import NOTHING, PICTURE, PIXELS, Batch, Want, reads_texts
from trainables.tasks import TASKS
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers import LOADERS, TEACHERS
from trainables.teachers.loading import check_pairing, load_teacher

BLIPS = ("retrieval", "captioning", "vqa")
FOLDERS = (*BLIPS, "vit", "dinov2", "registers", "dinov3", "beit", "timm vit", "timm resnet", "clip")
"""Kinds of published models: one of each loader, and of timm both a transformer and a convolutional trunk."""


def test_tables_are_sorted_and_their_rows_can_be_imported() -> None:
    assert list(TEACHERS) == sorted(TEACHERS)
    assert list(LOADERS) == sorted(LOADERS)
    assert all(callable(resolve(LOADERS, name, "teachers")) for name in LOADERS)


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A name of the table, or the folder of a published model of one kind."""
    given: str = request.param
    if given in TEACHERS:
        return given
    folder = tmp_path_factory.mktemp("published") / "model"
    if given == "clip":
        return str(small_clip.save_named(folder, given))
    if given in BLIPS:
        return str(save_class(folder, given))
    return str(save(folder, given).folder)


@pytest.mark.parametrize("name", [*TEACHERS, *FOLDERS], indirect=True)
class TestEveryTeacher:
    def test_is_loaded_by_its_name_frozen_and_in_eval_mode(self, name: str) -> None:
        teacher = load_teacher(name)
        assert teacher.files.name == name
        assert teacher.files.folder.is_dir()
        assert re.fullmatch(r"[0-9a-f]{16}", teacher.files.fingerprint)
        assert not any(module.training for module in teacher.model.modules())
        assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
        assert all(parameter.dtype == torch.float32 for parameter in teacher.model.parameters())
        assert all(bool(parameter.isfinite().all()) for parameter in teacher.model.parameters())

    def test_is_the_same_every_time(self, name: str) -> None:
        assert load_teacher(name).files.fingerprint == load_teacher(name).files.fingerprint

    def test_its_parts_belong_together(self, name: str) -> None:
        teacher = load_teacher(name)
        around = teacher.surroundings
        assert teacher.model.architecture == teacher.blueprint.architecture == around.teacher
        assert isinstance(teacher.model, teacher.blueprint.family)
        assert around.image_size == teacher.preprocess.image_size
        assert around.sizes == teacher.blueprint.sizes
        pixels = teacher.model.pass_inputs("image", 0)["pixels"]
        assert pixels.shape == (1, 3, around.image_size, around.image_size)
        if teacher.tokenizer is None:
            assert (around.max_tokens, around.vocabulary) == (0, None)
            assert not reads_texts(teacher.offers)
        else:
            assert around.max_tokens == teacher.tokenizer.max_tokens
            assert around.texts() == teacher.tokenizer.vocabulary
            assert teacher.tokenizer.backend.get_vocab_size() <= around.texts().size
            longest = [offer.size("T") for offer in teacher.offers.values() if "T" in offer.axes]
            assert set(longest) == {around.max_tokens}

    def test_says_no_more_than_it_is_asked_and_never_with_gradient(self, name: str) -> None:
        teacher = load_teacher(name)
        pixels = teacher.model.pass_inputs("image", 0)["pixels"]
        batch = Batch(fields={PIXELS: pixels}, rows={PICTURE: torch.zeros(1, dtype=torch.long)})
        assert teacher.signals(batch, NOTHING) == {}
        seen = {
            want
            for want, offer in teacher.offers.items()
            if offer.rows == PICTURE and teacher.model.inputs(frozenset({want})).fields <= {PIXELS}
        }
        assert seen
        found = teacher.signals(batch, frozenset(seen))
        assert set(found) == seen
        assert not any(value.requires_grad for value in found.values())
        teacher.model.train()
        with pytest.raises(RuntimeError, match="eval mode"):
            teacher.signals(batch, frozenset(seen))

    def test_its_folder_is_a_teacher_too(self, name: str) -> None:
        teacher = load_teacher(name)
        assert load_teacher(str(teacher.files.folder)).files.fingerprint == teacher.files.fingerprint


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScenesDataset:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return ScenesDataset(ScenesDataset.Config(train_images=8, val_images=40, test_images=8))


def test_embedded_teacher_belongs_to_the_scenes_of_this_program(scenes: ScenesDataset) -> None:
    teacher = load_teacher("embedded")
    assert teacher.tokenizer is not None
    check_pairing(
        teacher, scenes, scenes.split("val", framing=Framing(64), progress=lambda line: None).captions
    )
    assert teacher.tokenizer.unknown_share(list(language.VOCABULARY)) == 0.0
    size = (teacher.files.folder / "model.safetensors").stat().st_size
    assert size < 8_000_000


def test_embedded_teacher_has_learned_its_task(scenes: ScenesDataset) -> None:
    teacher = load_teacher("embedded")
    split = EncodedSplit(
        scenes.split("val", framing=Framing(64), progress=lambda line: None),
        teacher.tokenizer,
        teacher.preprocess,
    )
    found = evaluate(
        teacher.model,
        split,
        tasks=make_tasks({name: {} for name in TASKS}).values(),
        size=EvaluationSize(images=40),
    )
    assert found["match_accuracy"] > 80.0
    assert found["mean_recall"] > 80.0
    assert found["vqa_accuracy"] > 70.0
    assert found["caption_token_accuracy"] > 60.0


def test_embedded_teacher_can_feed_every_mode(scenes: ScenesDataset) -> None:
    teacher = load_teacher("embedded")
    split = EncodedSplit(
        scenes.split("train", framing=Framing(64), progress=lambda line: None),
        teacher.tokenizer,
        teacher.preprocess,
    )
    rows = {"picture": np.arange(2), "caption": np.array([0, 4]), "question": np.array([0, 4])}
    batch = split.batch(rows, torch.device("cpu"))
    last = teacher.blueprint.architecture.text.depth - 1
    wants = frozenset(
        {
            Want("image", "embedding"),
            Want("text", "embedding"),
            Want("contrast", "temperature"),
            Want("fused", "logits"),
            Want("fused", "cross_attention", last),
            Want("decoder", "logits"),
            Want("answer", "logits"),
        }
    )
    assert wants <= set(teacher.offers)
    assert set(teacher.signals(batch, wants)) == wants
