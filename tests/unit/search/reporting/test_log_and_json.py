"""What goes into a log file and onto standard output as JSON, and that neither can cost a search anything."""

import io
import json
import math
from pathlib import Path

import pytest

from search.reporting.json_lines import JsonLines, progress_fields
from search.reporting.log_file import Copied, logged
from search.reporting.progress import Progress, Tally
from search.reporting.status_line import IN_PLACE, QUIET_S
from search.stopping.hypervolume import Best


class Copy:
    """A copied stream with a clock of its own."""

    def __init__(self, file: Path) -> None:
        self.now, self.stream, self.file = 0.0, io.StringIO(), file
        self.copied = Copied(self.stream, file, clock=lambda: self.now, stamp=lambda: "T")


def test_whole_lines_are_kept_with_their_time_behind_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("earlier\n")
    copy = Copy(file)
    copy.copied.write("one")
    assert file.read_text() == "earlier\n"
    copy.copied.write(" and two\nthree\nfour")
    assert copy.stream.getvalue() == "one and two\nthree\nfour"
    assert file.read_text() == "earlier\nT one and two\nT three\n"


def test_a_line_in_place_is_kept_every_ten_seconds(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "log")
    for number in range(5):
        copy.copied.write(f"{IN_PLACE}{number} done")
        copy.now += QUIET_S / 2
    copy.copied.write("\nthe end\n")
    assert (tmp_path / "log").read_text() == "T 0 done\nT 2 done\nT 4 done\nT the end\n"


def test_a_file_that_takes_no_more_is_told_once(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "gone" / "log")
    for text in ("one\n", "two\n"):
        copy.copied.write(text)
    first, said, last = copy.stream.getvalue().splitlines()
    assert (first, last) == ("one", "two")
    assert said.startswith(f"--log {tmp_path / 'gone'}")
    assert said.endswith("Nothing more is kept there; the rest goes on.")


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        """Fail."""
        raise BrokenPipeError


def test_a_reader_that_goes_away_costs_nothing() -> None:
    JsonLines(Broken()).tell("run", {"folder": "x"})
    JsonLines(None).tell("run", {"folder": "x"})


def test_progress_is_told_as_it_is_shown() -> None:
    out = io.StringIO()
    lines = JsonLines(out)
    progress = Progress(
        io.StringIO(),
        clock=lambda: 0.0,
        tell=lambda tally, elapsed_s, left_s: lines.tell(
            "progress", progress_fields(tally, elapsed_s=elapsed_s, left_s=left_s)
        ),
    )
    best = [Best("retention", 88.6, "5934149f"), Best("params", math.inf, "0a1b2c3d")]
    progress.show(Tally(trials=9, finished=2, stopped=1, best=best, waiting="1 waits: no room"))
    (event,) = map(json.loads, out.getvalue().splitlines())
    assert event["event"] == "progress"
    assert (event["trials"], event["done"], event["running"]) == (9, 3, 0)
    assert event["waiting"] == "1 waits: no room"
    assert event["best"]["retention"] == {"value": 88.6, "candidate": "5934149f"}
    assert (event["hypervolume"], event["left_s"]) == (None, None)
    assert "NaN" not in out.getvalue()
    assert "Infinity" not in out.getvalue()


def test_a_log_that_nobody_wants_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with logged(Path("/dev/null"), output=True):
        print("told")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("told\n", "")
