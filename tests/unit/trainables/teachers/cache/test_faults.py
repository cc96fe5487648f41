"""Interrupted fillings, damaged and missing files, full disks: nothing half done, nothing wrong is read."""

import errno
import os
import shutil
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from spaces.errors import InputsChanged, ResourceError, StorageError, TeacherError
from tests.unit.trainables.small import (
    CPU,
    silent,
)
from tests.unit.trainables.teachers.cache.caches import (
    Watched,
    contents_of,
    opened,
    pairs,
    parts,
)
from tests.unit.trainables.teachers.cache.kills import children_of
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Batch, Signals, Want, Wants
from trainables.teachers.cache import workers
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.fill import Filling, build_cache, fill_cache
from trainables.teachers.cache.part_file import PartFile, PartWriter
from trainables.teachers.cache.plan import Kept
from trainables.teachers.teacher import Teacher


def test_an_interrupted_build_leaves_whole_parts_and_goes_on_from_them(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path, tmp_path: Path
) -> None:
    left: list[
        int
    ] = []  # parts of two; each takes 1 + 1 + 1 passes or more, the first one more for the one value
    for calls in (0, 1, 2, 3, 4, 6):
        with pytest.raises(KeyboardInterrupt):
            build_cache(
                tmp_path, Watched(owner, fail_after=calls), split, wants, precision="float32", progress=silent
            )
        left.append(len(parts(tmp_path)))
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in parts(tmp_path)} | {
            "meta.json"
        }
        assert not opened(tmp_path, owner).holds(wants)
        if left[-1]:
            break
    assert left[0] == 0
    assert left[-1] == 1
    before = parts(tmp_path)[0].stat().st_mtime_ns
    build_cache(tmp_path, owner, split, wants, precision="float32", progress=silent)
    assert parts(tmp_path)[0].stat().st_mtime_ns == before
    assert contents_of(tmp_path) == contents_of(folder)


def test_an_interrupted_extension_keeps_what_was_there(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    first = frozenset({Want("image", "embedding")})
    build_cache(tmp_path, owner, split, first, precision="float32", progress=silent)
    before = contents_of(tmp_path)
    wider = first | {Want("decoder", "logits")}
    with pytest.raises(KeyboardInterrupt):
        build_cache(
            tmp_path, Watched(owner, fail_after=1), split, wider, precision="float32", progress=silent
        )
    assert contents_of(tmp_path) == before
    assert read_contents(tmp_path).wants == first
    assert opened(tmp_path, owner).signals(pairs(split), first)


def test_what_a_process_meets_and_its_death_are_told(
    owner: Teacher, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()

    class Fatal(Watched):
        def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
            assert os.getpid() != parent
            if self.fail_after:
                os.kill(os.getpid(), signal.SIGKILL)
            raise TeacherError("it does not answer")

    monkeypatch.setattr(workers, "PAYS", 1)
    want, kept = frozenset({Want("image", "embedding")}), Kept(precision="float32")
    for fail_after, error, said in (
        (0, TeacherError, "it does not answer"),
        (1, ResourceError, "by signal 9"),
    ):
        teacher, before = Fatal(owner, fail_after=fail_after), children_of(parent)
        with pytest.raises(error, match=said):
            fill_cache(tmp_path, teacher, split, want, kept, Filling(say=silent, workers=2))
        assert (
            children_of(parent) <= before
        )  # other tests may have left some, such as what tracks shared memory
    fill_cache(tmp_path, owner, split, want, kept, Filling(say=silent, workers=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(path.name for path in parts(tmp_path)),
        "meta.json",
    ]


def test_a_truncated_and_a_changed_part_are_told_and_made_anew(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path, tmp_path: Path
) -> None:
    made = tmp_path / "copy"
    shutil.copytree(folder, made)
    first, second = parts(made)
    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    flipped = bytearray(second.read_bytes())
    flipped[-1] ^= 1
    second.write_bytes(flipped)
    with pytest.raises(
        InputsChanged, match=rf"{first}: damaged .*, as {socket.gethostname()} sees it. .*--resume"
    ):
        opened(made, owner).signals(pairs(split), wants)
    lines: list[str] = []
    build_cache(made, owner, split, wants, precision="float32", progress=lines.append)
    told = [line for line in lines if "damaged" in line]
    assert [line.split(": ")[0] for line in told] == [f"teacher cache {path}" for path in (first, second)]
    assert contents_of(made) == contents_of(folder)


def test_a_row_that_was_changed_is_told_when_it_is_read(
    owner: Teacher, split: EncodedSplit, folder: Path, tmp_path: Path
) -> None:
    made, want = tmp_path / "copy", Want("image", "embedding")
    shutil.copytree(folder, made)
    path = parts(made)[0]
    file = PartFile(path)
    place = path.read_bytes().index(file.arrays[str(want)][3].tobytes())
    row = int(file.rows["picture"][3])
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    cache = opened(made, owner)
    others = np.array([number for number in range(split.num_images) if number != row])
    cache.signals(split.batch({"picture": others}, CPU), frozenset({want}))
    for _ in range(2):
        with pytest.raises(
            InputsChanged, match=rf"{path}: damaged \(the checksum of row 3 of {want} is wrong\)"
        ):
            cache.signals(split.batch({"picture": np.array([row])}, CPU), frozenset({want}))


def test_missing_files_and_a_damaged_description_are_told_with_their_path(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path, tmp_path: Path
) -> None:
    made = tmp_path / "copy"
    shutil.copytree(folder, made)
    parts(made)[1].unlink()
    with pytest.raises(InputsChanged, match=rf"{made}.*safetensors: missing.* Run the command again"):
        opened(made, owner).signals(pairs(split), frozenset({Want("image", "embedding")}))
    (made / "meta.json").write_text("{")
    with pytest.raises(TeacherError, match=r"meta.json: damaged"):
        opened(made, owner)
    build_cache(made, owner, split, wants, precision="float32", progress=silent)
    assert contents_of(made) == contents_of(folder)
    shutil.rmtree(made)
    with pytest.raises(TeacherError, match=rf"{made}/meta.json: cannot be read: its folder .* is not there"):
        opened(made, owner)


def test_a_disk_that_fills_meanwhile_is_one_message(
    owner: Teacher, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(writer: PartWriter, array: np.ndarray, place: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    want = frozenset({Want("image", "embedding")})
    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "_put", full)
        with pytest.raises(StorageError, match=r"safetensors: cannot be written: the disk of .* is full"):
            build_cache(tmp_path, owner, split, want, precision="float32", progress=silent)
    assert [path.name for path in tmp_path.iterdir()] == ["meta.json"]
    build_cache(tmp_path, owner, split, want, precision="float32", progress=silent)
