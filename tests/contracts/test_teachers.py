"""What every row of `TEACHERS` promises, and the shipped teacher in particular."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize
from trainables.outputs import Want
from trainables.teachers import TEACHERS
from trainables.teachers.loading import check_pairing, load_teacher


def test_table_is_sorted() -> None:
    assert list(TEACHERS) == sorted(TEACHERS)


@pytest.mark.parametrize("name", TEACHERS)
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
        assert teacher.preprocess.image_size == teacher.config.image_size
        assert teacher.tokenizer.max_tokens == teacher.config.max_tokens
        assert teacher.tokenizer.backend.get_vocab_size() <= teacher.config.vocabulary.size

    def test_its_folder_is_a_teacher_too(self, name: str) -> None:
        teacher = load_teacher(name)
        assert load_teacher(str(teacher.files.folder)).files.fingerprint == teacher.files.fingerprint


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScenesDataset:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return ScenesDataset(ScenesDataset.Config(train_images=8, val_images=40, test_images=8))


def test_embedded_teacher_belongs_to_the_scenes_of_this_program(scenes: ScenesDataset) -> None:
    teacher = load_teacher("embedded")
    check_pairing(teacher, scenes, scenes.split("val", image_size=64, progress=lambda line: None).captions)
    assert teacher.tokenizer.unknown_share(list(language.VOCABULARY)) == 0.0
    size = (teacher.files.folder / "model.safetensors").stat().st_size
    assert size < 8_000_000


def test_embedded_teacher_has_learned_its_task(scenes: ScenesDataset) -> None:
    teacher = load_teacher("embedded")
    split = EncodedSplit(
        scenes.split("val", image_size=64, progress=lambda line: None), teacher.tokenizer, teacher.preprocess
    )
    found = evaluate(teacher.model, split, torch.device("cpu"), size=EvaluationSize(images=40))
    assert found["mean_recall"] > 80.0
    assert found["vqa_accuracy"] > 70.0
    assert found["caption_token_accuracy"] > 60.0


def test_embedded_teacher_can_feed_every_mode(scenes: ScenesDataset) -> None:
    teacher = load_teacher("embedded")
    split = EncodedSplit(
        scenes.split("train", image_size=64, progress=lambda line: None),
        teacher.tokenizer,
        teacher.preprocess,
    )
    batch = split.batch(np.arange(2), np.array([0, 4]), np.array([0, 4]), torch.device("cpu"))
    last = teacher.config.text.depth - 1
    wants = frozenset(
        {
            Want("image", "embedding"),
            Want("text", "embedding"),
            Want("fused", "logits"),
            Want("fused", "cross_attention", last),
            Want("decoder", "logits"),
            Want("answer", "logits"),
        }
    )
    outputs = teacher.outputs(batch, wants)
    assert None not in (outputs.image, outputs.text, outputs.fused, outputs.decoder, outputs.answer)
