"""Class folders: what torchvision lists, labels by the names of train, and what is said of folders that are odd."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from spaces.errors import StudentSearchError
from tests.unit.trainables.datasets.formats.made_data import class_folders, error_of, opened, put, read
from trainables.datasets.base import SPLITS
from trainables.signals import LABEL, PICTURE

DIVIDED = {"train/cat": 3, "train/dog": 2, "val/dog": 2, "val/cat": 1, "test/cat": 1, "test/dog": 1}


def test_it_lists_what_torchvision_lists(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", DIVIDED)
    put(root / "train" / "cat" / "deeper" / "x.JPG", 77)
    put(root / "train" / "cat" / "Z.png", 78)
    data = opened("imagefolder", root)
    assert data.classes == ("cat", "dog")
    assert data.kinds == {PICTURE, LABEL}
    for name in SPLITS:
        split, independent = read(data, name), ImageFolder(str(root / name))
        assert split.labels is not None
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == independent.targets
        for pixels, (path, _) in zip(split.pixels, independent.samples, strict=True):
            seen = Image.open(path).convert("RGB").resize((8, 8), Image.Resampling.BICUBIC)
            assert np.array_equal(pixels, np.asarray(seen))


def test_a_class_that_val_lacks_does_not_shift_the_labels(tmp_path: Path) -> None:
    root = class_folders(
        tmp_path / "data", {"train/ape": 1, "train/bee": 2, "validation/bee": 2, "train/cow": 1}
    )
    data = opened("imagefolder", root)
    split = read(data, "val")
    assert split.labels is not None
    assert split.labels.tolist() == [1, 1]
    assert data.split_names == ("train", "val")
    assert any("WARNING: val has no pictures of 2 of 3 classes: ape, cow" in line for line in data.remarks())


def test_folders_without_splits_are_divided_class_by_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"ape": 20, "bee": 10, "cow": 2})
    data = opened("imagefolder", root, val_ratio=0.2, test_ratio=0.1)
    counts = {name: np.bincount(read(data, name).labels, minlength=3).tolist() for name in SPLITS}  # type: ignore[arg-type]
    assert counts == {"train": [14, 7, 2], "val": [4, 2, 0], "test": [2, 1, 0]}
    assert "class by class, seed 0" in data.describe()
    again = opened("imagefolder", root, val_ratio=0.2, test_ratio=0.1)
    assert np.array_equal(read(again, "val").pixels, read(data, "val").pixels)
    other = opened("imagefolder", root, val_ratio=0.2, test_ratio=0.1, seed=1)
    assert not np.array_equal(read(other, "val").pixels, read(data, "val").pixels)
    assert other.fingerprint != data.fingerprint


def test_val_is_taken_from_train_where_there_is_none(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"train/a": 10, "train/b": 10, "test/a": 2, "test/b": 1})
    data = opened("imagefolder", root)
    assert [read(data, name).num_images for name in SPLITS] == [18, 2, 3]
    assert "val is 0.1 of train" in data.describe()


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    data = opened("imagefolder", class_folders(tmp_path / "data", {"car": 5, "train": 5}), val_ratio=0.4)
    assert data.classes == ("car", "train")


def test_a_copy_has_the_same_fingerprint_and_renamed_classes_another(tmp_path: Path) -> None:
    first = opened("imagefolder", class_folders(tmp_path / "one", DIVIDED)).fingerprint
    assert opened("imagefolder", class_folders(tmp_path / "two", DIVIDED)).fingerprint == first
    (tmp_path / "two" / "train" / "cat").rename(tmp_path / "two" / "train" / "caz")
    (tmp_path / "two" / "val" / "cat").rename(tmp_path / "two" / "val" / "caz")
    (tmp_path / "two" / "test" / "cat").rename(tmp_path / "two" / "test" / "caz")
    assert opened("imagefolder", tmp_path / "two").fingerprint != first
    put(tmp_path / "one" / "val" / "dog" / "1.png", 99)
    assert opened("imagefolder", tmp_path / "one").fingerprint != first


def test_what_systems_leave_is_passed_over_and_other_files_are_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", DIVIDED)
    for name in (".DS_Store", "Thumbs.db", "._0.png", "notes.txt", "more.txt", "raw.npy"):
        (root / "train" / "cat" / name).write_bytes(b"x")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    put(root / "train" / "__MACOSX" / "0.png", 1)
    (root / "train" / "loose.png").write_bytes((root / "train" / "cat" / "0.png").read_bytes())
    (root / "extra").mkdir()
    data = opened("imagefolder", root)
    assert data.classes == ("cat", "dog")
    assert read(data, "train").num_images == 5
    told = data.remarks()
    assert "folders beside train, val, test that are not read: extra" in told
    assert any(".txt (2), .npy (1)" in line and line.startswith("3 files are not read") for line in told)
    assert any(
        "1 pictures lie outside of class folders and are not read: train/loose.png" in line for line in told
    )


def test_a_test_split_without_classes_is_left_out_and_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "test": 3})
    data = opened("imagefolder", root)
    assert data.split_names == ("train", "val")
    assert any("test is not used" in line for line in data.remarks())


def test_pictures_of_two_splits_are_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", DIVIDED)
    (root / "val" / "dog" / "copy.png").write_bytes((root / "train" / "cat" / "1.png").read_bytes())
    (line,) = [
        line for line in opened("imagefolder", root).remarks() if "byte for byte in an earlier split" in line
    ]
    assert "such as train/cat/1.png (train) and val/dog/copy.png (val)" in line
    (line,) = [line for line in opened("imagefolder", root).remarks() if "another class" in line]
    assert "1 picture is" in line
    assert "such as train/cat/1.png (cat) and val/dog/copy.png (dog): one of the two labels is wrong" in line


BAD: dict[str, tuple[dict[str, int], str]] = {
    "an empty class": ({"train/a": 1, "train/b": 0, "val/a": 1}, "train/b is a class folder without pictures. Fill"),
    "a class of val alone": (
        {"train/a": 1, "train/b": 1, "val/a": 1, "val/zebra": 1},
        "val has the class zebra, which train has no folder of. Add it to train",
    ),
    "another case in val": (
        {"train/Ant": 1, "train/b": 1, "val/ant": 1},
        "val has the class ant, which train has no folder of (train has Ant)",
    ),
    "two cases": ({"train/a": 1, "train/A": 1, "val/a": 1}, "the class folders 'A' and 'a' of train differ in case"),
    "two forms": (
        {"train/caf\u00e9": 1, "train/cafe\u0301": 1, "val/caf\u00e9": 1},
        r"the class folders 'cafe\u0301' and 'caf\xe9' of train differ in case or Unicode form only",
    ),
    "one class": ({"train/a": 2, "val/a": 2}, "has one class, a; allowed: two or more"),
    "no train": ({"val/a": 1, "val/b": 1}, "has no folder `train` (there is val)"),
    "no classes at all": ({}, "holds no class folders; allowed: a folder for each class"),
    "pictures alone": ({".": 3}, "Pictures without classes are --dataset pictures:"),
    "flat train": ({"train": 2, "test": 2}, "train holds no class folders (there is train"),
    "two val folders": (
        {"train/a": 1, "train/b": 1, "val/a": 1, "validation/a": 1},
        "validation and val are both the val split",
    ),
    "too few to divide": ({"a": 1, "b": 1}, "has no pictures to validate on: got 2 pictures in all"),
}  # fmt: skip


@pytest.mark.parametrize(("counts", "told"), BAD.values(), ids=BAD.keys())
def test_odd_folders_are_told(tmp_path: Path, counts: dict[str, int], told: str) -> None:
    root = class_folders(tmp_path / "data", counts)
    root.mkdir(exist_ok=True)
    message = error_of("imagefolder", root)
    assert told in message
    assert message.startswith(str(root))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"train/a": 1, "train/b": 0, "val/a": 1, "val/x": 1})
    (root / "train" / "a" / "round").symlink_to(root / "train")
    (root / "train" / "a" / "gone.png").symlink_to("nowhere")
    os.mkfifo(root / "train" / "a" / "pipe.png")
    lines = error_of("imagefolder", root).splitlines()
    assert len(lines) == 5
    assert any("train/b is a class folder without pictures" in line for line in lines)
    assert any("val has the class x" in line for line in lines)
    assert any("a circle of links. Remove the link" in line for line in lines)
    assert any("train/a/gone.png is a link that leads nowhere" in line for line in lines)
    assert any("train/a/pipe.png is neither file nor folder" in line for line in lines)


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    elsewhere = class_folders(tmp_path / "elsewhere", {"cats": 2, "dogs": 3})
    root = class_folders(tmp_path / "data", {"val/cat": 1, "val/dog": 1}, start=50)
    (root / "train").mkdir()
    (root / "train" / "cat").symlink_to(elsewhere / "cats")
    (root / "train" / "dog").symlink_to(elsewhere / "dogs")
    data = opened("imagefolder", root)
    split = read(data, "train")
    assert split.labels is not None
    assert split.labels.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"x"), "is a file; allowed: a folder. Give its folder"),
    ],
    ids=["missing", "a file"],
)
def test_a_root_that_is_no_folder_is_told_at_once(tmp_path: Path, make: object, told: str) -> None:
    make(tmp_path / "data")  # type: ignore[operator]
    message = error_of("imagefolder", tmp_path / "data")
    assert message.startswith(f"dataset.root: {tmp_path}/data {told}")


def test_near_misses_of_a_root_are_told(tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers.zip").write_bytes(b"x")
    assert f"Did you mean {tmp_path}/flowers?" in error_of("imagefolder", tmp_path / "flower")
    assert "Unpack it, and give its folder" in error_of("imagefolder", tmp_path / "flowers.zip")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"val_ratio": 0.6, "test_ratio": 0.5},
            "dataset.val_ratio + dataset.test_ratio: got 1.1; allowed: below 1",
        ),
        ({"val_ratio": 1.0}, "dataset.val_ratio: got 1"),
        ({"broken": "ignore"}, "dataset.broken: got 'ignore'; allowed: refuse, quarantine"),
    ],
)
def test_options_out_of_range_are_told(tmp_path: Path, options: dict[str, object], told: str) -> None:
    root = class_folders(tmp_path / "data", DIVIDED)
    with pytest.raises(StudentSearchError) as caught:
        opened("imagefolder", root, **options)
    assert told in str(caught.value)
