"""Parquet files of pictures: as `datasets` writes them, and what is said of files that do not fit together."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.trainables.datasets.formats.made_data import (
    colour,
    colours,
    error_of,
    opened,
    png,
    put,
    read,
    structs,
    write_parquet,
)
from trainables.datasets import contents
from trainables.datasets.formats.parquet import split_of
from trainables.signals import CAPTION, LABEL, PICTURE

NAMES = ("ape", "bee")


def write(root: Path, **files: tuple[list[int], list[Any]]) -> Path:
    """Write a file a name, of pictures and labels, with the names of two classes."""
    for name, (numbers, labels) in files.items():
        write_parquet(root / f"{name}.parquet", {"image": structs(numbers), "label": labels}, names=NAMES)
    return root


def test_shards_are_joined_and_classes_named_by_the_schema(tmp_path: Path) -> None:
    at = tmp_path / "data"
    for shard, numbers in enumerate(([0, 1, 2, 3, 4], [5, 6])):
        columns = {"image": structs(numbers), "label": [one % 2 for one in numbers], "id": numbers}
        write_parquet(at / f"train-{shard:05d}-of-00002.parquet", columns, names=NAMES)
    write(at, **{"validation-00000-of-00001": ([10, 11], [1, 1]), "test-00000-of-00001": ([20], [0])})
    data = opened("parquet", tmp_path)
    assert data.classes == NAMES
    assert data.kinds == {PICTURE, LABEL}
    train, val = read(data, "train"), read(data, "val")
    assert colours(train) == [colour(number) for number in range(7)]
    assert train.labels is not None
    assert val.labels is not None
    assert train.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert val.labels.tolist() == [1, 1]
    assert colours(read(data, "test")) == [colour(20)]
    assert "columns not read: id" in data.remarks()
    assert data.describe().startswith(
        f"parquet {tmp_path.name}: 7 images of 2 classes to train on; 2 to validate on, 1 to test on"
    )


def test_one_file_is_divided_class_by_class_and_read_as_a_stream(tmp_path: Path) -> None:
    numbers = list(range(20))
    file = write(tmp_path, data=(numbers, [one % 2 for one in numbers])) / "data.parquet"
    data = opened("parquet", file, val_ratio=0.2, test_ratio=0.1)
    splits = [read(data, name) for name in ("train", "val", "test")]
    assert [split.num_images for split in splits] == [14, 4, 2]
    seen = {
        one: label
        for split in splits
        for one, label in zip(colours(split), split.labels.tolist(), strict=True)
    }  # type: ignore[union-attr]
    assert seen == {colour(number): number % 2 for number in numbers}


@pytest.mark.parametrize(
    "labels", [["b", "a", "b", "a"], [7, 3, 7, 3]], ids=["text", "numbers without names"]
)
def test_labels_without_names_are_their_own(tmp_path: Path, labels: list[Any]) -> None:
    write_parquet(tmp_path / "train.parquet", {"image": structs([0, 1, 2, 3]), "label": labels})
    write_parquet(tmp_path / "dev.parquet", {"image": structs([5]), "label": labels[:1]})
    data = opened("parquet", tmp_path)
    assert data.classes == tuple(map(str, sorted(set(labels))))
    train = read(data, "train")
    assert train.labels is not None
    assert train.labels.tolist() == [1, 0, 1, 0]


def test_captions_of_text_or_lists_are_read(tmp_path: Path) -> None:
    texts = [["one ", "two"], ["three"]]
    write_parquet(tmp_path / "train.parquet", {"image": structs([0, 1]), "captions": texts})
    write_parquet(tmp_path / "val.parquet", {"image": structs([2]), "captions": [["four"]]})
    data = opened("parquet", tmp_path)
    assert data.kinds == {PICTURE, CAPTION}
    assert read(data, "train").captions == ["one", "two", "three"]
    assert read(data, "train").caption_images.tolist() == [0, 0, 1]
    for name in ("train", "val"):
        write_parquet(tmp_path / f"{name}.parquet", {"image": structs([ord(name[0])]), "text": [name]})
    assert opened("parquet", tmp_path).kinds == {PICTURE}
    assert read(opened("parquet", tmp_path, caption_column="text"), "val").captions == ["val"]


def test_pictures_may_be_bytes_or_paths(tmp_path: Path) -> None:
    for number, place in enumerate(("a.png", "more/b.png", "c.png")):
        put(tmp_path / "files" / place, number)
    write_parquet(tmp_path / "files" / "train.parquet", {"img": ["a.png", "more/b.png"], "label": ["x", "y"]})
    write_parquet(tmp_path / "files" / "val.parquet", {"img": ["c.png"], "label": ["x"]})
    by_path = opened("parquet", tmp_path / "files", image_column="img")
    write_parquet(tmp_path / "bytes" / "train.parquet", {"img": [png(0), png(1)], "label": ["x", "y"]})
    write_parquet(tmp_path / "bytes" / "val.parquet", {"img": [png(2)], "label": ["x"]})
    by_bytes = opened("parquet", tmp_path / "bytes", image_column="img")
    mixed = [{"bytes": None, "path": "a.png"}, {"bytes": png(1), "path": "gone.png"}]
    write_parquet(tmp_path / "files" / "train.parquet", {"img": mixed, "label": ["x", "y"]})
    either = opened("parquet", tmp_path / "files", image_column="img")
    assert colours(read(by_bytes, "train")) == [colour(0), colour(1)]
    assert by_path.fingerprint == by_bytes.fingerprint == either.fingerprint
    assert colours(read(either, "train")) == [colour(0), colour(1)]
    put(tmp_path / "files" / "a.png", 33)
    assert opened("parquet", tmp_path / "files", image_column="img").fingerprint != either.fingerprint


def test_neither_files_nor_the_pictures_that_they_name_are_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_S", -1.0)
    for number, place in enumerate(("a.png", "b.png", "c.png")):
        put(tmp_path / place, number)
    write_parquet(tmp_path / "train.parquet", {"image": ["a.png", "b.png"]})
    write_parquet(tmp_path / "val.parquet", {"image": ["c.png"]})
    first = opened("parquet", tmp_path).fingerprint
    read_again: list[str] = []
    digest = hashlib.file_digest

    def noted(source: Any, kind: Any) -> Any:
        read_again.append(source.name)
        return digest(source, kind)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    assert opened("parquet", tmp_path).fingerprint == first
    assert read_again == []
    write_parquet(tmp_path / "val.parquet", {"image": ["b.png"]})
    assert opened("parquet", tmp_path).fingerprint != first
    assert [Path(name).name for name in read_again] == ["val.parquet"]


def test_labels_that_are_not_public_leave_a_split_out(tmp_path: Path) -> None:
    data = opened("parquet", write(tmp_path, train=([0, 1], [0, 1]), val=([2], [1]), test=([3, 4], [-1, -1])))
    assert data.split_names == ("train", "val")
    assert any("test is not used: its labels are all -1" in line for line in data.remarks())


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00003.parquet", "train"),
        ("default/train/0000.parquet", "train"),
        ("validation.parquet", "val"),
        ("my_dev.parquet", "val"),
        ("valid-1.parquet", "val"),
        ("x/test/y/0.parquet", "test"),
        ("eval.parquet", "test"),
        ("trainable.parquet", ""),
        ("latest.parquet", ""),
        ("0000.parquet", ""),
        ("split=train/0.parquet", "train"),
        ("split=validation/label=cat/0.parquet", "val"),
        ("fold=dev/part-00000-c000.snappy.parquet", "val"),
        ("is_test=False/0.parquet", ""),
        ("label=cat/0.parquet", ""),
        ("label=train/0.parquet", ""),
        ("split=test/label=train/0.parquet", "test"),
    ],
)
def test_names_say_splits_as_whole_words(name: str, split: str) -> None:
    assert split_of(Path(name)) == split


def test_a_partition_names_the_split_of_its_rows(tmp_path: Path) -> None:
    splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    table = pa.table({"image": structs(range(8)), "label": [0, 1] * 4, "split": splits})
    pq.write_to_dataset(table, tmp_path, partition_cols=["split"])
    data = opened("parquet", tmp_path)
    found = {name: colours(read(data, name)) for name in ("train", "val", "test")}
    assert found == {
        name: [colour(number) for number in numbers]
        for name, numbers in {"train": range(4), "val": range(4, 6), "test": range(6, 8)}.items()
    }


def test_a_pattern_names_files(tmp_path: Path) -> None:
    write(tmp_path, train=([0, 1], [0, 1]), val=([2], [1]), other=([3], [0]))
    assert opened("parquet", tmp_path / "[tv]*.parquet").num_images == 3
    assert "no file is called like" in error_of("parquet", tmp_path / "x*.parquet")
    assert "data.zip is a file" in error_of("parquet", write_bytes(tmp_path / "data.zip"))


def write_bytes(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


TRAIN: Mapping[str, Any] = {"image": structs([0, 1]), "label": [0, 1]}
BAD: dict[str, tuple[Mapping[str, Any], dict[str, Any], str]] = {
    "no such column": (
        {"img": structs([1, 2]), "label": [0, 1]},
        {},
        "has no column 'image' of images; it has img, label. Did you mean 'img' (--set dataset.image_column=NAME)?",
    ),
    "no such label": (
        TRAIN,
        {"label_column": "labels"},
        "has no column 'labels' of labels; it has image, label. Did you mean 'label'",
    ),
    "pictures of a wrong type": (
        {"image": [1, 2], "label": [0, 1]},
        {},
        "has a column 'image' of images of type int64; allowed: bytes, text, or a struct",
    ),
    "labels of a wrong type": (
        {"image": structs([0, 1]), "label": [0.5, 1.0]},
        {},
        "has a column 'label' of labels of type double; allowed: integers or text",
    ),
    "captions of a wrong type": (
        {**TRAIN, "caption": [1, 2]},
        {},
        "has a column 'caption' of captions of type int64",
    ),
    "a label out of range": (
        {"image": structs([0, 1]), "label": [0, 2]},
        {},
        "train.parquet row 1: got the label 2; allowed: 0 to 1",
    ),
    "a label that is not there": (
        {"image": structs([0, 1]), "label": [0, None]},
        {},
        "train.parquet row 1: got the label None",
    ),
    "an empty caption": (
        {**TRAIN, "caption": ["x", " "]},
        {},
        "train.parquet row 1: got ' ' as caption; allowed: at least one word",
    ),
    "no rows": (
        {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())},
        {},
        "has no pictures to train on",
    ),
}


@pytest.mark.parametrize(("columns", "options", "told"), BAD.values(), ids=BAD.keys())
def test_columns_that_do_not_fit_are_told(
    tmp_path: Path, columns: Mapping[str, Any], options: dict[str, Any], told: str
) -> None:
    write(tmp_path, val=([5], [1]))
    write_parquet(tmp_path / "train.parquet", columns, names=NAMES)
    assert told in error_of("parquet", tmp_path, **options)


def test_classes_of_other_names_are_told(tmp_path: Path) -> None:
    write(tmp_path, train=([0, 1], [0, 1]))
    for names, told in (
        (("ape", "cow"), "(not in both: bee, cow)"),
        (("bee", "ape"), "(the same in another order)"),
    ):
        write_parquet(tmp_path / "val.parquet", {"image": structs([3]), "label": [0]}, names=names)
        message = error_of("parquet", tmp_path)
        assert f"val.parquet and train.parquet name other classes for the labels {told}" in message


def test_a_class_of_val_alone_is_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", {"image": structs([0, 1]), "label": ["a", "b"]})
    write_parquet(tmp_path / "val.parquet", {"image": structs([2]), "label": ["z"]})
    assert "val.parquet row 0: got the label 'z'; allowed: those of train: a, b" in error_of(
        "parquet", tmp_path
    )
    write(tmp_path, train=([0, 1], [0, 0]), val=([2], [1]))
    assert "val has classes that train has no picture of: bee" in error_of("parquet", tmp_path)


def test_files_that_are_torn_or_missing_are_told(tmp_path: Path) -> None:
    write(tmp_path, **{"train-00000-of-00003": ([0, 1], [0, 1])}, val=([2], [1]))
    assert "train: of 3 parts these are missing: 1, 2" in error_of("parquet", tmp_path)
    file = tmp_path / "train-00000-of-00003.parquet"
    whole = file.rename(tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[: len(whole) // 2])
    assert "train.parquet is no whole Parquet file (" in error_of("parquet", tmp_path)
    (tmp_path / "train.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "it is a pointer of Git LFS: git lfs pull" in error_of("parquet", tmp_path)
    (tmp_path / "train.parquet").write_bytes(whole)
    write(tmp_path, more=([7], [0]))
    assert "more.parquet names no split, as other files do" in error_of("parquet", tmp_path)


def test_pages_that_are_damaged_are_told(tmp_path: Path) -> None:
    write(tmp_path, train=([0, 1], [0, 1]), val=([2], [1]))
    file = tmp_path / "train.parquet"
    content = bytearray(file.read_bytes())
    start = pq.ParquetFile(file).metadata.row_group(0).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(bytes(content))
    assert "train.parquet: its pictures cannot be read (" in error_of("parquet", tmp_path)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    data = opened("parquet", write(tmp_path, train=([0, 1], [0, 1]), val=([2], [1])))
    assert data.fingerprint
    write(tmp_path, train=([3, 4], [0, 1]))
    with pytest.raises(Exception, match=r"train.parquet was changed while the data was read; start again"):
        read(data, "train")


def test_a_column_of_splits_that_is_not_read_is_no_small_matter(tmp_path: Path) -> None:
    """Flickr30k is published so: one file, called test, and a column that says which rows are to train on."""
    columns = {
        "image": structs(range(10)),
        "caption": [f"words {number}" for number in range(10)],
        "split": ["train"] * 6 + ["val"] * 2 + ["test"] * 2,
    }
    write_parquet(tmp_path / "all" / "flickr.parquet", columns)
    (told,) = [
        line for line in opened("parquet", tmp_path / "all").remarks() if "split" in line and "WARN" in line
    ]
    assert told.startswith(
        "WARNING: the column 'split' is not read; pictures are divided by ratio, seed 0. To have its splits"
    )
    write_parquet(tmp_path / "test" / "test-00000-of-00001.parquet", columns)
    told = error_of("parquet", tmp_path / "test")
    assert "has no pictures to train on: the column 'split' is not read" in told
    assert "python -m trainables.datasets.prepare --kind parquet" in told


def test_copies_of_a_held_out_picture_with_captions_of_their_own_are_told(tmp_path: Path) -> None:
    numbers = {"train": [0, 0, 1, 1], "val": [2, 2, 2, 3], "test": [4, 5]}
    for name, some in numbers.items():
        texts = [f"words {place} of {number}" for place, number in enumerate(some)]
        write_parquet(tmp_path / "captioned" / f"{name}.parquet", {"image": structs(some), "caption": texts})
        labels = {"image": structs(some), "label": [number % 2 for number in some]}
        write_parquet(tmp_path / "labelled" / f"{name}.parquet", labels, names=NAMES)
    (told,) = [
        line for line in opened("parquet", tmp_path / "captioned").remarks() if "byte for byte" in line
    ]
    assert told.startswith(
        "WARNING: 2 held-out pictures are byte for byte another one of the same split, such as val.parquet row 0 and "
        "val.parquet row 1 (val): retrieval counts the captions of one as wrong for the other"
    )
    assert not [
        line for line in opened("parquet", tmp_path / "labelled").remarks() if "byte for byte" in line
    ]


@pytest.mark.parametrize("what", ["name", "text"])
def test_what_is_no_utf8_is_told(tmp_path: Path, what: str) -> None:
    columns = {"image": structs([0, 1]), "caption": ["a quokka", "a wombat"]}
    write_parquet(tmp_path / "val.parquet", columns)
    file = write_parquet(tmp_path / "train.parquet", columns)
    before, after = (b"caption", b"\x80aption") if what == "name" else (b"quokka", b"quokk\xff")
    file.write_bytes(file.read_bytes().replace(before, after))
    assert "train.parquet is no whole Parquet file (" in error_of("parquet", tmp_path)
