"""Fake teacher, student and batch for the tests of losses: random signals of true shapes without a model."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spaces.plugins import resolve
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.losses import LOSSES
from trainables.losses.base import Ends, Loss, Needs
from trainables.signals import (
    CLASS,
    HOLDS,
    PICTURE,
    PIXELS,
    PIXELS_2,
    Batch,
    Offer,
    Offers,
    Signals,
    Want,
    classes_meaning,
)
from trainables.tokenizer import VocabularyConfig

VOCABULARY = VocabularyConfig(size=23, pad=0, cls=1, sep=2, dec=3, enc=4)
EPS = torch.finfo(torch.float32).eps
CLASSES = ("circle", "square", "triangle", "ring", "cross")
CAUSAL = ("decoder", "answer")
Change = Callable[[Want, Tensor], Tensor]


def teacher_architecture(**changes: Any) -> BlipArchitecture:
    """Return a teacher of 6 layers, 128 wide, 4 heads."""
    encoder = EncoderConfig(width=128, depth=6, heads=4)
    architecture = BlipArchitecture(
        image=encoder,
        text=encoder,
        fusion=tuple(range(6)),
        embedding=16,
        image_size=24,
        patch_size=8,
        max_tokens=12,
        vocabulary=VOCABULARY,
        merged=(3, 4, 5),
    )
    return replace(architecture, **changes)


def student_architecture(**changes: Any) -> BlipArchitecture:
    """Return a student of 3 layers, 64 wide, 2 heads, with fusion layers 0 and 2 only."""
    encoder = EncoderConfig(width=64, depth=3, heads=2)
    teacher = teacher_architecture(image=encoder, text=encoder, fusion=(0, 2), embedding=16, merged=(2,))
    return replace(teacher, **changes)


def offers_of(architecture: BlipArchitecture) -> Offers:
    """Return all that such a model can say, and what others say of pictures beside: a feature map, and class logits."""
    side = architecture.image_size // architecture.patch_size
    more = {
        Want("image", "map"): Offer(
            axes=("E", "Y", "X"), sizes=(architecture.embedding, side, side), rows=PICTURE
        ),
        Want("image", "logits"): Offer(
            axes=("C",), sizes=(len(CLASSES),), rows=PICTURE, meaning=classes_meaning(CLASSES)
        ),
    }
    return {**more, **Blueprint("blip", architecture).offers}


STUDENT, TEACHER = offers_of(student_architecture()), offers_of(teacher_architecture())


def loss_class(name: str) -> type[Loss]:
    """Return the class of a row of the table."""
    kind: type[Loss] = resolve(LOSSES, name, "losses")
    return kind


def build(name: str, student: Offers = STUDENT, source: Offers = TEACHER, **options: Any) -> Loss:
    """Return a loss between two models, its projections drawn from one seed."""
    torch.manual_seed(0)
    kind: Any = loss_class(name)
    made: Loss = kind(kind.Config(**options), Ends(name=name, student=student, source=source))
    return made


def needs_of(name: str, student: Offers = STUDENT, source: Offers = TEACHER) -> tuple[Needs, Ends]:
    """Return what a loss with its default options needs between two models, and the two."""
    kind: Any = loss_class(name)
    ends = Ends(name=name, student=student, source=source)
    return kind.needs_of(kind.Config(), ends), ends


def make_batch(num_pairs: int = 5, *, tokens: int = 7, seed: int = 0) -> Batch:
    """Return captions of several lengths, the first the longest; row 1 shows the picture of row 0, row 3 has no label."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, tokens + 1, (num_pairs,), generator=random)
    lengths[0] = tokens
    places = torch.arange(tokens)
    mask = places < lengths[:, None]
    captions, questions = (
        torch.randint(5, VOCABULARY.size, (num_pairs, tokens), generator=random) * mask for _ in range(2)
    )
    position = places - lengths[:, None]
    answers = (position == -2) | ((position == -3) & (torch.arange(num_pairs) % 2 == 0)[:, None])
    pictures = torch.arange(num_pairs)
    pictures[1:2] = pictures[0]
    labels = 2 * torch.arange(num_pairs) % len(CLASSES)
    labels[3:4] = -1
    fields = {
        PIXELS: torch.randn(num_pairs, 3, 24, 24, generator=random),
        CLASS: labels,
        "caption.ids": captions,
        "caption.mask": mask,
        "caption.targets": position < -1,
        "caption.key": torch.arange(num_pairs) + 100,
        "question.ids": questions,
        "question.mask": mask.clone(),
        "question.targets": answers,
        "question.key": torch.arange(num_pairs) + 200,
        "statement.ids": captions.clone(),
        "statement.mask": mask.clone(),
        "statement.targets": position < -1,
        "statement.key": torch.arange(num_pairs) + 300,
    }
    others = torch.Generator().manual_seed(seed + 1)  # what was drawn before them stays as it is
    fields[PIXELS_2] = torch.randn(num_pairs, 3, 24, 24, generator=others)
    fields[HOLDS] = torch.arange(num_pairs) % 2
    fields[HOLDS][2:3] = -1
    rows = {kind: torch.arange(num_pairs) for kind in ("caption", "question", "statement")}
    rows |= {"picture": pictures, "picture_2": pictures.flip(0)}
    return Batch(fields=fields, rows=rows)


