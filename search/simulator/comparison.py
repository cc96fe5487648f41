"""Comparison: all engines over one table, as lines for the terminal, as JSON, and as a page that needs no network."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from analysis import wording
from analysis.figures.anytime import HIGH, LEVELS, LOW, AnytimeInfo, anytime_info, draw_anytime, quantile
from analysis.page.markup import element, paragraph, section, table
from analysis.page.shell import figure_box, page
from search.simulator.goals import Goals, quality
from search.simulator.measures import REFERENCE, Engine, Measures, Volume
from search.simulator.rungs import Rungs
from search.simulator.simulation import NONE, Setup
from search.simulator.table import CurveTable, describe

SCHEMA_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The results of a command.

    Attributes:
        rungs: of the engines that stop candidates; None where nobody is stopped.
        engines: those that are through; the first one ends first.
    """

    table: CurveTable
    goals: Goals
    volume: Volume
    rungs: Rungs | None
    engines: list[Engine] = field(default_factory=list)

    @property
    def info(self) -> AnytimeInfo:
        """The data of the figure."""
        curves = {one.name: (one.compute, one.shares) for one in self.engines}
        return anytime_info(curves, unit=self.table.unit)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the result: its title, its key in the JSON, how a run's value is read, and how it is written."""

    title: str
    key: str
    read: Callable[[Measures], float]
    write: Callable[[float], str]


def _amount(value: float) -> str:
    """Return an amount that may never be reached."""
    return "never" if math.isinf(value) else wording.amount(value)


def _level(level: float) -> Column:
    """Return the column of the compute to a share of the hypervolume."""
    return Column(
        f"to {level:.0%}", f"compute_to_{level:.0%}".rstrip("%"), lambda run: run.compute_to[level], _amount
    )


COLUMNS = (
    Column("hypervolume", "share", lambda run: run.share, "{:.4f}".format),
    Column("front found", "front_found", lambda run: run.front_found, "{:.3f}".format),
    Column("compute", "compute", lambda run: run.compute, _amount),
    *map(_level, LEVELS),
    Column("trials", "trials", lambda run: run.trials, "{:,.0f}".format),
    Column("finished", "finished", lambda run: run.finished, "{:,.0f}".format),
    Column("duplicates", "duplicates", lambda run: run.duplicates, "{:,.0f}".format),
    Column("proposal", "proposal_ms", lambda run: run.proposal_ms, "{:.2f} ms".format),
)


def statistics(engine: Engine) -> dict[str, tuple[float, float, float]]:
    """Return key of a column -> (median, 10th percentile, 90th percentile) over seeds."""
    found = {}
    for column in COLUMNS:
        values = [column.read(run) for run in engine.runs]
        found[column.key] = (quantile(values, 0.5), quantile(values, LOW), quantile(values, HIGH))
    return found


def head_lines(comparison: Comparison, setup: Setup, seeds: int) -> Iterator[str]:
    """Yield what is simulated."""
    curves, volume = comparison.table, comparison.volume
    low, high = int(curves.lengths.min()), int(curves.lengths.max())
    epochs = f"{low} to {high} epochs" if low < high else wording.plural(high, "epoch")
    yield (
        f"table {curves.name}: {len(curves):,} candidates of {epochs}; to train them all costs "
        f"{wording.amount(curves.full_compute)} {curves.unit}"
    )
    yield "searched: " + ", ".join(f"{path} ({describe(domain)})" for path, domain in curves.fields.items())
    yield from curves.notes
    yield (
        f"objectives: {' '.join(map(str, comparison.goals))}; quality (asha and searchers with a single "
        f"objective see this one): {quality(comparison.goals)}"
    )
    yield (
        f"exact front: {volume.front_size} points; exact hypervolume {volume.exact:.5f} (objectives scaled to 0..1 over the "
        f"table, reference {REFERENCE})"
    )
    rungs = f"; rungs {comparison.rungs}" if comparison.rungs else ""
    yield f"workers {setup.workers}, seeds {seeds}{rungs}"


