"""Train an embedded teacher of objects from nothing.

    python -m trainables.teachers.objects.pretrain {beit,clip,dino} --out DIR

reproduces the shipped folder on one CPU core in less than ten minutes; the figures that it reached stand in `measured.json`.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spaces.console import command
from spaces.errors import StudentSearchError
from spaces.files import guarded
from spaces.owner import owned
from spaces.paths import user_path
from spaces.plugins import Table, resolve
from trainables.datasets.base import Split
from trainables.datasets.objects.dataset import CAPTIONS_PER_IMAGE, ObjectsDataset
from trainables.datasets.objects.drawing import SIZE
from trainables.model_folder import CONFIG, WEIGHTS
from trainables.preprocess import Framing
from trainables.teachers.measured import write_measured
from trainables.teachers.objects.recipe import Recipe, Schedule, normalised
from trainables.teachers.objects.usefulness import usefulness
from trainables.worker import make_out, out_place

RECIPES = Table(
    "recipes",
    {
        "beit": "trainables.teachers.objects.beit:Beit",
        "clip": "trainables.teachers.objects.clip:Clip",
        "dino": "trainables.teachers.objects.dino:Dino",
    },
)
DATA = ObjectsDataset.Config(train_images=20_000)
GRADIENT_CLIP = 1.0
BETAS = (0.9, 0.98)
LOOKED_AT = 2000  # pictures, before the first step
TOLD_EVERY = 100
PROGRAM = "python -m trainables.teachers.objects.pretrain"


def say(text: str) -> None:
    """Print one line of progress."""
    print(text, file=sys.stderr, flush=True)


def train(recipe: Recipe, split: Split, schedule: Schedule) -> float:
    """Train a recipe, and return the CPU seconds that it took; all that is random comes from torch's seed."""
    pixels, labels = torch.from_numpy(split.pixels.copy()), torch.from_numpy(split.labels)
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


def pretrain(name: str, folder: Path, *, steps: int | None, seed: int) -> dict[str, Any]:
    """Train the teacher `name`, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    recipe: Recipe = resolve(RECIPES, name, "recipes")()
    schedule = replace(recipe.schedule, steps=steps) if steps else recipe.schedule
    dataset = ObjectsDataset(DATA)
    train_split, val, test = (
        dataset.split(which, framing=Framing(SIZE), progress=say) for which in ("train", "val", "test")
    )
    cpu_s = train(recipe.train(), train_split, schedule)
    recipe.eval()
    with guarded(folder / WEIGHTS):
        recipe.save_reader(folder)
        recipe.model.half().save_pretrained(folder)
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # else readable by its writer alone
    recipe.model.float()  # what is stored, and what is measured
    measured = {
        "data_specification": dataset.specification,
        "objective": recipe.objective,
        "training": {**asdict(schedule), "seed": seed, "cpu_s": round(cpu_s)},
        "metrics": {split.name: _figures(recipe, train_split, split) for split in (val, test)},
        "command": f"{PROGRAM} {name} --out DIR",
    }
    write_measured(folder, measured)
    return measured


def _figures(recipe: Recipe, train_split: Split, split: Split) -> dict[str, float]:
    """Return how useful its features are on a held-out split."""
    with torch.no_grad():
        texts = recipe.text_features(split.captions)
    return usefulness(train_split, split, lambda pixels: recipe.features(normalised(pixels)), texts=texts)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("teacher", choices=sorted(RECIPES), help="which one")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the new teacher")
    parser.add_argument("--steps", type=int, help="fewer steps than the shipped one was trained for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    options = parser.parse_args(arguments)
    for name, least in (("steps", 1), ("seed", 0), ("threads", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name}: got {value}; allowed: {least} or more")
    torch.set_num_threads(options.threads)
    try:
        make_out(options.out)
        with owned(out_place(options.out), say=say):
            measured = pretrain(options.teacher, options.out, steps=options.steps, seed=options.seed)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(measured["metrics"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
