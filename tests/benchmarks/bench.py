"""What the parts of a search cost beside what they are for: a table of ratios on the terminal, and a JSON beside it.

    make bench                                # all rows, about 25 minutes on two quiet cores
    make bench ARGS=--quick                   # fewer repeats on small data: is it about right?
    make bench ARGS='--only 1,4'              # some rows
    make bench ARGS='--only 3 --run runs/dlip'  # of a search that was made

Each row is measured in a process of its own, one after another. Ratios are of things that were measured in turn, by CPU time
where that can be: other load on the machine disturbs both alike, and the load average stands beside each figure. A row that
fails is told, and the others are measured; the exit code is 1 then.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from spaces.errors import StudentSearchError
from spaces.files import make_folder, write_text
from tests.benchmarks.rows import MEASURES
from tests.benchmarks.rows.row import ROOT, Asked

MARK = "rows: "  # before what a process has measured, in its last line
GRACE_S = 30.0  # to end what it started
Told = dict[str, Any]


def numbers(text: str) -> list[int]:
    """Return the rows of --only, each once, in the table's order.

    Raises:
        argparse.ArgumentTypeError: anything but numbers of rows.
    """
    words = [word.strip() for word in text.split(",")]
    known = {str(number): number for number in MEASURES}
    if wrong := [word for word in words if word not in known]:
        listed = "; ".join(f"{number} {one.title}" for number, one in MEASURES.items())
        raise argparse.ArgumentTypeError(
            f"got {text!r}, of which {', '.join(map(repr, wrong))} is no row; allowed: numbers with commas between them, "
            f"such as 1,4 ({listed}). Leave it out for all."
        )
    return sorted({known[word] for word in words})


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        allow_abbrev=False,
        epilog="; ".join(f"{number}: {one.title}" for number, one in MEASURES.items()),
    )
    made.add_argument("--quick", action="store_true", help="few repeats on small data")
    made.add_argument(
        "--only",
        type=numbers,
        metavar="1,4",
        default=list(MEASURES),
        help="rows, by their numbers (default all)",
    )
    made.add_argument("--run", type=Path, metavar="RUN", help="row 3: look at this run instead of searching")
    made.add_argument("--out", type=Path, help="the JSON file (default runs/bench-DATE.json)")
    made.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and tell; return 0, 1 where a row failed, 2 after a mistake, 130 after Ctrl-C."""
    made = parser()
    options = made.parse_args(arguments)
    if options.run and 3 not in options.only:
        made.error(
            f"--run: got {options.run} with --only that leaves out row 3; allowed: with row 3. Leave one of them out."
        )
    asked = Asked(quick=options.quick, run=options.run)
    if options.measure:
        return measure(options.measure, asked)
    out = options.out or ROOT / "runs" / f"bench-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    try:
        if options.run:
            from tests.benchmarks.rows.share import checked

            checked(options.run)
        make_folder(out.parent)
        return bench(options.only, asked, out)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measure(number: int, asked: Asked) -> int:
    """Measure one row and print its figures: what a process of its own does."""
    try:
        rows = MEASURES[number].rows(asked)
    except Exception as error:  # whatever it is, the other rows go on
        traceback.print_exc()
        print(MARK + json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    print(MARK + json.dumps([asdict(row) for row in rows]))
    return 0


def bench(chosen: Sequence[int], asked: Asked, out: Path) -> int:
    """Measure rows one after another; write down each as soon as it is known, and print the table."""
    told: list[Told] = []
    code, log = 0, out.with_name(f"{out.name}.log")
    facts = {
        "command": " ".join(["python", *sys.argv]),
        "started": stamp(),
        "machine": machine(),
        "quick": asked.quick,
    }
    write(out, facts, told)  # where it cannot be written, it is told before an hour of work
    log.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else what a row has started would live on
    print(f"{machine_line(facts['machine'])}; log: {log}", file=sys.stderr)
    try:
        for number in chosen:
            print(f"row {number}: {MEASURES[number].title} ...", file=sys.stderr, flush=True)
            told += measured(number, asked, log)
            write(out, facts, told)
    except KeyboardInterrupt:
        code = 130
        print("interrupted", file=sys.stderr)
    failed = [one for one in told if "error" in one]
    print(table(told))
    write(out, {**facts, "ended": stamp()}, told)
    print(f"result: {out}")
    return code or (1 if failed else 0)


def measured(number: int, asked: Asked, log: Path) -> list[Told]:
    """Return the rows that a process of its own measured, or one that says why there are none."""
    words = [
        *(["--quick"] if asked.quick else []),
        *(["--run", str(asked.run), "--only", "3"] if asked.run else []),
    ]
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", str(number), *words]
    before, start = os.getloadavg()[0], time.monotonic()
    with log.open("ab") as sink:
        sink.write(f"== row {number}: {MEASURES[number].title}\n".encode())
        sink.flush()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, start_new_session=True)
        try:
            output, _ = child.communicate()
        except BaseException:
            end(child)
            raise
        sink.write(output)
    beside = {
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "wall_s": round(time.monotonic() - start, 1),
    }
    title = {"row": number, "title": MEASURES[number].title}
    lines = [line for line in output.decode(errors="replace").splitlines() if line.startswith(MARK)]
    found = (
        json.loads(lines[-1].removeprefix(MARK))
        if lines
        else {"error": f"ended with exit code {child.returncode}"}
    )
    if isinstance(found, dict):
        return [
            {
                **title,
                "error": f"{found['error']} (see {log})",
                "command": " ".join(["python", *command[1:]]),
                **beside,
            }
        ]
    return [{**title, **one, **beside} for one in found]


