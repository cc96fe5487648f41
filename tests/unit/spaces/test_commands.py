"""Commands that are printed to be copied: a shell reads the words that were meant."""

import ast
import shlex
from pathlib import Path

import pytest

from analysis.run_folder import read_run
from search.command import COMMANDS
from search.run_folder.facts import check_format
from spaces.commands import command_line
from spaces.errors import RunError
from tests.house.tree import ROOMS, modules, syntax


@pytest.mark.parametrize(
    "name", ["runs/dlip", "my run's $x", 'a "b" `c`', "a;b & c > d", "~/x", "é ü", "a\nb", "*?[x]"]
)
def test_every_word_comes_back_from_the_shell(name: str) -> None:
    line = command_line("search/run.py", "--resume", Path(name), "--trials", "3")
    assert shlex.split(line) == ["python", "search/run.py", "--resume", name, "--trials", "3"]


def test_a_plain_command_is_not_decorated_and_a_path_is_no_flag() -> None:
    assert (
        command_line("search/run.py", "--resume", Path("runs/dlip"))
        == "python search/run.py --resume runs/dlip"
    )
    assert command_line("search/run.py", "--resume", Path("-x")) == "python search/run.py --resume ./-x"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_outside_of_the_checkout_commands_are_those_that_are_installed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"{COMMANDS[name].replace('.', '/')}.py"
    assert command_line(script, "x") == f"python {script} x"
    monkeypatch.chdir(tmp_path)
    assert command_line(script, "x") == f"student-search {name} x"


def test_every_script_in_a_printed_command_is_a_command() -> None:
    scripts = {
        call.args[0].value
        for path in modules(*ROOMS)
        for call in ast.walk(syntax(path))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "command_line"
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(scripts) > 4
    assert scripts <= {f"{module.replace('.', '/')}.py" for module in COMMANDS.values()}


def test_messages_about_a_run_name_its_folder_as_a_shell_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "my run's $x"
    with pytest.raises(RunError) as caught:
        check_format(folder, {"format": 1}, "--resume")
    text = str(caught.value)
    words = shlex.split(text[text.index("python search/run.py --space") :])
    assert words == ["python", "search/run.py", "--space", str(folder / "space.yaml")]
    (folder / "history").mkdir(parents=True)
    with pytest.raises(RunError, match="no run"):
        read_run(folder)
