"""Fields of a JSONL file that nobody reads: slips of the pen are refused, others are told; and copies of a picture."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainables.datasets.own_data import Row, dataset, error_of, good, read, rows_of, write
from trainables.datasets.jsonl_fields import NOTED, Fields
from trainables.signals import QUESTION


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fields() -> Fields:
    return Fields(image="image", caption="caption", split="split")


BARE: Row = {"image": "train0.png", "caption": "a", "split": "train"}
SLIPS = [
    ("Split", "split", {"image": "train0.png", "caption": "a"}, "val"),
    ("spilt", "split", {"image": "train0.png", "caption": "a"}, "val"),
    ("splits", "split", {"image": "train0.png", "caption": "a"}, "val"),
    ("ѕplit", "split", {"image": "train0.png", "caption": "a"}, "val"),
    (" split", "split", {"image": "train0.png", "caption": "a"}, "val"),
    ("captoin", "caption", {"image": "train0.png", "question": "why ?", "answer": "so", "split": "train"}, "a"),
    ("Captions", "captions", {"image": "train0.png", "question": "why ?", "answer": "so", "split": "train"}, ["a"]),
    ("anwser", "answer", BARE, "so"),
    ("answers", "answer", BARE, ["so"]),
    ("Questoins", "questions", BARE, [{"question": "why ?", "answer": "so"}]),
    ("questoin", "question", BARE, "why ?"),
    ("imgae", "image", {"caption": "a", "split": "train"}, "train0.png"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "meant", "row", "value"), SLIPS, ids=[slip[0] for slip in SLIPS])
def test_a_misspelt_field_is_refused_with_line_and_hint(
    tmp_path: Path, name: str, meant: str, row: Row, value: object
) -> None:
    text = error_of(write(tmp_path, [*good(tmp_path), {**row, name: value}]))
    assert f"data.jsonl:3: {name}: is a field that nobody reads, and there is no '{meant}'." in text
    assert text.splitlines()[0].endswith("?")
    assert f"Did you mean '{meant}'" in text


@pytest.mark.parametrize(
    "row",
    [
        {**BARE, "image_id": 7},
        {**BARE, "caption_id": 7},
        {**BARE, "location": "here"},
        {**BARE, "answered": True},
        {**BARE, "answers": []},  # a column that is empty here
        {**BARE, "spilt": "val"},  # the row has its split
        {**BARE, "captions_": "b"},
        {"image": "train0.png", "captions": ["a"], "split": "train", "captoin": "b"},
        {**BARE, "question": "why ?", "answer": "so", "answers": ["so", "so"]},  # as in VQA v2
        {**BARE, "": 1, "x" * 100_000: 2, "\x1b": 3},
    ],
)
def test_a_field_of_another_meaning_is_allowed(tmp_path: Path, row: Row) -> None:
    data = dataset(write(tmp_path, [*good(tmp_path), row]))
    assert read(data, "train").num_images == 1


def test_a_field_that_the_user_renamed_is_held_against_its_own_name() -> None:
    own = Fields(image="file", caption="text", split="part")
    assert "Did you mean 'text'?" in own.slip({"file": "a.png", "txet": "a"})
    assert own.slip({"file": "a.png", "text": "a", "Split": "val"}) == ""  # not what it is called here
    assert list(own.unread) == ["Split"]


def test_fields_that_nobody_reads_are_told_once(tmp_path: Path) -> None:
    rows: list[Any] = good(tmp_path)
    data = dataset(write(tmp_path, [row | {"id": 1, "url": "x"} for row in rows] + [rows[0] | {"width": 20}]))
    assert data.remarks() == ["fields not read: id, url, width"]
    assert dataset(write(tmp_path, rows)).remarks() == []


def test_names_of_fields_do_not_fill_the_memory() -> None:
    some = fields()
    for number in range(NOTED + 50):
        assert some.slip({**BARE, f"key {number}": 1}) == ""
    assert len(some.unread) == NOTED
    assert "Did you mean 'split'?" in some.slip({"image": "a", "caption": "a", "spilt": "val"})  # still found


def test_copies_of_a_picture_in_two_splits_are_counted_and_one_pair_is_named(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"train": 3, "val": 3, "test": 2})
    shutil.copy(tmp_path / "train1.png", tmp_path / "val0.png")
    shutil.copy(tmp_path / "train1.png", tmp_path / "test1.png")
    shutil.copy(tmp_path / "val2.png", tmp_path / "test0.png")
    shutil.copy(tmp_path / "train0.png", tmp_path / "train2.png")  # in one split: nothing leaks
    (told,) = dataset(write(tmp_path, [*rows])).remarks()
    assert told.startswith(
        "WARNING: 3 held-out pictures are byte for byte in an earlier split, too, such as train1.png (train) "
        "and val0.png (val): "
    )


def test_pictures_that_differ_leak_nothing(tmp_path: Path) -> None:
    assert dataset(write(tmp_path, [*rows_of(tmp_path, {"train": 2, "val": 1})])).remarks() == []


def test_questions_that_some_split_lacks_are_told_to_be_unused(tmp_path: Path) -> None:
    rows: list[Any] = good(tmp_path)
    asked = [
        row | ({"question": "what ?", "answer": "it"} if row["split"] == "train" else {}) for row in rows
    ]
    data = dataset(write(tmp_path, asked))
    assert QUESTION not in data.kinds
    assert data.remarks() == ["WARNING: questions are not used: no picture of val has one"]
