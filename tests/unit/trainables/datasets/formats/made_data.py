"""Small data sets in the formats of others, drawn for a test."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spaces.errors import DatasetError
from trainables.datasets.base import Dataset, Split
from trainables.preprocess import Framing
from trainables.training.build import make_dataset


def picture(number: int, size: tuple[int, int] = (9, 7)) -> Image.Image:
    """Return a picture that no other number has."""
    return Image.new("RGB", size, (number * 37 % 256, number * 101 % 256, number % 256))


def put(path: Path, number: int) -> Path:
    """Draw a picture into a file whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number).save(path)
    return path


def class_folders(root: Path, counts: Mapping[str, int], *, start: int = 0) -> Path:
    """Draw `counts[folder]` pictures into each folder, all different."""
    number = start
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            put(root / folder / f"{index}.png", number)
            number += 1
    return root


def tiny_imagenet(root: Path, ids: Sequence[str] = ("n02", "n01"), *, each: int = 3) -> Path:
    """Write a small Tiny ImageNet: `each` pictures to train on and one to validate on of every class."""
    root.mkdir(parents=True)
    (root / "wnids.txt").write_text("".join(f"{one}\n" for one in ids))
    words = {"n01": "goldfish, Carassius auratus", "n02": "crane", "n09": "of no class here"}
    (root / "words.txt").write_text("".join(f"{one}\t{name}\n" for one, name in words.items()))
    lines, number = [], 0
    for place, one in enumerate(ids):
        (root / "train" / one / "images").mkdir(parents=True)
        (root / "train" / one / f"{one}_boxes.txt").write_text("x\t0\t0\t1\t1\n")
        for index in range(each):
            put(root / "train" / one / "images" / f"{one}_{index}.JPEG", number)
            number += 1
        put(root / "val" / "images" / f"val_{place}.JPEG", 100 + place)
        lines.append(f"val_{place}.JPEG\t{one}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    put(root / "test" / "images" / "test_0.JPEG", 200)
    return root


def coco(root: Path, *, train: int = 4, val: int = 2) -> Path:
    """Write a small COCO of 2017: two captions a picture."""
    for split, count, first in (("train", train, 0), ("val", val, 50)):
        images, notes = [], []
        for number in range(first, first + count):
            name = f"{number:012d}.jpg"
            put(root / f"{split}2017" / name, number)
            images.append({"id": number, "file_name": name, "license": 3, "coco_url": "http://x"})
            notes += [
                {"image_id": number, "id": 2 * number, "caption": f"A picture of {number}.\n"},
                {"image_id": number, "id": 2 * number + 1, "caption": f"another of {number}"},
            ]
        write_captions(root, split, {"info": {}, "images": images, "licenses": [], "annotations": notes})
    return root


def captions_of(root: Path, split: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "annotations" / f"captions_{split}2017.json").read_text())
    return found


def write_captions(root: Path, split: str, told: Any) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"captions_{split}2017.json").write_text(json.dumps(told))


def png(number: int) -> bytes:
    """Return the bytes of a picture."""
    sink = io.BytesIO()
    picture(number).save(sink, "PNG")
    return sink.getvalue()


def structs(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return pictures as Hugging Face writes them into rows."""
    return [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]


def write_parquet(
    path: Path, columns: Mapping[str, Any], *, names: Sequence[str] | None = None, label: str = "label"
) -> Path:
    """Write a file as `datasets` does, with the names of the classes in the schema."""
    table = pa.table(dict(columns))
    if names is not None:
        features = {"image": {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=2)
    return path


def opened(kind: str, root: Path | str, **options: Any) -> Dataset:
    return make_dataset({"kind": kind, "root": str(root), **options})


def read(data: Dataset, name: str, side: int = 8) -> Split:
    return data.split(name, framing=Framing(side), progress=lambda line: None)


def error_of(kind: str, root: Path | str, **options: Any) -> str:
    """Return what is told of data that cannot be used, however late."""
    with pytest.raises(DatasetError) as caught:
        read(opened(kind, root, **options), "train")
    return str(caught.value)


def colours(split: Split) -> list[tuple[int, ...]]:
    """Return the colour of each picture, all of one colour."""
    return [tuple(one[0, 0].tolist()) for one in np.asarray(split.pixels)]


def colour(number: int) -> tuple[int, ...]:
    return tuple(np.asarray(picture(number))[0, 0].tolist())
