"""What a model says about a whole split: collected once, read by every metric."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.datasets.encoded import EncodedSplit
from trainables.models.blip import Blip

CHUNK = 100


@dataclass(frozen=True, kw_only=True)
class EvaluationSize:
    """How much of a split is evaluated: the first pictures, with their first captions and questions."""

    images: int = 1000
    captions_per_image: int = 1
    questions_per_image: int = 2


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Outputs over a pool of n images with m captions.

    Attributes:
        image_embeddings: (n, E) unit norm.
        text_embeddings: (m, E) unit norm.
        caption_images: (m,) which of the n images each caption describes.
        tokens_right, tokens: caption tokens predicted right under teacher forcing, and all of them; None
            without decoder.
        answers_right, answers: questions answered right (greedy decoding gives exactly the answer), and all
            asked; None without decoder or questions.
    """

    image_embeddings: Tensor
    text_embeddings: Tensor
    caption_images: Tensor
    tokens_right: int | None = None
    tokens: int | None = None
    answers_right: int | None = None
    answers: int | None = None


def _first_rows(
    split: EncodedSplit, images: np.ndarray, per_image: int, *, questions: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `per_image` rows of every image, and the image (as a place in the pool) of each."""
    table = split.questions if questions else split.captions
    assert table is not None
    rows, owners = [], []
    for number in range(per_image):
        has = table.count(images) > number
        rows.append(table.row(images[has], np.full(int(has.sum()), number)))
        owners.append(np.flatnonzero(has))
    row, owner = np.concatenate(rows), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return row[order], owner[order]


class _Reader:
    """Runs a model over chunks of one split, keeping the image tokens of the pool."""

    def __init__(self, model: Blip, split: EncodedSplit, device: torch.device, *, blind: bool) -> None:
        self.model, self.split, self.device, self.blind = model, split, device, blind
        self.tokens: list[Tensor] = []

    def images(self, pool: np.ndarray) -> Tensor:
        embeddings = []
        for first in range(0, len(pool), CHUNK):
            pixels = self.split.images(pool[first : first + CHUNK], self.device)
            seen = self.model.encode_image(torch.zeros_like(pixels) if self.blind else pixels)
            assert seen.tokens_BPD is not None
            assert seen.embedding_BE is not None
            self.tokens.append(seen.tokens_BPD)
            embeddings.append(seen.embedding_BE)
        return torch.cat(embeddings)

    def grounded(self, owners: np.ndarray) -> Tensor:
        return torch.stack([self.tokens[int(i) // CHUNK][int(i) % CHUNK] for i in owners])

    def texts(self, rows: np.ndarray) -> Tensor:
        embeddings = []
        for first in range(0, len(rows), CHUNK):
            out = self.model.encode_text(*self.split.caption_tokens(rows[first : first + CHUNK], self.device))
            assert out.embedding_BE is not None
            embeddings.append(out.embedding_BE)
        return torch.cat(embeddings)

    def caption_tokens(self, rows: np.ndarray, owners: np.ndarray) -> tuple[int, int]:
        right = total = 0
        for first in range(0, len(rows), CHUNK):
            ids, mask = self.split.caption_tokens(rows[first : first + CHUNK], self.device)
            out = self.model.decode(ids, mask, self.grounded(owners[first : first + CHUNK]))
            assert out.logits_BTV is not None
            real = mask[:, 1:]
            right += int(((out.logits_BTV[:, :-1].argmax(-1) == ids[:, 1:]) & real).sum())
            total += int(real.sum())
        return right, total

    def answers(self, rows: np.ndarray, owners: np.ndarray) -> tuple[int, int]:
        """Count answers that greedy decoding gives exactly: each token the argmax after those before."""
        right = 0
        for first in range(0, len(rows), CHUNK):
            ids, mask, answer = self.split.question_tokens(rows[first : first + CHUNK], self.device)
            out = self.model.decode(ids, mask, self.grounded(owners[first : first + CHUNK]), mode="answer")
            assert out.logits_BTV is not None
            hit = (out.logits_BTV[:, :-1].argmax(-1) == ids[:, 1:]) | ~answer[:, :-1]
            right += int(hit.all(dim=1).sum())
        return right, len(rows)


@torch.no_grad()
def predict(
    model: Blip, split: EncodedSplit, device: torch.device, *, size: EvaluationSize, blind: bool = False
) -> Predictions:
    """Return what the model (put in eval mode meanwhile) says about the split's pool.

    Args:
        model: teacher or student.
        split: a held-out split.
        device: where the model lives.
        size: how much of the split.
        blind: show black pictures, for the baseline that sees nothing.
    """
    training = model.training
    model.eval()
    try:
        pool = np.arange(min(size.images, split.num_images))
        reader = _Reader(model, split, device, blind=blind)
        image_embeddings = reader.images(pool)
        rows, owners = _first_rows(split, pool, size.captions_per_image, questions=False)
        found: dict[str, int] = {}
        if model.config.has_decoder:
            found["tokens_right"], found["tokens"] = reader.caption_tokens(rows, owners)
            if split.questions is not None:
                asked, askers = _first_rows(split, pool, size.questions_per_image, questions=True)
                if len(asked):
                    found["answers_right"], found["answers"] = reader.answers(asked, askers)
        return Predictions(
            image_embeddings=image_embeddings,
            text_embeddings=reader.texts(rows),
            caption_images=torch.from_numpy(owners).to(device),
            **found,
        )
    finally:
        nn.Module.train(model, training)
