"""Tiny ImageNet in its own format, and what is said of one that is not whole."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.trainables.datasets.formats.made_data import (
    class_folders,
    colour,
    colours,
    error_of,
    opened,
    put,
    read,
    tiny_imagenet,
)
from trainables.signals import LABEL, PICTURE


def test_classes_are_ordered_by_id_and_called_by_name(tmp_path: Path) -> None:
    data = opened("tiny_imagenet", tiny_imagenet(tmp_path / "data", ids=("n02", "n01")))
    assert data.classes == ("goldfish, Carassius auratus", "crane")
    assert data.kinds == {PICTURE, LABEL}
    assert data.split_names == ("train", "val")
    train, val = read(data, "train"), read(data, "val")
    assert train.labels is not None
    assert val.labels is not None
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(colours(train))) == 6
    assert val.labels.tolist() == [1, 0], "val_0 is of the first line of wnids.txt, n02"


def test_part_of_train_can_be_held_out_as_test(tmp_path: Path) -> None:
    data = opened("tiny_imagenet", tiny_imagenet(tmp_path / "data", each=10), test_ratio=0.2)
    assert [read(data, name).num_images for name in ("train", "val", "test")] == [16, 2, 4]
    test = read(data, "test")
    assert test.labels is not None
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert "test is 0.2 of train, seed 0" in data.describe()


@pytest.mark.parametrize("inner", ["", "images"])
@pytest.mark.parametrize("left", [True, False])
def test_val_sorted_into_class_folders_is_read_by_them(tmp_path: Path, inner: str, left: bool) -> None:
    published, root = tiny_imagenet(tmp_path / "as_it_is"), tiny_imagenet(tmp_path / "sorted")
    for number, name in enumerate(("n02", "n01")):
        (root / "val" / name / inner).mkdir(parents=True)
        picture = root / "val" / "images" / f"val_{number}.JPEG"
        picture.rename(root / "val" / name / inner / picture.name)
    if not left:  # what the usual scripts leave behind, or take away
        (root / "val" / "images").rmdir()
        (root / VAL).unlink()
    data = opened("tiny_imagenet", root)
    assert any("val is sorted into class folders" in line for line in data.remarks())
    mine, theirs = read(data, "val"), read(opened("tiny_imagenet", published), "val")
    assert mine.labels is not None
    assert theirs.labels is not None
    told = dict(zip(colours(mine), mine.labels.tolist(), strict=True))
    assert told == dict(zip(colours(theirs), theirs.labels.tolist(), strict=True))
    assert len(told) == 2
    (root / "val" / "n77").mkdir()
    shutil.rmtree(root / "val" / "n02")
    said = error_of("tiny_imagenet", root)
    assert "val has folders of classes that are not in wnids.txt: n77" in said
    assert "val has no folders of classes that are in wnids.txt: n02" in said


def test_equal_names_keep_their_ids_apart(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path / "data")
    (root / "words.txt").write_text("n01\tcrane\nn02\tcrane\n")
    assert opened("tiny_imagenet", root).classes == ("crane (n01)", "crane (n02)")
    (root / "words.txt").write_text("n01\tcrane\n")
    data = opened("tiny_imagenet", root)
    assert data.classes == ("crane", "n02")
    assert any("words.txt has no names of n02" in line for line in data.remarks())
    (root / "words.txt").unlink()
    assert opened("tiny_imagenet", root).classes == ("n01", "n02")


def add(file: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / file).write_text((root / file).read_text() + text) and None


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


VAL = "val/val_annotations.txt"
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a row of a missing file": (
        add(VAL, "gone.JPEG\tn01\t0\t0\t1\t1\n"),
        f"{VAL}:3: val/images/gone.JPEG does not exist",
    ),
    "a row of a class that is not listed": (
        add(VAL, "val_0.JPEG\tn77\t0\n"),
        f"{VAL}:3: got the class n77; allowed: those of wnids",
    ),
    "a file with two rows": (
        add(VAL, "val_0.JPEG\tn01\t0\n"),
        f"{VAL}:3: val/images/val_0.JPEG has a class already",
    ),
    "a row without a class": (
        add(VAL, "val_0.JPEG\n"),
        f"{VAL}:3: got 'val_0.JPEG'; allowed: file, tab, class",
    ),
    "a picture without a row": (
        lambda root: put(root / "val/images/more.png", 9),
        f"{VAL} says no class of 1 pictures: val/images/more",
    ),
    "no rows at all": (remove(VAL), f"{VAL} does not exist. It is the classes of val/images"),
    "a listed class without a folder": (
        add("wnids.txt", "n05\n"),
        "train has no folders of classes that are in wnids.txt: n05",
    ),
    "a folder that is not listed": (
        lambda root: put(root / "train/n06/images/a.png", 9),
        "train has folders of classes that are not in wnids.txt: n06",
    ),
    "an id twice": (add("wnids.txt", "n01\n"), "wnids.txt:3: n01 stands twice"),
    "an id with words": (
        add("wnids.txt", "n01 goldfish\n"),
        "wnids.txt:3: got 'n01 goldfish'; allowed: one WordNet id",
    ),
    "an empty class": (remove("train/n01/images"), "train/n01 is a class folder without pictures"),
    "no train": (remove("train"), "holds no folder train. Unpack the whole archive"),
    "no wnids": (remove("wnids.txt"), "holds no wnids.txt, the list of the classes"),
    "words in another encoding": (
        lambda root: (root / "words.txt").write_bytes(b"n01\t\xff\n"),
        "byte 5 is no UTF-8",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_not_whole_is_told(tmp_path: Path, spoil: Callable[[Path], object], told: str) -> None:
    root = tiny_imagenet(tmp_path / "data")
    spoil(root)
    message = error_of("tiny_imagenet", root)
    assert told in message
    assert message.startswith(str(root))


def test_a_folder_too_high_and_the_wrong_kind_are_told(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path / "data" / "tiny-imagenet-200")
    assert f"Did you mean {root}?" in error_of("tiny_imagenet", tmp_path / "data")
    assert f"Take --dataset tiny_imagenet:{root}" in error_of("imagefolder", root)
    plain = class_folders(tmp_path / "plain", {"a": 2, "b": 2})
    assert "Other class folders: --dataset imagefolder:FOLDER" in error_of("tiny_imagenet", plain)


def test_pictures_are_those_of_their_rows(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path / "data")
    for number in range(2):
        (root / "val" / "images" / f"val_{number}.JPEG").unlink()
        put(root / "val" / "images" / f"val_{number}.png", 30 + number)
    (root / VAL).write_text("val_1.png\tn01\nval_0.png\tn02\n")
    val = read(opened("tiny_imagenet", root), "val")
    assert val.labels is not None
    assert dict(zip(colours(val), val.labels.tolist(), strict=True)) == {colour(31): 0, colour(30): 1}
