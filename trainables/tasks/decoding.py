"""What the tasks of a decoder have in common: how long texts are, how many steps decoding takes, and greedy decoding."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family
from trainables.signals import PIXELS, Batch, Offers, Signals, Want
from trainables.tokenizer import VocabularyConfig

LOGITS = Want("decoder", "logits")
ANSWERS = Want("answer", "logits")
CAPTION_STEPS = (
    20  # tokens of a generated caption, as Li et al. 2022 bound theirs; fewer where texts are shorter
)
ROOM = 10  # tokens that a question leaves to its answer, which is as many as one has by default
ANSWER_STEPS = 2  # most answers of VQA are one word, and its end has to be found, too


def unknown_of(split: EncodedSplit) -> int:
    """Return the id that stands for each word that nobody of this vocabulary can say; -1 where every word can be spelled."""
    found = split.tokenizer.unknown if split.tokenizer else None
    return -1 if found is None else found


def longest_text(offers: Offers, mode: str) -> int:
    """Return the longest text that a mode takes, special tokens included; 0 where no text says how long it is."""
    lengths = [offer.size("T") for want, offer in offers.items() if want.mode == mode and "T" in offer.axes]
    return max(lengths, default=0)


def caption_steps(offers: Offers, longest: int | None = None) -> tuple[int, int]:
    """Return how many decoding steps a caption takes, and how long its text is in a middle one.

    Each step reads the whole text so far, which is as long as step number says: n steps cost what n steps of the middle
    length cost, but for the products of self-attention, which are a few per cent.

    Args:
        offers: of the model.
        longest: tokens of a caption where it is known, the first included.
    """
    steps = min(longest_text(offers, "decoder") - 1, CAPTION_STEPS if longest is None else longest - 1)
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
    def known(self, pixels: Tensor) -> Signals:
        """Return what the model can use again of normalised pictures (B, 3, S, S)."""
        reusable = self.model.reused(frozenset({self.logits}))
        found: Signals = (
            self.model(Batch(fields={PIXELS: pixels}, rows={}), reusable) if reusable else Signals()
        )
        return found

    @torch.no_grad()
    def next_logits(
        self, texts: list[list[int]], pictures: Signals, pixels: Tensor, *, begun: list[int]
    ) -> Tensor:
        """Return the logits (N, V) of what follows each text, see `all_logits`."""
        logits = self.all_logits(texts, pictures, pixels, begun=begun)
        ends = torch.tensor([len(text) - 1 for text in texts], device=logits.device)
        found: Tensor = logits[torch.arange(len(texts), device=logits.device), ends]
        return found

    @torch.no_grad()
    def all_logits(
        self, texts: list[list[int]], pictures: Signals, pixels: Tensor, *, begun: list[int]
    ) -> Tensor:
        """Return next-token logits (N, T, V) of texts that the model reads from their beginning.

        Rows are padded on the right: the causal mask hides what stands behind.

        Args:
            texts: a row of ids for each picture.
            pictures: see `known`.
            pixels: (N, 3, S, S), looked at where nothing is known.
            begun: tokens of each row that are given: what is behind them was predicted, or is to be.
        """
        ids, mask = padded(texts, self.vocabulary.pad, pixels.device)
        given = torch.tensor(begun, device=pixels.device)[:, None]
        targets = mask & (torch.arange(ids.shape[1], device=pixels.device)[None, :] >= given - 1)
        fields = {f"{self.rows}.ids": ids, f"{self.rows}.mask": mask, f"{self.rows}.targets": targets}
        batch = Batch(fields=fields if pictures else {**fields, PIXELS: pixels}, rows={})
        found: Tensor = self.model(batch, frozenset({self.logits}), None, pictures or None)[self.logits]
        return found

    @torch.no_grad()
    def greedy(self, prompts: list[list[int]], pixels: Tensor) -> list[list[int]]:
        """Return the ids that follow each prompt up to [SEP], each the most likely one after those before.

        Args:
            prompts: a row per picture, beginning with [DEC].
            pixels: (B, 3, S, S) normalised pictures.
        """
        known = self.known(pixels)
        rows = [list(prompt) for prompt in prompts]
        done = [False] * len(rows)
        while left := [i for i, row in enumerate(rows) if not done[i] and len(row) < self.longest]:
            kept = Signals({want: value[left] for want, value in known.items()})
            begun = [len(prompts[i]) for i in left]
            logits = self.next_logits([rows[i] for i in left], kept, pixels[left], begun=begun)
            chosen = logits.argmax(dim=-1).tolist()
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


def question_room(longest: int, answer: int = ROOM) -> int:
    """Return how many tokens a question may have that is answered: it is not cut for more than `ROOM`, nor below half of a text.

    Args:
        longest: tokens of question and answer together.
        answer: tokens of the longest answer, [SEP] included.
    """
    return max(longest - min(answer, ROOM), (longest + 1) // 2)


def cut_question(prompt: list[int], room: int) -> list[int]:
    """Return a question of at most `room` tokens, cut from its front behind [DEC]."""
    if len(prompt) <= room:
        return prompt
    return [prompt[0], *prompt[len(prompt) - room + 1 :]] if room > 1 else prompt[:1]
