"""A made-up run folder: 32 candidates of every status and a blind baseline, history, rungs, control."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.pareto import mark_fronts
from analysis.table import history_schema, write_trials

Row = dict[str, Any]
TEACHER = {"params": 3_321_000, "flops": 238_000_000, "latency_ms": 5.61, "size_mib": 12.9}
LOSSES = ("itc", "itm", "lm", "image_embedding")
RUNGS = (1, 3, 9)
METRICS = (
    "retention",
    "retention_above_blind",
    "mean_recall",
    "tr_at_1",
    "tr_at_5",
    "tr_at_10",
    "ir_at_1",
    "ir_at_5",
    "ir_at_10",
    "vqa_accuracy",
    "caption_token_accuracy",
)


def config(width: int, depth: int, fusion: int, rng: random.Random) -> Row:
    side = {"width": width, "depth": depth, "heads": max(1, width // 32), "mlp_ratio": 4.0}
    return {
        "student": {
            "kind": "blip",
            "image": {**side, "init": rng.choice(["inherit", "random"])},
            "text": {**side, "init": rng.choice(["inherit", "random"])},
            "fusion": {"layers": fusion, "placement": "last"},
            "embedding": 64,
        },
        "losses": {
            "itc": {"weight": 1.0},
            "itm": {"weight": 1.0},
            "lm": {"weight": 1.0},
            "image_embedding": {"weight": round(rng.uniform(2, 60), 3)},
        },
        "training": {
            "epochs": 9,
            "pairs_per_epoch": 2000,
            "batch_size": 64,
            "lr": round(rng.uniform(5e-4, 3e-3), 6),
        },
        "blind": False,
    }


def metrics(retention: float) -> dict[str, float]:
    factors = (1.0, 0.7, 1.04, 0.74, 1.05, 1.09, 0.73, 1.05, 1.09, 0.66, 0.62)
    return {
        name: round(min(99.9, retention * factor), 3) for name, factor in zip(METRICS, factors, strict=True)
    }


def candidate(number: int, rng: random.Random) -> Row:
    width, depth = rng.choice([32, 64, 96]), rng.choice([1, 2, 3, 4])
    made = config(width, depth, min(depth, rng.randint(0, 3)), rng)
    params = 60_000 + 42 * width * width * depth + rng.randint(0, 9000)
    return {
        "candidate_id": f"{rng.getrandbits(32):08x}",
        "status": "finished",
        "reason": "",
        "seed": rng.getrandbits(31),
        "epochs": 9,
        "params": params,
        "flops": params * 70,
        "latency_ms": round(0.7 + 0.55 * depth + width / 400 + rng.uniform(0, 0.1), 4),
        "latency_spread_ms": 0.04,
        "size_mib": params * 4 / 2**20,
        "wall_s": 95.0,
        "cpu_s": 61.0,
        "config": json.dumps(made),
        "role": "search",
        "proposal": number,
    }


def rows_of_a_run(seed: int = 0) -> list[Row]:
    """Return 32 candidates and the blind baseline: 11 finished, 12 stopped, 5 rejected, 4 failed."""
    rng = random.Random(seed)
    rows = [candidate(number, rng) for number in range(32)]
    for number, row in enumerate(rows):
        level = 58 + 34 * (1 - (90_000 / row["params"]) ** 0.6) + rng.uniform(-2, 2)
        kind = number % 32
        if kind < 11:
            row |= metrics(level) | {f"test_{name}": value - 0.8 for name, value in metrics(level).items()}
            row |= {"wall_latency_ms": row["latency_ms"] * 1.06, "speedup": 5.9 / row["latency_ms"]}
            row["checkpoint"] = f"checkpoints/{row['candidate_id']}/final.pt"
        elif kind < 23:
            epoch = 1 if kind < 19 else 3
            reason = f"rung {epoch}: rank {kind - 8} of {kind - 2}, the best {(kind - 2) // 3} go on"
            row |= metrics(level * 0.6) | {"status": "stopped", "epochs": epoch, "reason": reason}
        elif kind < 28:
            reason = f"params {2.5 + kind / 10:.2f} M over the limit 2.49 M (0.75x)"
            row |= {
                "status": "rejected",
                "epochs": 0,
                "reason": reason,
                "latency_ms": None,
                "latency_spread_ms": None,
            }
        else:
            row["status"] = ("crashed", "diverged", "collapsed", "oom")[kind - 28]
            row["epochs"] = 1
            row["reason"] = (
                "ValueError: got shape (64, 17, 96), <script>alert(1)</script> expected (64, 17, 128)",
                f"step 412: loss 'image_embedding' is nan (itc 3.81); lr {rng.uniform(1e-3, 3e-3):.1e}",
                "ITM at the entropy of its label mix (0.636) for 3 epochs",
                "out of memory: 2.1 GiB asked, 1.4 GiB free",
            )[kind - 28]
    blind = candidate(32, rng) | metrics(31.0) | {"role": "blind", "candidate_id": "b11db11d", "params": 1000}
    return mark_fronts([*rows, blind], "retention", maximise=True)


def facts(rows: list[Row]) -> Row:
    return {
        "name": "dlip",
        "versions": {"python": "3.11.7", "torch": "2.14.1", "ray": "2.60.0", "student_search": "0.1.0"},
        "git_commit": "0123abc",
        "seed": 0,
        "hardware": {"cpu": "Example CPU 2.3 GHz", "cores": 2, "memory_gib": 7.8, "gpus": []},
        "teacher": TEACHER
        | {"name": "embedded", "fingerprint": "5f2c9a10", "metrics": metrics(100.0) | {"retention": 100.0}}
        | {"test_metrics": metrics(99.0)},
        "dataset": {
            "kind": "scenes",
            "fingerprint": "77aa01bc",
            "description": "4000 images, 40 % of the captions mismatched",
        },
        "objectives": {"retention": "max", "params": "min", "flops": "min", "latency_ms": "min"},
        "limits": {"params": {"max": 2_490_000}},
        "blind": metrics(31.0),
        "rungs": list(RUNGS),
        "started": "2031-05-04 10:00:00",
        "ended": "2031-05-04 10:13:20",
        "ended_by": "trials",
        "command": "python search/run.py --space spaces/dlip.yaml",
        "resumed": [],
        "defaults": {"reuse_actors": True, "threads per trial": 1},
        "epochs_total": sum(row["epochs"] for row in rows),
    }


def rungs(rows: list[Row]) -> Row:
    """Return a record in which the stopped were the last of what had come to their rung."""
    entries: dict[str, Row] = {"1": {}, "3": {}}
    decisions = []
    for row in rows:
        for rung in (1, 3):
            if row["status"] in ("stopped", "finished") and row["role"] == "search" and row["epochs"] >= rung:
                last = row["status"] == "stopped" and row["epochs"] == rung
                there = entries[str(rung)]
                there[row["candidate_id"]] = {"retention": row.get("retention"), "params": row.get("params")}
                size = len(there)
                rank, go_on = (size - 1 if last else 0), -(-size // 3)
                decisions.append(
                    {
                        "candidate_id": row["candidate_id"],
                        "epoch": rung,
                        "rung": rung,
                        "rank": rank,
                        "size": size,
                        "verdict": "stop" if last else "continue",
                        "reason": f"place {rank + 1} of {size} at epoch {rung}, the best {go_on} go on",
                        "bracket": 0,
                    }
                )
    return {"version": 2, "scheduler": "moasha", "brackets": 1, "rungs": entries, "decisions": decisions}


def control(rows: list[Row]) -> Row:
    """Return a control of three students over three seeds; the first gains nothing clear of the spread."""
    chosen = [row for row in rows if row["on_front_params"]][:3]
    noise = (-1.5, 0.2, 1.3)
    found = []
    for number, row in enumerate(chosen):
        for data in ("noisy", "clean"):
            gap = (0.4, 34.0, 41.0)[number] * (1.0 if data == "noisy" else 0.2)
            for seed in range(3):
                base = {"candidate_id": row["candidate_id"], "data": data, "seed": seed}
                found.append(base | {"distilled": True} | metrics(row["retention"]))
                found.append(base | {"distilled": False} | metrics(row["retention"] - gap + noise[seed]))
    return {"seeds": [0, 1, 2], "rows": found}


def write_history(folder: Path, rows: list[Row]) -> None:
    """Write two history parts, one record batch per epoch."""
    schema = history_schema(METRICS, LOSSES)
    trained = [row for row in rows if row["epochs"]]
    (folder / "history").mkdir(parents=True)
    for part, members in enumerate((trained[::2], trained[1::2])):
        path = folder / "history" / f"part-{part:04d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for row in members:
                for epoch in range(1, row["epochs"] + 1):
                    writer.write_batch(pa.RecordBatch.from_pylist([epoch_row(row, epoch)], schema=schema))


def epoch_row(row: Row, epoch: int) -> Row:
    done = 1 - 0.8 ** (epoch * 9 / max(row["epochs"], 3))
    losses = {f"loss_{name}": 2.0 * (1.1 - done) for name in LOSSES}
    base = {
        "candidate_id": row["candidate_id"],
        "epoch": epoch,
        "status": "running",
        "loss": 9.0 * (1.1 - done),
        **losses,
    }
    base |= {"lr": 1e-3, "wall_s": 10.0, "cpu_s": 7.0, "time": 1.9e9 + epoch}
    measured = epoch in RUNGS and row.get("retention") is not None
    return base | (metrics(row["retention"] * (0.45 + 0.55 * done / 0.86598)) if measured else {})


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder; every part can be replaced or left out (None)."""

    def make(rows: list[Row] | None = None, *, folder: str = "dlip", **changes: Any) -> Path:
        return write_run(tmp_path / folder, rows, **changes)

    return make


def write_run(
    folder: Path, rows: list[Row] | None = None, *, with_control: bool = True, **changes: Any
) -> Path:
    """Write a run folder of `rows`; `changes` go into run.json."""
    rows = rows_of_a_run() if rows is None else rows
    folder.mkdir(parents=True)
    write_trials(folder / "trials.arrow", rows, METRICS)
    write_history(folder, rows)
    (folder / "run.json").write_text(json.dumps(facts(rows) | changes))
    (folder / "rungs.json").write_text(json.dumps(rungs(rows)))
    if with_control:
        (folder / "control.json").write_text(json.dumps(control(rows)))
    return folder
