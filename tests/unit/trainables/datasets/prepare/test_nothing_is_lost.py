"""What is in a user's tables, folders and tar files and is not read: each is told, or refused."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.trainables.datasets.formats.made_data import png
from tests.unit.trainables.datasets.prepare import public

SPLITS = ("train", "train", "val")


def rows(root: Path, *more: dict[str, Any]) -> Path:
    """Write three pictures and a line of JSON on each, with more fields."""
    for number, split in enumerate(SPLITS):
        public.put(root / f"{number}.jpg", number)
        row = {"image": f"{number}.jpg", "split": split, "caption": f"words {number}"}
        more_of_it = more[number % len(more)] if more else {}
        with (root / "data.jsonl").open("a") as sink:
            sink.write(json.dumps(row | more_of_it) + "\n")
    return root / "data.jsonl"


def left_out(out: Path) -> list[tuple[str, str, str]]:
    return [(one["what"], one["name"], one["reason"]) for one in public.quarantine(out)]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"questions": "what is it?"}, "has no answer"),
        ({"questions": [{"q": "what is it?", "a": "a dog"}]}, "is no text but NoneType None"),
        ({"answers": ["a dog"]}, "is no text but NoneType None"),
        ({"question": "what is it?", "answers": [3]}, "none of its answers is a text"),
    ],
)
def test_a_question_that_is_none_is_told(tmp_path: Path, asked: dict[str, Any], reason: str) -> None:
    root = tmp_path / "own"
    root.mkdir()
    assert public.prepare("jsonl", rows(root, asked, {}, {}), tmp_path / "out") == 0
    assert ("question", "0.jpg", reason) in left_out(tmp_path / "out")


@pytest.mark.parametrize("flag", ["--image-column", "--caption-column", "--split-column"])
def test_a_field_that_no_line_has_is_refused(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "own"
    root.mkdir()
    assert public.prepare("jsonl", rows(root), tmp_path / "out", flag, "spilt") == 2
    assert f"{flag}: no line of {root / 'data.jsonl'} has a field 'spilt'" in capsys.readouterr().err


def test_fields_that_nobody_reads_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "own"
    root.mkdir()
    assert public.prepare("jsonl", rows(root, {"title": "more words", "url": "x"}), tmp_path / "out") == 0
    assert "columns not read: title, url\n" in capsys.readouterr().out
    assert "columns not read: title, url" in public.opened(tmp_path / "out").remarks()


def table(root: Path, kind: str, names: Sequence[str]) -> Path:
    """Write a table of three pictures; in each column words that tell it from the others."""
    root.mkdir()
    values = {
        number: [
            f"{row}.jpg" if name == "image" else f"{SPLITS[row]}" if name == "split" else f"{number} of {row}"
            for row in range(3)
        ]
        for number, name in enumerate(names)
    }
    for number in range(3):
        public.put(root / f"{number}.jpg", number)
    if kind == "parquet":
        schema = pa.schema([(name, pa.string()) for name in names])
        pq.write_table(
            pa.Table.from_arrays([pa.array(one) for one in values.values()], schema=schema),
            root / "t.parquet",
        )
    else:
        lines = [names, *zip(*values.values(), strict=True)]
        (root / f"t.{kind}").write_text(
            "".join({"csv": ",", "tsv": "\t"}[kind].join(one) + "\n" for one in lines)
        )
    return root


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_column_that_stands_twice_is_refused(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = table(tmp_path / "own", kind, ("image", "split", "caption", "caption"))
    assert public.prepare(kind, root, tmp_path / "out") == 2
    assert f"t.{kind}: caption stands twice among its columns" in capsys.readouterr().err
    twice = table(tmp_path / "more", kind, ("image", "split", "caption", "note", "note"))
    assert public.prepare(kind, twice, tmp_path / "other") == 0, "of no matter where nobody reads it"


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_pictures_whose_texts_were_not_found_are_told(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = table(tmp_path / "own", kind, ("image", "split", "description"))
    assert public.prepare(kind, root, tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "pictures have no texts: none were found; --caption-column NAME" in told
    assert "columns not read: description" in told


def test_texts_beside_no_picture_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "own"
    for number, split in enumerate(SPLITS):
        public.put(root / split / f"{number}.jpg", number)
        (root / split / f"{number}.txt").write_text(f"words {number}\n")
    (root / "train" / "lost.txt").write_text("no picture is called so\n")
    (root / "train" / "0.TXT").write_text("in large letters\n")
    assert public.prepare("folder", root, tmp_path / "out") == 0
    assert "2 text files are not read: no picture has their name" in capsys.readouterr().out


def test_a_text_that_stands_twice_in_a_sample_is_told(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "shard.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as sink:
        for name, content in [
            ("0.png", png(0)),
            ("0.txt", b"first"),
            ("0.txt", b"last"),
            ("1.png", png(1)),
            ("1.json", b'{"caption": null, "captions": ["words"]}'),
        ]:
            one = tarfile.TarInfo(name)
            one.size = len(content)
            sink.addfile(one, io.BytesIO(content))
    assert public.prepare("webdataset", path, tmp_path / "out", "--val-ratio", "0", "--test-ratio", "0") == 0
    assert left_out(tmp_path / "out") == [
        ("caption", "shard.tar 0", "stands twice in its sample; the last one is read")
    ]
    assert public.manifest(tmp_path / "out")["counts"]["train"]["captions"] == 2
