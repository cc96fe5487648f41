"""A split as the training loop reads it: token ids in arrays, batches by row number."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.datasets.base import Split
from trainables.models.config import PreprocessConfig
from trainables.outputs import Batch
from trainables.tokenizer import Tokenizer


def _padded(rows: list[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    table = np.full((len(rows), int(lengths.max(initial=0))), pad, dtype=np.int32)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table, lengths


def _rows_of(images: np.ndarray, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return text rows ordered by image, and the (N + 1,) offsets of each image's rows."""
    order = np.argsort(images, kind="stable")
    return order, np.searchsorted(images[order], np.arange(num_images + 1))


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Token rows (M, T) int32 with their lengths (M,), and which rows belong to which image."""

    ids: np.ndarray
    lengths: np.ndarray
    images: np.ndarray
    order: np.ndarray
    offsets: np.ndarray

    def count(self, images: np.ndarray) -> np.ndarray:
        """Return how many rows each of `images` has."""
        counts: np.ndarray = self.offsets[images + 1] - self.offsets[images]
        return counts

    def row(self, images: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Return the `number`-th row of each image, -1 where the image has no row at all."""
        counts = self.count(images)
        places = self.offsets[images] + number % np.maximum(counts, 1)
        rows: np.ndarray = np.where(counts > 0, self.order[np.minimum(places, len(self.order) - 1)], -1)
        return rows


def _table(rows: list[list[int]], images: np.ndarray, num_images: int, pad: int) -> TextTable:
    ids, lengths = _padded(rows, pad)
    order, offsets = _rows_of(images, num_images)
    return TextTable(ids=ids, lengths=lengths, images=images, order=order, offsets=offsets)


class EncodedSplit:
    """Pixels and token tables of one split, and the batches made of them.

    Attributes:
        captions, questions: token tables; `questions` is None where the data set asks nothing.
        caption_keys: (M,) int64, equal for equal captions.
        answer_starts: (Q,) int64, position of the first answer token in each question row.
    """

    def __init__(self, split: Split, tokenizer: Tokenizer, preprocess: PreprocessConfig) -> None:
        self.name = split.name
        self.pixels = split.pixels
        self.num_images = split.num_images
        pad = tokenizer.vocabulary.pad
        self.vocabulary = tokenizer.vocabulary
        self.captions = _table(tokenizer.captions(split.captions), split.caption_images, self.num_images, pad)
        self.caption_keys = (
            np.unique(self.captions.ids, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
        )
        self.questions: TextTable | None = None
        self.answer_starts = np.zeros(0, dtype=np.int64)
        if split.questions:
            rows, starts = tokenizer.questions(split.questions, split.answers)
            self.questions = _table(rows, split.question_images, self.num_images, pad)
            self.answer_starts = np.array(starts, dtype=np.int64)
        self._mean = torch.tensor(preprocess.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess.std).view(1, 3, 1, 1)

    def images(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Return normalised pictures (B, 3, S, S)."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[rows])).to(device)
        values = pixels.permute(0, 3, 1, 2).float() / 255
        return ((values - self._mean.to(device)) / self._std.to(device)).contiguous()

    def _tokens(self, table: TextTable, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        lengths = table.lengths[rows]
        width = int(lengths.max())
        ids = torch.from_numpy(table.ids[rows, :width].astype(np.int64)).to(device)
        mask = torch.from_numpy(np.arange(width)[None, :] < lengths[:, None]).to(device)
        return ids, mask

    def caption_tokens(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return ids (B, T) and mask (B, T) of caption rows, trimmed to the longest."""
        return self._tokens(self.captions, rows, device)

    def question_tokens(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, mask and answer mask (B, T) of question rows.

        The answer mask is True where the next token is an answer token or the [SEP] that ends it. Row -1 (a
        picture without question) gives `[DEC] [SEP]` with nothing to answer.
        """
        assert self.questions is not None
        asked = rows >= 0
        ids, mask = self._tokens(self.questions, np.maximum(rows, 0), device)
        starts = self.answer_starts[np.maximum(rows, 0)]
        ends = self.questions.lengths[np.maximum(rows, 0)] - 1
        places = np.arange(ids.shape[1])[None, :]
        answer = (places >= starts[:, None] - 1) & (places < ends[:, None]) & asked[:, None]
        missing = torch.from_numpy(~asked).to(device)
        if bool(missing.any()):
            ids = torch.where(missing[:, None], torch.full_like(ids, self.vocabulary.pad), ids)
            ids[missing, 0] = self.vocabulary.dec
            ids[missing, 1] = self.vocabulary.sep
            mask = torch.where(missing[:, None], torch.arange(ids.shape[1], device=device)[None, :] < 2, mask)
        return ids, mask, torch.from_numpy(answer).to(device)

    def batch(
        self, images: np.ndarray, captions: np.ndarray, questions: np.ndarray | None, device: torch.device
    ) -> Batch:
        """Return one batch.

        Args:
            images: (B,) picture rows.
            captions: (B,) caption rows.
            questions: (B,) question rows (-1 for none), or None to leave questions out.
            device: where the tensors go.
        """
        caption_ids, caption_mask = self.caption_tokens(captions, device)
        batch = Batch(
            images=self.images(images, device),
            caption_ids=caption_ids,
            caption_mask=caption_mask,
            caption_keys=torch.from_numpy(self.caption_keys[captions]).to(device),
            image_keys=torch.from_numpy(images.astype(np.int64)).to(device),
            caption_rows=torch.from_numpy(captions.astype(np.int64)).to(device),
        )
        if questions is not None and self.questions is not None:
            batch.question_ids, batch.question_mask, batch.answer_mask = self.question_tokens(
                questions, device
            )
            batch.question_rows = torch.from_numpy(questions.astype(np.int64)).to(device)
        return batch
