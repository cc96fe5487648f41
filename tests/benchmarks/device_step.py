"""A training step at the size of BLIP-base on one device, beside the loop that one would write first; in plain Python, no Ray.

    python tests/benchmarks/device_step.py                          # needs a GPU; about ten minutes
    python tests/benchmarks/device_step.py --quick                  # one batch size, fewer rows
    python tests/benchmarks/device_step.py --parts steps --batch 256 512
    python tests/benchmarks/device_step.py --device cpu --scale tiny    # does it run?

A teacher of random weights (ViT-B/16 at 224 px, a text side of 12 layers) and a student of 22 % of its parameters learn DLIP's
losses in bfloat16 autocast. Parts: `steps` (teacher cached, live, switched off, and the straightforward loop), `together`
(several trainings at once), `latency` (composed against whole). MFU is the FLOPs that PyTorch's counter finds in products,
convolutions and attention, over those of a large bf16 product measured on the same device just before. Prints a table, and
writes a JSON beside it.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from tests.benchmarks.paper_scale.latencies import latencies
from tests.benchmarks.paper_scale.made import SCALES, World, made_world
from tests.benchmarks.paper_scale.steps import Measured, Repeats, measured, of_ours, of_straightforward, told
from tests.benchmarks.paper_scale.together import together, train_beside
from tests.benchmarks.rows.device import most_flops
from trainables.costs.hardware import hardware
from trainables.costs.target import Target
from trainables.training.device import pick_device

PARTS = ("steps", "together", "latency")
SOURCES = ("cached", "live", "off")
STRAIGHTFORWARD = "straightforward"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--quick", action="store_true", help="one batch size, few runs")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--scale", choices=tuple(SCALES), default="paper")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument(
        "--trainings", nargs="+", choices=(*SOURCES, STRAIGHTFORWARD), default=[*SOURCES, STRAIGHTFORWARD]
    )
    made.add_argument("--batch", nargs="+", type=int, help="pairs of a step (default 256 512)")
    made.add_argument("--compiled", action="store_true", help="torch.compile the layers of our trainings")
    made.add_argument("--json", type=Path, help="where to (default runs/device-step-DATE.json)")
    made.add_argument("--part", choices=("train",), help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    made.add_argument("--seconds", type=float, default=10.0, help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and tell; return 0, or 2 where there is no such device."""
    options = parser().parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("error: --device: got cuda, and there is no GPU here; allowed: cpu", file=sys.stderr)
        return 2
    if options.part == "train":
        train_beside(options.scale, options.device, options.folder, options.seconds)
        return 0
    device, found = pick_device(options.device), dict[str, Any]()
    torch.set_num_threads(1)  # as a trial has
    found["facts"] = {
        "command": " ".join(["python", *sys.argv]),
        "at": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "torch": torch.__version__,
        **hardware(),
    }
    if "steps" in options.parts:
        found["steps"] = steps(options, device)
    if "together" in options.parts:
        scale = "small" if options.scale == "paper" else options.scale
        counts = (1, 2) if options.quick else (1, 2, 4)
        found["together"] = together(scale, options.device, counts, 3.0 if options.quick else options.seconds)
        for count, one in found["together"].items():
            print(f"{count} small trainings at once: {one['all']:,.0f} pairs/s, {one['over_one']:.2f} of one")
    if "latency" in options.parts:
        size = (
            {"count": 3, "runs": 2, "rounds": 25} if options.quick else {"count": 9, "runs": 3, "rounds": 50}
        )
        target = Target(device=options.device)
        found["latency"] = one = latencies(SCALES[options.scale], target, **size)
        low, high = min(one["composed_to_whole"]), max(one["composed_to_whole"])
        print(
            f"latency on {one['target']}: spread {one['spread']:.1%}, tau {one['tau_between_runs']:.2f} between runs, "
            f"{one['tau_whole']:.2f} against whole models ({one['tau_whole_itself']:.2f} with themselves), composed / whole "
            f"{low:.2f} to {high:.2f}"
        )
    write(found, options.json)
    return 0


def steps(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure the trainings of all batch sizes; what does not fit is told, and left out."""
    most = most_flops() if device.type == "cuda" else math.nan
    print(f"a large bf16 product: {most / 1e12:.0f} TFLOP/s")
    batches = options.batch or ([256] if options.quick else [256, 512])
    rows, failed = list[Measured](), dict[str, str]()
    repeats = Repeats(warm_up=1, counted=2) if options.quick else Repeats()
    with tempfile.TemporaryDirectory() as place:
        world = replace(made_world(options.scale, device, Path(place) / "cache"), compiled=options.compiled)
        for batch in [min(one, world.scale.pictures // 4) for one in batches]:
            for name in options.trainings:
                try:
                    rows.append(
                        measured(
                            name, _makes(world, name, batch), world, batch=batch, most=most, repeats=repeats
                        )
                    )
                except torch.OutOfMemoryError as error:
                    failed[f"{name}, batch {batch}"] = str(error).splitlines()[0]
                else:
                    print(told(rows[-1:]).splitlines()[-1], flush=True)
    print(told(rows))
    print(*(f"{name}: {reason}" for name, reason in failed.items()), sep="\n")
    return {"most_tflops": most / 1e12, "rows": [asdict(one) for one in rows], "out_of_memory": failed}


def _makes(world: World, name: str, batch: int) -> Any:
    return of_straightforward(world, batch) if name == STRAIGHTFORWARD else of_ours(world, name, batch)


def write(found: dict[str, Any], path: Path | None) -> None:
    """Write the JSON; a number that is none is null."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = path or Path(__file__).parents[2] / "runs" / f"device-step-{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_numbers(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"result: {path}")


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _numbers(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
