"""A teacher of the family's own classes with random weights, its student, and pictures of noise with captions as long as COCO's.

Nothing is read from disk or fetched: speed hangs on sizes, not on what weights have learned.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.preprocess import PreprocessConfig
from trainables.signals import NoSource, Source
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.plan import Kept, passes_on
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.tokenizer import Tokenizer, VocabularyConfig
from trainables.training.build import build_step
from trainables.training.compiling import compile_models
from trainables.training.config import TrainingConfig
from trainables.training.trainer import Placement, Trainer

WORDS_MEAN, WORDS_SPREAD, FEWEST = 11.5, 2.8, 6  # pieces of words of a caption of COCO, about
SPECIAL = 6  # ids below are special tokens here
TOP_K = 64  # of 30,524 logits of each token, as a space at this scale would keep them
TASKS = ("itc", "itm", "lm")
DLIP: dict[str, dict[str, Any]] = {
    **{name: {"weight": 1.0} for name in TASKS},
    "image_embedding": {"weight": 1.0},
    "text_embedding": {"weight": 1.0},
    "fused_hidden": {"weight": 1.0, "kind": "cosine", "tokens": "first"},
    "decoder_hidden": {"weight": 1.0, "kind": "cosine", "tokens": "first"},
    "lm_logit": {"weight": 1.0},
    "text_attention": {"weight": 1.0},
    "cross_attention": {"weight": 1.0},
    "decoder_attention": {"weight": 1.0},
}
"""What a port of DLIP matches: embeddings, last states of fused pass and decoder, next tokens, last attention maps."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes of one measurement.

    Attributes:
        image, text: of the teacher: width, layers, heads.
        student_image, student_text: of the student; all layers of its text side look at the picture.
        side: S of pictures.
        vocabulary: words.
        longest: tokens of a caption at most.
        pictures: of the split.
    """

    image: tuple[int, int, int]
    text: tuple[int, int, int]
    student_image: tuple[int, int, int]
    student_text: tuple[int, int, int]
    side: int
    vocabulary: int
    longest: int
    pictures: int


SCALES = {
    # BLIP-base at 224 px; the student of 384 x 12 and 384 x 6 has 22 % of its parameters and 23 % of its products
    "paper": Scale(
        image=(768, 12, 12), text=(768, 12, 12), student_image=(384, 12, 6), student_text=(384, 6, 6),
        side=224, vocabulary=30524, longest=30, pictures=2048,
    ),
    # as the embedded teacher and a student of half its width
    "small": Scale(
        image=(192, 6, 6), text=(192, 6, 6), student_image=(96, 3, 3), student_text=(96, 3, 3),
        side=64, vocabulary=200, longest=24, pictures=2048,
    ),
    "tiny": Scale(
        image=(32, 2, 2), text=(32, 2, 2), student_image=(16, 1, 1), student_text=(16, 1, 1),
        side=32, vocabulary=40, longest=12, pictures=48,
    ),
}  # fmt: skip


class Numbered(Tokenizer):
    """A tokenizer without a library's own behind it: texts are numbers."""

    digest = "numbers"

    def __init__(self, vocabulary: VocabularyConfig, max_tokens: int) -> None:
        self.vocabulary, self.max_tokens = vocabulary, max_tokens
        self.words, self.begun = "", list[int]()

    @property
    def tokens(self) -> list[str]:
        """Return the tokens by their ids."""
        return list(map(str, range(self.vocabulary.size)))

    def to_dict(self) -> dict[str, Any]:
        """Return what else tells it from others."""
        return {"max_tokens": self.max_tokens}

    def captions(self, texts: list[str]) -> list[list[int]]:
        """Return the numbers of each text, framed."""
        v = self.vocabulary
        return [[v.cls, *map(int, text.split()), v.sep] for text in texts]


def teacher_architecture(scale: Scale) -> BlipArchitecture:
    """Return a BLIP of these sizes in the form of its pre-training: two encoders, fusion in each layer, a tied decoder."""
    (width, depth, heads), text = scale.image, EncoderConfig(**_sides(scale.text))
    return BlipArchitecture(
        image=EncoderConfig(width=width, depth=depth, heads=heads),
        text=text,
        fusion=tuple(range(text.depth)),
        embedding=min(256, width),
        image_size=scale.side,
        patch_size=16,
        max_tokens=scale.longest,
        vocabulary=VocabularyConfig(size=scale.vocabulary, pad=0, cls=2, sep=3, dec=4, enc=5),
    )


def _sides(sizes: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("width", "depth", "heads"), sizes, strict=True))


