"""What the tasks of a decoder have in common: how long texts are, how many steps decoding takes, and greedy decoding."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.families.base import Family
from trainables.signals import PIXELS, Batch, Offers, Signals, Want
from trainables.tokenizer import VocabularyConfig

LOGITS = Want("decoder", "logits")
ANSWERS = Want("answer", "logits")
CAPTION_STEPS = (
    20  # tokens of a generated caption, as Li et al. 2022 bound theirs; fewer where texts are shorter
)
ANSWER_STEPS = 2  # most answers of VQA are one word, and its end has to be found, too


def longest_text(offers: Offers, mode: str) -> int:
    """Return the longest text that a mode takes, special tokens included; 0 where no text says how long it is."""
    lengths = [offer.size("T") for want, offer in offers.items() if want.mode == mode and "T" in offer.axes]
    return max(lengths, default=0)


def caption_steps(offers: Offers) -> tuple[int, int]:
    """Return how many decoding steps a caption takes, and how long its text is in a middle one.

    Each step reads the whole text so far, which is as long as step number says: n steps cost what n steps of the middle
    length cost, but for the products of self-attention, which are a few per cent.
    """
    steps = min(longest_text(offers, "decoder") - 1, CAPTION_STEPS)
    return steps, (steps + 1) // 2


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A model that decodes greedily, with what it has to know of its texts.

    Attributes:
        model: in eval mode.
        logits: the want that predicts next tokens.
        rows: kind of text that it reads: `caption` or `question`.
        vocabulary: special ids.
        longest: tokens of a text at most, special ones included.
    """

    model: Family
    logits: Want
    rows: str
    vocabulary: VocabularyConfig
    longest: int

    @torch.no_grad()
    def greedy(self, prompts: list[list[int]], pixels: Tensor) -> list[list[int]]:
        """Return the ids that follow each prompt up to [SEP], each the most likely one after those before.

        Rows are padded on the right and each goes on from its own end: the causal mask hides what stands behind.

        Args:
            prompts: a row per picture, beginning with [DEC].
            pixels: (B, 3, S, S) normalised pictures.
        """
        reusable = self.model.reusable
        pictures = Batch(fields={PIXELS: pixels}, rows={})
        known: Signals = self.model(pictures, reusable) if reusable else Signals()
        rows = [list(prompt) for prompt in prompts]
        done = [False] * len(rows)
        begins = torch.tensor([[len(row)] for row in prompts], dtype=torch.long, device=pixels.device).view(
            -1, 1
        )
        while left := [i for i, row in enumerate(rows) if not done[i] and len(row) < self.longest]:
            ids, mask = padded([rows[i] for i in left], self.vocabulary.pad, pixels.device)
            said = torch.arange(ids.shape[1], device=ids.device)[None, :] >= begins[left] - 1
            fields = {f"{self.rows}.ids": ids, f"{self.rows}.mask": mask, f"{self.rows}.targets": said & mask}
            batch = Batch(fields=fields if known else {**fields, PIXELS: pixels[left]}, rows={})
            kept = Signals({want: value[left] for want, value in known.items()}) if known else None
            logits = self.model(batch, frozenset({self.logits}), None, kept)[self.logits]
            ends = mask.sum(dim=1) - 1
            chosen = logits[torch.arange(len(left), device=logits.device), ends].argmax(dim=-1).tolist()
            for i, token in zip(left, chosen, strict=True):
                done[i] = token == self.vocabulary.sep
                if not done[i]:
                    rows[i].append(token)
        return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]


def padded(rows: list[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (B, T) padded on the right, and their mask (B, T); without rows T is 1."""
    width = max((len(row) for row in rows), default=1)
    filled = [row + [pad] * (width - len(row)) for row in rows]
    ids = torch.tensor(filled, dtype=torch.long, device=device).view(len(rows), width)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long, device=device)
    return ids, torch.arange(width, device=device)[None, :] < lengths[:, None]
