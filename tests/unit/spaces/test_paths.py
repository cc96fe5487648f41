"""Paths of flags: those under which something is kept may not lie where Ray deletes it."""

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from search.run import parser
from spaces.paths import kept_flag, path_flag


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where `ray job submit --working-dir` begins a command."""
    made = tmp_path / "session_1/runtime_resources/working_dir_files/_ray_pkg_0123"
    (made / "search").mkdir(parents=True)
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize("text", ["x", "a/b", "./search/x", "../_ray_pkg_0123/x", "."])
def test_what_ray_deletes_is_no_place_to_keep_things(package: Path, text: str) -> None:
    assert path_flag(text) == Path(text), "it may be read there"
    with pytest.raises(
        ArgumentTypeError, match=rf"got '{text}', inside of {package}, which Ray has unpacked"
    ):
        kept_flag(text)


def test_all_else_is(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (tmp_path / "shared", tmp_path / "working_dir_files", Path("../../x"), Path("/dev/null")):
        assert kept_flag(str(one)) == one
    monkeypatch.chdir(tmp_path)
    assert kept_flag("x") == Path("x")
    with pytest.raises(ArgumentTypeError, match="got ' '; allowed: a path"):
        kept_flag(" ")


@pytest.mark.parametrize("flag", ["--out", "--storage", "--log"])
def test_a_search_is_told_at_once(package: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([flag, "mine"])
    assert ended.value.code == 2
    assert f"argument {flag}: got 'mine', inside of" in capsys.readouterr().err
