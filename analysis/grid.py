"""`python analysis/grid.py RUN...`: methods across, teachers down: accuracy at some epochs, size, time per epoch.

The tables of the report Visual Model Distillation, of any runs: mean and spread over seeds, cells that died or failed by their
status, the report's own figures as a labelled reference.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis import wording
from analysis.figures.grid_bars import draw_bars
from analysis.page.markup import Markup, element, paragraph, section, table
from analysis.page.shell import figure_box, page
from analysis.run_folder import Run, read_run
from analysis.seeds.cells import Cell, Place, Value, cells, measured_epochs, published_for
from spaces.console import command
from spaces.errors import RunError, StudentSearchError
from spaces.files import write_text
from spaces.paths import kept_flag, path_flag
from spaces.plugins import listed, meant

GRID_FILE = "grid.html"
REPORTED = (5, 10)  # epochs of the report's tables
ALONG = ("simple_projection", "bottleneck", "multihead_attention", "cbam", "resnet", "densenet", "timm")

Grid = Mapping[Place, Cell]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs.

    Raises:
        RunError: one is no run, or they are of different data.
    """
    runs = [read_run(folder) for folder in folders]
    data = {(run.facts.get("dataset") or {}).get("fingerprint"): run.folder for run in runs}
    if len(data) > 1:
        told = "; ".join(f"{folder} has {fingerprint}" for fingerprint, folder in data.items())
        raise RunError(
            f"RUN: got runs of {len(data)} data sets ({told}); allowed: runs of one. Name those of one."
        )
    return runs


def chosen_metric(runs: Sequence[Run], asked: str | None) -> str:
    """Return the metric to show: the one that is asked for, or the quality objective of the first run.

    Raises:
        RunError: no run has measured it.
    """
    names = sorted({name for run in runs for name in run.metric_names})
    metric = asked or runs[0].quality
    if metric not in names:
        raise RunError(
            f"--metric: got {metric!r}; allowed: {listed(names)}. {meant(metric, names, 'Name one of these.')}"
        )
    return metric


def chosen_epochs(runs: Sequence[Run], metric: str, asked: Sequence[int] | None) -> list[int]:
    """Return the epochs to show: those asked for, else 5 and 10 where both were measured, else all that were.

    Raises:
        RunError: nothing was measured then.
    """
    known = measured_epochs(runs, metric)
    if not known:
        raise RunError(
            f"{runs[0].folder}: no candidate was measured in {metric} yet. Go on with the run, or give another --metric."
        )
    if asked is None:
        return list(REPORTED) if set(REPORTED) <= set(known) else known
    if missing := sorted(set(asked) - set(known)):
        allowed = ", ".join(map(str, known))
        raise RunError(
            f"--epochs: got {', '.join(map(str, missing))}; allowed: {allowed}, where {metric} was measured. Name some of those."
        )
    return sorted(set(asked))


def told(value: Value) -> str:
    """Return mean and spread: `61.2 ± 0.8`."""
    spread = f" ± {value.spread:.1f}" if math.isfinite(value.spread) else ""
    return f"{wording.number(value.mean)}{spread}"


def accuracy_text(place: Place, cell: Cell) -> str:
    """Return what a cell of the first table says: the metric at each epoch, what failed, what the report has."""
    values = " / ".join(told(value) for value in cell.at.values())
    ends = ", ".join(f"{count} {status}" for status, count in cell.ends.items())
    some = f"best of {cell.settings} settings" if cell.settings > 1 else ""
    others = [published_for(place, epoch) for epoch in cell.at]
    theirs = " / ".join(wording.number(one.accuracy) for one in others if one)
    notes = [*filter(None, (ends, some)), *([f"report {theirs}"] if theirs else [])]
    return values + (f" ({'; '.join(notes)})" if notes else "")


def cost_text(cell: Cell) -> str:
    """Return what a cell of the second table says: sizes, time per epoch, memory."""
    sizes = f"{wording.number(cell.size_mib, 2)} MiB"
    if cell.reads_teacher:
        sizes = f"head {wording.number(cell.head_size_mib, 2)} of {sizes}"
    return (
        f"{sizes}, {wording.number(cell.epoch_s.mean, 2)} s, {wording.number(cell.peak_mib.mean, 0)} MiB peak"
    )


