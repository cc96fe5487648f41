"""Rows 8 and 9: the figures of two benchmarks that start processes of their own."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.rows.row import ROOT, Asked, Row, again, row_of

REPEATS = {"evolution": {100: 3, 1_000: 2, 10_000: 1}, "hyperopt": {100: 1, 1_000: 1}}
"""Searcher -> trials of a search -> how often it is measured; hyperopt's proposals after 10,000 take a quarter of an hour."""
QUICK_REPEATS = {"evolution": {100: 2, 1_000: 2}}
KINDS = ("proposal", "epoch", "end")


def latency(asked: Asked) -> list[Row]:
    """Return how far a value moves from run to run beside two trainings, and whether it orders students as whole models do."""
    told = figures("latency_repeatability.py", *(["--quick"] if asked.quick else []))
    command = again(8, asked)
    low, high = told["composed_to_whole"]
    values = {
        "latency, (largest - smallest) / median over runs, worst student": [told["spread"]],
        "latency, Kendall's tau between runs, worst pair": [told["tau_between_runs"]],
        "latency, Kendall's tau against whole models, worst run": [told["tau_whole"]],
        "latency, Kendall's tau of whole models with themselves": [told["tau_whole_itself"]],
        "latency, sum of blocks / whole model, lowest and highest": [low, high],
    }
    return [row_of(name, found, command, n=told["students"]) for name, found in values.items()]


def driver(asked: Asked) -> list[Row]:
    """Return what an event costs the driver after 100 trials, and how that and its memory grow."""
    chosen = QUICK_REPEATS if asked.quick else REPEATS
    return [row for searcher, repeats in chosen.items() for row in _driver(asked, searcher, repeats)]


def _driver(asked: Asked, searcher: str, repeats: Mapping[int, int]) -> list[Row]:
    """Return the rows of one searcher."""
    told: dict[int, list[dict[str, Any]]] = {size: [] for size in repeats}
    for number in range(max(repeats.values())):
        for size in [size for size, count in repeats.items() if number < count]:
            told[size] += figures("driver_events.py", "--trials", str(size), "--searcher", searcher)
    first, *larger = told
    command, rows = again(9, asked), list[Row]()

    def grown(what: str, size: int) -> list[float]:
        base = statistics.median(one[what] for one in told[first])
        return [one[what] / base for one in told[size]]

    for kind in KINDS:
        what = f"{kind}_cpu_ms"
        name = f"driver, one {kind}, {first} trials ({searcher})"
        rows.append(row_of(name, [one[what] for one in told[first]], command, unit="CPU ms"))
        for size in larger:
            for how, key in (("mean", what), ("median", f"{kind}_middle_cpu_ms")):
                name = f"  {kind}, of {size:,} trials / of {first} ({searcher}, {how})"
                rows.append(row_of(name, grown(key, size), command))
    for size in larger:
        name = f"driver, memory after {size:,} trials / after {first} ({searcher})"
        rows.append(row_of(name, grown("memory_mib", size), command))
    return rows


def figures(script: str, *words: str) -> Any:
    """Return what a benchmark writes with --json.

    Raises:
        RuntimeError: it failed: the end of what it said is the message.
    """
    path = ROOT / "tests" / "benchmarks" / script
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        command = [sys.executable, str(path), *words, "--json", str(written)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        if done.returncode or not written.exists():
            said = (done.stderr.strip() or done.stdout.strip() or "said nothing").splitlines()[-1]
            raise RuntimeError(f"{script} ended with exit code {done.returncode}: {said}")
        return json.loads(written.read_text())
