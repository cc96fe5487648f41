"""Rows 8 and 9: the figures of two benchmarks that start processes of their own."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.rows.row import ROOT, Asked, Row, again, row_of

SIZES, REPEATS = (100, 1_000, 10_000), 3
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
    searcher = "evolution" if asked.quick else "hyperopt"
    told: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
    for _ in range(1 if asked.quick else REPEATS):
        for size in SIZES:
            told[size] += figures("driver_events.py", "--trials", str(size), "--searcher", searcher)
    command, rows = again(9, asked), list[Row]()
    for kind in KINDS:
        key = f"{kind}_cpu_ms"
        first = [one[key] for one in told[SIZES[0]]]
        rows.append(
            row_of(f"driver, one {kind} behind {SIZES[0]} trials ({searcher})", first, command, unit="CPU ms")
        )
        for size in SIZES[1:]:
            grown = [one[key] / other for one, other in zip(told[size], first, strict=True)]
            rows.append(row_of(f"  behind {size:,} trials / behind {SIZES[0]}", grown, command))
    base = statistics.median(one["memory_mib"] for one in told[SIZES[0]])
    for size in SIZES[1:]:
        grown = [one["memory_mib"] / base for one in told[size]]
        rows.append(row_of(f"driver, memory behind {size:,} trials / behind {SIZES[0]}", grown, command))
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
