"""Tables and shards in the shapes in which others publish them: what is one caption, and which are several."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.trainables.datasets.formats.made_data import png, read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.prepare.kinds.rows import in_cell, lines_of

FIVE = ["a dog", 'two "big" dogs', "it's a dog", "a dog, asleep", "çà et là \U0001f436"]
ALL_TO_TRAIN_ON = ("--val-ratio", "0", "--test-ratio", "0")


def captions(out: Path, split: str = "train") -> list[str]:
    rows = [rows for one in public.opened(out).folders if (rows := one.rows(split))]  # type: ignore[attr-defined]
    return [text for one in rows for texts in one.captions for text in texts]


@pytest.mark.parametrize(
    "told", [json.dumps(FIVE), json.dumps(FIVE, ensure_ascii=False), str(FIVE), str(np.array(FIVE))]
)
def test_a_cell_may_hold_a_list_as_json_python_or_numpy_writes_it(told: str) -> None:
    assert in_cell(told) == FIVE


@pytest.mark.parametrize(
    "text",
    [
        "a dog",
        "",
        "[a dog]",
        "[1, 2]",
        "[]",
        "['a', 2]",
        "['a' + 'b']",
        '["a"',
        "[f'{x}']",
        "[" * 300 + "]" * 300,
    ],
)
def test_any_other_cell_is_one_caption(text: str) -> None:
    assert in_cell(text) == [text]


def test_flickr30k_as_a_csv_of_lists(tmp_path: Path) -> None:
    root = tmp_path / "flickr"
    lines = ["raw,split,filename"]
    for number, split in enumerate(("train", "val", "test")):
        public.put(root / f"{number}.jpg", number)
        cell = json.dumps([f"one {number}", f"two, {number}"]).replace('"', '""')
        lines.append(f'"{cell}",{split},{number}.jpg')
    (root / "annotations.csv").write_text("\n".join(lines) + "\n")
    assert public.prepare("csv", root, tmp_path / "out", "--caption-column", "raw") == 0
    assert [captions(tmp_path / "out", one) for one in ("train", "val", "test")] == [
        [f"one {number}", f"two, {number}"] for number in range(3)
    ]


def test_a_text_of_several_lines_is_as_many_captions_unless_json_says_one(tmp_path: Path) -> None:
    lines = b"a dog\r\na black dog\n\nit sleeps\xe2\x80\xa8soundly\n"
    samples = {
        "0": {"jpg": public.jpeg(0), "txt": lines},
        "1": {
            "jpg": public.jpeg(1),
            "txt": b"one\nof two lines",
            "json": b'{"caption": "one\\nof two lines"}',
        },
        "2": {"jpg": public.jpeg(2), "txt": b"a\nb", "json": b'{"caption": "a", "width": 3}'},
    }
    shard = public.tar(tmp_path / "shards" / "0.tar", samples)
    assert public.prepare("webdataset", shard, tmp_path / "out", *ALL_TO_TRAIN_ON) == 0
    assert captions(tmp_path / "out") == [
        *("a dog", "a black dog", "it sleeps\u2028soundly"),
        "one\nof two lines",
        *("a", "b"),
    ]


def test_lines_are_parted_where_files_are() -> None:
    assert lines_of("a\x0bb\u2028c\x85d\r e\n\n \nf") == ["a\x0bb\u2028c\x85d", " e", "f"]


def test_a_caption_beside_a_picture_is_not_cut_at_its_blanks(tmp_path: Path) -> None:
    public.put(tmp_path / "own" / "0.jpg", 0)
    (tmp_path / "own" / "0.txt").write_bytes("one\u2028caption\r\ntwo\n".encode())
    assert public.prepare("folder", tmp_path / "own", tmp_path / "out", *ALL_TO_TRAIN_ON) == 0
    assert captions(tmp_path / "out") == ["one\u2028caption", "two"]


def test_what_macos_puts_before_each_member_is_passed_over(tmp_path: Path) -> None:
    shard = tmp_path / "shards" / "0.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as sink:
        for number in range(2):
            for ending, content in (("jpg", public.jpeg(number)), ("txt", f"words {number}".encode())):
                for name, held in ((f"./._{number}.{ending}", b"mac"), (f"./{number}.{ending}", content)):
                    one = tarfile.TarInfo(name)
                    one.size = len(held)
                    sink.addfile(one, io.BytesIO(held))
    assert public.prepare("webdataset", shard, tmp_path / "out", *ALL_TO_TRAIN_ON) == 0
    assert captions(tmp_path / "out") == ["words 0", "words 1"]
    assert public.manifest(tmp_path / "out")["left_out"] == {}


def test_jsonl_by_the_usual_names_of_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such is `metadata.jsonl` of the format `imagefolder` of Hugging Face."""
    rows = [{"file_name": f"{number}.jpg", "text": f"words {number}", "id": 1} for number in range(3)]
    rows += [{"image": "0.jpg", "captions": ["more"], "text": "no caption"}]
    rows += [
        {"image": "1.jpg", "text": "no caption", "question": "what?", "answers": None, "answer": "a dog"}
    ]
    for number in range(3):
        public.put(tmp_path / "own" / f"{number}.jpg", number)
    (tmp_path / "own" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert public.prepare("jsonl", tmp_path / "own", tmp_path / "out", *ALL_TO_TRAIN_ON) == 0
    assert captions(tmp_path / "out") == ["words 0", "more", "words 1", "words 2"]
    assert public.manifest(tmp_path / "out")["counts"]["train"]["questions"] == 1
    told = capsys.readouterr().out
    assert "captions are read from text; --caption-column NAME reads another field" in told
    assert "columns not read: id\n" in told


def test_jsonl_without_a_field_of_pictures_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public.put(tmp_path / "own" / "0.jpg", 0)
    (tmp_path / "own" / "data.jsonl").write_text('{"img": "0.jpg", "caption": "a dog"}\n')
    assert public.prepare("jsonl", tmp_path / "own", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "no line has a field called image or filepath" in told
    assert "They have img, caption. Name the one of the pictures: --image-column NAME." in told


def test_parquet_as_pandas_writes_categories_and_paths_that_are_nowhere(tmp_path: Path) -> None:
    root = tmp_path / "own"
    for number in range(4):
        public.put(root / f"{number}.jpg", number)
    names = pa.array([f"{number}.jpg" for number in range(4)]).dictionary_encode()
    texts = pa.array([f"words {number}" for number in range(4)]).dictionary_encode()
    pq.write_table(pa.table({"image": names, "caption": texts}), root / "named.parquet")
    assert public.prepare("parquet", root / "named.parquet", tmp_path / "out", *ALL_TO_TRAIN_ON) == 0
    assert captions(tmp_path / "out") == [f"words {number}" for number in range(4)]
    inside = pa.table(
        {"image": [{"bytes": png(number), "path": None} for number in range(20)], "caption": ["a dog"] * 20}
    )
    assert str(inside.schema.field("image").type) == "struct<bytes: binary, path: null>"
    (tmp_path / "inside").mkdir()
    pq.write_table(inside, tmp_path / "inside" / "all.parquet")
    data = public.make_dataset({"kind": "parquet", "root": str(tmp_path / "inside")})
    assert read(data, "train").captions == ["a dog"] * 16
    assert public.prepare("parquet", tmp_path / "inside", tmp_path / "other") == 0


def test_rows_of_one_picture_each_with_a_caption_are_told(tmp_path: Path) -> None:
    """So COCO is published as Parquet; pictures in rows have no name by which rows could be joined."""
    rows = [
        (number, split) for number, split in enumerate(("train", "train", "val", "test")) for _ in range(3)
    ]
    told = {
        "image": [{"bytes": png(number), "path": None} for number, _ in rows],
        "caption": [f"row {place}" for place in range(len(rows))],
        "split": [split for _, split in rows],
    }
    (tmp_path / "own").mkdir()
    pq.write_table(pa.table(told), tmp_path / "own" / "all.parquet")
    assert public.prepare("parquet", tmp_path / "own", tmp_path / "out") == 0
    (line,) = public.opened(tmp_path / "out").remarks()
    assert line.startswith(
        "WARNING: 4 held-out pictures are byte for byte another one of the same split, such as all.parquet row 6 and "
        "all.parquet row 7 (val): "
    )
