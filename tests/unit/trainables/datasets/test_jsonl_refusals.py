"""What is said about rows and files of a JSONL data set that cannot be used."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.trainables.datasets.own_data import Row, dataset, error_of, good, read, rows_of, write
from trainables.datasets.jsonl_rows import LONGEST


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "student-search" / "jsonl"


BAD_ROWS: dict[str, tuple[Row | str, str]] = {
    "missing image": ({"image": "gone.png", "caption": "a", "split": "train"}, "gone.png does not exist"),
    "empty caption": ({"image": "train0.png", "caption": " ", "split": "train"}, "caption: is empty"),
    "one empty caption": (
        {"image": "train0.png", "captions": ["a", ""], "split": "train"},
        "captions[1]: is empty",
    ),
    "empty list": ({"image": "train0.png", "captions": [], "split": "train"}, "captions: is empty"),
    "not JSON": ('{"image": ', "not JSON"),
    "a list": ("[1]", "got a list; allowed: one JSON object per line"),
    "nested deeply": ('{"image": ' + "[" * 100_000, "not JSON that can be read (nested too deeply)"),
    "a huge number": (
        '{"image": ' + "1" * 5000 + "}",
        "not JSON that can be read (a number has too many digits)",
    ),
    "not a number": (
        '{"image": "train0.png", "caption": "a", "x": NaN}',
        "not JSON (NaN is no JSON value); allowed: numbers, or null",
    ),
    "a field twice": (
        '{"image": "train0.png", "caption": "a", "caption": "b"}',
        "caption: stands twice in one object; allowed: once",
    ),
    "half a letter": (
        {"image": "train0.png", "caption": "a \ud800", "split": "train"},
        r"caption: 'a \ud800' holds half a character",
    ),
    "a caption that nobody sees": (
        {"image": "train0.png", "caption": "\u200b\u00ad", "split": "train"},
        "caption: is empty",
    ),
    "a long line": ("x" * (LONGEST + 1), "has more than 16,777,216 bytes"),
    "null for an image": (
        {"image": None, "caption": "a", "split": "train"},
        "no field 'image'; the row has caption, image (null), split",
    ),
    "null for one half of a question": (
        {"image": "train0.png", "question": "why ?", "answer": None, "split": "train"},
        "no field 'answer'; the row has answer (null)",
    ),
    "other names in questions": (
        {"image": "train0.png", "caption": "a", "questions": [{"q": "why ?", "a": "so"}], "split": "train"},
        "no field 'question'; the row has a, q",
    ),
    "a split of another type": (
        {"image": "train0.png", "caption": "a", "split": {"train": 1}},
        "split: got {'train': 1}; allowed: train, val, test",
    ),
    "no image": ({"caption": "a", "split": "train"}, "no field 'image'; the row has caption, split"),
    "no caption": ({"image": "train0.png", "split": "train"}, "no caption: allowed are fields 'caption'"),
    "caption of a wrong type": (
        {"image": "train0.png", "caption": 3, "split": "train"},
        "caption: got int 3",
    ),
    "image of a wrong type": (
        {"image": 3, "caption": "a", "split": "train"},
        "image: got int 3; allowed: text",
    ),
    "unknown split": (
        {"image": "train0.png", "caption": "a", "split": "dev"},
        "split: got 'dev'; allowed: train, val, test",
    ),
    "question without answer": (
        {"image": "train0.png", "caption": "a", "question": "why ?", "split": "train"},
        "no field 'answer'",
    ),
    "questions of a wrong type": (
        {"image": "train0.png", "caption": "a", "questions": "why ?", "split": "train"},
        "questions: got str",
    ),
    "picture in two splits": (
        {"image": "train0.png", "caption": "a", "split": "val"},
        "is in 'val' here and in 'train'",
    ),
}


@pytest.mark.parametrize(("row", "told"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_told_with_file_and_line(
    tmp_path: Path, own_cache: Path, row: Row | str, told: str
) -> None:
    file = write(tmp_path, [*good(tmp_path), "", row])
    message = error_of(file)
    assert message.startswith(f"{file}:4: ")
    assert told in message
    assert message.count("\n") == 0
    assert not list(own_cache.glob("*"))


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    file = write(tmp_path, good(tmp_path))
    file.write_bytes(file.read_bytes() + b'{"image": "\xff"}\n')
    assert f"{file}:3: not JSON" in error_of(file)


@pytest.mark.parametrize(
    ("encode", "told"),
    [
        (lambda text: text.encode("utf-16"), "the file is UTF-16: save it as UTF-8"),
        (lambda text: gzip.compress(text.encode()), "the file is compressed: unpack it"),
    ],
)
def test_a_file_that_is_stored_otherwise_is_told(tmp_path: Path, encode: Any, told: str) -> None:
    file = write(tmp_path, good(tmp_path))
    file.write_bytes(encode(file.read_text()))
    assert f"{file}:1: not JSON ({told})" in error_of(file)


def test_null_is_a_field_that_is_not_there(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"train": 2, "val": 1})
    nothing = dict.fromkeys(("captions", "question", "answer", "questions", "id"))
    full = [row | nothing for row in rows]
    full[0]["questions"] = [None, {"question": None, "answer": None}, {"question": "why ?", "answer": "so"}]
    full[1]["captions"] = [None, "another"]
    split = read(dataset(write(tmp_path, full)), "train")
    assert split.captions == ["train picture 0", "train picture 1", "another"]
    assert split.questions == ["why ?"]
    bare = [row | {"split": None} for row in rows_of(tmp_path, {"train": 20})]
    assert "ratio, seed 0" in dataset(write(tmp_path, bare)).describe()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"], ids=["empty", "html"])
def test_a_broken_picture_is_told_and_nothing_is_kept(
    tmp_path: Path, own_cache: Path, content: bytes
) -> None:
    rows = good(tmp_path)
    (tmp_path / "broken.png").write_bytes(content)
    file = write(tmp_path, [*rows, {"image": "broken.png", "caption": "a", "split": "train"}])
    message = error_of(file)
    assert message.startswith(f"{file}:3: ")
    assert f"{tmp_path / 'broken.png'} cannot be read as a picture" in message
    assert not list(own_cache.glob("*"))


def test_a_cut_off_picture_is_told(tmp_path: Path) -> None:
    rows = good(tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    file = write(tmp_path, [*rows, {"image": "cut.jpg", "caption": "a", "split": "val"}])
    assert f"{file}:3:" in error_of(file)


def test_all_problems_are_told_at_once_broken_pictures_among_them(tmp_path: Path) -> None:
    rows = good(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows += [{"image": "broken.png", "caption": "a", "split": "train"}, "{", {"caption": "a"}]
    lines = error_of(write(tmp_path, rows)).splitlines()
    assert len(lines) == 3
    assert [line.split(":")[1] for line in lines] == ["3", "4", "5"]


def test_ten_problems_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = good(tmp_path) + [{"image": f"gone{i}.png", "caption": "a", "split": "train"} for i in range(14)]
    lines = error_of(write(tmp_path, rows)).splitlines()
    assert len(lines) == 11
    assert "gone9.png" in lines[9]
    assert lines[10].startswith("... and 4 more: 14 problems in all")
