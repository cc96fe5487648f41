"""Train the embedded teacher from nothing: ITC + ITM + LM + VQA on the clean scenes, whose places it is told.

    python -m trainables.teachers.blip.pretrain --out teacher/

reproduces the shipped folder; the figures that it reached are kept in the folder's config. Captions made false are negatives of
matching, too, and image tokens and words learn where things are, see `grounding`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
from trainables.losses.base import Ends, Loss
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.tasks import DEFAULT
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.blip.grounding import MentionGrounding, PatchGrounding
from trainables.teachers.blip.scene_captions import exact_captions
from trainables.teachers.blip.scene_lessons import SceneLessons, with_questions
from trainables.teachers.pretraining import run, say
from trainables.tokenizer import Tokenizer, write_word_tokenizer
from trainables.training.build import build_losses
from trainables.training.config import TrainingConfig
from trainables.training.step import DistillationStep
from trainables.training.trainer import Placement, Trainer

PROGRAM = "python -m trainables.teachers.blip.pretrain"
MAX_TOKENS = 24
CHECK_EVERY = 5
PREPROCESS = PreprocessConfig(image_size=SIZE, mean=(110 / 255,) * 3, std=(60 / 255,) * 3)
LOSSES = {"itc": {}, "itm": {}, "lm": {"label_smoothing": 0.0}, "vqa": {}}
CLEAN = ScenesDataset.Config(train_images=40_000, mismatched=0.0)
QUESTIONS = ("relation",)
"""Kinds of which each scene gets one question more."""
ANSWERS = {"vqa": {"weight": 2.0}}  # all others weigh 1
TRAINING: Mapping[str, Any] = {
    "epochs": 60,
    "lr": 1.2e-3,
    "warmup_steps": 100,
    "itm_negatives": "student",
    "fused_from": 0.3,
}
GROUNDING: Mapping[str, type[Loss]] = {"patches": PatchGrounding, "mentions": MentionGrounding}


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


def untaught(
    model: Blip, losses: Mapping[str, Mapping[str, Any]], beside: Mapping[str, type[Loss]] | None = None
) -> DistillationStep:
    """Return a model and its losses as one module, without a teacher.

    Args:
        model: fresh.
        losses: name -> options.
        beside: other losses by name, that are in no table.
    """
    offers = Blip.offers(model.architecture)
    built, weights = build_losses({"losses": losses}, offers, {})
    for name, kind in (beside or {}).items():
        options = kind.Config()
        built[name], weights[name] = kind(options, Ends(name=name, student=offers)), options.weight
    return DistillationStep(model, built, weights=weights, blind=False)


def train_epochs(
    step: DistillationStep,
    split: EncodedSplit,
    *,
    config: TrainingConfig,
    seed: int,
    check: Callable[[int], None],
) -> int:
    """Train a model without a teacher, and return the CPU seconds that it took.

    Args:
        step: model and losses, see `untaught`.
        split: what it learns from.
        config: how it is trained.
        seed: of the order of examples, and of negatives.
        check: is told the number of each epoch that is over.
    """
    step.student.prepare_training({"itm_negatives": config.itm_negatives})
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


def lessons(
    dataset: ScenesDataset, tokenizer: Tokenizer, sizes: BlipArchitecture, *, seed: int
) -> EncodedSplit:
    """Return what the teacher learns from."""
    split = dataset.split("train", framing=PREPROCESS.framing, progress=say)
    scenes = dataset.scenes("train", say)
    split = with_questions(split, scenes, QUESTIONS, seed=seed)
    return SceneLessons(split, tokenizer, PREPROCESS, scenes=scenes, grid=sizes.grid)


def pretrain(folder: Path, config: TrainingConfig, *, seed: int) -> dict[str, Any]:
    """Train the teacher, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    dataset = ScenesDataset(CLEAN)
    sizes = teacher_config(folder)
    tokenizer = Tokenizer.from_folder(folder, sizes.vocabulary, sizes.max_tokens)
    split = lessons(dataset, tokenizer, sizes, seed=seed)
    val = EncodedSplit(dataset.split("val", framing=PREPROCESS.framing, progress=say), tokenizer, PREPROCESS)
    model = Blip(sizes)

    def check(epoch: int) -> None:
        if (epoch + 1) % CHECK_EVERY == 0:
            say_metrics(_metrics(model, val, EvaluationSize(images=500)))

    step = untaught(model, {**LOSSES, **ANSWERS}, GROUNDING)
    cpu_s = train_epochs(step, split, config=config, seed=seed, check=check)
    beyond = {"images": CLEAN.train_images, "questions": list(QUESTIONS), "grounding": list(GROUNDING)}
    measured = {
        "data_specification": dataset.specification,
        "training": {**asdict(config), **beyond, "seed": seed, "cpu_s": cpu_s},
        "metrics": measure(model.half().float(), dataset, tokenizer),
        "command": f"{PROGRAM} --out DIR",
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
        allow_abbrev=False, prog=PROGRAM, description=(__doc__ or "").split("\n")[0]
    )
    epochs = TRAINING["epochs"]
    parser.add_argument(
        "--epochs", type=int, default=epochs, help=f"epochs of 2,000 pairs (default {epochs})"
    )

    def train(told: argparse.Namespace) -> dict[str, Any]:
        config = TrainingConfig(**{**TRAINING, "epochs": told.epochs})
        return pretrain(told.out, config, seed=told.seed)

    return run(parser, arguments, train)


if __name__ == "__main__":
    sys.exit(main())
