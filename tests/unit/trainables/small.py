"""Small models, scenes and candidates, with which the tests of trainables finish in seconds."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.families.base import Surroundings
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import Framing, PreprocessConfig
from trainables.signals import PIXELS, Batch, Want, Wants
from trainables.tasks import DEFAULT
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer, VocabularyConfig, write_word_tokenizer
from trainables.training.build import make_dataset
from trainables.training.job import Job

MAX_TOKENS = 24
PREPROCESS = PreprocessConfig(image_size=64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
SCENES = {"kind": "scenes", "train_images": 40, "mismatched": 0.4, "val_images": 24, "test_images": 8}
CPU = torch.device("cpu")
EPS = torch.finfo(torch.float32).eps


def silent(line: str) -> None:
    """Take a line of progress and drop it."""


@cache
def vocabulary() -> VocabularyConfig:
    """Return the special ids of the word tokenizer of scenes."""
    with TemporaryDirectory() as folder:
        return write_word_tokenizer(Path(folder), language.VOCABULARY, MAX_TOKENS)


def small_config(**changes: Any) -> BlipArchitecture:
    """Return a model of 2 layers, 32 wide, 2 heads, that sees 5 image tokens."""
    encoder = EncoderConfig(width=32, depth=2, heads=2)
    config = BlipArchitecture(
        image=encoder,
        text=encoder,
        fusion=(0, 1),
        embedding=16,
        image_size=64,
        patch_size=32,
        max_tokens=MAX_TOKENS,
        vocabulary=vocabulary(),
    )
    return replace(config, **changes)


def lively(config: BlipArchitecture, seed: int = 0) -> Blip:
    """Return a model in eval mode whose every weight matters, as after training: fresh ones hardly differ from 0."""
    torch.manual_seed(seed)
    model = Blip(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.6 * parameter[0].numel() ** -0.5)
            elif parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.text_network.words.weight.normal_(std=0.5)
    return model.eval()


def write_teacher(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write the folder of a small untrained teacher of scenes and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model_folder(
        folder,
        lively(small_config(**changes), seed),
        kind="blip",
        reading=Reading(preprocess=PREPROCESS, tokenizer=tokenizer(folder), folder=folder),
        measured={
            "data_specification": ScenesDataset(ScenesDataset.Config()).specification,
            "note": [1, "two"],
        },
    )
    return folder


def tokenizer(folder: Path, max_tokens: int = MAX_TOKENS) -> Tokenizer:
    """Return the word tokenizer of scenes, whose files go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Tokenizer.from_folder(
        folder, write_word_tokenizer(folder, language.VOCABULARY, max_tokens), max_tokens
    )


def encoded(teacher: Teacher, name: str, **options: Any) -> EncodedSplit:
    """Return a split of the small scenes in the teacher's encoding."""
    dataset = make_dataset(SCENES | options)
    return EncodedSplit(
        dataset.split(name, framing=Framing(64), progress=silent), teacher.tokenizer, teacher.preprocess
    )


def told(images: Tensor, ids: Tensor, mask: Tensor) -> Batch:
    """Return a batch of pictures and texts; each text is both caption and question of its picture."""
    rows = torch.arange(len(ids))
    texts = {
        f"{kind}.{name}": one
        for kind in ("caption", "question")
        for name, one in (("ids", ids), ("mask", mask))
    }
    return Batch(
        fields={PIXELS: images, **texts, "caption.key": rows},
        rows={"picture": rows, "caption": rows, "question": rows},
    )


def all_wants(config: BlipArchitecture) -> Wants:
    """Return every output about an example that a model of these sizes can be asked for, but for image tokens."""
    wants = {Want("image", "embedding"), Want("text", "embedding")}
    grounded = (["fused"] if config.fusion else []) + (["decoder", "answer"] if config.has_decoder else [])
    for mode in ("image", "text", *grounded):
        if mode in grounded:
            wants |= {Want(mode, "cross_attention", layer) for layer in config.fusion}
        if mode in grounded and (mode != "fused" or config.has_matching):
            wants.add(Want(mode, "logits"))
        depth = config.image.depth if mode == "image" else config.text.depth
        wants |= {Want(mode, what, layer) for what in ("hidden", "attention") for layer in range(depth)}
    return frozenset(wants)


