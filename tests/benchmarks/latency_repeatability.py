"""Whether the latency of a target is the same whatever runs beside it, and whether it agrees with whole models.

    python tests/benchmarks/latency_repeatability.py
    python tests/benchmarks/latency_repeatability.py --quick

Twelve students of the embedded teacher, from a quarter to three quarters of its width and from two to four layers. Each run is a
process of its own with a cold table that measures all of them at a random moment, while two trainings run. Then the trainings
end, and each student is measured whole, one after another. Prints the spread of a student's value over the runs ((largest -
smallest) / median), Kendall's tau of the order of the students between runs and against the whole models, the share of the whole
that the blocks add up to, and the load of the machine, other people's included: on a busy one, whole models are no truth.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from trainables.costs.blocks import blocks_of, different
from trainables.costs.latency import measure_whole
from trainables.costs.subject import Subject
from trainables.costs.table import LatencyTable
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig, fusion_positions
from trainables.tasks.base import servings_of, wants_of
from trainables.tasks.evaluation import make_tasks

TEACHER = Path(__file__).parents[2] / "trainables" / "teachers" / "embedded_weights" / "config.json"
TASKS = ("retrieval", "captioning", "vqa")
SIZES = (
    *(
        (width, depth, width, depth, fusion)
        for width in (32, 64, 96)
        for depth, fusion in ((2, 1), (3, 2), (4, 2))
    ),
    (32, 2, 96, 4, 2),
    (96, 4, 32, 2, 1),
    (64, 2, 32, 4, 1),
)
"""Width and depth of the image side, of the text side, and number of fusion layers."""
TRAININGS, PAUSE_S = 2, 8.0


def students(num: int) -> list[Subject]:
    """Return the first students, deployed for all tasks of the space."""
    teacher = BlipArchitecture.from_dict(json.loads(TEACHER.read_text())["model"])
    tasks = make_tasks({name: {} for name in TASKS}).values()
    found = []
    for image_width, image_depth, text_width, text_depth, fusion in SIZES[:num]:
        architecture = replace(
            teacher,
            image=EncoderConfig(width=image_width, depth=image_depth, heads=image_width // 32),
            text=EncoderConfig(width=text_width, depth=text_depth, heads=text_width // 32),
            fusion=fusion_positions(text_depth, fusion, "last"),
        )
        plan = Blueprint("blip", architecture).deployed(wants_of(tasks))
        found.append(Subject(blueprint=plan, servings=servings_of(tasks, plan.offers)))
    return found


def train() -> None:
    """Train a student of the middle size on noise until somebody ends it: one thread, as a trial has."""
    torch.set_num_threads(1)
    model = students(5)[4].blueprint.build().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batch = {}
    for mode, tokens in (("image", 0), ("decoder", 20)):
        one = model.pass_inputs(mode, tokens)
        batch[mode] = {name: torch.cat([value] * 64) for name, value in one.items()}
    while True:
        embedding = model.run_pass("image", batch["image"])
        logits = model.run_pass("decoder", batch["decoder"])
        assert isinstance(embedding, torch.Tensor)
        assert isinstance(logits, torch.Tensor)
        loss = embedding.square().mean() + torch.logsumexp(logits, -1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def measure(num: int) -> None:
    """Print the values of the students from a cold table, and how long that took."""
    subjects = students(num)
    with tempfile.TemporaryDirectory() as folder:
        table, start, spent = LatencyTable(Path(folder), Target()), time.monotonic(), time.process_time()
        table.measure(subjects)
        told = {"wall_s": time.monotonic() - start, "cpu_s": time.process_time() - spent}
        values = [table.latency(subject).latency_ms for subject in subjects]
    print(json.dumps({**told, "load": os.getloadavg()[0], "values": values}))


def whole(num: int) -> None:
    """Print the values of the whole students, one after another."""
    load = os.getloadavg()[0]
    print(json.dumps({"load": load, "values": [measure_whole(one).latency_ms for one in students(num)]}))


def main() -> int:
    """Run the benchmark, print a table and one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four students, two runs, no pauses")
    parser.add_argument("--runs", type=int, default=3, help="cold tables (default 3)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--part", choices=("train", "measure", "whole"), help=argparse.SUPPRESS)
    parser.add_argument("--students", type=int, default=len(SIZES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "train":
        train()
    if options.part in ("measure", "whole"):
        (measure if options.part == "measure" else whole)(options.students)
        return 0
    figures = compared(*((4, 2, 0.0) if options.quick else (len(SIZES), options.runs, PAUSE_S)))
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def compared(num: int, runs: int, pause_s: float) -> dict[str, object]:
    """Return what is to be shown of so many students and runs; a table is printed on the way."""
    moments, told = random.Random(0), []
    with _trainings(TRAININGS):
        for number in range(runs):
            time.sleep(moments.uniform(0, pause_s))
            told.append(_part("measure", num))
            print(
                f"run {number + 1}: {told[-1]['wall_s']:.1f} s, {told[-1]['cpu_s']:.1f} CPU-s, load {told[-1]['load']:.1f}",
                file=sys.stderr,
            )
    quiet = [_part("whole", num) for _ in range(2)]
    values = [one["values"] for one in told]
    middle = [statistics.median(ones) for ones in zip(*values, strict=True)]
    spreads = [(max(ones) - min(ones)) / statistics.median(ones) for ones in zip(*values, strict=True)]
    lowest = [min(ones) for ones in zip(*(one["values"] for one in quiet), strict=True)]
    shares = [composed / one for composed, one in zip(middle, lowest, strict=True)]
    print("image   text    fusion   composed, ms                 spread   whole, ms   composed / whole")
    for row, (a, b, c, d, e) in enumerate(SIZES[:num]):
        runs_told = " ".join(f"{ones[row]:7.3f}" for ones in values)
        print(
            f"{a:3d} x {b} {c:3d} x {d} {e:3d}      {runs_told}   {spreads[row]:7.1%}   {lowest[row]:8.3f}   {shares[row]:8.3f}"
        )
    return {
        "students": num,
        "blocks": len(different([block for one in students(num) for block in blocks_of(one)])),
        "spread": max(spreads),
        "tau_between_runs": min(tau(*pair) for pair in itertools.combinations(values, 2)),
        "tau_whole": min(tau(ones, lowest) for ones in values),
        "tau_whole_itself": tau(*(one["values"] for one in quiet)),
        "composed_to_whole": [min(shares), max(shares)],
        "cpu_s": statistics.median(one["cpu_s"] for one in told),
        "load_beside_trainings": [one["load"] for one in told],
        "load_whole": [one["load"] for one in quiet],
    }


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Kendall's tau-a of two orders: pairs that agree less pairs that do not, over all pairs."""
    pairs = list(itertools.combinations(range(len(one)), 2))
    agree = sum((one[a] - one[b]) * (other[a] - other[b]) > 0 for a, b in pairs)
    return (2 * agree - len(pairs)) / len(pairs)


@contextmanager
def _trainings(num: int) -> Iterator[None]:
    """Let processes train for a while."""
    started = [subprocess.Popen([sys.executable, __file__, "--part", "train"]) for _ in range(num)]
    try:
        time.sleep(10)  # they import, and compute then
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


def _part(name: str, num: int) -> dict[str, list[float]]:
    """Return what a process of its own says."""
    command = [sys.executable, __file__, "--part", name, "--students", str(num)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, list[float]] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
