"""Train an embedded teacher of objects from nothing.

    python -m trainables.teachers.objects.pretrain {beit,clip,dino} --out DIR

reproduces the shipped folder on one CPU core in less than ten minutes; the figures that it reached stand in `measured.json`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spaces.console import command
from spaces.files import guarded
from spaces.plugins import Table, resolve
from trainables.datasets.base import SPLITS, Split
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.objects.dataset import CAPTIONS_PER_IMAGE, ObjectsDataset
from trainables.datasets.objects.drawing import SIZE
from trainables.families.base import Family
from trainables.model_folder import CONFIG, WEIGHTS
from trainables.preprocess import Framing, PreprocessConfig
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.loading import load_teacher
from trainables.teachers.measured import write_measured
from trainables.teachers.objects.recipe import Recipe, Schedule, normalised
from trainables.teachers.pretraining import run, say
from trainables.tokenizer import Tokenizer

RECIPES = Table(
    "recipes",
    {
        "beit": "trainables.teachers.objects.beit:Beit",
        "clip": "trainables.teachers.objects.clip:Clip",
        "dino": "trainables.teachers.objects.dino:Dino",
    },
)
DATA = ObjectsDataset.Config(train_images=20_000)
TASKS: dict[str, dict[str, Any]] = {"classification": {}, "retrieval": {}, "captioning": {}}
PROBED = ("top1", "top5")  # of a model without class head the probe's, which has a figure of its own
GRADIENT_CLIP = 1.0
BETAS = (0.9, 0.98)
LOOKED_AT = 2000  # pictures, before the first step
TOLD_EVERY = 100
PROGRAM = "python -m trainables.teachers.objects.pretrain"


def train(recipe: Recipe, split: Split, schedule: Schedule) -> float:
    """Train a recipe, and return the CPU seconds that it took; all that is random comes from torch's seed."""
    pixels, labels = torch.from_numpy(split.pixels[:].copy()), torch.from_numpy(split.labels)
    optimizer = _optimizer(recipe, schedule)
    start, told = time.process_time(), 0.0
    recipe.prepare(normalised(pixels[:LOOKED_AT]))
    order = torch.empty(0, dtype=torch.long)
    for step in range(schedule.steps):
        if len(order) < schedule.batch_size:
            order = torch.randperm(len(pixels))
        rows, order = order[: schedule.batch_size], order[schedule.batch_size :]
        which = rows * CAPTIONS_PER_IMAGE + torch.randint(CAPTIONS_PER_IMAGE, rows.shape)
        loss = recipe.loss(
            normalised(pixels[rows]),
            [split.captions[row] for row in which.tolist()],
            labels=labels[rows],
            done=step / schedule.steps,
        )
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(recipe.parameters(), GRADIENT_CLIP)
        optimizer.step()
        recipe.after_step((step + 1) / schedule.steps)
        told += float(loss.detach())
        if (step + 1) % TOLD_EVERY == 0 or step + 1 == schedule.steps:
            spent = time.process_time() - start
            left = spent / (step + 1) * (schedule.steps - step - 1)
            mean = told / ((step % TOLD_EVERY) + 1)
            say(f"step {step + 1}/{schedule.steps}: loss {mean:.3f}; {spent:.0f} CPU-s, {left:.0f} to go")
            told = 0.0
    return time.process_time() - start


def _optimizer(recipe: Recipe, schedule: Schedule) -> torch.optim.AdamW:
    """Return AdamW with decay on matrices only."""
    trained = [parameter for parameter in recipe.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.lr, betas=BETAS)


def measure(
    model: Family, dataset: ObjectsDataset, *, tokenizer: Tokenizer | None, preprocess: PreprocessConfig
) -> dict[str, dict[str, float]]:
    """Return what the tasks measure of a teacher on validation and test split, in percent."""
    splits = {
        name: EncodedSplit(
            dataset.split(name, framing=preprocess.framing, progress=say), tokenizer, preprocess
        )
        for name in SPLITS
    }
    found = {}
    for name in ("val", "test"):
        tasks = make_tasks(TASKS).values()
        metrics = evaluate(model, splits[name], tasks=tasks, size=EvaluationSize(), bank=splits["train"])
        found[name] = {key: round(value, 1) for key, value in metrics.items() if key not in PROBED}
    return found


def pretrain(name: str, folder: Path, *, steps: int | None, seed: int) -> dict[str, Any]:
    """Train the teacher `name`, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    recipe: Recipe = resolve(RECIPES, name, "recipes")()
    schedule = replace(recipe.schedule, steps=steps) if steps else recipe.schedule
    dataset = ObjectsDataset(DATA)
    split = dataset.split("train", framing=Framing(SIZE), progress=say)
    cpu_s = train(recipe.train(), split, schedule)
    with guarded(folder / WEIGHTS):
        recipe.save_reader(folder)
        recipe.model.half().save_pretrained(folder)
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # else readable by its writer alone
    teacher = load_teacher(str(folder))  # what is stored, and what is measured
    measured = {
        "data_specification": dataset.specification,
        "objective": recipe.objective,
        "training": {**asdict(schedule), "seed": seed, "cpu_s": round(cpu_s)},
        "metrics": measure(
            teacher.model, dataset, tokenizer=teacher.tokenizer, preprocess=teacher.preprocess
        ),
        "command": f"{PROGRAM} {name} --out DIR",
    }
    write_measured(folder, measured)
    return measured


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=PROGRAM, description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("teacher", choices=sorted(RECIPES), help="which one")
    parser.add_argument("--steps", type=int, help="fewer steps than the shipped one was trained for")
    return run(
        parser, arguments, lambda told: pretrain(told.teacher, told.out, steps=told.steps, seed=told.seed)
    )


if __name__ == "__main__":
    sys.exit(main())
