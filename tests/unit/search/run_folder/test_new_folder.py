"""The folder of a new run: it goes where nothing was trained, whatever ended the search, and never with anybody's files."""

import errno
import shutil
import signal
from pathlib import Path

import pytest

from search.run_folder.new_folder import check_out
from search.start import Request, begun, place_problems
from spaces.errors import LimitError, ResourceError, RunError, StorageError
from spaces.interruption import interrupt_now
from spaces.owner import OWNER_FILE, owned


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begin(out: Path | None, error: BaseException, *files: str) -> list[str]:
    """Begin a run that writes some files and ends by an error; return what was told, then the last note of the error."""
    told: list[str] = []

    def search() -> None:
        with begun("tiny", out, say=told.append) as folder:
            assert (folder / OWNER_FILE).exists()
            for name in ("run.json", "space.yaml", "ray/tuner.pkl", *files):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text("{}")
            raise error

    with pytest.raises(type(error)) as raised:
        search()
    return [*told, *getattr(raised.value, "__notes__", [])[-1:]]


@pytest.mark.parametrize(
    "error",
    [LimitError("none"), KeyboardInterrupt(), OSError(28, "No space left on device"), RuntimeError("Ray")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("out", [None, Path("a/b/c")], ids=["runs", "out"])
def test_an_untrained_folder_goes_with_all_that_was_made_for_it(
    out: Path | None, error: BaseException, tmp_path: Path
) -> None:
    told = begin(out, error)
    assert list(tmp_path.iterdir()) == []
    ours = isinstance(error, LimitError)  # told by its own message
    folder = out or Path("runs/tiny")
    assert told == ([] if ours else [f"run folder {folder}: removed, nothing was trained in it"])


@pytest.mark.parametrize(
    "kept", ["history/part-0.arrow", "checkpoints/0badcafe/checkpoint.pt", "logs/0badcafe.log"]
)
def test_what_a_trial_has_left_stays(kept: str) -> None:
    begin(Path("here"), OSError(), kept)
    assert Path("here", kept).exists()
    assert Path("here/run.json").exists()
    assert not Path("here", OWNER_FILE).exists()


def test_a_second_ctrl_c_while_the_folder_goes_does_not_leave_half_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = shutil.rmtree

    def pressed(path: Path) -> None:
        interrupt_now(signal.SIGINT)
        usual(path)

    monkeypatch.setattr(shutil, "rmtree", pressed)
    told = begin(Path("here"), KeyboardInterrupt())
    assert told == ["run folder here: removed, nothing was trained in it"]
    assert not Path("here").exists()


def test_an_empty_folder_of_the_user_is_left_empty() -> None:
    Path("mine").mkdir()
    told = begin(Path("mine"), KeyboardInterrupt())
    assert list(Path("mine").iterdir()) == []
    assert told == ["run folder mine: left empty, nothing was trained in it"]


def test_other_runs_stay_where_one_goes() -> None:
    Path("runs/tiny").mkdir(parents=True)
    begin(None, KeyboardInterrupt())
    assert list(Path("runs").iterdir()) == [Path("runs/tiny")]


def test_a_folder_in_which_another_search_begins_is_refused_and_left_to_it() -> None:
    with begun("tiny", Path("here"), say=print):
        with pytest.raises(RunError, match="works in it already"):
            check_out(Path("here"), say=print)
        with (
            pytest.raises(RunError, match="works in it already"),
            begun("tiny", Path("here"), say=print),
        ):
            raise AssertionError("two began")
        assert Path("here", OWNER_FILE).exists()


def test_the_mark_of_a_search_that_was_killed_is_no_content() -> None:
    Path("here").mkdir()
    Path("here", OWNER_FILE).write_text("")
    check_out(Path("here"), say=print)
    with begun("tiny", Path("here"), say=print) as folder:
        assert folder == Path("here")


def test_a_folder_that_was_filled_while_one_waited_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.run_folder.new_folder.check_out", lambda out, say: None)
    Path("here").mkdir()
    Path("here/run.json").write_text("{}")
    with pytest.raises(RunError, match="is not empty"), begun("tiny", Path("here"), say=print):
        raise AssertionError("it began")
    assert Path("here/run.json").read_text() == "{}"


def test_a_place_that_cannot_be_had_is_told() -> None:
    Path("file").write_text("")
    with (
        pytest.raises(ResourceError, match="file/run: cannot be made: "),
        begun("tiny", Path("file/run"), say=print),
    ):
        raise AssertionError("it began")


def test_owning_needs_no_run() -> None:
    Path("plain").mkdir()
    with owned(Path("plain"), say=print):
        assert [one.name for one in Path("plain").iterdir()] == [OWNER_FILE]


def test_a_folder_that_cannot_be_removed_does_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("search.run_folder.new_folder.shutil.rmtree", refuse)
    (line,) = begin(Path("here"), LimitError("none"))
    assert line.startswith("run folder here: cannot be removed: ")
    assert "read-only file system" in line


@pytest.mark.parametrize("below", ["file/run", "file/a/b/run"])
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_prepared(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"run: cannot be made: a part of its path is a file"):
        check_out(tmp_path / below, say=print)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_folders_that_are_missing_on_the_way_are_no_fault(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b", say=print)
    assert not list(tmp_path.iterdir())


def in_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where `ray job submit --working-dir` begins a command."""
    package = tmp_path / "ray/session_1/runtime_resources/working_dir_files/_ray_pkg_0123"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)
    return package


@pytest.mark.parametrize(
    ("out", "told"), [(None, "got none, so that the run would lie in runs"), (Path("runs/x"), "got runs/x")]
)
def test_a_run_in_what_ray_unpacks_for_a_job_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Path | None, told: str
) -> None:
    package = in_a_job(tmp_path, monkeypatch)
    with (
        pytest.raises(
            RunError,
            match=rf"--out: {told}, inside of {package}, which Ray has unpacked for this job and deletes",
        ),
        begun("tiny", out, say=print),
    ):
        raise AssertionError("it began")
    assert not list(package.iterdir())
    (told_early,) = place_problems(Request(space=Path("x.yaml"), out=out), None, say=print)
    assert "Give it from the root, such as /shared/runs/NAME" in told_early


def test_a_run_on_storage_that_stays_begins_in_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = in_a_job(tmp_path, monkeypatch)
    (tmp_path / "shared").mkdir()
    (package / "linked").symlink_to(tmp_path / "shared")
    for out in (tmp_path / "shared/a", Path("linked/b")):
        assert not place_problems(Request(space=Path("x.yaml"), out=out), None, say=print)
        with begun("tiny", out, say=print) as folder:
            assert folder == out
    assert not place_problems(Request(space=Path("x.yaml"), dry_run=True), None, say=print), (
        "it writes nothing"
    )
