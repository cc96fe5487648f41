"""What every row of `DATASETS` promises."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from spaces.errors import DatasetError, PluginError
from spaces.options import option_problems
from spaces.plugins import resolve
from tests.unit.trainables.datasets.formats import made_data
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets import DATASETS
from trainables.datasets.base import SPLITS, Dataset, Split
from trainables.preprocess import Framing
from trainables.signals import CAPTION, LABEL, PICTURE, QUESTION
from trainables.training.build import make_dataset

IMAGE_SIZE = 64
NUMBERS = {"prepared": "max_words"}  # an option that is a number, of data that has no seed
SIDES = {"objects": 48}  # of data that is drawn at one size, where it is another


def jsonl_example(folder: Path) -> dict[str, Any]:
    """Write twelve pictures with captions, half of them with a question, and return the settings."""
    rows = []
    for number in range(12):
        path = folder / f"{number}.png"
        Image.new("RGB", (30 + number, 20), (20 * number, 0, 99)).save(path)
        row: dict[str, Any] = {"image": path.name, "captions": [f"picture {number}", "a picture"]}
        row["split"] = ("train", "train", "val", "test")[number % 4]
        rows.append(row | ({"question": "which one?", "answer": str(number)} if number < 8 else {}))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"kind": "jsonl", "file": str(folder / "data.jsonl")}


def scenes_example(folder: Path) -> dict[str, Any]:
    """Return the settings of a few scenes."""
    return {"kind": "scenes", "train_images": 12, "val_images": 8, "test_images": 8}


def imagefolder_example(folder: Path) -> dict[str, Any]:
    """Draw twenty pictures into two class folders."""
    made_data.class_folders(folder / "classes", {"ape": 12, "bee": 8})
    return {"kind": "imagefolder", "root": str(folder / "classes"), "val_ratio": 0.2, "test_ratio": 0.2}


def parquet_example(folder: Path) -> dict[str, Any]:
    """Write three files with labels and captions."""
    for split, numbers in (("train", range(6)), ("validation", range(6, 9)), ("test", range(9, 11))):
        columns = {"image": made_data.structs(list(numbers)), "label": [one % 2 for one in numbers]}
        columns["caption"] = [f"picture {one}" for one in numbers]
        made_data.write_parquet(folder / "rows" / f"{split}.parquet", columns, names=("even", "odd"))
    return {"kind": "parquet", "root": str(folder / "rows")}


def pictures_example(folder: Path) -> dict[str, Any]:
    """Draw twenty pictures into a folder and one below it."""
    made_data.class_folders(folder / "plain", {".": 12, "below": 8})
    return {"kind": "pictures", "root": str(folder / "plain")}


def prepared_example(folder: Path) -> dict[str, Any]:
    """Prepare eight pictures of COCO with Karpathy's splits."""
    assert public.prepare("coco", public.karpathy(folder / "coco"), folder / "shards") == 0
    return {"kind": "prepared", "root": str(folder / "shards")}


def tiny_imagenet_example(folder: Path) -> dict[str, Any]:
    """Write two classes of eight pictures."""
    root = made_data.tiny_imagenet(folder / "tiny", each=8)
    return {"kind": "tiny_imagenet", "root": str(root), "test_ratio": 0.25}


def objects_example(folder: Path) -> dict[str, Any]:
    """Return the settings of a few pictures of objects."""
    return {"kind": "objects", "train_images": 12, "val_images": 8, "test_images": 8}


EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "coco": lambda folder: {"kind": "coco", "root": str(made_data.coco(folder / "coco")), "test_ratio": 0.25},
    "imagefolder": imagefolder_example,
    "jsonl": jsonl_example,
    "objects": objects_example,
    "parquet": parquet_example,
    "pictures": pictures_example,
    "prepared": prepared_example,
    "scenes": scenes_example,
    "tiny_imagenet": tiny_imagenet_example,
}


@pytest.fixture
def settings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return EXAMPLES[name](tmp_path / "data")


def side(kind: str) -> int:
    return SIDES.get(kind, IMAGE_SIZE)


def read(dataset: Dataset, name: str, *, kind: str = "") -> Split:
    return dataset.split(name, framing=Framing(side(kind)), progress=lambda line: None)


def test_table_is_sorted_and_every_row_has_an_example_here() -> None:
    assert list(DATASETS) == sorted(DATASETS) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", DATASETS)