def made_teacher(scale: Scale, device: torch.device) -> Teacher:
    """Return a teacher of random weights."""
    torch.manual_seed(0)
    blueprint = Blueprint("blip", teacher_architecture(scale))
    tokenizer = Numbered(blueprint.architecture.vocabulary, scale.longest)
    files = TeacherFiles(name="random", folder=Path(), fingerprint="random", measured={"made": "here"})
    model = blueprint.build()
    return Teacher(model, tokenizer, PreprocessConfig(image_size=scale.side), files, blueprint=blueprint).to(
        device
    )


def made_split(scale: Scale, teacher: Teacher) -> EncodedSplit:
    """Return pictures of noise, each with a caption of random words."""
    rng, count = np.random.default_rng(0), scale.pictures
    shape = (count, scale.side, scale.side, 3)
    pixels = np.frombuffer(rng.bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)
    lengths = rng.normal(WORDS_MEAN, WORDS_SPREAD, count).round().astype(int)
    lengths = lengths.clip(min(FEWEST, scale.longest - 2), scale.longest - 2)
    texts = [" ".join(map(str, rng.integers(SPECIAL, scale.vocabulary, length))) for length in lengths]
    split = Split(
        name="train", pixels=pixels, captions=texts, caption_images=np.arange(count), questions=[], answers=[],
        question_images=np.zeros(0, dtype=np.int64),
    )  # fmt: skip
    return EncodedSplit(split, teacher.tokenizer, teacher.preprocess)


def candidate(scale: Scale, source: str) -> dict[str, Any]:
    """Return the config of the student: what it is, and what it learns from; with source `off` from no teacher."""
    losses = DLIP if source != "off" else {name: DLIP[name] for name in TASKS}
    return {
        "student": {
            "kind": "blip",
            "image": _sides(scale.student_image) | {"init": "random"},
            "text": _sides(scale.student_text) | {"init": "random"},
            "fusion": {"layers": scale.student_text[1], "placement": "last"},
            "embedding": min(256, scale.image[0]),
        },
        "losses": losses,
        "training": {"itm_negatives": "student" if source == "off" else "teacher"},
    }


@dataclass(frozen=True, kw_only=True)
class World:
    """Teacher, data and device of a measurement, and the place of its cache."""

    scale: Scale
    teacher: Teacher
    split: EncodedSplit
    device: torch.device
    folder: Path
    compiled: bool = False

    def source(self, name: str) -> Source:
        """Return the source of signals: `cached`, `live` or `off`."""
        if name == "off":
            return NoSource()
        return self.cache() if name == "cached" else self.teacher

    def cache(self) -> TeacherCache:
        """Return the cache of all that the losses want, filled at the first call."""
        step, _ = build_step(candidate(self.scale, "cached"), self.teacher, seed=0)
        top_k = min(TOP_K, self.scale.vocabulary // 2)
        kept = Kept(precision="float16", top_k=top_k, passes=passes_on(self.device))
        how = Filling(say=lambda line: None, device=self.device)
        fill_cache(self.folder, self.teacher, self.split, step.source_wants, kept, how)
        return TeacherCache(self.folder, self.teacher.offers)

    def trainer(self, source: str, *, batch: int, steps: int, given: Source | None = None) -> Trainer:
        """Return a new training of the same seed.

        Args:
            source: `cached`, `live` or `off`.
            batch: pairs of a step.
            steps: of an epoch.
            given: says the signals in place of the source of that name.
        """
        config = candidate(self.scale, source)
        step, _ = build_step(config, self.teacher, seed=0)
        training = TrainingConfig(
            epochs=1000, pairs_per_epoch=steps * batch, batch_size=batch, lr=1e-4, warmup_steps=10
        )
        # a random teacher teaches nothing: a training that learns nothing is to go on here
        trainer = Trainer(
            step.to(self.device), self.split, given or self.source(source), training, seed=0,
            placement=Placement(device=self.device),
        )  # fmt: skip
        trainer.health.patience = 10**9
        if self.compiled:
            compile_models([step.student, *([self.teacher.model] if source == "live" else [])])
        return trainer


def made_world(name: str, device: torch.device, folder: Path) -> World:
    """Return teacher and data of a scale on a device."""
    scale = SCALES[name]
    teacher = made_teacher(scale, device)
    return World(scale=scale, teacher=teacher, split=made_split(scale, teacher), device=device, folder=folder)


def fewer(scale: Scale, pictures: int) -> Scale:
    """Return a scale with another number of pictures."""
    return replace(scale, pictures=pictures)
