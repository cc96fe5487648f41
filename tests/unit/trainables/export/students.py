"""A small student of four tasks, its teacher's files, and pictures with texts, for the tests of export."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.export import Deployed, export_student, model_card
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.preprocess import PreprocessConfig
from trainables.signals import Signals, Want
from trainables.tasks import TASKS
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.tokenizer import Tokenizer, write_word_tokenizer

WORDS = ("a", "red", "blue", "circle", "square", "how", "many", "?", "one", "two")
MAX_TOKENS = 9
PREPROCESS = PreprocessConfig(image_size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
MEASURED: dict[str, Any] = {"candidate_id": "0badcafe", "metrics": {"test": {"mean_recall": 81.25}}}
CPU = torch.device("cpu")
CAPTIONS = ["a red circle", "a blue square", "two blue circle", "one red square a"]
TEXTS: dict[str, Any] = {
    "captions": CAPTIONS,
    "caption_images": np.arange(4),
    "questions": ["how many ?"] * 4,
    "answers": ["two", "one", "two", "red circle"],
    "question_images": np.arange(4),
}


def make_architecture(folder: Path) -> BlipArchitecture:
    """Return the student's sizes, the tokenizer's files being written to `folder`."""
    folder.mkdir(exist_ok=True)
    return BlipArchitecture(
        image=EncoderConfig(width=16, depth=1, heads=2),
        text=EncoderConfig(width=24, depth=2, heads=3),
        fusion=(1,),
        embedding=8,
        image_size=16,
        patch_size=8,
        max_tokens=MAX_TOKENS,
        vocabulary=write_word_tokenizer(folder, WORDS, MAX_TOKENS),
    )


def make_model(architecture: BlipArchitecture) -> Blip:
    """Return a student that says different things of different pictures; those of a fresh one differ too little."""
    torch.manual_seed(0)
    made = Blip(architecture)
    with torch.no_grad():
        made.text_network.words.weight.normal_(std=1.0)
        for layer in made.text_network.layers:
            if layer.cross_attention is not None:
                layer.cross_attention.output.weight.normal_(std=2.0)
    return made.eval()


def teacher_of(model: Blip, folder: Path) -> Teacher:
    """Return a teacher whose tokenizer lies in `folder`."""
    architecture = model.architecture
    return Teacher(
        model,
        Tokenizer.from_folder(folder, architecture.vocabulary, architecture.max_tokens),
        PREPROCESS,
        TeacherFiles(name="small", folder=folder, fingerprint="feed"),
        blueprint=Blueprint("blip", architecture),
    )


def export(
    model: Blip, teacher: Teacher, out: Path, measured: dict[str, Any] = MEASURED, kind: str = "blip"
) -> Path:
    """Write the student's folder."""
    return export_student(
        model,
        teacher,
        deployed=Deployed(blueprint=Blueprint(kind, model.architecture)),
        measured=measured,
        out=out,
        card=model_card(measured),
    )


def pictures(count: int, side: int = 16) -> np.ndarray:
    """Return noise."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def make_split(tokenizer: Tokenizer | None) -> EncodedSplit:
    """Return four pictures with their texts."""
    return EncodedSplit(Split(name="val", pixels=pictures(4), **TEXTS), tokenizer, PREPROCESS)


def said(model: Blip, split: EncodedSplit, want: Want, count: int = 4) -> torch.Tensor:
    """Return a signal about the first pictures and captions, by the pipeline of training."""
    rows = {"picture": np.arange(count), "caption": np.arange(count), "question": np.arange(count)}
    with torch.no_grad():
        found: Signals = model(split.batch(rows, CPU), frozenset({want}))
    return found[want]


def metrics(model: Blip, split: EncodedSplit) -> dict[str, float]:
    """Return all metrics of all tasks on the four pictures."""
    tasks = make_tasks({name: {} for name in TASKS}).values()
    return evaluate(model, split, tasks=tasks, size=EvaluationSize(images=4))
