"""The embedded labelled data set: what its splits hold, how noisy they are, and that it is not trivial."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import DatasetError
from tests.unit.trainables import small
from trainables.datasets.base import Split
from trainables.datasets.objects import dataset as module
from trainables.datasets.objects import drawing
from trainables.datasets.objects.dataset import ObjectsDataset
from trainables.datasets.scenes import language
from trainables.preprocess import Framing


def make(**options: Any) -> ObjectsDataset:
    return ObjectsDataset(
        ObjectsDataset.Config(**({"train_images": 40, "val_images": 24, "test_images": 8} | options))
    )


def read(dataset: ObjectsDataset, name: str = "train") -> Split:
    return dataset.split(name, framing=Framing(48), progress=small.silent)


def texts(split: Split) -> list[str]:
    """Return the captions of each picture as one text."""
    return [
        "; ".join(split.captions[row] for row in np.flatnonzero(split.caption_images == image))
        for image in range(split.num_images)
    ]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "student-search" / "objects"


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_labels_are_the_classes_of_the_large_objects(name: str) -> None:
    dataset = make()
    split = read(dataset, name)
    assert split.labels is not None
    assert split.labels.dtype == np.int64
    assert split.num_images == len(split.labels) == {"train": 40, "val": 24, "test": 8}[name]
    colors, shapes = (
        ("red", "green", "blue", "yellow"),
        ("circle", "square", "triangle", "star", "cross", "ring"),
    )
    for label, numbers in zip(split.labels, dataset.objects(name, small.silent), strict=True):
        assert dataset.classes[label] == f"{colors[numbers[0]]} {shapes[numbers[1]]}"
    assert len(dataset.classes) == len(set(dataset.classes)) == 24
    assert len(split.captions) == 4 * split.num_images
    assert (split.questions, split.answers) == ([], [])


def test_held_out_captions_have_one_picture_each() -> None:
    captions = read(make(val_images=400), "val").captions
    assert len(set(captions)) == len(captions) == 1600


@pytest.mark.parametrize(("share", "number"), [(0.4, 16), (1.0, 40), (0.0, 0), (0.03, 1)])
def test_exactly_the_mismatched_share_gets_the_captions_of_another_picture(share: float, number: int) -> None:
    clean, noisy = read(make()), read(make(mismatched=share))
    assert np.array_equal(clean.pixels, noisy.pixels)
    assert np.array_equal(clean.labels, noisy.labels)
    assert sum(a != b for a, b in zip(texts(clean), texts(noisy), strict=True)) == number
    assert texts(read(make(mismatched=1.0), "val")) == texts(read(make(), "val"))


@pytest.mark.parametrize(("share", "number"), [(0.4, 16), (1.0, 40), (0.0, 0), (0.03, 1)])
def test_exactly_the_mislabelled_share_gets_another_class(share: float, number: int) -> None:
    clean, noisy = read(make()), read(make(mislabelled=share))
    assert np.sum(clean.labels != noisy.labels) == number
    assert set(noisy.labels.tolist()) <= set(range(24))
    assert texts(clean) == texts(noisy)
    assert np.array_equal(read(make(mislabelled=1.0), "val").labels, read(make(), "val").labels)


def test_splits_and_seeds_share_no_picture() -> None:
    rows = [
        make(seed=seed).objects(name, small.silent) for seed in (0, 1) for name in ("train", "val", "test")
    ]
    everything = [tuple(numbers) for some in rows for numbers in some]
    assert len(set(everything)) == len(everything)


def test_more_images_begin_with_the_same_ones() -> None:
    assert np.array_equal(read(make(train_images=40)).pixels[:16], read(make(train_images=16)).pixels)


def test_specification_is_of_the_task_and_fingerprint_of_the_amounts_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [make(), make(mismatched=0.4), make(mislabelled=0.4), make(train_images=41), make(seed=1)]
    assert len({one.specification for one in made}) == 1
    assert len({one.fingerprint for one in made}) == 5
    assert make().fingerprint == make().fingerprint
    before = make().specification
    for name, value in (("APART", 3), ("NOISE", 11), ("SHADE", 13)):
        with monkeypatch.context() as patch:
            patch.setattr(drawing, name, value)
            assert make().specification != before, name


def test_vocabulary_covers_every_text() -> None:
    assert {word for text in read(make(train_images=400)).captions for word in text.split()} <= set(
        language.VOCABULARY
    )


def test_pictures_are_drawn_once_and_damage_is_told_with_the_path(cache: Path) -> None:
    lines: list[str] = []
    first = make().split("train", framing=Framing(48), progress=lines.append)
    assert lines == ["objects: 40 of 40 drawn"]
    (path,) = cache.iterdir()
    assert np.array_equal(read(make(mismatched=0.5)).pixels, first.pixels)
    assert list(cache.iterdir()) == [path]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"damaged .* Delete it") as caught:
        read(make())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_images": 7}, r"dataset.train_images: got 7; allowed: 8 or more"),
        ({"val_images": 0}, r"dataset.val_images: got 0"),
        ({"mismatched": 1.1}, r"dataset.mismatched: got 1.1; allowed: 0 to 1"),
        ({"mislabelled": -0.1}, r"dataset.mislabelled: got -0.1; allowed: 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        make(**options)


def test_other_splits_and_picture_sizes_are_refused() -> None:
    with pytest.raises(DatasetError, match="no split is called 'dev'; allowed: train, val, test"):
        read(make(), "dev")
    with pytest.raises(DatasetError, match="48 x 48, the teacher sees 224 x 224 of 256 x 256"):
        make().split("train", framing=Framing(224, 256), progress=small.silent)
    assert make().split("val", framing=Framing(48, 48, "bilinear"), progress=small.silent).num_images == 24


def test_description_states_amounts_and_noise() -> None:
    line = make(train_images=4000, mismatched=0.4, mislabelled=0.1).describe()
    assert all(part in line for part in ("24 classes", "4,000", "40%", "10%"))


def test_nearest_raw_pictures_do_not_tell_the_class() -> None:
    """A bound from outside: 24 classes of which raw pixels tell 29 % at 4,000 pictures, so much less at 800."""
    dataset = make(train_images=800, val_images=200)
    train, val = read(dataset), read(dataset, "val")
    known, asked = (
        torch.nn.functional.normalize(
            torch.from_numpy(split.pixels.reshape(len(split.pixels), -1)).float() - 90
        )
        for split in (train, val)
    )
    nearest = (asked @ known.T).argmax(1).numpy()
    right = np.mean(train.labels[nearest] == val.labels)
    assert 1 / 24 < right < 0.5


def test_module_says_which_draws_are_whose() -> None:
    streams = [*module.SEEDS.values(), module.MISMATCHED, module.MISLABELLED]
    assert len(set(streams)) == len(streams)
