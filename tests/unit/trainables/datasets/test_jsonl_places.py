"""Own data: one picture is one picture however it is spelled, a copy is the same data, and what a name leads to is told."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spaces.errors import DatasetError
from trainables.datasets import contents, jsonl, pictures, prepared
from trainables.datasets.jsonl import JsonlDataset
from trainables.preprocess import Framing

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "student-search"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of four pictures, a.png to d.png."""
    made = tmp_path / "data"
    made.mkdir()
    for level, name in enumerate("abcd"):
        Image.new("L", (8, 8), 60 * level).save(made / f"{name}.png")
    return made


def rows(*names: str) -> list[Row]:
    """Return rows of pictures in train, the last in val."""
    return [
        {"image": name, "caption": f"picture {place}", "split": "val" if place == len(names) - 1 else "train"}
        for place, name in enumerate(names)
    ]


def dataset(folder: Path, some: list[Row], **options: Any) -> JsonlDataset:
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return JsonlDataset(JsonlDataset.Config(file=str(folder / "data.jsonl"), **options))


def read(data: JsonlDataset, name: str = "train") -> Any:
    return data.split(name, framing=Framing(8), progress=lambda line: None)


def error_of(folder: Path, some: list[Row], **options: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        read(dataset(folder, some, **options))
    return str(caught.value)


def print_of(folder: Path, some: list[Row], **options: Any) -> str:
    return dataset(folder, some, **options).fingerprint


def spellings(folder: Path) -> list[str]:
    """Return other ways to say a.png."""
    (folder / "sub").mkdir()
    (folder / "link.png").symlink_to("a.png")
    (folder / "there").symlink_to("sub")
    (folder.parent / "elsewhere").symlink_to(folder)
    return [
        "./a.png", ".//a.png", "sub/../a.png", "there/../a.png", "link.png", str(folder / "a.png"),
        str(folder.parent / "elsewhere" / "a.png"), "../data/a.png", "../elsewhere/link.png", " a.png",
    ]  # fmt: skip


def test_rows_of_one_picture_are_joined_however_they_spell_it(folder: Path) -> None:
    names = spellings(folder)
    some = [{"image": name, "caption": f"caption {k}", "split": "train"} for k, name in enumerate(names)]
    split = read(dataset(folder, [*rows("a.png", "b.png"), *some]))
    assert split.num_images == 1
    assert split.captions == ["picture 0", *(f"caption {k}" for k in range(len(names)))]


def test_a_picture_in_two_splits_is_refused_in_every_spelling(folder: Path) -> None:
    for name in spellings(folder):
        told = error_of(folder, [*rows("a.png", "b.png"), {"image": name, "caption": "x", "split": "val"}])
        assert f"data.jsonl:3: split: {name} is in 'val' here and in 'train' at line 1 as a.png" in told


def test_links_through_a_folder_are_followed_before_dots(tmp_path: Path, folder: Path) -> None:
    """`far/../a.png` is not `a.png` where `far` leads elsewhere."""
    (tmp_path / "far" / "deep").mkdir(parents=True)
    Image.new("L", (8, 8), 250).save(tmp_path / "far" / "a.png")
    (folder / "far").symlink_to(tmp_path / "far" / "deep")
    data = dataset(
        folder, [*rows("far/../a.png", "b.png"), {"image": "a.png", "caption": "x", "split": "val"}]
    )
    assert read(data).pixels[0, 0, 0].tolist() == [250] * 3
    assert read(data, "val").num_images == 2


def test_the_division_does_not_depend_on_the_spelling(folder: Path) -> None:
    for number in range(20):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    bare = [{"image": f"{number}.png", "caption": str(number)} for number in range(20)]
    first = dataset(folder, bare, val_ratio=0.3)
    other = [row | {"image": f"{folder}/./{row['image']}"} for row in bare]
    assert read(dataset(folder, other, val_ratio=0.3), "val").captions == read(first, "val").captions
    assert print_of(folder, other, val_ratio=0.3) == first.fingerprint


def test_a_copy_elsewhere_has_the_same_fingerprint_and_shares_the_pixels(
    tmp_path: Path, folder: Path, own_cache: Path
) -> None:
    some = rows("a.png", "./b.png", "c.png")
    first = dataset(folder, some)
    read(first)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for file in copy.iterdir():
        os.utime(file, ns=(1, 1))
    assert print_of(copy, some) == first.fingerprint
    (copy / "b.png").rename(copy / "renamed.png")
    read(dataset(copy, rows("a.png", "renamed.png", "c.png")))
    assert len(list((own_cache / "jsonl").iterdir())) == 1


def test_what_does_not_count_does_not_change_the_fingerprint(folder: Path) -> None:
    some = rows("a.png", "b.png", "c.png")
    first = print_of(folder, some)
    assert print_of(folder, [row | {"id": 7, "question": None} for row in some]) == first
    assert print_of(folder, some, seed=1, val_ratio=0.5) == first, "the rows name their splits"
    file = folder / "data.jsonl"
    file.write_text("\n" + "\n\n".join(json.dumps(row, indent=None, sort_keys=True) for row in some))
    assert JsonlDataset(JsonlDataset.Config(file=str(file))).fingerprint == first


def test_what_counts_changes_the_fingerprint(folder: Path) -> None:
    some = rows("a.png", "b.png", "c.png")
    found = [
        print_of(folder, some),
        print_of(folder, some[1:]),
        print_of(folder, [some[1], some[0], some[2]]),
        print_of(folder, [some[0] | {"caption": "another"}, *some[1:]]),
        print_of(folder, [some[0] | {"question": "why ?", "answer": "so"}, *some[1:]]),
        print_of(folder, [some[0] | {"question": "why ?", "answer": "no"}, *some[1:]]),
        print_of(folder, [*some[:2], some[2] | {"split": "test"}, rows("d.png")[0]]),
    ]
    assert len(set(found)) == len(found)


def test_another_way_to_see_pictures_is_other_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = print_of(folder, rows("a.png", "b.png"))
    monkeypatch.setattr("trainables.datasets.jsonl.PIXELS", pictures.VERSION + 1)
    assert print_of(folder, rows("a.png", "b.png")) != first


def changed_in_place(file: Path, level: int) -> None:
    """Put another picture of the same size in bytes into a file, with its old times."""
    before = file.stat()
    Image.new("L", (8, 8), level).save(file)
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "settled", [0.0, 3.0], ids=["known files are not read again", "too fresh to be known"]
)
def test_a_changed_picture_is_found_though_size_and_time_are_the_old_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settled: float
) -> None:
    monkeypatch.setattr(contents, "SETTLED_S", settled)
    for name in "ab":
        Image.new("L", (8, 8), 100).save(folder / f"{name}.bmp")
    some = rows("a.bmp", "b.bmp")
    first = dataset(folder, some)
    assert read(first).pixels[0, 0, 0, 0] == 100
    assert print_of(folder, some) == first.fingerprint
    changed_in_place(folder / "a.bmp", 200)
    again = dataset(folder, some)
    assert again.fingerprint != first.fingerprint
    assert read(again).pixels[0, 0, 0, 0] == 200


