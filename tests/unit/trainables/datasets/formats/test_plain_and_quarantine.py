"""Unlabelled pictures; and broken ones of any format: refused all at once, or left out and listed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spaces.errors import DatasetError, StorageError
from tests.unit.trainables.datasets.formats.made_data import (
    class_folders,
    colour,
    colours,
    error_of,
    opened,
    png,
    put,
    read,
    write_parquet,
)
from trainables.datasets import prepared
from trainables.preprocess import Framing
from trainables.signals import PICTURE


def test_a_folder_of_pictures_is_divided_by_ratio(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {".": 10, "deeper/still": 10})
    data = opened("pictures", root, val_ratio=0.2, test_ratio=0.1)
    assert data.kinds == {PICTURE}
    assert data.classes == ()
    splits = [read(data, name) for name in ("train", "val", "test")]
    assert [split.num_images for split in splits] == [14, 4, 2]
    assert all(split.labels is None and not split.captions for split in splits)
    assert {one for split in splits for one in colours(split)} == {colour(number) for number in range(20)}
    assert data.caption_counts("val", images=5, captions_per_image=1) is None
    assert any("what needs some (classification, retrieval)" in line for line in data.remarks())
    assert (
        "14 images to train on; 4 to validate on, 2 to test on (divided by ratio, seed 0)" in data.describe()
    )


def test_folders_of_splits_are_kept(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"train": 3, "val/a": 2, "other": 4})
    data = opened("pictures", root)
    assert [read(data, name).num_images for name in data.split_names] == [3, 2]
    assert "WARNING: 4 pictures beside train, val are not read" in data.remarks()


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("x")
    assert "holds no pictures. Give a folder that does" in error_of("pictures", tmp_path / "data")


def test_pictures_of_all_modes_and_sizes_are_seen(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"train": 1, "val": 1})
    at = root / "train"
    Image.new("L", (30, 2), 100).save(at / "grey.png")
    Image.new("CMYK", (3, 30), (0, 0, 0, 0)).save(at / "ink.jpg")
    Image.new("P", (5, 5), 0).save(at / "palette.png")
    Image.fromarray(np.full((6, 6), 65535, np.uint16)).save(at / "sixteen.png")
    frames = [Image.new("RGB", (8, 8), tone) for tone in ("red", "blue")]
    frames[0].save(at / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("1", (9, 9), 1).save(at / "bits.png")
    data = opened("pictures", root)
    seen = dict(zip(sorted(one.name for one in at.iterdir()), colours(read(data, "train")), strict=True))
    assert seen["grey.png"] == (100, 100, 100)
    assert seen["ink.jpg"] == seen["sixteen.png"] == seen["bits.png"] == (255, 255, 255)
    assert seen["moving.gif"] == (255, 0, 0), "the first frame"


def broken_root(tmp_path: Path) -> Path:
    """Return class folders with three pictures that cannot be read."""
    root = class_folders(tmp_path / "data", {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    (root / "train" / "a" / "1.png").write_bytes(b"")
    (root / "train" / "b" / "2.png").write_text("<html>not found</html>")
    sound = put(root / "val" / "a" / "0.png", 60).read_bytes()
    (root / "val" / "a" / "0.png").write_bytes(sound[: len(sound) // 2])
    return root


def test_all_broken_pictures_are_refused_at_once(tmp_path: Path, own_cache: Path) -> None:
    lines = error_of("imagefolder", broken_root(tmp_path)).splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("train/a/1.png", "train/b/2.png", "val/a/0.png"), strict=True):
        assert f"{tmp_path}/data/{name} cannot be read as a picture (" in line
        assert line.endswith("or leave out all that are broken: --set dataset.broken=quarantine.")
    assert not list((own_cache / "imagefolder").glob("*.npy"))


def test_broken_pictures_can_be_left_out_and_listed(tmp_path: Path, own_cache: Path) -> None:
    root = broken_root(tmp_path)
    data = opened("imagefolder", root, broken="quarantine")
    train, val = read(data, "train"), read(data, "val")
    assert train.labels is not None
    assert val.labels is not None
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert val.labels.tolist() == [0, 1, 1]
    assert colours(train) == [colour(number) for number in (0, 2, 3, 4)]
    (line,) = [line for line in data.remarks() if "left out" in line]
    assert (
        "WARNING: 3 of 10 pictures cannot be read and are left out: train/a/1.png, train/b/2.png, val/a/0.png"
        in line
    )
    (file,) = (own_cache / "quarantine").glob("*.json")
    assert str(file) in line
    listed = json.loads(file.read_text())["left_out"]
    assert [one["name"] for one in listed] == ["train/a/1.png", "train/b/2.png", "val/a/0.png"]
    assert all("cannot be read as a picture" in one["why"] for one in listed)


def test_what_is_left_out_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    root = broken_root(tmp_path)
    first = opened("imagefolder", root, broken="quarantine").fingerprint
    assert opened("imagefolder", root, broken="quarantine").fingerprint == first
    for name in ("train/a/1.png", "train/b/2.png", "val/a/0.png"):
        (root / name).unlink()
    sound = opened("imagefolder", root).fingerprint
    assert sound != first
    assert opened("imagefolder", root, broken="quarantine").fingerprint == sound, "nothing is left out"


def test_a_quarantine_that_leaves_no_class_or_split_is_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"train/a": 1, "train/b": 2, "val/a": 1, "val/b": 1})
    (root / "train" / "a" / "0.png").write_bytes(b"x")
    told = error_of("imagefolder", root, broken="quarantine")
    assert "val has classes that train has no picture of: a" in told
    for name in ("a", "b"):
        (root / "val" / name / "0.png").write_bytes(b"x")
    told = error_of("imagefolder", root, broken="quarantine")
    assert (
        "has no pictures to validate on: got 2 pictures in all (3 that cannot be read left out: train/a/0.png"
        in told
    )


def test_files_of_a_size_that_no_picture_has_are_told_and_not_read(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {".": 8})
    with (root / "huge.png").open("wb") as sink:
        sink.truncate(1 << 31)  # of no disk
    assert "huge.png cannot be read (it has 2,147,483,648 bytes, more than 1,073,741,824)" in error_of(
        "pictures", root
    )
    (root / "huge.png").write_bytes(b"")
    assert "huge.png cannot be read as a picture (it is empty); replace it or remove it" in error_of(
        "pictures", root
    )


def test_a_damaged_list_is_told(tmp_path: Path, own_cache: Path) -> None:
    root = broken_root(tmp_path)
    assert opened("imagefolder", root, broken="quarantine").fingerprint
    (file,) = (own_cache / "quarantine").glob("*.json")
    file.write_text(file.read_text()[:40])
    with pytest.raises(DatasetError, match=r"damaged \(.*Delete it; all pictures are looked through again"):
        opened("imagefolder", root, broken="quarantine").fingerprint  # noqa: B018


def test_broken_pictures_in_rows_are_left_out_too(tmp_path: Path) -> None:
    rows = [
        {"bytes": png(1), "path": "1.png"},
        {"bytes": png(2)[:30], "path": None},
        {"bytes": None, "path": None},
    ]
    write_parquet(tmp_path / "data" / "train.parquet", {"image": rows, "label": ["a", "b", "b"]})
    write_parquet(tmp_path / "data" / "val.parquet", {"image": [rows[0]], "label": ["a"]})
    told = error_of("parquet", tmp_path / "data")
    assert "train.parquet row 2 cannot be read (the row has neither bytes nor a path)" in told
    write_parquet(
        tmp_path / "data" / "train.parquet", {"image": [*rows, rows[0]], "label": ["a", "b", "b", "b"]}
    )
    data = opened("parquet", tmp_path / "data", broken="quarantine")
    assert read(data, "train").num_images == 2
    assert any(
        "2 of 5 pictures cannot be read and are left out: train.parquet row 1, train.parquet row 2" in line
        for line in data.remarks()
    )


def test_room_is_looked_for_before_pictures_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened("pictures", class_folders(tmp_path / "data", {".": 10}))
    monkeypatch.setattr(prepared, "in_order", None)
    with pytest.raises(StorageError, match=r"is full \(.* MiB free, .* MiB needed\)"):
        data.split("train", framing=Framing(10_000_000), progress=lambda line: None)


def test_progress_says_about_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 4.0, 60.0, 200.0, 240.0])
    monkeypatch.setattr(prepared.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(prepared, "TOLD_EVERY", 10)
    lines: list[str] = []
    tell = prepared.Countdown("kind:", 35, "seen", lines.append)
    for _ in range(35):
        tell.one_more()
    assert lines == [
        "kind: 10 of 35 pictures seen",
        "kind: 20 of 35 pictures seen, about 45 s left",
        "kind: 30 of 35 pictures seen, about 33 s left",
        "kind: 35 of 35 pictures seen",
    ]
