"""Whether greedy captions name exactly the objects that are there."""

from pathlib import Path

import pytest

from tests.unit.trainables import small
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.preprocess import Framing
from trainables.teachers.blip.scene_captions import exact_captions, named_objects

V = small.vocabulary()


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("a small red ring left of a blue star", {("red", "ring"), ("blue", "star")}),
        ("two shapes : large red ring , small red ring", {("red", "ring")}),
        ("two shapes : large red ring, small blue star", {("red", "ring"), ("blue", "star")}),
        ("red large ring", set()),
        ("", set()),
    ],
)
def test_objects_are_a_colour_followed_by_a_shape(caption: str, objects: set[tuple[str, str]]) -> None:
    assert named_objects(caption) == objects


def test_exact_share_counts_captions_that_name_all_and_nothing_else(tmp_path: Path) -> None:
    dataset = ScenesDataset(ScenesDataset.Config(train_images=8, val_images=60, test_images=8))
    split = dataset.split("val", framing=Framing(64), progress=small.silent)
    tokenizer = small.tokenizer(tmp_path)
    scenes = dataset.scenes("val", small.silent)
    single = [i for i, numbers in enumerate(scenes) if len(numbers) == 5]
    color, shape = scenes[single[0]][:2]
    colors = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"]
    shapes = ["circle", "square", "triangle", "star", "cross", "ring"]
    alone = sum(scenes[i][:2] == [color, shape] for i in single)
    encoded = EncodedSplit(split, tokenizer, small.PREPROCESS)
    ids = tokenizer.captions([f"there is a {colors[color]} {shapes[shape]}"])[0][1:-1]
    model = FakeSpeaker(small.small_config(), dict(zip([V.dec, *ids], [*ids, V.sep], strict=True)))
    share = exact_captions(model, encoded, tokenizer, scenes, num_images=60)  # type: ignore[arg-type]
    assert share == pytest.approx(100 * alone / 60)
    assert alone >= 1