def result_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the result: a line of medians for each engine, and, with several seeds, one of the spread."""
    rows = [["", *(column.title for column in COLUMNS)]]
    for engine in comparison.engines:
        cells = _cells(engine)
        rows.append([engine.name, *(median for median, _, _ in cells)])
        if len(engine.runs) > 1:
            rows.append(["", *(f"{low}..{high}" if low != high else "" for _, low, high in cells)])
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *written in rows:
        right = [cell.rjust(width) for cell, width in zip(written, widths, strict=True)]
        yield "  ".join([name.ljust(first), *right]).rstrip()
    yield (
        f"Medians over seeds, below them 10th..90th percentile. hypervolume: share of the exact one; compute, to 95%, to 98%: "
        f"{comparison.table.unit}; front found: share of the exact front trained to the end."
    )
    for engine in comparison.engines:
        if any(run.ended_by == "exhausted" for run in engine.runs):
            yield f"{engine.name}: ended early, since it proposed nothing new any more."


def _cells(engine: Engine) -> list[tuple[str, str, str]]:
    """Return median, 10th and 90th percentile of each column, written."""
    found = statistics(engine)
    cells = [tuple(map(column.write, found[column.key])) for column in COLUMNS]
    return [(median, low, high) for median, low, high in cells]


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the result as README.md documents it, None for every number that is not finite."""
    curves, volume = comparison.table, comparison.volume
    content = {
        "schema_version": SCHEMA_VERSION,
        "table": {
            "name": curves.name,
            "candidates": len(curves),
            "full_compute": curves.full_compute,
            "unit": curves.unit,
            "fields": {path: domain.spec() for path, domain in curves.fields.items()},
            "notes": list(curves.notes),
        },
        "objectives": [str(goal) for goal in comparison.goals],
        "exact": {
            "hypervolume": volume.exact,
            "reference": REFERENCE,
            "front_points": volume.front_size,
            "front": list(volume.front_ids),
        },
        "workers": comparison.engines[0].setup.workers,
        "rungs": str(comparison.rungs).split() if comparison.rungs else [],
        "engines": [
            _engine(one, curve) for one, curve in zip(comparison.engines, comparison.info.curves, strict=True)
        ],
    }
    finite: dict[str, Any] = _finite(content)
    return finite


def _engine(engine: Engine, curve: Any) -> dict[str, Any]:
    """Return one engine as JSON."""
    found, setup = statistics(engine), engine.setup
    runs = [asdict(run) for run in engine.runs]
    for run in runs:
        run |= {_level(level).key: value for level, value in run.pop("compute_to").items()}
    return {
        "name": engine.name,
        "searcher": {"kind": setup.searcher, **setup.searcher_options},
        "scheduler": {"kind": setup.scheduler, **setup.scheduler_options}
        if setup.scheduler != NONE
        else None,
        **{
            name: {key: values[place] for key, values in found.items()}
            for place, name in enumerate(("median", "p10", "p90"))
        },
        "seeds": runs,
        "curve": {name: list(getattr(curve, name)) for name in ("compute", "median", "low", "high")},
    }


def _finite(value: Any) -> Any:
    """Return the value with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def result_page(comparison: Comparison) -> str:
    """Return the whole document: the figure, the table, and what was simulated."""
    title = f"Simulated searches over {comparison.table.name}"
    rows = [
        [
            engine.name,
            *(mid if low == high else f"{mid} ({low} to {high})" for mid, low, high in _cells(engine)),
        ]
        for engine in comparison.engines
    ]
    unit, first = comparison.table.unit, comparison.engines[0]
    facts = head_lines(comparison, first.setup, len(first.runs))
    figure = figure_box(draw_anytime(comparison.info), "anytime", "Share of the exact hypervolume")
    head = ["engine", *(column.title for column in COLUMNS)]
    return page(
        title,
        element("header", element("h1", title)),
        section(
            "Hypervolume against compute",
            paragraph(
                "Lines are medians over seeds, bands reach from the 10th to the 90th percentile. The line at 1 is the exact "
                "front of the whole table, the limit; dotted lines stand at 95 % and 98 % of it. A candidate counts once it "
                "was trained to its end."
            ),
            element("div", figure, class_="figures"),
            id_="curves",
        ),
        section(
            "Result",
            paragraph(f"Medians over seeds, with 10th and 90th percentile. Compute is counted in {unit}."),
            table(head, rows, numbers=range(1, len(head)), label="what each engine reached"),
            id_="result",
        ),
        section("What was simulated", *map(paragraph, facts), id_="facts"),
        element("footer", "Drawn by python search/simulate.py. This file needs no network."),
    )
