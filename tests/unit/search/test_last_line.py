"""The last line of an interrupted search says what became of its folder, and how to go on only where one can."""

from collections.abc import Callable
from pathlib import Path

import pytest

from search.run import main
from search.start import Request, begun, resumed_alone
from spaces.interruption import interrupt_now

Start = Callable[..., int]


@pytest.fixture
def last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return what runs the command with another `start`, and gives its last line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.run_folder.resume.check_resumable", lambda folder: None)
    monkeypatch.setattr("search.run_folder.resume.check_changes", lambda folder, **given: None)

    def run(start: Start, *arguments: str, code: int) -> str:
        monkeypatch.setattr("search.start.start", start)
        assert main(arguments) == code
        return capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize("left", ["run.json", "logs/0badcafe.log"], ids=["removed", "kept"])
def test_a_new_run(left: str, last_line: Callable[..., str]) -> None:
    def start(request: Request, say: Callable[[str], None], **more: object) -> int:
        with begun("tiny", Path("my run"), say=say) as folder:
            (folder / left).parent.mkdir(exist_ok=True)
            (folder / left).write_text("{}")
            interrupt_now(15)
        return 0

    kept = left.startswith("logs")
    assert last_line(start, code=143) == (
        "interrupted; what is finished is kept; go on with: student-search run --resume 'my run'"
        if kept
        else "interrupted; run folder my run: removed, nothing was trained in it"
    )
    assert Path("my run").exists() == kept


def test_a_resumed_run(last_line: Callable[..., str]) -> None:
    def start(request: Request, say: Callable[[str], None], **more: object) -> int:
        with resumed_alone(request, say=say):
            raise KeyboardInterrupt

    Path("here").mkdir()
    assert last_line(start, "--resume", "here", code=130) == (
        "interrupted; what is finished is kept; go on with: student-search run --resume here"
    )
    assert list(Path("here").iterdir()) == []


def test_before_anything_was_begun(last_line: Callable[..., str]) -> None:
    def start(request: Request, say: Callable[[str], None], **more: object) -> int:
        raise KeyboardInterrupt

    assert last_line(start, code=130) == "interrupted"
