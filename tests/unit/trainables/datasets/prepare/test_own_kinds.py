"""Tables, folders and tar files of a user: what is read of them, and how they are divided."""

import csv
import json
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.trainables.datasets.formats.made_data import png, read, structs
from tests.unit.trainables.datasets.prepare import public
from trainables.signals import CAPTION, QUESTION


def pictures(root: Path, count: int) -> Path:
    for number in range(count):
        public.put(root / f"{number}.jpg", number)
    return root


def captions(out: Path, split: str) -> list[str]:
    return read(public.opened(out), split).captions


def test_conceptual_captions_without_a_header(tmp_path: Path) -> None:
    root = pictures(tmp_path / "cc", 4)
    (root / "Train_GCC-training.tsv").write_text('a "quoted dog\t0.jpg\na cat\t1.jpg\nanother cat\t1.jpg\n')
    (root / "Validation_GCC.tsv").write_text("a hen\t2.jpg\n")
    assert public.prepare("tsv", root, tmp_path / "out") == 0
    assert captions(tmp_path / "out", "train") == ['a "quoted dog', "a cat", "another cat"]
    assert read(public.opened(tmp_path / "out"), "train").caption_images.tolist() == [0, 1, 1]
    assert captions(tmp_path / "out", "val") == ["a hen"]


QUOTED = ['a "big" dog', "two lines:\na cat", '36" screen', "a hen"]
WITHOUT_TEST = ("--val-ratio", "0.3", "--test-ratio", "0")


@pytest.mark.parametrize("header", [("image", "caption"), ("caption", "image"), ("", "caption", "image")])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_tsv_with_a_header_is_read_as_pandas_quotes_it(
    tmp_path: Path, header: tuple[str, ...], quoting: Literal[0, 1]
) -> None:
    root = pictures(tmp_path / "own", 4)
    with (root / "pairs.tsv").open("w", newline="") as sink:
        writer = csv.DictWriter(sink, header, delimiter="\t", quoting=quoting, lineterminator="\n")
        writer.writeheader()
        for number, text in enumerate(QUOTED):
            known = {"image": f"{number}.jpg", "caption": text, "": f"{number}"}
            writer.writerow({name: known[name] for name in header})
    assert public.prepare("tsv", root, tmp_path / "out", *WITHOUT_TEST) == 0
    assert {*captions(tmp_path / "out", "train"), *captions(tmp_path / "out", "val")} == set(QUOTED)


@pytest.mark.parametrize(
    "texts",
    [
        ['36" screen', 'a dog of 5"', "a hen"],
        ['"so big" a dog', "a cat", "a hen"],
        ['"what a dog', "a cat", 'and so he said: a hen"'],
        ['"', "a cat", "a hen"],
    ],
)
def test_quotes_of_a_tsv_that_nobody_quoted_are_letters(tmp_path: Path, texts: list[str]) -> None:
    root = pictures(tmp_path / "own", 3)
    rows = "".join(f"{number}.jpg\t{text}\n" for number, text in enumerate(texts))
    (root / "pairs.tsv").write_text(f"image\tcaption\n{rows}")
    assert public.prepare("tsv", root, tmp_path / "out", *WITHOUT_TEST) == 0
    assert {*captions(tmp_path / "out", "train"), *captions(tmp_path / "out", "val")} == set(texts)


def test_csv_finds_the_usual_columns_and_divides_by_ratio(tmp_path: Path) -> None:
    root = pictures(tmp_path / "own", 10)
    rows = "".join(f'{number}.jpg,"picture {number}, told"\n' for number in range(10))
    (root / "pairs.csv").write_text("filepath,title\n" + rows)
    assert (
        public.prepare("csv", root / "pairs.csv", tmp_path / "out", "--val-ratio", "0.2", "--seed", "3") == 0
    )
    counts = public.manifest(tmp_path / "out")["counts"]
    assert {name: one["pictures"] for name, one in counts.items()} == {"train": 7, "val": 2, "test": 1}
    told = {text for name in counts for text in captions(tmp_path / "out", name)}
    assert told == {f"picture {number}, told" for number in range(10)}


def test_a_column_without_a_name_is_the_index_of_pandas(tmp_path: Path) -> None:
    root = pictures(tmp_path / "own", 4)
    rows = "".join(f"{number},{number}.jpg,words {number}\n" for number in range(4))
    (root / "pairs.csv").write_text(f",image,caption\n{rows}")
    assert public.prepare("csv", root, tmp_path / "out", *WITHOUT_TEST) == 0
    assert public.manifest(tmp_path / "out")["counts"]["train"]["captions"] == 3


