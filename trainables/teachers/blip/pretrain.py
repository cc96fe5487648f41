"""Train the embedded teacher from nothing: ITC + ITM + LM + VQA on the clean scenes.

    python -m trainables.teachers.blip.pretrain --out teacher/

reproduces the shipped folder on one CPU core; the figures that it reached are kept in the folder's config.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from spaces.console import command
from spaces.files import make_folder
from trainables.datasets.base import Dataset
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.datasets.scenes.drawing import SIZE
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.tasks import DEFAULT
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.blip.scene_captions import exact_captions
from trainables.teachers.pretraining import run, say
from trainables.tokenizer import Tokenizer, write_word_tokenizer
from trainables.training.build import build_losses
from trainables.training.config import TrainingConfig
from trainables.training.step import DistillationStep
from trainables.training.trainer import Placement, Trainer

MAX_TOKENS = 24
CHECK_EVERY = 5
PREPROCESS = PreprocessConfig(image_size=SIZE, mean=(110 / 255,) * 3, std=(60 / 255,) * 3)
LOSSES = {"itc": {}, "itm": {}, "lm": {"label_smoothing": 0.0}, "vqa": {}}
CLEAN = ScenesDataset.Config(train_images=20_000, mismatched=0.0)


def teacher_config(folder: Path) -> BlipArchitecture:
    """Return the sizes of the embedded teacher, and write its tokenizer into `folder`."""
    make_folder(folder)
    return BlipArchitecture(
        image=EncoderConfig(width=128, depth=6, heads=4),
        text=EncoderConfig(width=128, depth=6, heads=4),
        fusion=tuple(range(6)),
        embedding=64,
        image_size=SIZE,
        patch_size=16,
        max_tokens=MAX_TOKENS,
        vocabulary=write_word_tokenizer(folder, language.VOCABULARY, MAX_TOKENS),
    )


def _metrics(model: Blip, split: EncodedSplit, size: EvaluationSize) -> dict[str, float]:
    tasks = make_tasks({name: {} for name in DEFAULT}).values()
    return evaluate(model, split, tasks=tasks, size=size)


def measure(model: Blip, dataset: Dataset, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the teacher's metrics on validation and test split, and its exact captions."""
    figures: dict[str, Any] = {}
    for name in ("val", "test"):
        split = EncodedSplit(
            dataset.split(name, framing=PREPROCESS.framing, progress=say), tokenizer, PREPROCESS
        )
        figures[name] = {k: round(v, 2) for k, v in _metrics(model, split, EvaluationSize()).items()}
        if isinstance(dataset, ScenesDataset):
            scenes = dataset.scenes(name, say)
            figures[name]["captions_exact"] = round(
                exact_captions(model, split, tokenizer, scenes, num_images=200), 2
            )
    return figures


def say_metrics(metrics: dict[str, float]) -> None:
    """Print how good the teacher is by now."""
    shown = ", ".join(f"{name} {value:.1f}" for name, value in metrics.items())
    say(f"  500 validation images: {shown}")


def train_epochs(
    model: Blip,
    split: EncodedSplit,
    losses: dict[str, dict[str, Any]],
    *,
    config: TrainingConfig,
    seed: int,
    check: Callable[[int], None],
) -> int:
    """Train a model without a teacher, and return the CPU seconds that it took.

    Args:
        model: fresh.
        split: what it learns from.
        losses: name -> options.
        config: how it is trained.
        seed: of the order of examples, and of negatives.
        check: is told the number of each epoch that is over.
    """
    model.prepare_training({"itm_negatives": config.itm_negatives})
    built, weights = build_losses({"losses": losses}, Blip.offers(model.architecture), {})
    step = DistillationStep(model, built, weights=weights, blind=False)
    trainer = Trainer(step, split, None, config, seed=seed, placement=Placement(device=torch.device("cpu")))
    start = time.process_time()
    for epoch in range(config.epochs):
        report = trainer.run_epoch(epoch)
        spent = time.process_time() - start
        left = spent / (epoch + 1) * (config.epochs - epoch - 1)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in report.items())
        say(f"epoch {epoch + 1}/{config.epochs}: {shown}; {spent:.0f} CPU-s, {left:.0f} to go")
        check(epoch)
    return round(time.process_time() - start)


def pretrain(folder: Path, config: TrainingConfig, *, seed: int) -> dict[str, Any]:
    """Train the teacher, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    dataset = ScenesDataset(CLEAN)
    sizes = teacher_config(folder)
    tokenizer = Tokenizer.from_folder(folder, sizes.vocabulary, sizes.max_tokens)
    split = EncodedSplit(
        dataset.split("train", framing=PREPROCESS.framing, progress=say), tokenizer, PREPROCESS
    )
    val = EncodedSplit(dataset.split("val", framing=PREPROCESS.framing, progress=say), tokenizer, PREPROCESS)
    model = Blip(sizes)

    def check(epoch: int) -> None:
        if (epoch + 1) % CHECK_EVERY == 0:
            say_metrics(_metrics(model, val, EvaluationSize(images=500)))

    cpu_s = train_epochs(model, split, LOSSES, config=config, seed=seed, check=check)
    measured = {
        "data_specification": dataset.specification,
        "training": {**asdict(config), "seed": seed, "cpu_s": cpu_s},
        "metrics": measure(model.half().float(), dataset, tokenizer),
        "command": "python -m trainables.teachers.blip.pretrain --out DIR",
    }
    write_model_folder(
        folder,
        model,
        kind="blip",
        reading=Reading(preprocess=PREPROCESS, tokenizer=tokenizer, folder=folder),
        measured=measured,
        dtype=torch.float16,
    )
    return measured


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainables.teachers.blip.pretrain", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--epochs", type=int, default=38, help="epochs of 2,000 pairs (default 38)")

    def train(told: argparse.Namespace) -> dict[str, Any]:
        config = TrainingConfig(
            epochs=told.epochs,
            lr=1.2e-3,
            warmup_steps=100,
            itm_negatives="student",
            fused_every=2,
            fused_from=0.35,
        )
        return pretrain(told.out, config, seed=told.seed)

    return run(parser, arguments, train)


if __name__ == "__main__":
    sys.exit(main())