def test_known_files_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_S", -1.0)
    some = rows("a.png", "b.png", "c.png")
    first = print_of(folder, some)
    opened: list[str] = []
    digest = hashlib.file_digest

    def noted(source: Any, kind: Any) -> Any:
        opened.append(source.name)
        return digest(source, kind)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    assert print_of(folder, some) == first
    assert not opened
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes())
    assert print_of(folder, some) == first, "the same bytes"
    assert [Path(name).name for name in opened] == ["b.png"]


@pytest.mark.parametrize("damaged", [b"", b"[1]", b"\xff", b'{"x": 5}', b"[" * 100_000])
def test_damaged_notes_on_files_only_cost_time(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, damaged: bytes
) -> None:
    monkeypatch.setattr(contents, "SETTLED_S", -1.0)
    some = rows("a.png", "b.png")
    first = print_of(folder, some)
    (notes,) = (own_cache / "contents").iterdir()
    broken = json.loads(notes.read_text())
    notes.write_bytes(damaged.replace(b"x", str(folder / "a.png").encode()))
    assert print_of(folder, some) == first
    notes.write_text(json.dumps({path: [*entry[:4], 7] for path, entry in broken.items()}))
    assert print_of(folder, some) == first


def test_a_picture_that_changes_while_it_is_read_is_told(folder: Path) -> None:
    data = dataset(folder, rows("a.png", "b.png"))
    assert data.fingerprint
    Image.new("L", (8, 8), 222).save(folder / "b.png")
    with pytest.raises(
        DatasetError, match=r"data.jsonl:2: .*b.png was changed while the data was read; start again"
    ):
        read(data)


