"""`student-search COMMAND`: each command is reached with its own arguments, and a wrong word is told."""

import sys
from types import SimpleNamespace

import pytest

from search.command import COMMANDS, USAGE, main


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gets_the_rest_of_the_line_and_gives_the_exit_code(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[list[str]] = []

    def command(arguments: list[str]) -> int:
        got.append(arguments)
        return 7

    monkeypatch.setitem(sys.modules, COMMANDS[name], SimpleNamespace(main=command))
    assert main([name, "runs/a", "--help"]) == 7
    assert got == [["runs/a", "--help"]]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_how_it_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_without_arguments_those_of_the_process_are_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["student-search", "--help"])
    assert main() == 0
    assert capsys.readouterr().out == f"{USAGE}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_all_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    assert capsys.readouterr().out.startswith(
        "usage: student-search {run,report,control,finalise,export,simulate,grid,ablation} ..."
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "error: got no command; allowed: run, report, control, finalise, export, simulate, grid, ablation.\n",
        ),
        (
            ["reprot"],
            "error: got 'reprot'; allowed: run, report, control, finalise, export, simulate, grid, ablation. "
            "Did you mean report?\n",
        ),
        (
            ["--trials"],
            "error: got '--trials'; allowed: run, report, control, finalise, export, simulate, grid, ablation.\n",
        ),
    ],
)
def test_a_wrong_word_is_told_with_the_near_miss(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert (told.err, told.out) == (f"{said}{USAGE}\n", "")
