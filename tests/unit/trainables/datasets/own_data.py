"""A JSONL data set in a folder of its own, with pictures that are drawn for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spaces.errors import DatasetError
from trainables.datasets.base import SPLITS, Split
from trainables.datasets.jsonl import JsonlDataset
from trainables.preprocess import Framing

Row = dict[str, Any]


def draw(path: Path, grey: int, size: tuple[int, int] = (20, 14)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, 0, 255 - grey)).save(path)


def write(folder: Path, rows: list[Row | str]) -> Path:
    """Write data.jsonl; a text is taken as a line of its own."""
    file = folder / "data.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return file


def rows_of(folder: Path, counts: dict[str, int]) -> list[Row]:
    rows = []
    for split, count in counts.items():
        for index in range(count):
            name = f"{split}{index}.png"
            draw(folder / name, 10 * index + 7 * SPLITS.index(split))
            rows.append({"image": name, "caption": f"{split} picture {index}", "split": split})
    return rows


def dataset(file: Path, **options: Any) -> JsonlDataset:
    return JsonlDataset(JsonlDataset.Config(file=str(file), **options))


def read(data: JsonlDataset, name: str, side: int = 8) -> Split:
    return data.split(name, framing=Framing(side), progress=lambda line: None)


def error_of(file: Path, **options: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        read(dataset(file, **options), "train")
    return str(caught.value)


def good(folder: Path) -> list[Row | str]:
    """Return two rows that are sound."""
    return list(rows_of(folder, {"train": 1, "val": 1}))
