"""Small instances of public data sets in their true layouts, and the command that prepares them."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.unit.trainables.datasets.formats.made_data import picture
from trainables.datasets.base import Dataset
from trainables.datasets.prepare.__main__ import main
from trainables.training.build import make_dataset


def jpeg(number: int, size: tuple[int, int] = (24, 16)) -> bytes:
    """Return the bytes of a picture of one colour that no other number has."""
    sink = io.BytesIO()
    picture(number, size).save(sink, "JPEG")
    return sink.getvalue()


def put(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(number))
    return path


def write_json(path: Path, told: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))
    return path


KARPATHY = (  # split, folder, captions of each picture
    ("train", "train2014", 5),
    ("train", "train2014", 5),
    ("restval", "val2014", 5),
    ("restval", "val2014", 6),
    ("val", "val2014", 5),
    ("val", "val2014", 5),
    ("test", "val2014", 5),
    ("test", "val2014", 7),
)


def karpathy_rows(pictures: Sequence[tuple[str, str, int]] = KARPATHY) -> list[dict[str, Any]]:
    """Return the `images` of Karpathy's file on COCO."""
    rows = []
    for number, (split, folder, count) in enumerate(pictures):
        texts = [f"Picture {number}, told in way {n}." for n in range(count)]
        sentences = [
            {"raw": text, "tokens": text.lower().split(), "imgid": number, "sentid": 10 * number + n}
            for n, text in enumerate(texts)
        ]
        name = f"COCO_{folder}_{number:012d}.jpg"
        row = {"filepath": folder, "filename": name, "split": split, "cocoid": number, "imgid": number}
        rows.append(row | {"sentids": [one["sentid"] for one in sentences], "sentences": sentences})
    return rows


def karpathy(root: Path, rows: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """Write COCO with Karpathy's splits."""
    rows = karpathy_rows() if rows is None else rows
    for row in rows:
        put(root / row["filepath"] / row["filename"], row["cocoid"])
    write_json(root / "dataset_coco.json", {"dataset": "coco", "images": list(rows)})
    return root


def tar(path: Path, samples: Mapping[str, Mapping[str, bytes]]) -> Path:
    """Write a WebDataset shard: key -> ending -> content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as sink:
        for key, members in samples.items():
            for ending, content in members.items():
                one = tarfile.TarInfo(f"{key}.{ending}")
                one.size = len(content)
                sink.addfile(one, io.BytesIO(content))
    return path


def prepare(kind: str, root: Path, out: Path, *flags: str) -> int:
    """Run the command in this process; return its exit code."""
    words = ["--kind", kind, "--root", str(root), "--out", str(out), *flags]
    if not {"--workers", "--address"} & set(flags):
        words += ["--workers", "1"]
    return main(words)


def opened(out: Path, **options: Any) -> Dataset:
    return make_dataset({"kind": "prepared", "root": str(out), **options})


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "prepared.json").read_text())
    return found


def quarantine(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path
