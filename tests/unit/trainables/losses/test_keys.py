"""Contrast against the keys of a momentum twin, and rows of one picture: against loops over rows, and numbers by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from spaces.errors import PluginError
from tests.unit.trainables.losses.factory import EPS, build, make_batch, with_fields
from trainables.configs import plain
from trainables.losses.similarity.contrast import CONTRAST, IMAGE, TEMPERATURE, TEXT
from trainables.losses.similarity.itc import Itc
from trainables.signals import (
    KEY_CAPTION,
    KEY_OWN,
    KEY_PICTURE,
    NOTHING,
    Batch,
    Signals,
    of_keys,
    of_twin,
)

ROWS, WIDTH = 3, 4
PICTURES, CAPTIONS = [5, 6, 6], [50, 60, 61]  # two captions of one picture
QUEUED = [(6, 99), (8, 50), (9, 90), (-100, -100)]  # the same picture, the same caption, neither, and nobody


def rows(count: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(drawn, dim=1)


def batch_of(epochs: float = 0.0) -> Batch:
    batch = with_fields(make_batch(ROWS), caption_key=torch.tensor(CAPTIONS))
    return replace(batch, rows={**batch.rows, "picture": torch.tensor(PICTURES)}, epochs=epochs)


def student() -> Signals:
    found = {IMAGE: rows(ROWS, 1), TEXT: rows(ROWS, 2), TEMPERATURE: torch.tensor(0.3)}
    return Signals({want: value.requires_grad_() for want, value in found.items()})


def twin() -> Signals:
    """Return what a twin says of the batch, which is all of its keys but those of the queue."""
    own = {IMAGE: rows(ROWS, 3), TEXT: rows(ROWS, 4)}
    queue = {IMAGE: rows(len(QUEUED), 5), TEXT: rows(len(QUEUED), 6)}
    found = {of_twin(want): value for want, value in own.items()}
    found |= {of_keys(want): torch.cat([own[want], queue[want]]) for want in own}
    found[KEY_PICTURE] = torch.tensor(PICTURES + [picture for picture, _ in QUEUED])
    found[KEY_CAPTION] = torch.tensor(CAPTIONS + [caption for _, caption in QUEUED])
    found[KEY_OWN] = torch.arange(ROWS)
    return Signals(found)


def reference(alpha: float, *, masked: bool) -> float:
    """Return the loss by loops, as Li et al. have it: soft targets of the twin, hard ones of the pairs."""
    mine, theirs, total = Signals({want: one.detach() for want, one in student().items()}), twin(), 0.0
    pictures, captions = theirs[KEY_PICTURE].tolist(), theirs[KEY_CAPTION].tolist()
    for query, other in ((IMAGE, TEXT), (TEXT, IMAGE)):
        keys = theirs[of_keys(other)]
        for i in range(ROWS):
            alike = [PICTURES[i] == pictures[j] or CAPTIONS[i] == captions[j] for j in range(len(keys))]
            there = [j for j in range(len(keys)) if not (masked and alike[j] and j != i)]
            hard = [float(j == i) if masked else float(alike[j]) for j in there]
            scores = [math.exp(float(mine[query][i] @ keys[j]) / 0.3) for j in there]
            taught = [math.exp(float(theirs[of_twin(query)][i] @ keys[j]) / 0.3) for j in there]
            for one, score, soft in zip(hard, scores, taught, strict=True):
                target = (1 - alpha) * one / sum(hard) + alpha * soft / sum(taught)
                total -= target * math.log(score / sum(scores)) / ROWS / 2
    return total


@pytest.mark.parametrize("same_image", ["positive", "masked"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_contrast_with_a_queue_is_that_of_loops_over_rows(alpha: float, same_image: str) -> None:
    options: dict[str, Any] = {
        "soft_targets": alpha,
        "taught_by": "twin",
        "queue": 4,
        "same_image": same_image,
    }
    said = student()
    value = build("itc", **options)(said, twin(), batch_of())
    expected = reference(alpha, masked=same_image == "masked")
    assert value.item() == pytest.approx(expected, rel=64 * EPS)
    value.backward()
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in said.values())


def test_keys_of_the_same_picture_are_positives_or_left_out_and_never_negatives() -> None:
    found = {
        same_image: build("itc", taught_by="twin", queue=4, same_image=same_image)(
            student(), twin(), batch_of()
        )
        for same_image in ("positive", "masked")
    }
    assert found["positive"].item() != pytest.approx(found["masked"].item(), rel=1e-3)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(0.0, 0.0), (0.25, 0.1), (0.5, 0.2), (1.0, 0.4), (7.5, 0.4)]
)
def test_the_share_of_soft_targets_grows_over_the_first_epoch(epochs: float, expected: float) -> None:
    loss: Any = build("itc", soft_targets=0.4, ramp_epochs=1.0, taught_by="twin", queue=4)
    assert loss.share(epochs) == pytest.approx(expected)
    value = loss(student(), twin(), batch_of(epochs))
    assert value.item() == pytest.approx(reference(expected, masked=False), rel=64 * EPS)


def test_without_a_ramp_the_share_is_whole_from_the_first_step() -> None:
    loss: Any = build("itc", soft_targets=0.4)
    assert loss.share(0.0) == 0.4


def test_masked_rows_of_a_batch_are_neither_target_nor_rival() -> None:
    pairs = torch.eye(2)
    said = Signals({IMAGE: pairs, TEXT: pairs, TEMPERATURE: torch.tensor(0.5)})
    batch = replace(
        with_fields(make_batch(2), caption_key=torch.tensor([0, 1])), rows={"picture": torch.tensor([5, 5])}
    )
    value = build("itc", same_image="masked")(said, Signals(), batch)
    assert value.item() == pytest.approx(0.0)  # nobody is left to be told from
    taught = build("itc", same_image="masked", soft_targets=0.5)(said, said, batch)
    assert taught.item() == pytest.approx(0.0)


def test_a_loss_of_a_twin_reads_nothing_of_the_teacher_and_says_what_it_asks_of_the_twin() -> None:
    loss = build("itc", soft_targets=0.4, taught_by="twin", queue=8, decay=0.9)
    assert loss.needs.source == NOTHING
    assert loss.needs.twin is not None
    assert (loss.needs.twin.wants, loss.needs.twin.queue) == (CONTRAST - {TEMPERATURE}, 8)
    assert loss.guessing(4.0) == pytest.approx(math.log(12))
    assert build("itc", soft_targets=0.4).needs.twin is None


def test_options_that_came_later_do_not_change_a_candidate_that_does_without() -> None:
    assert plain(Itc.Config()) == {"weight": 1.0, "soft_targets": 0.0}
    assert plain(Itc.Config(taught_by="twin", queue=3))["queue"] == 3


@pytest.mark.parametrize(
    "options", [{"queue": 5}, {"decay": 1.5}, {"taught_by": "student"}, {"same_image": "negative"}]
)
def test_options_that_make_no_sense_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=next(iter(options))):
        Itc.Config(**options)
