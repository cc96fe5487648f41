"""Own data: what a JSONL file becomes, and what is said about a bad one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spaces.errors import DatasetError, ResourceError
from tests.unit.trainables.datasets.own_data import Row, dataset, draw, error_of, good, read, rows_of, write
from trainables.datasets import DATASETS
from trainables.datasets.base import SPLITS
from trainables.preprocess import Framing


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "student-search" / "jsonl"


def test_rows_become_pictures_captions_questions_and_answers(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"train": 2, "val": 1, "test": 1})
    rows[0] |= {"question": "how many ?", "answer": "2"}
    rows[1] = {"image": "train1.png", "captions": ["one", "two"], "split": "train"}
    rows[1] |= {"questions": [{"question": "what ?", "answer": "a"}, {"question": "where ?", "answer": "b"}]}
    split = read(dataset(write(tmp_path, rows)), "train")
    assert split.captions == ["train picture 0", "one", "two"]
    assert split.caption_images.tolist() == [0, 1, 1]
    assert list(zip(split.questions, split.answers, strict=True)) == [
        ("how many ?", "2"),
        ("what ?", "a"),
        ("where ?", "b"),
    ]
    assert split.question_images.tolist() == [0, 1, 1]
    assert split.caption_images.dtype == split.question_images.dtype == np.int64


def test_pictures_are_square_bicubic_rgb_and_those_of_their_split(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"val": 2, "train": 3, "test": 1})
    _, x = np.mgrid[0:30, 0:50]
    Image.fromarray((x * 5).astype(np.uint8)).save(tmp_path / "train1.png")  # grey, not square
    data = dataset(write(tmp_path, rows))
    for name in SPLITS:
        split = read(data, name)
        assert split.pixels.shape == (sum(row["split"] == name for row in rows), 8, 8, 3)
        assert split.pixels.dtype == np.uint8
        for index in range(split.num_images):
            picture = Image.open(tmp_path / f"{name}{index}.png").convert("RGB")
            expected = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC))
            assert np.array_equal(split.pixels[index], expected)


def test_rows_of_one_picture_are_joined(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"train": 1, "val": 1})
    rows.append({"image": "./train0.png", "caption": "again", "split": "train"})
    rows.append({"image": "train0.png", "question": "why ?", "answer": "so", "split": "train"})
    split = read(dataset(write(tmp_path, rows)), "train")
    assert split.num_images == 1
    assert split.captions == ["train picture 0", "again"]
    assert split.questions == ["why ?"]


def test_pictures_are_prepared_once_and_mapped_from_disk(tmp_path: Path, own_cache: Path) -> None:
    file = write(tmp_path, rows_of(tmp_path, {"train": 3, "val": 1}))
    lines: list[str] = []
    first = dataset(file).split("train", framing=Framing(8), progress=lines.append)
    assert lines == ["jsonl: 4 of 4 pictures prepared"]
    again = dataset(file).split("train", framing=Framing(8), progress=lines.append)
    assert len(lines) == 1
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(first.pixels, again.pixels)
    dataset(file).split("train", framing=Framing(16), progress=lines.append)
    assert len(lines) == 2
    assert len(list(own_cache.iterdir())) == 2


def test_it_is_bound_to_no_task_and_describes_itself(tmp_path: Path) -> None:
    data = dataset(write(tmp_path, rows_of(tmp_path, {"train": 3, "val": 2})))
    assert data.specification == ""
    assert data.split_names == ("train", "val")
    line = data.describe()
    assert (
        "data.jsonl: 3 images to train on with 3 captions and 0 questions; 2 to validate, 0 to test" in line
    )
    assert "split field" in line


def test_the_table_of_datasets_names_it() -> None:
    assert DATASETS["jsonl"] == "trainables.datasets.jsonl:JsonlDataset"


def test_without_split_fields_the_ratios_divide_the_pictures(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "split"} for row in rows_of(tmp_path, {"train": 20})]
    rows += [
        {"image": row["image"], "caption": "once more"} for row in rows
    ]  # both rows of a picture stay together
    data = dataset(write(tmp_path, rows), val_ratio=0.2, test_ratio=0.1)
    assert [read(data, name).num_images for name in SPLITS] == [14, 4, 2]
    held_out = set(read(data, "val").captions)
    shuffled = dataset(write(tmp_path, rows[::-1]), val_ratio=0.2, test_ratio=0.1)
    assert set(read(shuffled, "val").captions) == held_out
    other = dataset(write(tmp_path, rows), val_ratio=0.2, test_ratio=0.1, seed=1)
    assert set(read(other, "val").captions) != held_out
    assert "ratio, seed 1" in other.describe()


def test_pictures_may_lie_elsewhere_and_fields_have_other_names(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.jpg", 1)
    draw(tmp_path / "pictures" / "b.jpg", 2)
    rows = [{"file_name": "a.jpg", "text": "an a", "part": "train"}]
    rows += [{"file_name": "b.jpg", "texts": ["a b"], "part": "val"}]
    data = dataset(
        write(tmp_path, rows),
        image_root=str(tmp_path / "pictures"),
        image_field="file_name",
        caption_field="text",
        split_field="part",
    )
    assert read(data, "train").captions == ["an a"]
    assert read(data, "val").captions == ["a b"]


@pytest.mark.parametrize(
    ("counts", "told"),
    [({"train": 3}, "no validation rows: got 3 pictures in train"), ({"val": 3}, "no training rows")],
)
def test_a_file_without_validation_or_training_rows_is_refused(
    tmp_path: Path, counts: dict[str, int], told: str
) -> None:
    assert told in error_of(write(tmp_path, list(rows_of(tmp_path, counts))))


def test_ratios_that_leave_no_validation_rows_are_told(tmp_path: Path) -> None:
    rows: list[Row | str] = [
        {k: v for k, v in row.items() if k != "split"} for row in rows_of(tmp_path, {"train": 3})
    ]
    message = error_of(write(tmp_path, rows))
    assert "no validation rows: got val_ratio 0.1, test_ratio 0.1 of 3 pictures" in message


def test_a_split_in_some_rows_only_is_refused(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"train": 3, "val": 1})
    del rows[1]["split"]
    assert "data.jsonl:2: no field 'split', which other rows have (1 of 4" in error_of(
        write(tmp_path, list(rows))
    )


def test_a_picture_with_questions_alone_is_refused(tmp_path: Path) -> None:
    rows = good(tmp_path)
    draw(tmp_path / "mute.png", 3)
    rows.append({"image": "mute.png", "question": "why ?", "answer": "so", "split": "train"})
    assert "data.jsonl:3: caption: mute.png has no caption in any of its rows" in error_of(
        write(tmp_path, rows)
    )


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "holds no rows" in error_of(write(tmp_path, []))


def test_an_unknown_or_empty_split_is_refused(tmp_path: Path) -> None:
    data = dataset(write(tmp_path, good(tmp_path)))
    with pytest.raises(DatasetError, match="no split is called 'dev'; allowed: train, val, test"):
        read(data, "dev")
    with pytest.raises(DatasetError, match="has no test rows"):
        read(data, "test")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"val_ratio": -0.1}, "dataset.val_ratio: got -0.1; allowed: 0 or more, below 1"),
        ({"test_ratio": 1.0}, "dataset.test_ratio: got 1.0"),
        ({"val_ratio": 0.6, "test_ratio": 0.5}, "got 1.1; allowed: below 1"),
        ({"image_root": "/nowhere/at/all"}, "dataset.image_root: /nowhere/at/all is no folder"),
    ],
)
def test_an_option_out_of_range_is_refused_at_once(tmp_path: Path, options: Row, told: str) -> None:
    file = write(tmp_path, good(tmp_path))
    with pytest.raises(DatasetError) as caught:
        dataset(file, **options)
    assert told in str(caught.value)


def test_a_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.jsonl does not exist"):
        dataset(tmp_path / "gone.jsonl")


def test_a_damaged_array_is_told(tmp_path: Path, own_cache: Path) -> None:
    file = write(tmp_path, good(tmp_path))
    read(dataset(file), "train")
    (array,) = own_cache.iterdir()
    array.write_bytes(array.read_bytes()[:100])
    with pytest.raises(DatasetError, match="damaged"):
        read(dataset(file), "train")


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, good(tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(ResourceError, match=r"is full \("):
        read(dataset(file), "train")
    assert not list(own_cache.iterdir())


def test_different_captions_of_an_evaluation_are_counted(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"train": 1, "val": 3})
    for row, captions in zip(rows[1:], (["a dog", "x"], ["A  dog", "y"], ["a cat", "x"]), strict=True):
        row["captions"] = captions
        del row["caption"]
    data = dataset(write(tmp_path, list(rows)))
    assert data.caption_counts("val", images=9, captions_per_image=1) == (3, 2)
    assert data.caption_counts("val", images=2, captions_per_image=1) == (2, 1)
    assert data.caption_counts("val", images=9, captions_per_image=2) == (3, 4)
    assert data.caption_counts("test", images=9, captions_per_image=2) == (0, 0)


def test_broken_pictures_can_be_left_out_and_listed(tmp_path: Path, own_cache: Path) -> None:
    rows = rows_of(tmp_path, {"train": 3, "val": 2})
    (tmp_path / "train1.png").write_bytes(b"<html>")
    (tmp_path / "val0.png").write_bytes((tmp_path / "val1.png").read_bytes()[:40])
    file = write(tmp_path, list(rows))
    assert len(error_of(file).splitlines()) == 2
    data = dataset(file, broken="quarantine")
    assert "2 images to train on with 2 captions" in data.describe()
    assert read(data, "train").captions == ["train picture 0", "train picture 2"]
    assert read(data, "train").pixels.shape[0] == read(data, "train").num_images == 2
    assert read(data, "val").captions == ["val picture 1"]
    assert np.array_equal(
        read(data, "val").pixels[0], read(dataset(file, broken="quarantine"), "val").pixels[0]
    )
    (listed,) = (own_cache.parent / "quarantine").glob("*.json")
    (line,) = [line for line in data.remarks() if "left out" in line]
    assert "2 of 5 pictures cannot be read and are left out: train1.png, val0.png." in line
    assert str(listed) in line
    whole = dataset(write(tmp_path, [rows[0], rows[2], rows[4]]))
    assert whole.fingerprint != data.fingerprint
    assert dataset(tmp_path / "data.jsonl", broken="quarantine").fingerprint == whole.fingerprint


def test_empty_and_huge_files_are_broken_pictures_too(tmp_path: Path, own_cache: Path) -> None:
    rows = rows_of(tmp_path, {"train": 3, "val": 2})
    (tmp_path / "train1.png").write_bytes(b"")
    with (tmp_path / "val0.png").open("r+b") as huge:  # the picture is whole, and much follows it
        huge.truncate((1 << 30) + 1)
    file = write(tmp_path, list(rows))
    told = error_of(file).splitlines()
    assert [("it is empty" in line, "more than 1,073,741,824" in line) for line in told] == [
        (True, False),
        (False, True),
    ]
    assert all("--set dataset.broken=quarantine" in line for line in told)
    data = dataset(file, broken="quarantine")
    assert read(data, "train").captions == ["train picture 0", "train picture 2"]
    assert read(data, "val").captions == ["val picture 1"]
    (listed,) = (own_cache.parent / "quarantine").glob("*.json")
    reasons = [one["why"] for one in json.loads(listed.read_text())["left_out"]]
    assert ["it is empty" in why for why in reasons] == [True, False]
    assert "it has 1,073,741,825 bytes" in reasons[1]


def test_a_quarantine_that_leaves_nothing_to_validate_on_is_told(tmp_path: Path) -> None:
    file = write(tmp_path, good(tmp_path))
    (tmp_path / "val0.png").write_bytes(b"x")
    assert "no val row is left: none of its 1 pictures can be read" in error_of(file, broken="quarantine")
