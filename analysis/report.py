"""`python analysis/report.py RUN`: draw `report.html` of a run, one file that needs no network.

`search` calls `draw_report` and `draw_pngs` at the end of every run and on Ctrl-C.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from analysis.figures.front import draw_front, front_info
from analysis.page.charts import curves_section, fronts_section
from analysis.page.decisions import decisions_section
from analysis.page.distillation import gains_section
from analysis.page.endings import endings_section
from analysis.page.facts import facts_section
from analysis.page.finals import finals_section
from analysis.page.headline import header
from analysis.page.markup import element
from analysis.page.shell import page
from analysis.page.students import members_section
from analysis.run_folder import Run, check_ids, read_run
from analysis.summary import summarise
from spaces.console import command
from spaces.errors import StudentSearchError
from spaces.files import atomic_path, write_text
from spaces.objectives import FRONT_COSTS
from spaces.paths import kept_flag, path_flag

REPORT_FILE = "report.html"
PNG_SIZE = (1100, 640)


def draw_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a run and return its path.

    Args:
        folder: the run; one without a finished trial, or that was interrupted, gets a report, too.
        out: the HTML file, `report.html` in the run folder by default.

    Raises:
        RunError: the folder is no run or damaged.
        StorageError: the report cannot be written; an earlier one stays.
    """
    run = read_run(folder)
    check_ids(run)
    target = folder / REPORT_FILE if out is None else out
    text = report_html(run)
    write_text(target, text)
    return target


def report_html(run: Run) -> str:
    """Return the report as one HTML document."""
    result = summarise(run)
    name = str(run.facts.get("name") or run.folder.name)
    return page(
        f"Students for {name}",
        header(run, result),
        fronts_section(run),
        members_section(run),
        gains_section(run),
        finals_section(run),
        curves_section(run),
        decisions_section(run, result),
        endings_section(run, result),
        facts_section(run),
        element(
            "footer", f"Drawn from {run.folder} by python analysis/report.py. This file needs no network."
        ),
    )


@contextmanager
def _unread_command_line() -> Iterator[None]:
    """Hide our flags: a package below kaleido (1.x) reads them when it is imported, and ends the process at `--log`."""
    before = sys.argv
    sys.argv = before[:1]
    try:
        yield
    finally:
        sys.argv = before


def draw_pngs(folder: Path) -> list[Path] | str:
    """Write `front_params.png`, `front_flops.png` and `front_latency_ms.png` into a run folder.

    Returns:
        The paths, or one line that says why there are none: kaleido or a browser is missing, which is no
        failure.

    Raises:
        RunError: the folder is no run or damaged.
    """
    run = read_run(folder)
    if not run.finished:
        return "No front_*.png: no candidate is finished yet."
    try:
        with _unread_command_line():
            import kaleido  # an extra
    except ImportError:
        return "No front_*.png: kaleido is missing. Install it with: pip install 'student-search[png]'"
    targets = [folder / f"front_{axis}.png" for axis in FRONT_COSTS]
    figures = [draw_front(front_info(run, axis), legend=True) for axis in FRONT_COSTS]
    width, height = PNG_SIZE
    options = {"format": "png", "width": width, "height": height, "scale": 2}
    try:
        with ExitStack() as drafts:
            specs = [
                {"fig": figure, "path": drafts.enter_context(atomic_path(target)), "opts": options}
                for figure, target in zip(figures, targets, strict=True)
            ]
            try:  # mathjax would come from a network, and is not used
                kaleido.write_fig_from_object_sync(specs, cancel_on_error=True, kopts={"mathjax": False})
            except OSError as error:
                if error.errno is None:  # of the channel to the browser, not of the disk
                    raise RuntimeError(str(error) or type(error).__name__) from error
                raise
    except (
        RuntimeError,
        OSError,
    ) as error:  # a missing, closed or failed browser is a RuntimeError to kaleido
        reason = str(error).split("\n")[0].split(". ")[0].strip(" .") or type(error).__name__
        return f"No front_*.png: no usable Chrome or Chromium ({reason}). The report has the same figures."
    return targets


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description="Draw the report of a run.")
    parser.add_argument("run", metavar="RUN", type=path_flag, help="a run folder")
    parser.add_argument(
        "--out", metavar="FILE", type=kept_flag, help="the HTML file (default: RUN/report.html)"
    )
    parser.add_argument(
        "--png", action="store_true", help="draw the fronts as PNG, too (needs the png extra and Chrome)"
    )
    options = parser.parse_args(arguments)
    try:
        print(f"report: {draw_report(options.run, options.out)}")
        if options.png:
            drawn = draw_pngs(options.run)
            print(drawn if isinstance(drawn, str) else f"pictures: {', '.join(str(path) for path in drawn)}")
    except StudentSearchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
