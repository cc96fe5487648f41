"""Beam search as published for captions (Li et al. 2022): equal to the `generate` of the published class, token by token."""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from trainables.families.base import DecoderState
from trainables.signals import Signals
from trainables.tasks.decoding import Decoder

TOGETHER = 32  # pictures: keys and values of 12 layers, 768 wide, take 43 MB each at 384 px


@dataclass(frozen=True, kw_only=True)
class Beams:
    """How a text is looked for.

    Li et al. 2022, section 5.2, as published: 3 beams, 5 to 20 tokens. Lengths count all tokens: [DEC], prompt and [SEP], too.

    Attributes:
        width: beams of each picture.
        shortest: tokens before which no text ends.
        longest: tokens at most.
        behind: whether lengths count what comes behind the prompt alone.
        cached: read token by token where the family can, else each text whole at each step.
    """

    width: int = 3
    shortest: int = 5
    longest: int = 20
    behind: bool = False
    cached: bool = True


class _Reader(Protocol):
    """Reads the texts of some pictures further; see `DecoderState`."""

    def following(self, texts: list[list[int]]) -> Tensor:
        """Return next-token logits (N, V) of texts, each one token longer than what was kept, or read for the first time."""

    def keep(self, rows: list[int], width: int) -> None:
        """Go on from the texts at some rows."""


@dataclass
class _Whole:
    """Shows the model each text from its beginning."""

    decoder: Decoder
    known: Signals
    pixels: Tensor
    begun: int

    def following(self, texts: list[list[int]]) -> Tensor:
        return self.decoder.next_logits(texts, self.known, self.pixels, begun=[self.begun] * len(texts))

    def keep(self, rows: list[int], width: int) -> None:
        self.known = Signals({want: value[rows] for want, value in self.known.items()})
        self.pixels = self.pixels[rows]


@dataclass
class _Cached:
    """Shows it the tokens that it has not read."""

    decoding: DecoderState
    device: torch.device
    length: int = 0

    def following(self, texts: list[list[int]]) -> Tensor:
        new = torch.tensor([text[self.length :] for text in texts], device=self.device)
        self.length = len(texts[0])
        return self.decoding.read(new)[:, -1]

    def keep(self, rows: list[int], width: int) -> None:
        self.decoding.keep(torch.tensor(rows, device=self.device), width)


@dataclass
class _Picture:
    """The search for the text of one picture.

    Attributes:
        prompt: its length.
        width: beams.
        running: texts that go on, with their log-probabilities, the best first.
        ended: texts that have ended, with their log-probability per token that was said, the best first.
        closed: whether no running text can be better than the worst that has ended, taken at its present length.
    """

    prompt: int
    width: int
    running: list[tuple[float, list[int]]]
    ended: list[tuple[float, list[int]]] = field(default_factory=list)
    closed: bool = False

    def go_on(self, offered: list[tuple[float, int, int]], *, end: int, longest: int) -> list[int]:
        """Take the best continuations, and return from which running text each of the next ones comes.

        Args:
            offered: log-probability, number of the running text, token: twice as many as beams, the best first.
            end: the token that ends a text.
            longest: tokens of a text at most.
        """
        said = len(self.running[0][1]) + 1 - self.prompt
        following: list[tuple[float, list[int]]] = []
        origins: list[int] = []
        for place, (score, origin, token) in enumerate(offered):
            text = [*self.running[origin][1], token]
            if token == end or len(text) == longest:
                if place < self.width and score > -math.inf:
                    self.ended.append((score / said, text))
            elif len(following) < self.width:
                following.append((score, text))
                origins.append(origin)
        self.ended = sorted(self.ended, key=lambda one: -one[0])[: self.width]
        while following and len(following) < self.width:  # of a vocabulary of hardly more words than beams
            following.append((-math.inf, following[-1][1]))
            origins.append(origins[-1])
        self.running = following
        full = len(self.ended) == self.width
        self.closed = not following or (full and following[0][0] / said <= self.ended[-1][0])
        return origins


@torch.no_grad()
def beam_search(decoder: Decoder, prompts: list[list[int]], pixels: Tensor, beams: Beams) -> list[list[int]]:
    """Return for each picture the ids behind its prompt of the text that is most likely per token, without [SEP].

    A text is at most as long as the model can read. Those with equally long prompts are looked for together.

    Args:
        decoder: model in eval mode.
        prompts: ids that a text begins with, [DEC] first.
        pixels: (B, 3, S, S) normalised pictures.
        beams: how it is looked for.
    """
    found: list[list[int]] = [[] for _ in prompts]
    for places in together(prompts, TOGETHER):
        texts = _searched(decoder, [prompts[place] for place in places], pixels[places], beams)
        for place, text in zip(places, texts, strict=True):
            found[place] = text
    return found


def together(prompts: list[list[int]], most: int) -> list[list[int]]:
    """Return the places of equally long prompts, at most so many at a time."""
    lengths: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt), []).append(place)
    return [
        places[first : first + most] for places in lengths.values() for first in range(0, len(places), most)
    ]


def _searched(decoder: Decoder, prompts: list[list[int]], pixels: Tensor, beams: Beams) -> list[list[int]]:
    begun = len(prompts[0])
    longest, end = min(beams.longest + begun * beams.behind, decoder.longest), decoder.vocabulary.sep
    shortest = beams.shortest + begun * beams.behind
    if begun >= longest:
        return [[] for _ in prompts]
    reader = _reader(decoder, pixels, begun, cached=beams.cached)
    every = [_Picture(begun, beams.width, [(0.0, list(prompt))]) for prompt in prompts]
    left = every
    for length in range(begun, longest):
        logits = reader.following([text for one in left for _, text in one.running])
        scores = torch.log_softmax(logits.float(), dim=-1)
        if length < shortest:
            scores[:, end] = -math.inf
        offers = _offers(scores, left, 2 * beams.width)
        kept: list[int] = []
        still: list[_Picture] = []
        row = 0
        for one, offered in zip(left, offers, strict=True):
            running = len(one.running)
            origins = one.go_on(offered, end=end, longest=longest)
            if not one.closed:
                still.append(one)
                kept += [row + origin for origin in origins]
            row += running
        left = still
        if not left:
            break
        reader.keep(kept, beams.width)
    texts = (one.ended[0][1][begun:] if one.ended else [] for one in every)
    return [text[:-1] if text and text[-1] == end else text for text in texts]


def _reader(decoder: Decoder, pixels: Tensor, begun: int, *, cached: bool) -> _Reader:
    """Return what reads texts: token by token where the family can."""
    known = decoder.known(pixels)
    decoding = decoder.model.decoder_state(decoder.logits, known) if cached else None
    return _Whole(decoder, known, pixels, begun) if decoding is None else _Cached(decoding, pixels.device)


def _offers(scores: Tensor, pictures: list[_Picture], most: int) -> list[list[tuple[float, int, int]]]:
    """Return the best continuations of each picture, as `_Picture.go_on` takes them.

    Args:
        scores: (N, V) log-probabilities of what follows each running text.
        pictures: with equally many running texts each.
        most: so many.
    """
    before = torch.tensor([score for one in pictures for score, _ in one.running], device=scores.device)
    vocabulary = scores.shape[1]
    whole = (scores + before[:, None]).view(len(pictures), -1)
    best, places = whole.topk(min(most, whole.shape[1]), dim=1)
    return [
        [(score, place // vocabulary, place % vocabulary) for score, place in zip(*one, strict=True)]
        for one in zip(best.tolist(), places.tolist(), strict=True)
    ]
