"""Whatever stops a file from being written, the old one stays, no draft is left, and one message says what to do."""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spaces import files
from spaces.errors import RunError, StorageError
from spaces.files import append, atomic_folder, atomic_path, guarded, make_folder, reserve, write_text

GONE = 2**22 + 1  # above the largest process number of Linux


def failing(number: int) -> Callable[..., None]:
    """Return what refuses any call as the system would."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "facts.json"
    write_text(target, "old\n")
    write_text(target, "néw\n")
    assert target.read_bytes() == "néw\n".encode()
    assert os.listdir(tmp_path) == ["facts.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_new_file_is_for_whom_the_umask_lets(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "x")
        append(tmp_path / "b", "x\n")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [mode, mode]


def test_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    target.chmod(0o640)
    write_text(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_link_is_followed_and_a_device_is_no_file_to_replace(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join()
    assert got == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "is full ("),
        (errno.EDQUOT, "your disk quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EROFS, "read-only file system"),
        (errno.EACCES, "belongs to "),
        (errno.EPERM, "belongs to "),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "Close some programs"),
        (errno.EIO, "dmesg"),
        (errno.ETXTBSY, "Try again, or name another folder"),
    ],
)
def test_each_refusal_of_the_system_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    for name in ("write_bytes", "open"):  # while it is written
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, failing(number))
            with pytest.raises(StorageError, match=r"a: cannot be written: ") as told:
                write_text(target, "new")
        assert said in str(told.value)
    with (
        monkeypatch.context() as patch
    ):  # when it is synced: the first moment at which a network disk may tell
        patch.setattr(os, "fsync", failing(number))
        if number not in files._NO_SYNC:
            with pytest.raises(StorageError) as told:
                write_text(target, "new")
            assert said in str(told.value)
            assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_need_is_told_where_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"is full \([\d,.]+ MiB free, 3\.0 MiB needed\)"):
        reserve(tmp_path / "a", 3 * 2**20)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "no" / "a", "its folder .* is not there"),
        (lambda folder: folder / ("é" * 200), "has 400 bytes"),
        (lambda folder: folder / "file" / "a", "is not there|is a file, not a folder"),
        (lambda folder: folder / "folder", "there is a folder of this name"),
    ],
)
def test_impossible_places_are_told(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=said):
        write_text(make(tmp_path), "x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_longest_name_that_is_allowed_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "x")
    assert (tmp_path / ("n" * 255)).read_text() == "x"


def test_errors_of_what_is_written_pass_and_leave_no_draft(tmp_path: Path) -> None:
    def write(error: Exception) -> None:
        with atomic_path(tmp_path / "a") as draft:
            draft.write_text("half")
            raise error

    for error in (RunError("told already (os error 28)"), ValueError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write(error)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):  # of another file, that was read: not for us to call unwritable
        write(FileNotFoundError(errno.ENOENT, "none", "/elsewhere/picture.png"))
    with pytest.raises(StorageError, match="is full"):  # how safetensors and tokenizers tell
        write(Exception("I/O error: No space left on device (os error 28)"))
    assert os.listdir(tmp_path) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as first, atomic_path(tmp_path / "a") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a").read_text() == "1"  # the outer one ends last
    assert os.listdir(tmp_path) == ["a"]


def test_drafts_of_killed_processes_go_and_those_of_others_stay(tmp_path: Path) -> None:
    old = time.time() - 25 * 3600
    names = {
        "dead": f".draft-{files._host()}-{GONE}-00000000-a",
        "alive": f".draft-{files._host()}-{os.getppid()}-00000000-a",
        "elsewhere": f".draft-01234567-{GONE}-00000000-a",
        "elsewhere, old": f".draft-01234567-{GONE}-11111111-a",
        "no draft": ".draft-mine",
    }
    for name in names.values():
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / names["elsewhere, old"], (old, old))
    folder = tmp_path / f".draft-{files._host()}-{GONE}-22222222-student"
    (folder / "inner").mkdir(parents=True)
    write_text(tmp_path / "a", "x")
    assert set(os.listdir(tmp_path)) == {"a", names["alive"], names["elsewhere"], names["no draft"]}


def test_ledger_grows_by_whole_lines_and_closes_a_torn_one(tmp_path: Path) -> None:
    ledger = tmp_path / "rows.jsonl"
    append(ledger, "1\n")
    with ledger.open("a") as sink:
        sink.write('{"torn')
    append(ledger, "2\n")
    append(ledger, "3\n4\n")
    assert ledger.read_text() == '1\n{"torn\n2\n3\n4\n'


def test_a_device_or_pipe_takes_lines_as_they_are(tmp_path: Path) -> None:
    append(Path("/dev/null"), "1\n")
    os.mkfifo(pipe := tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    append(pipe, "1\n2\n")
    reader.join(timeout=60)
    assert got == ["1\n2\n"]
    with pytest.raises(StorageError, match=r"/dev/full: cannot be written: the disk of /dev is full"):
        append(Path("/dev/full"), "1\n")


def test_ledger_that_cannot_grow_holds_what_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "rows.jsonl"
    append(ledger, "1\n")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"rows.jsonl: cannot be written: .* is full"):
        append(ledger, "2\n")
    assert ledger.read_text() == "1\n"


def test_folder_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    def make(error: Exception | None) -> None:
        with atomic_folder(tmp_path / "student") as draft:
            (draft / "a").write_text("x")
            if error:
                raise error

    with pytest.raises(StorageError, match="is full"):
        make(OSError(errno.ENOSPC, "full"))
    assert os.listdir(tmp_path) == []
    make(None)
    with pytest.raises(StorageError, match="is there already"):
        make(None)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["student", "a"]


def test_space_is_taken_before_a_map_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"head")
    reserve(path, 2**20)
    assert path.stat().st_size == 2**20
    assert path.stat().st_blocks * 512 >= 2**20
    assert path.read_bytes()[:4] == b"head"


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_free_space_is_looked_at_where_none_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    reserve(tmp_path / "a", 2**20)
    with pytest.raises(StorageError, match=r"is full .* MiB needed"):
        reserve(tmp_path / "a", 2**60)


def test_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StorageError, match="cannot be made"):
            make_folder(folder)
    assert make_folder(tmp_path / "c" / "d").is_dir()
    assert make_folder(tmp_path / "c").is_dir()


def test_error_names_its_owner(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"belongs to .+ \([-d]rw"), guarded(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no")
