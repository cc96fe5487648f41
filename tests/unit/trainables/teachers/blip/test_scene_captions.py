"""Greedy captions, and whether they name exactly the objects that are there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainables.core import small
from tests.unit.trainables.core.fake_speaker import FakeSpeaker
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.metrics.generation import greedy_captions
from trainables.metrics.scene_captions import exact_captions, named_objects
from trainables.teachers.teacher import Teacher

V = small.vocabulary()


def speaker(tmp_path: Path, sentence: str, *, end: bool = True) -> FakeSpeaker:
    """Return a model that always says this sentence of different words."""
    ids = small.tokenizer(tmp_path).captions([sentence])[0][1:-1]
    successors = dict(zip([V.dec, *ids], [*ids, V.sep], strict=True))
    if not end:
        successors[ids[-1]] = ids[0]
    return FakeSpeaker(small.small_config(), successors)


def test_greedy_caption_ends_at_the_separator(tmp_path: Path) -> None:
    ids = small.tokenizer(tmp_path).captions(["a red ring"])[0][1:-1]
    said = greedy_captions(speaker(tmp_path, "a red ring"), torch.zeros(3, 5, 4))  # type: ignore[arg-type]
    assert said == [ids] * 3


def test_greedy_caption_without_end_stops_at_the_longest_text(tmp_path: Path) -> None:
    said = greedy_captions(speaker(tmp_path, "a red ring", end=False), torch.zeros(2, 5, 4))  # type: ignore[arg-type]
    assert [len(row) for row in said] == [small.MAX_TOKENS - 1] * 2


def test_greedy_caption_of_a_real_model_is_its_argmax_word_by_word(
    teacher: Teacher, val_split: EncodedSplit
) -> None:
    seen = teacher.model.encode_image(val_split.images(np.arange(3), small.CPU))
    assert seen.tokens_BPD is not None
    together = greedy_captions(teacher.model, seen.tokens_BPD)
    for row, said in enumerate(together):
        ids = [V.dec]
        for word in [*said, V.sep][: small.MAX_TOKENS - 1]:
            so_far = torch.tensor([ids])
            logits = teacher.model.decode(
                so_far, torch.ones_like(so_far).bool(), seen.tokens_BPD[row : row + 1]
            )
            assert logits.logits_BTV is not None
            assert int(logits.logits_BTV[0, -1].argmax()) == word
            ids.append(word)


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("a small red ring left of a blue star", {("red", "ring"), ("blue", "star")}),
        ("two shapes : large red ring , small red ring", {("red", "ring")}),
        ("red large ring", set()),
        ("", set()),
    ],
)
def test_objects_are_a_colour_followed_by_a_shape(caption: str, objects: set[tuple[str, str]]) -> None:
    assert named_objects(caption) == objects


def test_exact_share_counts_captions_that_name_all_and_nothing_else(tmp_path: Path) -> None:
    dataset = ScenesDataset(ScenesDataset.Config(train_images=8, val_images=60, test_images=8))
    split = dataset.split("val", image_size=64, progress=small.silent)
    tokenizer = small.tokenizer(tmp_path)
    scenes = dataset.scenes("val", small.silent)
    single = [i for i, numbers in enumerate(scenes) if len(numbers) == 5]
    color, shape = scenes[single[0]][:2]
    colors = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"]
    shapes = ["circle", "square", "triangle", "star", "cross", "ring"]
    alone = sum(scenes[i][:2] == [color, shape] for i in single)
    encoded = EncodedSplit(split, tokenizer, small.PREPROCESS)
    model = speaker(tmp_path, f"there is a {colors[color]} {shapes[shape]}")
    share = exact_captions(model, encoded, tokenizer, scenes, num_images=60)  # type: ignore[arg-type]
    assert share == pytest.approx(100 * alone / 60)
    assert alone >= 1
