"""The cache as a place that several users, machines and processes share."""

import os
from pathlib import Path

import pytest

from spaces.errors import ResourceError
from trainables.datasets.cache_folder import cache_folder, unusable


def test_a_relative_folder_is_settled_once_for_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here/cache")
    assert cache_folder("costs") == tmp_path / "here/cache/student-search/costs"
    assert capsys.readouterr().err == (
        f"XDG_CACHE_HOME: got the relative path 'here/cache'; taken as {tmp_path}/here/cache\n"
    )
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")  # as a worker has another
    assert cache_folder("costs") == tmp_path / "here/cache/student-search/costs"
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "here/cache")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("named", "taken"), [("~/x", "x"), ("~", ""), ("~/x y/../z", "x y/../z")])
def test_a_tilde_that_no_shell_has_expanded_is_the_home_folder_and_told(
    named: str,
    taken: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "x y").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder("costs") == tmp_path / taken / "student-search" / "costs"
    assert capsys.readouterr().err == f"XDG_CACHE_HOME: got {named}; taken as {tmp_path / taken}\n"
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / taken)
    assert not (tmp_path / "~").exists()
    cache_folder("costs")
    assert capsys.readouterr().err == "", "told once"


def test_the_home_folder_of_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/x")
    with pytest.raises(ResourceError, match=r"got '~nobody-of-this-name/x', whose home folder is not known"):
        cache_folder("costs")
    assert list(tmp_path.iterdir()) == []


def test_without_a_name_it_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (None, ""):
        if name is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", name)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_folder("a", "b") == tmp_path / ".cache/student-search/a/b"


def test_no_home_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ResourceError, match=r"HOME is not set.*export XDG_CACHE_HOME="):
        cache_folder("costs")


@pytest.mark.parametrize("number", [30, 13, 28])
def test_a_folder_that_cannot_be_made_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "student-search" / "there").mkdir(parents=True)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(
        ResourceError, match=r"cannot be made: .*point XDG_CACHE_HOME to a folder of your own"
    ):
        cache_folder("costs")
    assert cache_folder("there").is_dir(), "what is there need not be made"


def test_what_is_anothers_is_not_called_damaged(tmp_path: Path) -> None:
    told = unusable(tmp_path / "a", PermissionError(13, "Permission denied"), "it is made again")
    assert "no permission" in told
    assert "belongs to" in told
    assert "XDG_CACHE_HOME" in told
    assert "Delete" not in told
    told = unusable(tmp_path / "a", OSError(24, "Too many open files"), "it is made again")
    assert "ulimit -n" in told
    assert "Delete" not in told
    assert unusable(tmp_path / "a", ValueError("bad magic"), "it is made again") == (
        f"{tmp_path}/a: damaged (bad magic). Delete it; it is made again."
    )
