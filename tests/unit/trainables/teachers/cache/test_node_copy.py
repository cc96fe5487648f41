"""A node's own copy of a cache: made once, of the same bytes, and anew where it is damaged; or the storage is read, and told."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from spaces.errors import InputsChanged, StorageError
from spaces.files import DRAFT
from tests.unit.trainables.teachers.cache.caches import TOKENS, contents_of, opened, pairs, parts
from trainables.datasets import node_copies
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.node_copies import NODE_COPIES, copied_to, place_of, usable
from trainables.signals import Wants
from trainables.teachers.cache import node_copy as module
from trainables.teachers.cache.layout import META
from trainables.teachers.cache.node_copy import CopiedCache, node_copy
from trainables.teachers.cache.part_file import PartFile
from trainables.teachers.teacher import Teacher
from trainables.training.sources import copied_cache

HANG_S = 60.0


@pytest.fixture
def storage(folder: Path, tmp_path: Path) -> Path:
    """Return a cache that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "shared" / "teacher-outputs" / "0123456789abcdef"))


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let copies be kept in a folder."""
    monkeypatch.setenv(NODE_COPIES, str(tmp_path / "node"))
    return tmp_path / "node"


@pytest.fixture
def told() -> list[str]:
    """Return what is said."""
    return []


def flipped(path: Path, place: int) -> None:
    """Flip a bit of a file; its times stay."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def row_of(path: Path, row: int) -> int:
    """Return where a row of picture tokens begins."""
    array = PartFile(path).arrays[str(TOKENS)]
    return path.read_bytes().index(array[row].tobytes())


def copied(storage: Path, owner: Teacher, told: list[str]) -> CopiedCache:
    """Return the copied cache."""
    return CopiedCache(storage, lambda place: opened(place, owner), told.append)


def test_a_copy_says_what_the_storage_says(
    storage: Path, node: Path, owner: Teacher, split: EncodedSplit, wants: Wants, told: list[str]
) -> None:
    cache = copied(storage, owner, told)
    assert cache.folder.is_relative_to(node)
    assert contents_of(cache.folder) == contents_of(storage)
    assert (cache.folder / META).read_bytes() == (storage / META).read_bytes()
    there, here = opened(storage, owner).signals(pairs(split), wants), cache.signals(pairs(split), wants)
    assert all(torch.equal(there[want], here[want]) for want in wants)
    assert "copies" in told[0]
    assert told[-1].endswith("complete")
    del told[:]
    assert node_copy(storage, told.append) == cache.folder  # made already
    assert told == []


def test_without_the_setting_the_storage_is_read(
    storage: Path, node: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NODE_COPIES)
    assert node_copy(storage, told.append) == storage
    assert not node.exists()
    with copied_to(str(node)):
        assert node_copy(storage, told.append).is_relative_to(node)
    assert NODE_COPIES not in os.environ