def test_csv_columns_by_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = pictures(tmp_path / "own", 3)
    rows = "".join(
        f"{number}.jpg;,words {number},{('train', 'dev', 'test')[number]}\n" for number in range(3)
    )
    (root / "pairs.csv").write_text("bild,wort,teil\n" + rows.replace(";", ""))
    flags = ("--image-column", "bild", "--caption-column", "wort", "--split-column", "teil")
    assert public.prepare("csv", root, tmp_path / "out", *flags) == 0
    assert [captions(tmp_path / "out", one) for one in ("train", "val", "test")] == [
        ["words 0"],
        ["words 1"],
        ["words 2"],
    ]
    assert public.prepare("csv", root, tmp_path / "other") == 2
    assert "no column is called image or filepath" in capsys.readouterr().err
    assert public.prepare("csv", root, tmp_path / "other", "--image-column", "bilt") == 2
    assert "has no column 'bilt'. Did you mean 'bild'?" in capsys.readouterr().err


def test_jsonl_with_questions(tmp_path: Path) -> None:
    root = pictures(tmp_path / "own", 2)
    rows = [
        {
            "image": "0.jpg",
            "captions": ["a", "b"],
            "split": "train",
            "question": "q?",
            "answers": ["x", "y", "y"],
        },
        {"image": "1.jpg", "caption": "c", "split": "val", "questions": [{"question": "r?", "answer": "z"}]},
        {"image": "./0.jpg", "caption": "d", "split": "train"},
    ]
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert public.prepare("jsonl", root / "data.jsonl", tmp_path / "out") == 0
    data = public.opened(tmp_path / "out")
    assert {CAPTION, QUESTION} <= data.kinds
    train = read(data, "train")
    assert (train.captions, train.questions, train.answers) == (["a", "b", "d"], ["q?", "q?"], ["x", "y"])
    assert train.answer_sets == [("x", "y", "y")] * 2
    assert train.question_times is not None
    assert train.question_times.tolist() == [1, 2]
    usual = read(public.opened(tmp_path / "out", answers="commonest"), "train")
    assert (usual.questions, usual.answers, usual.answer_sets) == (["q?"], ["y"], [("x", "y", "y")])


@pytest.mark.parametrize("how", ["structs", "bytes", "paths"])
def test_parquet_with_pictures_inside_or_named(tmp_path: Path, how: str) -> None:
    root = pictures(tmp_path / "own", 6)
    told = {"structs": structs(range(6)), "bytes": [png(one) for one in range(6)]}
    told["paths"] = [f"{one}.jpg" for one in range(6)]  # type: ignore[misc]
    texts = [[f"picture {one}", "again"] for one in range(6)]
    for split, places in (("train", slice(0, 4)), ("validation", slice(4, 6))):
        table = pa.table({"image": told[how][places], "caption": texts[places]})
        pq.write_table(table, root / f"{split}.parquet", row_group_size=3)
    assert public.prepare("parquet", root, tmp_path / "out", "--shard-pictures", "3") == 0
    assert captions(tmp_path / "out", "train")[::2] == [f"picture {one}" for one in range(4)]
    assert captions(tmp_path / "out", "val") == ["picture 4", "again", "picture 5", "again"]


@pytest.mark.parametrize(
    ("column", "flags"), [("fold", ()), ("part of it", ("--split-column", "part of it"))]
)
def test_parquet_whose_splits_are_folders(tmp_path: Path, column: str, flags: tuple[str, ...]) -> None:
    splits = ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
    texts = [f"picture {one}" for one in range(8)]
    table = pa.table({"image": structs(range(8)), "caption": texts, column: splits})
    pq.write_to_dataset(table, tmp_path / "own", partition_cols=[column])
    assert public.prepare("parquet", tmp_path / "own", tmp_path / "out", *flags) == 0
    found = [captions(tmp_path / "out", split) for split in ("train", "val", "test")]
    assert found == [texts[:4], texts[4:6], texts[6:]]


def test_a_column_of_splits_that_is_neither_column_nor_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table({"image": structs([0, 1]), "caption": ["a", "b"], "split": ["train", "held out"]})
    pq.write_to_dataset(table, tmp_path / "own", partition_cols=["split"])
    flags = ("--split-column", "split")
    assert public.prepare("parquet", tmp_path / "own", tmp_path / "out", *flags) == 2
    assert "row 0: split: got 'held out'; allowed: train, " in capsys.readouterr().err
    assert public.prepare("parquet", tmp_path / "own", tmp_path / "out", "--split-column", "fold") == 2
    assert "has no column 'fold'" in capsys.readouterr().err


