"""Train the embedded BLIP teacher of objects from nothing: ITC + ITM + LM, half of the captions short.

    python -m trainables.teachers.blip.pretrain_objects --out DIR

reproduces the shipped folder on one CPU core; the figures that it reached are kept in the folder's config.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spaces.console import command
from spaces.errors import StudentSearchError
from spaces.files import make_folder
from spaces.owner import owned
from spaces.paths import user_path
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.objects.dataset import ObjectsDataset
from trainables.datasets.objects.drawing import SIZE
from trainables.datasets.scenes import language
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.signals import PICTURE, PIXELS, Batch, Want
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.blip.pretrain import say, say_metrics, train_epochs
from trainables.teachers.objects.pretrain import DATA
from trainables.teachers.objects.recipe import MEAN, PATCH, STD, short_caption
from trainables.teachers.objects.usefulness import usefulness
from trainables.tokenizer import Tokenizer, write_word_tokenizer
from trainables.training.trainer import TrainingConfig
from trainables.worker import make_out, out_place

MAX_TOKENS = 24
CHECK_EVERY = 15
EPOCHS = 90
PREPROCESS = PreprocessConfig(image_size=SIZE, mean=(MEAN,) * 3, std=(STD,) * 3)
LOSSES: dict[str, dict[str, Any]] = {"itc": {}, "itm": {}, "lm": {"label_smoothing": 0.0}}
TASKS: dict[str, dict[str, Any]] = {"retrieval": {}, "captioning": {}}
EMBEDDING = Want("image", "embedding")
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


def embedding_of(model: Blip, pixels_BSSC: Tensor) -> Tensor:
    """Return the image embeddings (B, E) of pictures (B, S, S, 3) uint8."""
    batch = Batch(
        fields={PIXELS: PREPROCESS.normalise(pixels_BSSC)},
        rows={PICTURE: torch.arange(len(pixels_BSSC))},
    )
    with torch.no_grad():
        return model(batch, frozenset({EMBEDDING}))[EMBEDDING]


def measure(model: Blip, train: Split, held_out: Split, tokenizer: Tokenizer) -> dict[str, float]:
    """Return how useful the features are, and the metrics of retrieval and captioning."""
    model.eval()
    found = usefulness(train, held_out, lambda pixels: embedding_of(model, pixels))
    encoded = EncodedSplit(held_out, tokenizer, PREPROCESS)
    metrics = evaluate(model, encoded, tasks=make_tasks(TASKS).values(), size=EvaluationSize())
    return found | {name: round(value, 1) for name, value in metrics.items()}


def pretrain(folder: Path, config: TrainingConfig, *, seed: int) -> dict[str, Any]:
    """Train the teacher, write its folder, and return its measured figures."""
    torch.manual_seed(seed)
    dataset = ObjectsDataset(DATA)
    sizes = teacher_config(folder)
    tokenizer = Tokenizer.from_folder(folder, sizes.vocabulary, sizes.max_tokens)
    train, val, test = (
        dataset.split(name, framing=PREPROCESS.framing, progress=say) for name in ("train", "val", "test")
    )
    watched = EncodedSplit(val, tokenizer, PREPROCESS)
    model = Blip(sizes)

    def check(epoch: int) -> None:
        if (epoch + 1) % CHECK_EVERY == 0:
            tasks = make_tasks(TASKS).values()
            say_metrics(evaluate(model, watched, tasks=tasks, size=EvaluationSize(images=500)))

    encoded = EncodedSplit(half_short(train), tokenizer, PREPROCESS)
    cpu_s = train_epochs(model, encoded, LOSSES, config=config, seed=seed, check=check)
    model.half().float()  # what is stored, and what is measured
    measured = {
        "data_specification": dataset.specification,
        "objective": "contrast, matching and captions (BLIP: ITC, ITM, LM); half of the captions name the large object alone, "
        "and so the class",
        "training": {**asdict(config), "seed": seed, "cpu_s": cpu_s},
        "metrics": {split.name: measure(model, train, split, tokenizer) for split in (val, test)},
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
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=user_path, required=True, help="folder of the new teacher")
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help=f"epochs of 2,000 pairs (default {EPOCHS})"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    options = parser.parse_args(arguments)
    for name, least in (("epochs", 1), ("seed", 0), ("threads", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: got {getattr(options, name)}; allowed: {least} or more")
    torch.set_num_threads(options.threads)
    config = TrainingConfig(
        epochs=options.epochs,
        batch_size=32,
        lr=2e-3,
        warmup_steps=100,
        itm_negatives="student",
        fused_every=4,
        fused_from=0.85,
    )
    try:
        make_out(options.out)
        with owned(out_place(options.out), say=say):
            measured = pretrain(options.out, config, seed=options.seed)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(measured["metrics"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