def test_a_home_in_the_setting_is_that_of_whoever_reads_it(
    storage: Path, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(NODE_COPIES, "~/copies")
    assert node_copy(storage, told.append).is_relative_to(tmp_path / "home" / "copies")
    assert not Path("~").exists()


def test_caches_of_the_same_name_have_copies_of_their_own(
    storage: Path, tmp_path: Path, told: list[str]
) -> None:
    other = Path(shutil.copytree(storage, tmp_path / "other" / "teacher-outputs" / storage.name))
    assert node_copy(storage, told.append) != node_copy(other, told.append)


def test_a_flipped_byte_of_a_row_is_mended_and_told(
    storage: Path, owner: Teacher, split: EncodedSplit, told: list[str]
) -> None:
    local = node_copy(storage, told.append)
    wants, batch = frozenset({TOKENS}), pairs(split)
    whole = opened(storage, owner).signals(batch, wants)[TOKENS]
    for row in range(6):  # whatever rows the batch reads
        flipped(parts(local)[0], row_of(parts(local)[0], row))
    cache = copied(storage, owner, told)
    assert torch.equal(cache.signals(batch, wants)[TOKENS], whole)
    assert cache.folder == local
    assert any("is damaged, and made anew" in line and "checksum of row" in line for line in told)
    assert contents_of(local) == contents_of(storage)


@pytest.mark.parametrize("harm", ["short", "header", "gone", "meta"])
def test_a_copy_that_is_not_as_the_storage_is_made_again(
    harm: str, storage: Path, owner: Teacher, split: EncodedSplit, wants: Wants, told: list[str]
) -> None:
    local = node_copy(storage, told.append)
    first = parts(local)[0]
    if harm == "short":
        first.write_bytes(first.read_bytes()[:-1])
    elif harm == "header":
        flipped(first, 20)
    elif harm == "gone":
        first.unlink()
    else:
        (local / META).write_text("{")
    del told[:]
    cache = copied(storage, owner, told)
    assert contents_of(local) == contents_of(storage)
    assert set(cache.signals(pairs(split), wants)) == wants
    assert bool(told) is (harm != "meta")
    assert ("were not as on the storage" in "".join(told)) is (harm in ("short", "header"))


def test_damage_on_the_storage_is_not_copied_and_told_by_whoever_reads_it(
    storage: Path, owner: Teacher, split: EncodedSplit, wants: Wants, told: list[str]
) -> None:
    flipped(parts(storage)[0], row_of(parts(storage)[0], 0))
    cache = copied(storage, owner, told)
    assert cache.folder == storage
    assert any("damaged on its way" in line for line in told)
    assert "damaged there (the checksum of row 0 of image.tokens is wrong)" in told[-1]
    with pytest.raises(InputsChanged, match="checksum of row"):
        cache.signals(pairs(split, number=split.num_images), wants)


def test_a_later_set_of_wants_is_added(storage: Path, folder: Path, told: list[str]) -> None:
    local = node_copy(storage, told.append)
    odd = parts(local)[0].with_name("deadbeef-000-of-001.safetensors")
    odd.write_bytes(b"of a set that the storage has no more")
    before = {path: path.stat().st_mtime_ns for path in parts(local) if path != odd}
    (storage / META).write_text((storage / META).read_text() + "\n")
    assert node_copy(storage, told.append) == local
    assert not odd.exists()
    assert {path: path.stat().st_mtime_ns for path in parts(local)} == before


def forked(storage: Path, log: Path) -> int:
    """Ask for a copy in another process, which ends with 0 where it is whole; return its number."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            local = node_copy(storage, lambda line: log.open("a").write(line + "\n"))
            code = 0 if contents_of(local) == contents_of(storage) and local != storage else 1
        finally:
            os._exit(code)
    return pid


def test_of_two_processes_one_copies_and_the_other_waits(storage: Path, tmp_path: Path) -> None:
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    pids = [forked(storage, log) for log in logs]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    said = [log.read_text() if log.exists() else "" for log in logs]
    assert sum("copies" in one for one in said) == 1


def test_a_killed_copier_leaves_nothing_half_and_the_next_goes_on(
    storage: Path, node: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(source: Path, draft: Path, tell: object) -> None:
        draft.write_bytes(source.read_bytes()[:100])
        time.sleep(HANG_S * 10)

    with monkeypatch.context() as patch:
        patch.setattr(node_copies, "_copy", stuck)
        pid = forked(storage, node.with_name("killed.log"))
        deadline = time.monotonic() + HANG_S
        while not [one for one in node.rglob(f"{DRAFT}*safetensors") if one.stat().st_size]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not parts(place_of(storage))
    local = node_copy(storage, told.append)
    assert contents_of(local) == contents_of(storage)
    assert [one.name for one in local.iterdir() if one.name.startswith(".")] == []


def test_too_little_room_is_told_and_the_storage_read(
    storage: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_copies.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))
    assert node_copy(storage, told.append) == storage
    assert "MiB are to be copied, 0.0 MiB are free" in told[-1]
    assert os.uname().nodename in told[-1]
    assert "--node-copies DIR" in told[-1]


def test_a_disk_that_fills_meanwhile_is_told_and_the_storage_read(
    storage: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, draft: Path, tell: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_copies, "_copy", full)
    assert node_copy(storage, told.append) == storage
    assert "is full" in told[-1]
    assert not parts(place_of(storage))


def test_a_folder_that_cannot_be_made_is_told_with_what_to_do(
    storage: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(NODE_COPIES, str(tmp_path / "file" / "below"))
    assert node_copy(storage, told.append) == storage
    assert str(tmp_path / "file" / "below") in told[-1]
    assert "a part of its path is a file" in told[-1]
    assert "a part of its path is a file" in usable(str(tmp_path / "file" / "below"))
    assert usable(str(tmp_path / "new")) == ""
    assert list((tmp_path / "new").iterdir()) == []


def test_a_copy_that_keeps_breaking_is_left(
    storage: Path, owner: Teacher, split: EncodedSplit, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = copied(storage, owner, told)

    class Broken:
        folder = cache.folder

        def signals(self, batch: object, wants: object) -> None:
            raise InputsChanged("row 0 is wrong. Run the command again")

    monkeypatch.setattr(
        cache, "_opened", lambda place: opened(place, owner) if place == storage else Broken()
    )
    monkeypatch.setattr(cache, "_cache", Broken())
    assert set(cache.signals(pairs(split), frozenset({TOKENS}))) == {TOKENS}
    assert cache.folder == storage
    assert "damaged once more" in told[-1]


def test_a_trial_opens_its_copy(
    storage: Path, node: Path, owner: Teacher, split: EncodedSplit, told: list[str]
) -> None:
    found = copied_cache(str(storage), owner, data="", split=split, say=told.append)
    assert isinstance(found, CopiedCache)
    assert found.folder.is_relative_to(node)


def test_an_error_of_the_turn_is_no_end(
    storage: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **more: object) -> None:
        raise StorageError("cannot be written.")

    monkeypatch.setattr(module, "in_turn", refused)
    assert node_copy(storage, told.append) == storage
    assert "cannot be written" in told[-1]