class TestEveryDataset:
    def test_is_a_final_dataset_with_frozen_documented_options(self, name: str) -> None:
        kind = resolve(DATASETS, name, "datasets")
        assert issubclass(kind, Dataset)
        assert not inspect.isabstract(kind)
        assert is_dataclass(kind.Config)
        assert kind.Config.__dataclass_params__.frozen
        assert "__slots__" in kind.Config.__dict__
        assert all(field.kw_only for field in fields(kind.Config))
        assert all(re.search(rf"\b{field.name}\b", kind.Config.__doc__) for field in fields(kind.Config))

    def test_options_are_checked_by_type(self, name: str, settings: dict[str, Any]) -> None:
        adapter = TypeAdapter(resolve(DATASETS, name, "datasets").Config)
        options = {key: value for key, value in settings.items() if key != "kind"}
        adapter.validate_python(options)
        with pytest.raises(ValidationError):
            adapter.validate_python(options | {NUMBERS.get(name, "seed"): "many"})
        with pytest.raises(PluginError, match=r"dataset\.colour: got an unknown option; allowed: "):
            make_dataset(settings | {"colour": 1})

    def test_says_what_makes_it_small(self, name: str, settings: dict[str, Any]) -> None:
        kind = resolve(DATASETS, name, "datasets")
        assert set(kind.smoke) <= {field.name for field in fields(kind.Config)}
        options = {key: value for key, value in settings.items() if key != "kind"} | dict(kind.smoke)
        assert option_problems(kind.Config, options) == []
        assert all(
            read(make_dataset(settings | dict(kind.smoke)), which, kind=name).num_images <= 256
            for which in SPLITS
        )

    def test_splits_are_whole(self, name: str, settings: dict[str, Any]) -> None:
        dataset = make_dataset(settings)
        for which in SPLITS:
            split = read(dataset, which, kind=name)
            assert split.name == which
            assert split.num_images > 0
            assert split.pixels.dtype == np.uint8
            assert split.pixels.shape == (split.num_images, side(name), side(name), 3)
            assert len(split.captions) == len(split.caption_images)
            told = set(range(split.num_images)) if CAPTION in dataset.kinds else set()
            assert set(split.caption_images.tolist()) == told, "every picture has a caption, or none has"
            assert len(split.questions) == len(split.answers) == len(split.question_images)
            assert set(split.question_images.tolist()) <= set(range(split.num_images))
            texts = [*split.captions, *split.questions, *split.answers]
            assert all(isinstance(text, str) and text.strip() for text in texts)

    def test_kinds_say_what_splits_have(self, name: str, settings: dict[str, Any]) -> None:
        dataset = make_dataset(settings)
        assert PICTURE in dataset.kinds
        assert (LABEL in dataset.kinds) == bool(dataset.classes)
        assert len(set(dataset.classes)) == len(dataset.classes) != 1
        for which in SPLITS:
            split = read(dataset, which, kind=name)
            assert (QUESTION in dataset.kinds) <= bool(split.questions)
            if not dataset.classes:
                assert split.labels is None
                continue
            assert split.labels is not None
            assert split.labels.dtype == np.int64
            assert split.labels.shape == (split.num_images,)
            assert set(split.labels.tolist()) <= set(range(len(dataset.classes)))

    def test_reading_twice_gives_the_same(self, name: str, settings: dict[str, Any]) -> None:
        first, again = make_dataset(settings), make_dataset(settings)
        assert first.fingerprint == again.fingerprint
        for which in SPLITS:
            one, other = read(first, which, kind=name), read(again, which, kind=name)
            assert np.array_equal(one.pixels, other.pixels)
            assert one.captions == other.captions
            assert one.questions == other.questions
            assert one.answers == other.answers
            assert np.array_equal(one.caption_images, other.caption_images)
            assert np.array_equal(one.labels, other.labels)  # type: ignore[arg-type]

    def test_says_in_short_what_it_is(self, name: str, settings: dict[str, Any]) -> None:
        dataset = make_dataset(settings)
        assert re.fullmatch(r"[0-9a-f]{16}", dataset.fingerprint)
        assert re.fullmatch(r"([0-9a-f]{16})?", dataset.specification)
        assert dataset.describe().startswith(name)
        assert "\n" not in dataset.describe()

    def test_unknown_splits_are_refused(self, name: str, settings: dict[str, Any]) -> None:
        with pytest.raises(DatasetError, match=r"'dev'.*train, val, test"):
            read(make_dataset(settings), "dev", kind=name)