def test_progress_of_long_reading_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "TOLD_EVERY", 2)
    monkeypatch.setattr(contents, "CHUNK", 2)
    lines: list[str] = []
    dataset(folder, rows("a.png", "b.png", "c.png")).fingerprinted(lines.append)
    assert lines == [f"pictures: contents of {count} of 3 files read" for count in (2, 3)]


def bind(path: Path) -> None:
    """Make a socket; its path may have 107 bytes only, so that it is made under a short one and moved."""
    short = Path("/tmp") / f"socket-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(short))
    shutil.move(short, path)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_huge(path: Path) -> None:
    with path.open("wb") as sink:
        sink.truncate(1 << 31)  # of no disk


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.mkdir, "is a folder; allowed: a picture file"),
        (os.mkfifo, "is a named pipe; allowed: a picture file"),
        (bind, "is a socket; allowed: a picture file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device; allowed: a picture file"),
        (make_loop, "cannot be read (its symbolic links lead in a circle)"),
        (lambda path: path.symlink_to("gone"), "does not exist"),
        (Path.touch, "cannot be read as a picture (it is empty)"),
        (lambda path: path.symlink_to("/proc/self/status"), "cannot be read as a picture (it is empty)"),
        (make_huge, "it has 2,147,483,648 bytes"),
    ],
    ids=["folder", "pipe", "socket", "device", "loop", "nowhere", "empty", "endless", "huge"],
)  # fmt: skip
def test_what_is_no_picture_file_is_told_and_not_opened(folder: Path, make: Any, told: str) -> None:
    make(folder / "odd.png")
    message = error_of(folder, rows("a.png", "odd.png"))
    assert message.startswith(f"{folder}/data.jsonl:2: image: {folder}/odd.png ")
    assert told in message
    assert "\n" not in message


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (os.mkfifo, "is a named pipe, no file"),
        (Path.mkdir, "is a folder, no file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, no file"),
        (make_loop, "cannot be read ("),
        (lambda path: None, "does not exist"),
    ],
    ids=["pipe", "folder", "device", "loop", "missing"],
)
def test_a_jsonl_file_that_is_none_is_told_and_not_opened(folder: Path, make: Any, told: str) -> None:
    make(folder / "odd.jsonl")
    with pytest.raises(DatasetError) as caught:
        JsonlDataset(JsonlDataset.Config(file=str(folder / "odd.jsonl")))
    assert f"dataset.file: {folder}/odd.jsonl {told}" in str(caught.value)
    assert "Give a JSONL file" in str(caught.value)


BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD" * 30
CAPTION = "a red circle stands left of a small blue square " * 8
HINTS: dict[str, tuple[Row, str]] = {
    "base64": ({"image": BASE64}, "pictures inside of rows are not read: write them to files"),
    "a short data URL": ({"image": "data:image/png;base64,iVBO"}, "pictures inside of rows are not read"),
    "a caption": ({"image": CAPTION, "caption": "c.png"}, "the caption c.png is a file there: are the two fields swapped?"),
    "a short caption": ({"image": "a red circle", "caption": "c.png"}, "are the two fields swapped?"),
    "a URL": ({"image": "https://a.b/c.png"}, "pictures are not fetched: download them"),
    "a file URL": ({"image": "file:///c.png"}, "give the path without file://"),
    "backslashes": ({"image": "sub\\e.png"}, "write / instead of backslashes: sub/e.png exists"),
    "a folder too much": ({"image": "data/c.png"}, "c.png exists under "),
    "another machine": ({"image": "/home/somebody/data/sub/e.png"}, "sub/e.png exists under "),
    "another case": ({"image": "C.PNG"}, "did you mean {folder}/c.png?"),
    "a folder's case": ({"image": "Sub/e.png"}, "did you mean {folder}/sub?"),
    "no ending": ({"image": "c"}, "did you mean {folder}/c.png?"),
    "another ending": ({"image": "sub/e.jpg"}, "did you mean {folder}/sub/e.png?"),
    "a slip": ({"image": "picturr.png"}, "did you mean {folder}/picture.png?"),
    "no folder": ({"image": "images/x.png"}, "there is no folder {folder}/images"),
    "decomposed": ({"image": "caf\u00e9.png"}, "{folder} has 'cafe\\u0301.png', which looks the same but is spelled in another"),
    "composed": ({"image": "u\u0308ber.png"}, "{folder} has '\\xfcber.png', which looks the same"),
    "a NUL": ({"image": "a\0.png"}, "no file has a NUL character in its name"),
    "lines and escapes": ({"image": "x\n\x1b[31m.png"}, r"x\n\x1b[31m.png' does not exist"),
    "nothing alike": ({"image": "zzz"}, "check the path or image_root"),
}  # fmt: skip