def test_a_table_may_use_karpathys_word_for_what_is_trained_on_too(tmp_path: Path) -> None:
    root = pictures(tmp_path / "own", 4)
    splits = ["train", "restval", "val", "testing"]
    table = pa.table({"image": [f"{one}.jpg" for one in range(4)], "caption": splits, "split": splits})
    pq.write_table(table, root / "all.parquet")
    assert public.prepare("parquet", root, tmp_path / "out") == 0
    found = {split: captions(tmp_path / "out", split) for split in ("train", "val", "test")}
    assert found == {"train": ["train", "restval"], "val": ["val"], "test": ["testing"]}


def test_a_folder_with_texts_beside_pictures(tmp_path: Path) -> None:
    root = tmp_path / "own"
    for number, split in enumerate(("train", "train", "val")):
        public.put(root / split / f"{number}.jpg", number)
        (root / split / f"{number}.txt").write_text(f"one {number}\n\ntwo {number}\n")
    public.put(root / "train" / "bare.jpg", 9)
    assert public.prepare("folder", root, tmp_path / "out") == 0
    assert captions(tmp_path / "out", "train") == ["one 0", "two 0", "one 1", "two 1"]
    (told,) = public.quarantine(tmp_path / "out")
    assert (told["what"], told["name"], told["reason"]) == (
        "picture",
        "train/bare.jpg",
        "it has no text that can be used",
    )


def test_a_folder_without_any_text_has_pictures_alone(tmp_path: Path) -> None:
    assert public.prepare("folder", pictures(tmp_path / "own", 10), tmp_path / "out") == 0
    data = public.opened(tmp_path / "out")
    assert data.kinds == {"picture"}
    assert data.num_images == 10


def samples(first: int, count: int) -> dict[str, dict[str, bytes]]:
    return {
        f"{number:04d}": {
            "jpg": public.jpeg(number),
            "txt": f"text {number}".encode(),
            "json": b'{"caption": "no"}',
        }
        for number in range(first, first + count)
    }


def test_webdataset(tmp_path: Path) -> None:
    root = tmp_path / "shards"
    public.tar(root / "train-000.tar", samples(0, 3))
    more = {"a/0009": {"png": png(9), "json": json.dumps({"captions": ["x", "y"]}).encode(), "cls": b"3"}}
    public.tar(root / "train-001.tar", more)
    public.tar(root / "val-000.tar", samples(20, 2))
    assert public.prepare("webdataset", root, tmp_path / "out") == 0
    assert captions(tmp_path / "out", "train") == ["text 0", "text 1", "text 2", "x", "y"]
    assert captions(tmp_path / "out", "val") == ["text 20", "text 21"]
    assert public.manifest(tmp_path / "out")["notes"] == ["members not read: .cls (1)"]


def test_a_cut_tar_gives_what_is_whole_and_is_told(tmp_path: Path) -> None:
    root = tmp_path / "shards"
    public.tar(root / "val-000.tar", samples(20, 2))
    whole = public.tar(root / "train-000.tar", samples(0, 3)).read_bytes()
    place = whole.index(b"0002.jpg") + 512 + 100  # in the middle of the third picture
    (root / "train-000.tar").write_bytes(whole[:place])
    assert public.prepare("webdataset", root, tmp_path / "out") == 0
    assert captions(tmp_path / "out", "train") == ["text 0", "text 1"]
    (told,) = public.quarantine(tmp_path / "out")
    assert (told["what"], told["name"]) == ("archive", "train-000.tar")
    assert "0002.jpg" in told["place"]


def test_samples_without_one_picture_are_told(tmp_path: Path) -> None:
    root = tmp_path / "shards"
    told = samples(0, 3)
    del told["0001"]["jpg"]
    told["0002"]["png"] = png(2)
    public.tar(root / "train.tar", told)
    public.tar(root / "val.tar", samples(20, 1))
    assert public.prepare("webdataset", root, tmp_path / "out") == 0
    assert [(one["place"], one["reason"]) for one in public.quarantine(tmp_path / "out")] == [
        ("train.tar 0001", "holds no picture; allowed: one a sample"),
        ("train.tar 0002", "holds 2 pictures; allowed: one a sample"),
    ]