def rows_of(grid: Grid, losses: str, text: Mapping[Place, str]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of one table: methods across in the report's order, teachers down; a dash where there is no cell."""
    places = [place for place in grid if place.losses == losses]
    found = {place.method for place in places}
    methods = [*(name for name in ALONG if name in found), *sorted(found - set(ALONG))]
    rows = []
    for teacher in dict.fromkeys(place.teacher for place in places):
        wanted = [Place(losses=losses, teacher=teacher, method=method) for method in methods]
        rows.append([teacher, *(text.get(place, wording.NOT_MEASURED) for place in wanted)])
    return ["teacher", *methods], rows


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text with aligned columns."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    ]
    return "\n".join([lines[0], "-" * min(sum(widths) + 2 * len(widths) - 2, 120), *lines[1:]])


def titles(metric: str, epochs: Sequence[int]) -> tuple[str, str]:
    """Return what the two tables are called."""
    when = " / ".join(map(str, epochs))
    return (
        f"{wording.label(metric)} (%) after {when} epochs, mean ± standard deviation over seeds",
        "size (MiB, 2^20 bytes), time to train an epoch, peak memory",
    )


def grid_text(grid: Grid, metric: str, epochs: Sequence[int]) -> str:
    """Return both tables for each set of losses, as text for a terminal."""
    first, second = titles(metric, epochs)
    parts = []
    for losses in dict.fromkeys(place.losses for place in grid):
        accuracy = rows_of(grid, losses, {place: accuracy_text(place, cell) for place, cell in grid.items()})
        costs = rows_of(grid, losses, {place: cost_text(cell) for place, cell in grid.items()})
        parts.append(
            f"losses: {losses}\n{first}\n\n{plain_table(*accuracy)}\n\n{second}\n\n{plain_table(*costs)}"
        )
    return "\n\n\n".join([*parts, reference_note(grid, epochs)]).rstrip() + "\n"


def reference_note(grid: Grid, epochs: Sequence[int]) -> str:
    """Return what the reference figures are, "" where there are none."""
    used = {one.table for place in grid for epoch in epochs if (one := published_for(place, epoch))}
    if not used:
        return ""
    return (
        f"'report' is what the report has for this teacher and method ({'; '.join(sorted(used))}): other data, models and "
        "batches than these runs, a reference and no comparison."
    )


def grid_page(grid: Grid, metric: str, epochs: Sequence[int], folders: Sequence[Path]) -> str:
    """Return both tables and a figure for each set of losses as one HTML document."""
    first, second = titles(metric, epochs)
    parts: list[Markup] = []
    for number, losses in enumerate(dict.fromkeys(place.losses for place in grid)):
        head, rows = rows_of(
            grid, losses, {place: accuracy_text(place, cell) for place, cell in grid.items()}
        )
        _, costs = rows_of(grid, losses, {place: cost_text(cell) for place, cell in grid.items()})
        some = {place: cell for place, cell in grid.items() if place.losses == losses}
        parts.append(
            section(
                f"Losses: {losses}",
                paragraph(first),
                table(head, rows, label=first),
                figure_box(
                    draw_bars(some, head[1:], wording.label(metric)), f"bars-{number}", wording.label(metric)
                ),
                paragraph(second),
                table(head, costs, label=second),
                id_=f"losses-{number}",
            )
        )
    note = reference_note(grid, epochs)
    return page(
        "Teachers and methods",
        element("h1", "Teachers and methods"),
        *parts,
        *([paragraph(note, class_="note")] if note else []),
        element("footer", f"Drawn from {', '.join(map(str, folders))} by python analysis/grid.py."),
    )


def epoch_list(text: str) -> list[int]:
    """Return the epochs of a flag such as `5,10`."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: epochs such as 5,10") from error
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: epochs from 1")
    return found


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description="Print and draw teachers by methods over runs."
    )
    parser.add_argument("runs", metavar="RUN", type=path_flag, nargs="+", help="run folders of one data set")
    parser.add_argument("--metric", metavar="NAME", help="what to show (default: the quality objective)")
    parser.add_argument(
        "--epochs", metavar="5,10", type=epoch_list, help="epochs to show (default: 5,10, else all measured)"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=kept_flag, help="the HTML file (default: grid.html in the first run)"
    )
    options = parser.parse_args(arguments)
    try:
        runs = read_runs(options.runs)
        metric = chosen_metric(runs, options.metric)
        epochs = chosen_epochs(runs, metric, options.epochs)
        grid = cells(runs, metric, epochs, maximise=metric != runs[0].quality or runs[0].maximise)
        target = options.out or options.runs[0] / GRID_FILE
        write_text(target, grid_page(grid, metric, epochs, options.runs))
        print(grid_text(grid, metric, epochs))
        print(f"grid: {target}")
    except StudentSearchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
