"""Train the embedded teacher from nothing: ITC + ITM + LM + VQA on the clean scenes.

    python -m trainables.teachers.blip.pretrain --out teacher/

reproduces the shipped folder on one CPU core; the figures that it reached are kept in the folder's config. `--recipe second`
trains longer, on more scenes and questions, with captions made false as negatives.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from trainables.teachers.blip.scene_lessons import FalseCaptions, with_questions
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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the teacher is trained.

    Attributes:
        about: what it is, for the help text.
        times: so many times the pictures of `CLEAN`.
        questions: kinds of which each scene gets one question more, see `scene_lessons`.
        falsehoods: whether each caption made false is a negative, too.
        training: options of `TrainingConfig`.
    """

    about: str
    times: int = 1
    questions: tuple[str, ...] = ()
    falsehoods: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)


USUAL = {"lr": 1.2e-3, "warmup_steps": 100, "itm_negatives": "student"}
RECIPES = {
    "first": Recipe(
        about="matching every other step, from 35 %% on",
        training={**USUAL, "epochs": 38, "fused_every": 2, "fused_from": 0.35},
    ),
    "second": Recipe(
        about="twice as many pictures, more questions about relations, and matching at every step from 15 %% on, "
        "against captions made false, too",
        times=2,
        questions=("relation", "relation", "where"),
        falsehoods=True,
        training={**USUAL, "epochs": 84, "fused_from": 0.15},
    ),
}
SHIPPED = "first"


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


def lessons(dataset: ScenesDataset, tokenizer: Tokenizer, recipe: Recipe, *, seed: int) -> EncodedSplit:
    """Return what the teacher learns from."""
    split = dataset.split("train", framing=PREPROCESS.framing, progress=say)
    scenes = dataset.scenes("train", say)
    split = with_questions(split, scenes, recipe.questions, seed=seed)
    if recipe.falsehoods:
        return FalseCaptions(split, tokenizer, PREPROCESS, scenes=scenes)
    return EncodedSplit(split, tokenizer, PREPROCESS)


def _told(name: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": name,
        "images": recipe.times * CLEAN.train_images,
        "questions": list(recipe.questions),
        "falsehoods": recipe.falsehoods,
    }


def pretrain(folder: Path, name: str, recipe: Recipe, *, seed: int) -> dict[str, Any]:
    """Train the teacher by a recipe of that name, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    config = TrainingConfig(**recipe.training)
    dataset = ScenesDataset(replace(CLEAN, train_images=recipe.times * CLEAN.train_images))
    sizes = teacher_config(folder)
    tokenizer = Tokenizer.from_folder(folder, sizes.vocabulary, sizes.max_tokens)
    split = lessons(dataset, tokenizer, recipe, seed=seed)
    val = EncodedSplit(dataset.split("val", framing=PREPROCESS.framing, progress=say), tokenizer, PREPROCESS)
    model = Blip(sizes)

    def check(epoch: int) -> None:
        if (epoch + 1) % CHECK_EVERY == 0:
            say_metrics(_metrics(model, val, EvaluationSize(images=500)))

    cpu_s = train_epochs(model, split, LOSSES, config=config, seed=seed, check=check)
    measured = {
        "data_specification": dataset.specification,
        "training": {**asdict(config), **_told(name, recipe), "seed": seed, "cpu_s": cpu_s},
        "metrics": measure(model.half().float(), dataset, tokenizer),
        "command": f"python -m trainables.teachers.blip.pretrain --recipe {name} --out DIR",
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
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default=SHIPPED,
        help="; ".join(
            f"{name}: {one.training['epochs']} epochs, {one.about}" for name, one in RECIPES.items()
        )
        + f" (default {SHIPPED}, which made the shipped one)",
    )
    parser.add_argument("--epochs", type=int, help="epochs of 2,000 pairs (default: as the recipe says)")

    def train(told: argparse.Namespace) -> dict[str, Any]:
        recipe = RECIPES[told.recipe]
        if told.epochs is not None:
            recipe = replace(recipe, training={**recipe.training, "epochs": told.epochs})
        return pretrain(told.out, told.recipe, recipe, seed=told.seed)

    return run(parser, arguments, train)


if __name__ == "__main__":
    sys.exit(main())