def end(child: "subprocess.Popen[bytes]") -> None:
    """End a process and what it started: first as Ctrl-C does, so that a search ends its Ray."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
            return


def table(told: Sequence[Told]) -> str:
    """Return the rows as a table: what, figure, spread, repeats, load."""
    lines = [("", "what", "figure", "spread", "n", "load")]
    for one in told:
        load = " ".join(f"{value:.0f}" for value in one["load"])
        if "error" in one:
            lines.append((str(one["row"]), f"{one['title']}: FAILED", "", "", "", load))
        else:
            lines.append(
                (str(one["row"]), one["name"], figure(one), percent(one["spread"]), str(one["n"]), load)
            )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    drawn = [
        "  ".join(
            cell.ljust(width) if column in (1, 2) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    errors = [f"row {one['row']} failed: {one['error']}" for one in told if "error" in one]
    notes = [
        "figure: median; without a unit it is a ratio. spread: distance of the quartiles over the median. load: 1-minute average "
        "before and after the row."
    ]
    return "\n".join([*drawn, *notes, *errors])


def figure(row: Told) -> str:
    """Return a figure with three digits and its unit."""
    value = row["ratio"]
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{shown} {row['unit']}".rstrip()


def percent(value: float | None) -> str:
    """Return a spread; `-` where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.1%}"


def write(out: Path, facts: Told, told: Sequence[Told]) -> None:
    """Replace the JSON file; a number that is none is null.

    Raises:
        StorageError: it cannot be written.
    """
    rows = [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in one.items()
        }
        for one in told
    ]
    write_text(out, json.dumps({**facts, "rows": rows}, indent=1, allow_nan=False) + "\n")


def machine() -> Told:
    """Return what the figures were measured on."""
    from trainables.costs.hardware import hardware

    return hardware()


def machine_line(facts: Told) -> str:
    """Return the machine in a few words."""
    gpus = ", ".join(map(str, facts["gpus"])) or "no GPU: busy share and MFU are not measured"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']:.0f} GiB; {gpus}; load {load}"


def stamp() -> str:
    """Return the time of day."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


if __name__ == "__main__":
    sys.exit(main())