def candidate_config(**training: Any) -> dict[str, Any]:
    """Return a candidate of half the small teacher's width, with task and representation losses."""
    side = {"width": 16, "depth": 2, "heads": 1, "mlp_ratio": 2.0, "init": "random"}
    return {
        "student": {
            "kind": "blip",
            "image": side | {"depth": 1},
            "text": dict(side),
            "fusion": {"layers": 1, "placement": "last"},
            "embedding": 16,
        },
        "losses": {
            "itc": {"weight": 1.0},
            "itm": {"weight": 1.0},
            "lm": {"weight": 1.0},
            "vqa": {"weight": 1.0},
            "image_embedding": {"weight": 5.0},
            "text_embedding": {"weight": 5.0},
        },
        "training": {
            "epochs": 3, "pairs_per_epoch": 24, "batch_size": 8, "lr": 3e-3, "weight_decay": 0.02, "warmup_steps": 2,
            "gradient_clip": 1.0, "accumulate": 1, "itm_negatives": "teacher",
        } | training,
        "blind": False,
    }  # fmt: skip


def make_job(teacher: Path, folder: Path, **changes: Any) -> Job:
    """Return the order to train `candidate_config` on the small scenes."""
    fields: dict[str, Any] = {
        "candidate_id": "0badcafe",
        "config": candidate_config(),
        "seed": 7,
        "dataset": SCENES,
        "folder": str(folder),
        "teacher": str(teacher),
        "evaluate_at": (1,),
        "evaluation": {"images": 16, "captions_per_image": 1, "questions_per_image": 2},
        "teacher_metrics": {"mean_recall": 50.0, "vqa_accuracy": 40.0, "caption_token_accuracy": 20.0},
        "costs": {"params": 1234, "flops": 5678},
        "device": "cpu",
    }
    return Job(**(fields | changes))


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a nested config with the value at a dotted path replaced."""
    made = copy.deepcopy(config)
    part = made
    *parents, last = path.split(".")
    for name in parents:
        part = part[name]
    part[last] = value
    return made


def measured(
    model: Blip, split: EncodedSplit, size: EvaluationSize, tasks: Iterable[str] = DEFAULT, **options: Any
) -> dict[str, float]:
    """Return the metrics of the tasks that a model can do."""
    made = make_tasks({name: {} for name in tasks}).values()
    return evaluate(model, split, tasks=made, size=size, **options)


def assert_near(mine: Tensor, theirs: Tensor, *, steps: int = 64, message: str | None = None) -> None:
    """Compare what was computed in two orders: they differ by some rounding steps of the largest value."""
    size = float(theirs.abs().max()) if theirs.numel() else 0.0
    torch.testing.assert_close(mine, theirs, atol=steps * EPS * size, rtol=0, msg=message)


@contextmanager
def watched_passes(model: Any, batch: Batch) -> Iterator[list[str]]:
    """Yield a list that fills with the passes of a BLIP: image, text, fused, decoder of captions, answer of questions."""
    ran: list[str] = []

    def image(module: object, args: object) -> None:
        ran.append("image")

    def text(module: object, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        ids, _, tokens = args
        captions = torch.equal(ids[:, 1:], batch["caption.ids"][:, 1:])
        grounded = ("decoder" if captions else "answer") if options["decode"] else "fused"
        ran.append("text" if tokens is None else grounded)

    hooks = [
        model.image_encoder.register_forward_pre_hook(image),
        model.text_network.register_forward_pre_hook(text, with_kwargs=True),
    ]
    try:
        yield ran
    finally:
        for hook in hooks:
            hook.remove()


def around(architecture: BlipArchitecture) -> Surroundings:
    """Return what the students of such a teacher follow from."""
    return Surroundings(
        image_size=architecture.image_size,
        max_tokens=architecture.max_tokens,
        vocabulary=architecture.vocabulary,
        sizes=Blip.sizes(architecture),
        teacher=architecture,
    )
