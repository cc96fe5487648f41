"""COCO captions, and what is said of annotations that do not fit their pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainables.datasets.formats.made_data import (
    captions_of,
    coco,
    error_of,
    opened,
    read,
    write_captions,
)
from trainables.signals import CAPTION, PICTURE


def test_pictures_have_their_captions(tmp_path: Path) -> None:
    data = opened("coco", coco(tmp_path / "data"))
    assert data.kinds == {PICTURE, CAPTION}
    assert data.classes == ()
    assert data.split_names == ("train", "val")
    val = read(data, "val")
    assert val.captions == ["A picture of 50.", "another of 50", "A picture of 51.", "another of 51"]
    assert val.caption_images.tolist() == [0, 0, 1, 1]
    assert val.labels is None
    assert data.caption_counts("val", images=9, captions_per_image=1) == (2, 2)
    assert (
        "4 images to train on with 8 captions; 2 to validate on (divided by the official splits)"
        in data.describe()
    )


def test_rows_may_stand_in_any_order(tmp_path: Path) -> None:
    first = opened("coco", coco(tmp_path / "one")).fingerprint
    root = coco(tmp_path / "two")
    told = captions_of(root, "train")
    told["images"].reverse()
    write_captions(root, "train", told)
    assert opened("coco", root).fingerprint == first
    told["annotations"][0]["caption"] = "another one"
    write_captions(root, "train", told)
    assert opened("coco", root).fingerprint != first


def test_part_of_train_can_be_held_out_as_test(tmp_path: Path) -> None:
    data = opened("coco", coco(tmp_path / "data", train=10), test_ratio=0.3)
    assert [read(data, name).num_images for name in ("train", "val", "test")] == [7, 2, 3]
    held, kept = set(read(data, "test").captions), set(read(data, "train").captions)
    assert not held & kept
    assert len(held) == 6


def test_another_year_is_called_so(tmp_path: Path) -> None:
    root = coco(tmp_path / "data")
    for path in [*root.iterdir(), *(root / "annotations").iterdir()]:
        path.rename(path.with_name(path.name.replace("2017", "2014")))
    assert read(opened("coco", root, year=2014), "train").num_images == 4
    assert "captions_train2017.json does not exist (there is captions_train2014.json)" in error_of(
        "coco", root
    )


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what adds a row to a list of the file."""
    return lambda told: told[key].append(value)


def put_in(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told.__setitem__(key, value)


NAME = "annotations/captions_train2017.json"
BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a caption of no picture": (
        change("annotations", {"image_id": 7, "caption": "x"}),
        "annotations[8]: image_id 7 is not in `images`",
    ),
    "an empty caption": (
        change("annotations", {"image_id": 1, "caption": " \n"}),
        "annotations[8]: the caption of image 1 is empty",
    ),
    "a caption that is no text": (
        change("annotations", {"image_id": 1, "caption": 3}),
        "annotations[8]: got {'image_id': 1, 'caption': 3}; allowed: an object",
    ),
    "an id that is no number": (
        change("annotations", {"image_id": "1", "caption": "x"}),
        "annotations[8]: got {'image_id': '1'",
    ),
    "instances": (
        put_in("annotations", [{"image_id": 1, "bbox": [0, 0, 1, 1]}]),
        "these are instances; take captions_*.json",
    ),
    "no annotations": (lambda told: told.pop("annotations"), "has no `annotations`; allowed: a list"),
    "images under another name": (
        lambda told: told.update(image=told.pop("images")),
        "has no `images`; allowed: a list. Did you mean 'image'?",
    ),
    "images that are no list": (put_in("images", {}), "holds a dict as `images`; allowed: a list"),
    "an id twice": (
        change("images", {"id": 1, "file_name": "x.jpg"}),
        "images[4]: id 1 stands twice (000000000001.jpg and x.jpg)",
    ),
    "a file twice": (
        change("images", {"id": 9, "file_name": "000000000001.jpg"}),
        "`images` names a file twice: 000000000001.jpg",
    ),
    "a picture without a name": (
        change("images", {"id": 9}),
        "images[4]: got {'id': 9}; allowed: an object with `id` and `file_name`",
    ),
    "a picture that is not there": (
        lambda told: (
            told["images"].append({"id": 9, "file_name": "gone.jpg"}),
            told["annotations"].append({"image_id": 9, "caption": "x"}),
        ),
        "1 of 5 pictures are not in train2017: gone.jpg",
    ),
    "a silent picture": (
        lambda told: told.update(annotations=told["annotations"][2:]),
        "1 pictures have no caption: 000000000000.jpg",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), BAD.values(), ids=BAD.keys())
def test_annotations_that_do_not_fit_are_told(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], told: str
) -> None:
    root = coco(tmp_path / "data")
    content = captions_of(root, "train")
    spoil(content)
    write_captions(root, "train", content)
    message = error_of("coco", root)
    assert told in message
    assert message.startswith(f"{root}: {NAME}: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"images": [{"id": 1, "file_na', "is torn: it ends at byte 30 in the middle"),
        ('{"images": [', "is torn: it ends at byte 12 in the middle"),
        ("[1]", "holds a list; allowed: an object"),
        (
            "{images: []}",
            "is no JSON (Expecting property name enclosed in double quotes, line 1, character 2)",
        ),
        ("version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS and not the file itself"),
        ("", "is torn"),
    ],
)
def test_json_that_is_torn_is_told(tmp_path: Path, content: str, told: str) -> None:
    root = coco(tmp_path / "data")
    (root / NAME).write_text(content)
    message = error_of("coco", root)
    assert message.startswith(f"{root}/{NAME} ")
    assert told in message


def test_missing_folders_are_told(tmp_path: Path) -> None:
    root = coco(tmp_path / "up" / "data")
    assert f"holds no folder annotations. Did you mean {root}?" in error_of("coco", tmp_path / "up")
    (root / "val2017").rename(root / "val")
    assert "val2017: cannot be read (No such file or directory). Unpack the pictures there" in error_of(
        "coco", root
    )
