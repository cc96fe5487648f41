"""How much faster an epoch of a head on its teacher's features is from the cache than with the live teacher, in one run.

    python tests/benchmarks/head_epochs.py

The teacher is a vision transformer of the size of ViT-S/16 at 224 pixels with random weights, the student a linear layer on
its embedding of pictures, taught to say what the teacher says of them. Prints wall-clock seconds of the same epochs both ways, in
turn, what filling the cache took, the ratio of the medians and the largest difference of the epochs' losses.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.unit.trainables.small import small_config
from tests.unit.trainables.training.head import IMAGE
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.families import FAMILIES
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import EncoderConfig
from trainables.preprocess import PreprocessConfig
from trainables.signals import Source
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig

PICTURES, SIDE, EPOCHS = 48, 224, 3
TRAINING = {"epochs": EPOCHS, "pairs_per_epoch": PICTURES, "batch_size": 16, "lr": 3e-3, "warmup_steps": 1}
CONFIG: dict[str, Any] = {
    "student": {"kind": "head", "width": 256},
    "losses": {"image_embedding": {"weight": 1.0}},
    "training": TRAINING,
}
CPU = torch.device("cpu")


def made_teacher() -> Teacher:
    """Return a teacher of 22 M parameters on its vision side."""
    torch.manual_seed(0)
    architecture = small_config(
        image=EncoderConfig(width=384, depth=12, heads=6), embedding=384, image_size=SIDE, patch_size=16
    )
    blueprint = Blueprint("blip", architecture)
    files = TeacherFiles(name="random", folder=Path(), fingerprint="random")
    return Teacher(blueprint.build(), None, PreprocessConfig(image_size=SIDE), files, blueprint=blueprint)


def made_split(teacher: Teacher) -> EncodedSplit:
    """Return noise for pictures."""
    nothing = np.zeros(0, dtype=np.int64)
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE, 3), dtype=np.uint8)
    split = Split(
        name="train", pixels=pixels, captions=[], caption_images=nothing, questions=[], answers=[],
        question_images=nothing,
    )  # fmt: skip
    return EncodedSplit(split, None, teacher.preprocess)


def main() -> int:
    """Run the benchmark and print one JSON line."""
    torch.set_num_threads(1)
    FAMILIES._own["head"] = "tests.unit.trainables.training.head:Head"  # type: ignore[index]
    teacher = made_teacher()
    split = made_split(teacher)
    spent: dict[str, list[float]] = {"cached": [], "live": []}
    losses: dict[str, list[float]] = {"cached": [], "live": []}
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        build_cache(
            Path(folder), teacher, split, frozenset({IMAGE}), precision="float32",
            progress=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        filled = time.monotonic() - started
        sources: dict[str, Source] = {"cached": TeacherCache(Path(folder), teacher.offers), "live": teacher}
        trainers = {
            name: Trainer(
                build_step(CONFIG, teacher, seed=0)[0], split, source, TrainingConfig(**TRAINING), seed=0,
                placement=Placement(device=CPU),
            )
            for name, source in sources.items()
        }  # fmt: skip
        for epoch in range(EPOCHS):
            for name, trainer in trainers.items():
                started = time.monotonic()
                losses[name].append(trainer.run_epoch(epoch)["loss"])
                spent[name].append(time.monotonic() - started)
    medians = {name: statistics.median(values) for name, values in spent.items()}
    apart = max(abs(a - b) for a, b in zip(losses["cached"], losses["live"], strict=True))
    print(
        json.dumps(
            {
                "epoch_s": spent,
                "filling_s": filled,
                "live_over_cached": medians["live"] / medians["cached"],
                "losses": losses,
                "losses_apart": apart,
                "pictures": PICTURES,
            }
        )
    )
    return 0 if apart <= 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