@pytest.mark.parametrize(("row", "told"), HINTS.values(), ids=HINTS.keys())
def test_a_name_that_leads_nowhere_is_told_with_a_remedy(folder: Path, row: Row, told: str) -> None:
    (folder / "sub").mkdir()
    for name in ("sub/e.png", "picture.png", "cafe\u0301.png", "\u00fcber.png"):
        shutil.copy(folder / "a.png", folder / name)
    message = error_of(folder, [*rows("a.png", "b.png"), {"caption": "x", "split": "train"} | row])
    assert message.startswith(f"{folder}/data.jsonl:3: image: ")
    assert "does not exist" in message
    assert told.replace("{folder}", str(folder)) in message
    assert message.isprintable()
    assert len(message) < 700


def test_a_home_in_a_row_is_told_and_in_the_options_expanded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    told = error_of(folder, rows("a.png", "~/b.png"))
    assert f"`~` is not expanded in rows: write {folder}/b.png" in told
    dataset(folder, rows("a.png", "b.png"))
    data = JsonlDataset(JsonlDataset.Config(file="~/data.jsonl", image_root="~/"))
    assert read(data).num_images == 1
    with pytest.raises(DatasetError, match=r"dataset.file: .*~nobody-of-this-name/x does not exist"):
        JsonlDataset(JsonlDataset.Config(file="~nobody-of-this-name/x"))


def test_many_missing_names_are_told_in_bounded_time(folder: Path) -> None:
    message = error_of(folder, rows(*(f"gone{number}.png" for number in range(3000))))
    assert message.endswith("... and 2990 more: 3000 problems in all. Mend or remove these lines.")


def test_floats_and_wide_integers_of_a_data_set_are_told_by_file_and_line(folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 200.0, np.float32)).save(folder / "f.tif")
    Image.new("I", (8, 8), 70000).save(folder / "i.tif")
    lines = error_of(folder, rows("a.png", "f.tif", "b.png", "i.tif")).splitlines()
    assert lines[0].startswith(
        f"{folder}/data.jsonl:2: {folder}/f.tif: mode F holds floats from 200 to 200; allowed: 0"
    )
    assert lines[1].startswith(
        f"{folder}/data.jsonl:4: {folder}/i.tif: mode I of TIFF holds integers from 70000"
    )
    assert all("; or remove its rows, or leave out all" in line for line in lines)


def test_fields_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(
        DatasetError,
        match="caption_field 'image', split_field 'split'; allowed: three different printable names",
    ):
        dataset(folder, [], caption_field="image")
    with pytest.raises(
        DatasetError, match=r"dataset.split_field: got .*allowed: three different printable names"
    ):
        dataset(folder, [], split_field="")


def test_pictures_that_another_process_has_prepared_meanwhile_are_not_prepared_again(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = rows("a.png", "b.png", "c.png")
    usual = prepared.in_turn

    @contextmanager
    def late(target: Path, noun: str, *, say: Any) -> Iterator[None]:
        monkeypatch.setattr(prepared, "in_turn", usual)
        read(dataset(folder, some))
        monkeypatch.setattr(jsonl, "read_square", None)
        yield

    monkeypatch.setattr(prepared, "in_turn", late)
    assert read(dataset(folder, some)).num_images == 2
    assert len(list((own_cache / "jsonl").iterdir())) == 1