def with_fields(batch: Batch, **changes: Tensor | None) -> Batch:
    """Return a batch with other fields, `caption_ids` standing for `caption.ids`; None takes one out."""
    named = {name.replace("_", ".", 1): value for name, value in changes.items()}
    fields = {**batch.fields, **named}
    return replace(batch, fields={name: value for name, value in fields.items() if value is not None})


def make_signals(offers: Offers, batch: Batch, *, seed: int = 1, negatives: bool = False) -> Signals:
    """Return a signal for every offer, each a leaf that asks for a gradient where it can have one.

    Args:
        offers: of the model.
        batch: gives the number of pairs and the padding.
        seed: of the random numbers; each want has a stream of its own.
        negatives: append one negative per pair to the fused pass.
    """
    return Signals({want: _made(want, offer, batch, seed, negatives) for want, offer in offers.items()})


def _made(want: Want, offer: Offer, batch: Batch, seed: int, negatives: bool) -> Tensor:
    random = torch.Generator().manual_seed(1_000_003 * seed + zlib.crc32(str(want).encode()))
    pairs = len(batch.rows["picture"])
    rows = 2 * pairs if negatives and want.mode == "fused" else pairs
    if want.what == "labels":
        return (torch.arange(rows) < pairs).long()
    if want.what == "temperature":
        return torch.tensor(0.2 + 0.01 * seed, requires_grad=True)
    mask = batch[offer.mask].repeat(rows // pairs, 1) if offer.mask else torch.ones(rows, 1, dtype=torch.bool)
    sizes = (
        mask.shape[1] if axis == "T" else size for axis, size in zip(offer.axes, offer.sizes, strict=True)
    )
    drawn = torch.randn(rows, *sizes, generator=random)
    if want.what == "embedding":
        drawn = functional.normalize(drawn, dim=-1)
    if want.what.endswith("attention"):
        visible = torch.ones_like(drawn, dtype=torch.bool)
        if offer.axes[-1] == "T":
            visible &= mask[:, None, None]
            if want.mode in CAUSAL:
                visible = visible.tril()
        drawn = drawn.masked_fill(~visible, -torch.inf).softmax(-1)
    return drawn.requires_grad_()


def with_gradient(signals: Signals) -> set[Want]:
    """Return the signals that a backward pass reached with anything but zero."""
    return {want for want, leaf in signals.items() if leaf.grad is not None and bool(leaf.grad.any())}


def mapped(signals: Signals, change: Change) -> Signals:
    """Return a copy with `change(want, tensor)` in place of every tensor."""
    return Signals({want: change(want, tensor) for want, tensor in signals.items()})


def with_padding_changed(signals: Signals, offers: Offers, batch: Batch, value: float) -> Signals:
    """Return a copy whose entries at padded tokens (queries, keys, positions) hold `value`."""

    def change(want: Want, tensor: Tensor) -> Tensor:
        offer = offers[want]
        for place, axis in enumerate(offer.axes, start=1):
            if axis == "T":
                padding = ~batch[offer.mask].repeat(len(tensor) // len(batch[offer.mask]), 1)
                shape = [len(tensor), *(1 for _ in offer.axes)]
                shape[place] = padding.shape[1]
                tensor = tensor.masked_fill(padding.view(shape), value)
        return tensor

    return mapped(signals, change)
