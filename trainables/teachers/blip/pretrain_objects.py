"""Train the embedded BLIP teacher of objects from nothing: ITC + ITM + LM, half of the captions short.

    python -m trainables.teachers.blip.pretrain_objects --out DIR

reproduces the shipped folder on one CPU core; the figures that it reached are kept in the folder's config.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spaces.console import command
from spaces.files import make_folder
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.objects.dataset import ObjectsDataset
from trainables.datasets.objects.drawing import SIZE
from trainables.datasets.scenes import language
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.blip.pretrain import say_metrics, train_epochs, untaught
from trainables.teachers.objects.pretrain import DATA, measure
from trainables.teachers.objects.recipe import MEAN, PATCH, STD, short_caption
from trainables.teachers.pretraining import run, say
from trainables.tokenizer import Tokenizer, write_word_tokenizer
from trainables.training.config import TrainingConfig

MAX_TOKENS = 24
CHECK_EVERY = 15
EPOCHS = 90
PREPROCESS = PreprocessConfig(image_size=SIZE, mean=(MEAN,) * 3, std=(STD,) * 3)
LOSSES: dict[str, dict[str, Any]] = {"itc": {}, "itm": {}, "lm": {"label_smoothing": 0.0}}
TASKS: dict[str, dict[str, Any]] = {"retrieval": {}, "captioning": {}}
PROGRAM = "python -m trainables.teachers.blip.pretrain_objects"


def teacher_config(folder: Path) -> BlipArchitecture:
    """Return the sizes of the teacher, and write its tokenizer into `folder`."""
    make_folder(folder)
    return BlipArchitecture(
        image=EncoderConfig(width=64, depth=4, heads=2),
        text=EncoderConfig(width=64, depth=3, heads=2),
        fusion=(1, 2),
        embedding=64,
        image_size=SIZE,
        patch_size=PATCH,
        max_tokens=MAX_TOKENS,
        vocabulary=write_word_tokenizer(folder, language.VOCABULARY, MAX_TOKENS),
    )


def half_short(split: Split) -> Split:
    """Return the split with as many captions again that name the large object alone, and so the class."""
    assert split.labels is not None
    more = [short_caption(label) for label in split.labels[split.caption_images].tolist()]
    return replace(
        split,
        captions=[*split.captions, *more],
        caption_images=np.concatenate([split.caption_images, split.caption_images]),
    )


def pretrain(folder: Path, config: TrainingConfig, *, seed: int) -> dict[str, Any]:
    """Train the teacher, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    dataset = ObjectsDataset(DATA)
    sizes = teacher_config(folder)
    tokenizer = Tokenizer.from_folder(folder, sizes.vocabulary, sizes.max_tokens)
    train, val = (dataset.split(name, framing=PREPROCESS.framing, progress=say) for name in ("train", "val"))
    watched = EncodedSplit(val, tokenizer, PREPROCESS)
    model = Blip(sizes)

    def check(epoch: int) -> None:
        if (epoch + 1) % CHECK_EVERY == 0:
            tasks = make_tasks(TASKS).values()
            say_metrics(evaluate(model, watched, tasks=tasks, size=EvaluationSize(images=500)))

    encoded = EncodedSplit(half_short(train), tokenizer, PREPROCESS)
    cpu_s = train_epochs(untaught(model, LOSSES), encoded, config=config, seed=seed, check=check)
    model.half().float()  # what is stored, and what is measured
    measured = {
        "data_specification": dataset.specification,
        "objective": "contrast, matching and captions (BLIP: ITC, ITM, LM); half of the captions name the large object alone, "
        "and so the class",
        "training": {**asdict(config), "seed": seed, "cpu_s": cpu_s},
        "metrics": measure(model, dataset, tokenizer=tokenizer, preprocess=PREPROCESS),
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
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help=f"epochs of 2,000 pairs (default {EPOCHS})"
    )

    def train(told: argparse.Namespace) -> dict[str, Any]:
        config = TrainingConfig(
            epochs=told.epochs,
            batch_size=32,
            lr=2e-3,
            warmup_steps=100,
            itm_negatives="student",
            fused_every=4,
            fused_from=0.85,
        )
        return pretrain(told.out, config, seed=told.seed)

    return run(parser, arguments, train)


if __name__ == "__main__":
    sys.exit(main())
