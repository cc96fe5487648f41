"""Whatever the small files of a data set hold, they give a data set or a `DatasetError`, never another exception."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spaces.errors import DatasetError
from tests.unit.trainables.datasets.formats.made_data import (
    class_folders,
    coco,
    opened,
    put,
    read,
    structs,
    tiny_imagenet,
    write_captions,
    write_parquet,
)

ROUNDS = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORDS = st.sampled_from(
    ["n01", "n02", "val_0.JPEG", "val_1.JPEG", "\t", "\n", " ", "\ufeff", "\0", "x", "../x", "\x85"]
)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([0, 1, 50]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "file_name", "image_id", "caption", "images"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
ANY_PICTURE = st.none() | st.fixed_dictionaries(
    {"bytes": st.none() | st.binary(max_size=9), "path": st.none() | st.text(max_size=5)}
)


def opens(kind: str, root: Path, **options: Any) -> None:
    """Read all splits, or be told why not; a message is one that a terminal can show."""
    try:
        data = opened(kind, root, **options)
        for name in data.split_names:
            read(data, name)
        told = [data.describe(), *data.remarks()]
    except DatasetError as error:
        told = str(error).splitlines()
    assert all(line.isprintable() for line in told)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@ROUNDS
@given(
    parts=st.lists(WORDS, max_size=9),
    file=st.sampled_from(["wnids.txt", "words.txt", "val/val_annotations.txt"]),
)
def test_any_text_of_tiny_imagenet(place: Path, parts: list[str], file: str) -> None:
    root = place / "tiny"
    if not root.exists():
        tiny_imagenet(root)
    before = (root / file).read_bytes()
    (root / file).write_bytes("".join(parts).encode())
    opens("tiny_imagenet", root)
    (root / file).write_bytes(before + "".join(parts).encode())
    opens("tiny_imagenet", root)
    (root / file).write_bytes(before)


@ROUNDS
@given(image=ANY_JSON, note=ANY_JSON, whole=ANY_JSON | st.none())
def test_any_json_of_coco(place: Path, image: Any, note: Any, whole: Any) -> None:
    root = place / "coco"
    if not root.exists():
        coco(root)
    told = {
        "images": [{"id": 0, "file_name": "000000000000.jpg"}, image],
        "annotations": [{"image_id": 0, "caption": "x"}, note],
    }
    write_captions(root, "train", told if whole is None else whole)
    opens("coco", root)


@ROUNDS
@example(content=b"\x80", cut=0, place_of=535)  # in the name of a column
@given(content=st.binary(max_size=40), cut=st.integers(0, 3000), place_of=st.integers(0, 3000))
def test_any_bytes_in_parquet(place: Path, content: bytes, cut: int, place_of: int) -> None:
    root = place / "rows"
    columns = {"image": structs([0, 1]), "label": [0, 1]}
    write_parquet(root / "val.parquet", columns, names=("a", "b"))
    whole = write_parquet(root / "train.parquet", columns, names=("a", "b")).read_bytes()
    (root / "train.parquet").write_bytes(
        whole[:place_of] + content + whole[place_of + len(content) : max(cut, place_of)]
    )
    opens("parquet", root)
    (root / "train.parquet").write_bytes(whole[:place_of] + content + whole[place_of + len(content) :])
    opens("parquet", root)


@ROUNDS
@given(
    image=st.lists(ANY_PICTURE, min_size=2, max_size=4),
    label=st.lists(st.none() | st.integers(-2, 3), min_size=4, max_size=4),
    broken=st.sampled_from(["refuse", "quarantine"]),
)
def test_any_rows_of_parquet(place: Path, image: list[Any], label: list[Any], broken: str) -> None:
    root = place / "any"
    write_parquet(
        root / "train.parquet", {"image": [*structs([0, 1]), *image], "label": [0, 1, *label[: len(image)]]}
    )
    write_parquet(root / "val.parquet", {"image": structs([3]), "label": [1]})
    opens("parquet", root, broken=broken)


@pytest.mark.parametrize("kind", ["imagefolder", "pictures"])
def test_names_that_are_no_text_are_read_or_told(tmp_path: Path, kind: str) -> None:
    root = class_folders(tmp_path / "data", {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    for name in (b"\xff\xfe.png", b"a\n\x1b[31m.png", "\u202ex.png".encode(), b" .png"):
        sound = put(tmp_path / "one.png", len(name) + 90).read_bytes()
        Path(os.fsdecode(os.path.join(os.fsencode(root / "train" / "a"), name))).write_bytes(sound)
    (root / "val" / "b" / os.fsdecode(b"\xfe.png")).write_bytes(b"broken")
    opens(kind, root)
    opens(kind, root, broken="quarantine")
    data = opened(kind, root, broken="quarantine")
    assert read(data, "train").num_images == 8
    (root / "train" / os.fsdecode(b"\xff")).mkdir()
    (root / "train" / os.fsdecode(b"\xff") / "0.png").write_bytes(sound)
    opens(kind, root)
