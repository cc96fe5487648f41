"""Comparison: all engines over one table, as lines for the terminal and as JSON."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from analysis.figures.anytime import HIGH, LEVELS, LOW, anytime_info, quantile
from analysis.table import atomic_path
from search.simulator.engines import Engine
from search.simulator.fields import describe
from search.simulator.goals import Goals, quality
from search.simulator.measures import Measures
from search.simulator.rungs import Rungs
from search.simulator.simulation import NONE, Setup
from search.simulator.table import CurveTable
from search.simulator.volume import REFERENCE, Volume
from spaces.errors import ResourceError

SCHEMA_VERSION = "1"
NEVER = "never"


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
    def info(self) -> Any:
        """The data of the figure."""
        return anytime_info(
            {one.name: (one.compute, one.shares) for one in self.engines}, unit=self.table.unit
        )


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the result: what it is called, how a run's value is read, and how it is written."""

    title: str
    key: str
    read: Callable[[Measures], float]
    write: Callable[[float], str]


def spell_number(value: float) -> str:
    """Return a number in four significant digits, large ones in full."""
    if math.isinf(value):
        return NEVER
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spell_count(value: float) -> str:
    """Return a number of things."""
    return f"{value:,.0f}"


def _to(level: float) -> Callable[[Measures], float]:
    return lambda run: run.compute_to[level]


COLUMNS = (
    Column("hypervolume", "share", lambda run: run.share, lambda value: f"{value:.4f}"),
    Column("front found", "front_found", lambda run: run.front_found, lambda value: f"{value:.3f}"),
    Column("compute", "compute", lambda run: run.compute, spell_number),
    *(
        Column(f"to {level:.0%}", f"compute_to_{level:.0%}".rstrip("%"), _to(level), spell_number)
        for level in LEVELS
    ),
    Column("trials", "trials", lambda run: run.trials, spell_count),
    Column("finished", "finished", lambda run: run.finished, spell_count),
    Column("duplicates", "duplicates", lambda run: run.duplicates, spell_count),
    Column("proposal", "proposal_ms", lambda run: run.proposal_ms, lambda value: f"{value:.2f} ms"),
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
    table, volume = comparison.table, comparison.volume
    lengths = table.lengths
    epochs = (
        f"{lengths.min()} to {lengths.max()} epochs"
        if lengths.min() < lengths.max()
        else f"{lengths[0]} epochs"
    )
    if lengths.max() == 1:
        epochs = "1 epoch"
    yield (
        f"table {table.name}: {len(table):,} candidates of {epochs}; to train them all costs "
        f"{spell_number(table.full_compute)} {table.unit}"
    )
    yield "searched: " + ", ".join(f"{path} ({describe(domain)})" for path, domain in table.fields.items())
    yield from table.notes
    yield (
        f"objectives: {' '.join(str(goal) for goal in comparison.goals)}; quality (asha and searchers with a single "
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
        found = statistics(engine)
        rows.append([engine.name, *(column.write(found[column.key][0]) for column in COLUMNS)])
        if len(engine.runs) > 1:
            rows.append(["", *(_spread(column, found[column.key]) for column in COLUMNS)])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        yield "  ".join(cells).rstrip()
    unit = comparison.table.unit
    yield (
        f"Medians over seeds, below them 10th..90th percentile. hypervolume: share of the exact one; compute, to 95%, to 98%: "
        f"{unit}; front found: share of the exact front trained to the end."
    )
    for engine in comparison.engines:
        if any(run.ended_by == "exhausted" for run in engine.runs):
            yield f"{engine.name}: ended early, since it proposed nothing new any more."


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the result as search/README.md documents it."""
    table, volume = comparison.table, comparison.volume
    return {
        "schema_version": SCHEMA_VERSION,
        "table": {
            "name": table.name,
            "candidates": len(table),
            "full_compute": table.full_compute,
            "unit": table.unit,
            "fields": {path: domain.spec() for path, domain in table.fields.items()},
            "notes": list(table.notes),
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


def write_json(comparison: Comparison, path: Path) -> None:
    """Write the result, all of it or nothing.

    Raises:
        ResourceError: the file cannot be written.
    """
    text = json.dumps(_finite(to_json(comparison)), indent=1, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a file, all of it or nothing.

    Raises:
        ResourceError: it cannot be written.
    """
    try:
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror}). Name another file.") from error


def _spread(column: Column, found: tuple[float, float, float]) -> str:
    """Return the spread of a column, nothing where there is none."""
    low, high = column.write(found[1]), column.write(found[2])
    return f"{low}..{high}" if low != high else ""


def _engine(engine: Engine, curve: Any) -> dict[str, Any]:
    """Return one engine as JSON."""
    found = statistics(engine)
    setup = engine.setup
    return {
        "name": engine.name,
        "searcher": {"kind": setup.searcher, **setup.searcher_options},
        "scheduler": None
        if setup.scheduler == NONE
        else {"kind": setup.scheduler, **setup.scheduler_options},
        "median": {key: values[0] for key, values in found.items()},
        "p10": {key: values[1] for key, values in found.items()},
        "p90": {key: values[2] for key, values in found.items()},
        "seeds": [_run(run) for run in engine.runs],
        "curve": {name: list(getattr(curve, name)) for name in ("compute", "median", "low", "high")},
    }


def _run(run: Measures) -> dict[str, Any]:
    """Return one seed as JSON."""
    fields = asdict(run)
    levels = fields.pop("compute_to")
    return {**fields, **{f"compute_to_{level:.0%}".rstrip("%"): value for level, value in levels.items()}}


def _finite(value: Any) -> Any:
    """Return the value with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
