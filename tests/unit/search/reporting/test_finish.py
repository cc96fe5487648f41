"""What follows a search cannot change how it ended: cut off or broken, the report is drawn, and what is missing is told."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.reporting import finish
from search.reporting.finish import Finish
from search.stopping.interrupt import Interrupt
from spaces.errors import DatasetError, RunError


class Run:
    """A finish whose neighbours are stand-ins that remember what was asked of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.facts: dict[str, Any] = {}
        self.written = 0
        self.interrupt = Interrupt()
        self.end = Finish(folder, Path("runs/tiny"), self.interrupt, say=self.said.append)
        self.drawn: Any = lambda named: folder / "report.html"
        self.pictures: Any = lambda folder: "no browser"
        monkeypatch.setattr(finish, "draw_report", lambda named: self.drawn(named))
        monkeypatch.setattr(finish, "draw_pngs", lambda folder: self.pictures(folder))
        self._patch = monkeypatch

    def measure(self, conclude: Any) -> None:
        self._patch.setattr(finish, "conclude", conclude)
        facts: Any = SimpleNamespace(note=lambda **more: self.facts.update(more))
        self.end.measure(None, SimpleNamespace(write=self._write), facts)  # type: ignore[arg-type]

    def _write(self) -> None:
        self.written += 1


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def kill(number: signal.Signals) -> Any:
    def conclude(*given: Any, **more: Any) -> Any:
        os.kill(os.getpid(), number)
        raise AssertionError("unreachable")

    return conclude


def raises(error: Exception) -> Any:
    def conclude(*given: Any, **more: Any) -> Any:
        raise error

    return conclude


def test_what_ends_well_is_noted_and_says_nothing_more(run: Run, tmp_path: Path) -> None:
    with run.interrupt:
        run.measure(lambda *given, **more: {"blind": {"retention": 3.0}})
        assert run.end.draw() == tmp_path / "report.html"
    assert run.facts == {"blind": {"retention": 3.0}}
    assert (run.end.code, run.end.cut, run.said) == (0, "", ["no browser"])


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_signal_cuts_the_measuring_off_at_once_and_the_report_is_drawn(
    number: signal.Signals, code: int, name: str, run: Run, tmp_path: Path
) -> None:
    with run.interrupt:
        run.measure(kill(number))
        assert run.end.draw() == tmp_path / "report.html"
    assert run.end.code == code
    assert run.end.cut == (
        f"{name} cut off the measuring of the finalists; measure them with: python search/run.py --resume runs/tiny"
    )
    assert run.facts == {"conclusion_cut": f"{name} cut off the measuring of the finalists"}
    assert run.written == 1  # what was measured before


def test_a_signal_that_came_with_the_last_trial_leaves_the_finalists_unmeasured(run: Run) -> None:
    with run.interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        run.measure(raises(AssertionError("unreachable")))
    assert run.end.code == 143
    assert run.end.cut.startswith("SIGTERM cut off the measuring")


def test_a_second_signal_while_the_report_is_drawn_says_how_to_draw_it(run: Run) -> None:
    with run.interrupt:
        run.measure(kill(signal.SIGINT))
        run.drawn = kill(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            run.end.draw()
    assert run.said[-1] == "the report is not drawn; draw it with: python analysis/report.py runs/tiny"


def test_an_error_of_any_kind_costs_neither_report_nor_results(run: Run, tmp_path: Path) -> None:
    with run.interrupt:
        run.measure(raises(ZeroDivisionError("division by zero\nand more")))
        assert run.end.draw() == tmp_path / "report.html"
    assert run.end.code == 2
    assert run.end.cut == (
        "the finalists could not be measured: ZeroDivisionError: division by zero (traceback in "
        "runs/tiny/logs/conclusion.log); measure them with: python search/run.py --resume runs/tiny"
    )
    assert run.written == 1
    assert "Traceback" in (tmp_path / "logs" / "conclusion.log").read_text()


def test_an_error_of_the_users_is_told_in_its_own_words(run: Run, tmp_path: Path) -> None:
    with run.interrupt:
        run.measure(raises(DatasetError("a.jsonl: is gone. Put it back.")))
    assert run.end.cut.startswith(
        "the finalists could not be measured: a.jsonl: is gone. Put it back.; measure"
    )
    assert not (tmp_path / "logs").exists()


def test_a_report_that_cannot_be_drawn_is_told_with_the_command_that_draws_it(run: Run) -> None:
    run.drawn = raises(KeyError("front"))
    with (
        run.interrupt,
        pytest.raises(RunError, match="All results are kept in runs/tiny; draw it with: python analysis/"),
    ):
        run.end.draw()


def test_pictures_that_fail_cost_nothing_and_a_signal_cuts_them_off(run: Run, tmp_path: Path) -> None:
    with run.interrupt:
        run.pictures = raises(ValueError("odd"))
        assert run.end.draw() == tmp_path / "report.html"
        assert run.end.code == 0
        assert run.said[-1].startswith("no pictures: ValueError: odd")
        run.pictures = kill(signal.SIGTERM)
        assert run.end.draw() == tmp_path / "report.html"
    assert run.end.code == 143
    assert (
        run.end.cut
        == "SIGTERM cut off the pictures; draw them with: python analysis/report.py runs/tiny --png"
    )
