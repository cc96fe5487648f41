"""One finished search for all tests of the commands, and the call that must fail cleanly."""

from pathlib import Path

import pytest

from tests.e2e import runs


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> runs.Finished:
    """Return the finished search of the session; not to be changed."""
    return runs.finished_run(tmp_path_factory.getbasetemp())


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> runs.Refused:
    """Return a call of the command that must fail cleanly; it returns the message."""
    from search.run import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        code = main(arguments)
        told = capsys.readouterr().err
        assert code == 2, told
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        assert told.count("error: ") == 1
        assert "Traceback" not in told
        return told.partition("error: ")[2]

    return call
