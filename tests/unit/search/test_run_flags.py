"""Flags that say what trials take and where a search tells of itself; nonsense among them is told in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from search.run import main, overrides, parser
from spaces.errors import SpaceError
from spaces.load import load_space
from tests.unit.search.earlier_run import SPACE


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    """Return a small space file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return path


def resources(space_file: Path, *flags: str) -> Any:
    """Return what trials take with these flags."""
    return load_space(space_file, overrides(parser().parse_args(flags))[0]).resources


def test_flags_set_what_trials_take(space_file: Path) -> None:
    found = resources(space_file, "--max-concurrent", "3", "--gpus-per-worker", "0.25")
    assert (found.max_concurrent, found.gpus_per_worker) == (3, 0.25)
    assert resources(space_file, "--gpus-per-worker", "0").gpus_per_worker == 0.0
    shared = resources(space_file, "--gpus-per-worker", "auto")
    assert (shared.gpus_per_worker, shared.packs, shared.gpus) == ("auto", True, None)
    assert resources(space_file, "--gpus-per-worker", "auto", "--workers-per-trial", "2").packs


def test_several_workers_get_no_share_of_a_gpu(space_file: Path) -> None:
    assert resources(space_file, "--gpus-per-worker", "1", "--workers-per-trial", "2").gpus == 1.0
    with pytest.raises(SpaceError) as caught:
        resources(space_file, "--workers-per-trial", "2", "--gpus-per-worker", "0.5")
    told = str(caught.value)
    assert told.startswith("--gpus-per-worker 0.5, resources.gpus_per_worker: got 0.5 with 2 workers"), told
    assert "NCCL" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("flag", "value", "path"),
    [
        ("--max-concurrent", "0", "resources.max_concurrent"),
        ("--max-concurrent", "-2", "resources.max_concurrent"),
        ("--gpus-per-worker", "-0.5", "resources.gpus_per_worker"),
        ("--gpus-per-worker", "nan", "resources.gpus_per_worker"),
        ("--gpus-per-worker", "1.5", "resources.gpus_per_worker"),
        ("--gpus-per-worker", "all", "resources.gpus_per_worker"),
        ("--gpus-per-worker", "1e-05", "resources.gpus_per_worker"),
    ],
)
def test_nonsense_names_its_flag(flag: str, value: str, path: str, space_file: Path) -> None:
    with pytest.raises(SpaceError) as caught:
        resources(space_file, f"{flag}={value}")
    told, shown = str(caught.value), repr(value) if value.isalpha() and value != "nan" else value
    assert told.startswith(f"{flag} {value}, {path}: got {shown}; allowed: "), told
    assert "\n" not in told


@pytest.mark.parametrize("retries", [-1, 1.5, "often"])
def test_retries_are_a_whole_number_from_zero(retries: object, space_file: Path) -> None:
    assert load_space(space_file).failures.retries == 3
    assert load_space(space_file, ["failures.retries=0"]).failures.retries == 0
    with pytest.raises(SpaceError, match=r"failures.retries: got .*; allowed: "):
        load_space(space_file, [f"failures.retries={retries}"])


def test_text_where_a_number_belongs_is_a_mistake_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--max-concurrent", "few"])
    assert caught.value.code == 2
    assert "argument --max-concurrent: invalid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--retry-failed"], "--retry-failed: got it without --resume; allowed: with --resume RUN"),
        (["--retry-failed", "--resume", "runs/x", "--dry-run"], "--retry-failed: got it with --dry-run"),
        (["--json", "--dry-run"], "--json: got it with --dry-run, which runs no search"),
        (["--json", "--list", "losses"], "--json: got it with --list, which runs no search"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_an_error_is_an_event_too_and_what_is_said_stays_on_the_other_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "search.log"
    assert main(["--json", "--log", str(log), "--space", str(tmp_path / "none.yaml")]) == 2
    told = capsys.readouterr()
    (event,) = map(json.loads, told.out.splitlines())
    assert event.pop("message") in told.err
    assert event == {"event": "error", "exit_code": 2}
    (line,) = log.read_text().splitlines()
    assert line.endswith(told.err.strip())
    assert " UTC error: " in line


@pytest.mark.parametrize("place", ["", "none/search.log"])
def test_a_log_that_cannot_be_written_is_told_before_anything_else(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--log", str(tmp_path / place), "--list", "losses"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: --log {tmp_path / place}")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "flag", ["--space", "--out", "--resume", "--warm-start", "--storage", "--node-copies", "--log"]
)
@pytest.mark.parametrize("got", ["", " "])
def test_a_path_from_a_variable_that_is_not_set_is_not_the_folder_one_is_in(
    flag: str, got: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([flag, got, "--dry-run"])
    assert caught.value.code == 2
    assert f"argument {flag}: got {got!r}; allowed: a path. Give one, or . for" in capsys.readouterr().err
