"""Which image meets which caption in the fused pass: the given pairs, and two hard negatives for each.

BLIP (Li et al. 2022, section 3.2) as coded upstream: one image per caption and one caption per image, drawn
by the ITC softmax. Pairs of the same caption or the same image are no negatives. Of several workers each draws among its own
pairs, as upstream for Flickr30k, or among those of all, as for COCO: then gradients flow to the pictures of the others, too.
A batch may bring captions made false, which are negatives as well.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.families.blip.offers import IMAGE_EMBEDDING, TEMPERATURE, TEXT_EMBEDDING
from trainables.gather import first_row, gather_counted, num_workers, worker_rows
from trainables.signals import FALSEHOOD, PICTURE, Batch, Signals
from trainables.transfer import to_device

RANK, WORKERS = "rank", "workers"


@dataclass(frozen=True, kw_only=True)
class FusedPairs:
    """Rows (N,) of captions and images that meet, with label 1 for the B given pairs, which come first.

    Attributes:
        of_all: whether rows count those of all workers, in order of rank; else those of this one.
    """

    captions_N: Tensor
    images_N: Tensor
    labels_N: Tensor
    of_all: bool = False


def allowed_negatives(batch: Batch) -> Tensor:
    """Return (B, B) bool, True where caption i and image j are a true negative."""
    return _differ(batch["caption.key"], batch.rows[PICTURE])


def _differ(captions_B: Any, images_B: Any) -> Any:
    """Return (B, B) bool, True where neither caption nor image are the same; tensors and arrays alike."""
    return _apart(captions_B, images_B, captions_B, images_B)


def _apart(captions_B: Any, images_B: Any, captions_W: Any, images_W: Any) -> Any:
    """Return (B, W) bool, the same of B pairs and W others."""
    return ~((captions_B[:, None] == captions_W[None, :]) | (images_B[:, None] == images_W[None, :]))


def _with_negative(batch: Batch, allowed_BB: Tensor) -> Tensor:
    """Return the rows that have a true negative, rising: the relation is the same both ways.

    Their number sizes what follows, so that a GPU must not be asked for it.
    """
    name = "caption.key"
    if name not in batch.hosted or PICTURE not in batch.hosted:
        return allowed_BB.any(dim=1).nonzero()[:, 0]
    there = np.flatnonzero(_differ(batch.hosted[name], batch.hosted[PICTURE]).any(axis=1))
    return to_device(torch.from_numpy(there), allowed_BB.device)


def draw_negatives(similarity_BB: Tensor, allowed_BB: Tensor, generator: torch.Generator) -> Tensor:
    """Return one column per row drawn by softmax over the allowed ones; any, of a row that has none.

    Computed in float32 with a floor, so that a half-precision or saturated softmax cannot sum to zero.

    Args:
        similarity_BB: ITC logits, rows ask for columns.
        allowed_BB: True where a column may be drawn.
        generator: on the device of the logits.
    """
    weights = similarity_BB.float().masked_fill(~allowed_BB, float("-inf")).softmax(dim=1).nan_to_num(0.0)
    weights = (weights + 1e-6) * allowed_BB
    weights = weights.masked_fill(~allowed_BB.any(dim=1, keepdim=True), 1.0)
    return torch.multinomial(weights, 1, generator=generator)[:, 0]


def fused_pairs(similarity_BB: Tensor, batch: Batch, generator: torch.Generator) -> FusedPairs:
    """Return the given pairs followed by their negatives.

    Args:
        similarity_BB: image-to-text logits (row = image, column = caption) of teacher or student, detached.
        batch: for the keys that tell false negatives.
        generator: on the device of the logits.
    """
    allowed = allowed_negatives(batch)
    rows = torch.arange(len(allowed), device=allowed.device)
    captions = draw_negatives(similarity_BB, allowed.T, generator)
    images = draw_negatives(similarity_BB.T, allowed, generator)
    possible = _with_negative(batch, allowed)
    captions_N = torch.cat([rows, possible, captions[possible]])
    images_N = torch.cat([rows, images[possible], possible])
    labels_N = torch.zeros(len(captions_N), dtype=torch.long, device=rows.device)
    labels_N[: len(rows)] = 1
    return FusedPairs(captions_N=captions_N, images_N=images_N, labels_N=labels_N)


def _among_all(by: Signals, batch: Batch, generator: torch.Generator) -> FusedPairs:
    """Return the given pairs and their negatives, drawn among the pairs of all workers; they meet at least one another's."""
    image_BE, text_BE = by[IMAGE_EMBEDDING].float(), by[TEXT_EMBEDDING].float()
    captions_B, images_B = batch["caption.key"], batch.rows[PICTURE]
    counts = worker_rows(len(image_BE), image_BE.device)
    image_WE, text_WE, captions_W, images_W = gather_counted(counts, image_BE, text_BE, captions_B, images_B)
    allowed_BW = _apart(captions_B, images_B, captions_W, images_W)
    captions = draw_negatives(image_BE @ text_WE.T / by[TEMPERATURE], allowed_BW, generator)
    images = draw_negatives(text_BE @ image_WE.T / by[TEMPERATURE], allowed_BW, generator)
    possible = allowed_BW.any(dim=1).nonzero()[:, 0]
    first = first_row(counts)
    rows = torch.arange(first, first + len(image_BE), device=image_BE.device)
    captions_N = torch.cat([rows, rows[possible], captions[possible]])
    images_N = torch.cat([rows, images[possible], rows[possible]])
    labels_N = torch.zeros(len(captions_N), dtype=torch.long, device=rows.device)
    labels_N[: len(rows)] = 1
    return FusedPairs(captions_N=captions_N, images_N=images_N, labels_N=labels_N, of_all=True)


