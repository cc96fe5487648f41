"""What the tests of the cache share: a teacher that is watched, batches, and what a folder holds."""

from pathlib import Path

import numpy as np
import torch

from tests.unit.trainables.small import (
    CPU,
)
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Batch, Signals, Source, Want, Wants
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher

TOKENS, TEMPERATURE = Want("image", "tokens"), Want("contrast", "temperature")


def pairs(split: EncodedSplit, number: int = 9, seed: int = 0) -> Batch:
    """Return pairs as a sampler draws them: captions in any order, longest text below the longest of all."""
    random = np.random.default_rng(seed)
    images = random.permutation(split.num_images)[:number]
    rows = {"picture": images}
    for kind in ("caption", "question"):
        rows[kind] = split.tables[kind].row(images, random.integers(0, 4, number))
    return split.batch(rows, CPU)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.safetensors"))  # drafts begin with a dot


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in parts(folder)}


def opened(folder: Path, owner: Teacher, fingerprint: str = "") -> TeacherCache:
    return TeacherCache(folder, owner.offers, fingerprint)


def pick(source: Source, batch: Batch, want: Want) -> torch.Tensor:
    """Return one signal, with what lies at padded queries and keys set to zero."""
    value = source.signals(batch, frozenset({want}))[want]
    mask = batch["question.mask" if want.mode == "answer" else "caption.mask"]
    if want.mode == "image" or value.ndim <= 2:
        return value
    if want.what == "attention":
        return value * mask[:, None, :, None] * mask[:, None, None, :]
    if want.what == "cross_attention":
        return value * mask[:, None, :, None]
    return value * mask[:, :, None]


class Watched(Teacher):
    """Notes what is asked of it, and fails when told to."""

    def __init__(self, owner: Teacher, *, fail_after: int = 10**9) -> None:
        super().__init__(
            owner.model, owner.tokenizer, owner.preprocess, owner.files, blueprint=owner.blueprint
        )
        self.asked: list[Wants] = []
        self.pictures: list[int] = []
        self.fail_after = fail_after

    def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
        """Answer like the owner."""
        self.asked.append(wants)
        if "picture.pixels" in batch:
            self.pictures += batch.rows["picture"].tolist()
        if len(self.asked) > self.fail_after:
            raise KeyboardInterrupt
        return super().signals(batch, wants, known)
