"""Annotations and flags that would be misread: refused in one message, or told."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.trainables.datasets.formats.made_data import coco, error_of, read, structs, write_parquet
from tests.unit.trainables.datasets.prepare import public
from tests.unit.trainables.datasets.prepare.test_bad_input import table


def refusal(capsys: pytest.CaptureFixture[str], kind: str, root: Path, out: Path, *flags: str) -> str:
    """Return the one message of a preparation that is refused."""
    assert public.prepare(kind, root, out, *flags) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize("wrong", ["abc", None, 1.5, [1]])
def test_a_cocoid_that_is_no_number_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Any
) -> None:
    rows = public.karpathy_rows()
    root = tmp_path / "coco"
    public.write_json(root / "dataset_coco.json", {"images": [*rows[:-1], rows[-1] | {"cocoid": wrong}]})
    for row in rows:
        public.put(root / "train2017" / f"{row['cocoid']:012d}.jpg", row["cocoid"])
    assert "images[7]: cocoid: got" in refusal(capsys, "coco", root, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "file", "told"),
    [
        ("coco", "dataset_coco.json", {"images": []}),
        ("flickr30k", "dataset_flickr30k.json", {"images": []}),
        ("coco", "annotations/captions_train2017.json", {"images": [], "annotations": []}),
    ],
)
def test_empty_annotations_are_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, file: str, told: Mapping[str, Any]
) -> None:
    public.write_json(tmp_path / "data" / file, told)
    assert "`images` is empty" in refusal(capsys, kind, tmp_path / "data", tmp_path / "out")


def test_a_name_that_is_too_long_is_left_out_like_any_other(tmp_path: Path) -> None:
    file = table(tmp_path / "own", [])
    file.write_text(
        '{"image": "' + "x" * 10_000 + '", "caption": "c", "split": "train"}\n' + file.read_text()
    )
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    (told,) = public.quarantine(tmp_path / "out")
    assert told["place"] == "data.jsonl:1"


@pytest.mark.parametrize("flags", [("--val-ratio", "0.3"), ("--test-ratio", "0.3"), ("--seed", "7")])
def test_a_flag_that_would_change_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, str]
) -> None:
    told = refusal(capsys, "jsonl", table(tmp_path / "own", []), tmp_path / "out", *flags)
    assert f"{flags[0]}: goes with data that names no splits" in told
    if flags[0] == "--seed":
        told = refusal(capsys, "coco", coco(tmp_path / "coco"), tmp_path / "out", *flags)
        assert "--seed: goes with --test-ratio" in told


def test_a_quote_that_stays_open_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        public.put(tmp_path / "own" / f"{number}.jpg", number)
    file = tmp_path / "own" / "pairs.csv"
    file.write_text('image,caption\n0.jpg,a\n1.jpg,b\n2.jpg,"c\n3.jpg,d\n')
    assert "pairs.csv:5: cannot be read as a table" in refusal(capsys, "csv", file, tmp_path / "out")


def test_official_pictures_are_found_below_an_image_root(tmp_path: Path) -> None:
    root = coco(tmp_path / "coco", train=5, val=3)
    (tmp_path / "pictures").mkdir()
    for name in ("train2017", "val2017"):
        (root / name).rename(tmp_path / "pictures" / name)
    assert public.prepare("coco", root, tmp_path / "out", "--image-root", str(tmp_path / "pictures")) == 0
    assert read(public.opened(tmp_path / "out"), "train").num_images == 5


def test_captions_that_are_not_used_are_told(tmp_path: Path) -> None:
    file = table(tmp_path / "own", [{"image": "q.jpg", "question": "what?", "answer": "that"}])
    public.put(tmp_path / "own" / "q.jpg", 5)
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    told = public.opened(tmp_path / "out").remarks()
    assert "WARNING: captions are not used: 1 pictures have none, such as q.jpg" in told[0]
    assert told[1] == "WARNING: questions are not used: no picture of val has one"


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_file_as_root_is_refused_by_the_flag_that_named_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (tmp_path / "file").write_text("x")
    told = refusal(capsys, kind, tmp_path / "file", tmp_path / "out")
    assert f"--root {tmp_path / 'file'}: is" in told
    assert "dataset" not in told.replace(str(tmp_path), "")


def test_the_same_place_in_other_words_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "own", [])
    assert public.prepare("jsonl", tmp_path / "own", tmp_path / "out") == 0
    monkeypatch.chdir(tmp_path / "own")
    assert public.prepare("jsonl", Path("../own/../own"), Path("../out")) == 0


def test_paths_in_structs_start_from_the_image_root(tmp_path: Path) -> None:
    for number in range(4):
        public.put(tmp_path / "pictures" / f"{number}.jpg", number)
    (tmp_path / "tables").mkdir()
    for name, numbers in (("train", range(3)), ("val", range(3, 4))):
        images = [{"bytes": None, "path": f"{number}.jpg"} for number in numbers]
        rows = pa.table({"image": images, "caption": [f"c {number}" for number in numbers]})
        pq.write_table(rows, tmp_path / "tables" / f"{name}.parquet")
    flags = ("--image-root", str(tmp_path / "pictures"))
    assert public.prepare("parquet", tmp_path / "tables", tmp_path / "out", *flags) == 0
    assert read(public.opened(tmp_path / "out"), "train").num_images == 3


def test_a_folder_with_files_of_somebody_else_is_not_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = public.karpathy(tmp_path / "coco")
    for out, name in ((tmp_path / "mine", "notes.txt"), (tmp_path / "theirs", "shards")):
        out.mkdir()
        (out / name).mkdir() if name == "shards" else (out / name).write_text("kept")
        assert public.prepare("coco", root, out) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith(f"error: --out {out}: holds {name} already; allowed: a new or empty folder")
        assert [path.name for path in out.iterdir()] == [name]
    assert public.prepare("coco", root, root) == 2, "the data itself"


def test_compressed_shards_are_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "shards"
    root.mkdir()
    for name in ("a.tar.gz", "b.TGZ", "c.csv.gz"):
        (root / name).write_bytes(b"\x1f\x8b")
    assert public.prepare("webdataset", root, tmp_path / "out") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "holds no .tar file, but 2 compressed ones, such as a.tar.gz" in told
    assert "Unpack them to .tar." in told


def test_a_tar_whose_samples_lie_apart_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As GNU tar packs a folder without --sort=name: in the order of the disk."""
    names = [f"{number}.{ending}" for ending in ("jpg", "txt") for number in range(20)]
    shard = tmp_path / "apart.tar"
    with tarfile.open(shard, "w") as sink:
        for name in names:
            content = public.jpeg(int(name[:-4])) if name.endswith("jpg") else b"words"
            one = tarfile.TarInfo(name)
            one.size = len(content)
            sink.addfile(one, io.BytesIO(content))
    told = refusal(capsys, "webdataset", shard, tmp_path / "out")
    assert (
        "the members of 20 samples do not follow each other, such as those of 0, 1, 2, 3, 4 and 15 more."
        in told
    )
    assert sum("apart.tar: " in line for line in told.splitlines()) == 1
    with tarfile.open(shard, "a") as sink:
        again = tarfile.TarInfo("3.txt")
        sink.addfile(again)
    assert "sample 3 stands twice. Remove one" in refusal(capsys, "webdataset", shard, tmp_path / "out")


def test_parts_that_are_missing_are_told_as_they_are_without_preparing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"image": structs([0, 1]), "caption": ["a", "b"]}
    part = write_parquet(tmp_path / "own" / "train-00001-of-00003.parquet", columns)
    write_parquet(tmp_path / "own" / "val-00000-of-00001.parquet", columns)
    told = f"{tmp_path / 'own'}: train: of 3 parts these are missing: 0, 2. Copy them, too."
    assert error_of("parquet", tmp_path / "own") == told
    assert f"error: {told}\n" in refusal(capsys, "parquet", tmp_path / "own", tmp_path / "out")
    assert public.prepare("parquet", part, tmp_path / "out", "--val-ratio", "0.5") == 0, (
        "one part, by request"
    )