def of_all_workers(ids: Tensor, mask: Tensor, tokens: Tensor, *, pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return texts and image tokens of all workers, in order of rank; texts as long as the longest of all.

    Args:
        ids, mask: (B, T) of this worker.
        tokens: (B, P, D) of its pictures; those of the others get gradients, too.
        pad: the id of padding.
    """
    counts = worker_rows(len(ids), ids.device)
    longest = max(worker_rows(ids.shape[1], ids.device))
    more = (0, longest - ids.shape[1])
    whole, real, seen = gather_counted(counts, F.pad(ids, more, value=pad), F.pad(mask, more), tokens)
    return whole, real, seen


@torch.no_grad()
def pairs_drawn_by(by: Signals | None, batch: Batch, drawn_from: str = RANK) -> FusedPairs:
    """Return the given pairs and hard negatives, drawn by the similarities of teacher or student.

    Args:
        by: embeddings and temperature of who draws.
        batch: with its seed.
        drawn_from: the pairs of this `rank` or of all `workers`.

    Raises:
        ValueError: nobody draws.
    """
    if by is None:
        raise ValueError(
            "negatives are drawn by the teacher's similarities; hand `inputs().source` to `forward`."
        )
    generator = torch.Generator(device=batch.device)
    generator.manual_seed(batch.seed)
    if drawn_from == WORKERS and num_workers() > 1:
        return _among_all(by, batch, generator)
    similarity_BB = by[IMAGE_EMBEDDING] @ by[TEXT_EMBEDDING].T / by[TEMPERATURE]
    return fused_pairs(similarity_BB, batch, generator)


def met(
    batch: Batch, pairs: FusedPairs, tokens_BPD: Tensor, *, pad: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ids and mask (M, T) of the texts, tokens (M, P, D) of the images that they meet, and labels (M,).

    Behind the pairs, each image meets its own caption made false, where a batch has those: `falsehood.ids` and `.mask`, (B, T) as
    its captions. No drawing finds negatives that are so near.

    Args:
        batch: with captions.
        pairs: which meet.
        tokens_BPD: of the batch's images.
        pad: token that fills shorter texts.
    """
    ids, mask, tokens, labels = batch["caption.ids"], batch["caption.mask"], tokens_BPD, pairs.labels_N
    if pairs.of_all:
        ids, mask, tokens = of_all_workers(ids, mask, tokens, pad=pad)
    ids, mask, tokens = ids[pairs.captions_N], mask[pairs.captions_N], tokens[pairs.images_N]
    if f"{FALSEHOOD}.ids" not in batch:
        return ids, mask, tokens, labels
    false_ids, false_mask = batch[f"{FALSEHOOD}.ids"], batch[f"{FALSEHOOD}.mask"]
    longer = ids.shape[1] - false_ids.shape[1]  # another worker's captions may be
    return (
        torch.cat([ids, F.pad(false_ids, (0, longer), value=pad)]),
        torch.cat([mask, F.pad(false_mask, (0, longer), value=False)]),
        torch.cat([tokens, tokens_BPD]),
        torch.cat([labels, labels.new_zeros(len(tokens_BPD))]),
    )
