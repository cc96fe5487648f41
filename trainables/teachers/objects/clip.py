"""CLIP: pictures and captions that belong together are told from all others of the batch.

Half of the captions name the large object alone, as captions of the web name what a picture is about. Without these, 1,600 steps
of 32 pairs made features that told 23 % of the classes to nearest neighbours, less than raw pixels do: small objects and places
distinguish the pictures of a batch as well.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.datasets.objects.drawing import SIZE
from trainables.datasets.scenes import language
from trainables.teachers.objects.recipe import ENCODER, MEAN, STD, Recipe, Schedule, short_caption

MAX_TOKENS = 32
EMBEDDING = 48
SHORT = 0.5  # share of captions that name the large object alone
LARGEST_SCALE = math.log(100)  # Radford et al. 2021, section 2.5
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def byte_letters() -> list[str]:
    """Return the letter that byte-level encodings write for each of the 256 bytes (Radford et al. 2019)."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return [chr(byte) for byte in printed] + [chr(256 + number) for number in range(len(others))]


def pair_encoding(words: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and merges after which every word is one token (Sennrich et al. 2016, algorithm 1).

    All bytes are in the vocabulary, so that any other text can be spelled. Ties are broken by the alphabet.
    """
    spelled = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for parts in spelled for pair in pairwise(parts)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(parts, best) for parts in spelled]
    letters = byte_letters()
    tokens = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in merges)]
    return {token: number for number, token in enumerate([*tokens, BEGIN, END])}, merges


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """Return the parts of a word with every occurrence of a pair made one."""
    made: list[str] = []
    for part in parts:
        if made and (made[-1], part) == pair:
            made[-1] += part
        else:
            made.append(part)
    return made


def short_captions(captions: Sequence[str], labels: Tensor, short: Tensor) -> tuple[list[str], Tensor]:
    """Return captions (B,), those that are to be short replaced, and which of them (B, B) are true of which picture.

    A short caption is true of all pictures of its class (Yang et al. 2022, equation 3: contrast with labels).

    Args:
        captions: one of each picture.
        labels: (B,) class of each.
        short: (B,) bool.
    """
    names = [short_caption(label) for label in labels.tolist()]
    texts = [name if cut else text for name, text, cut in zip(names, captions, short.tolist(), strict=True)]
    alike = (labels[:, None] == labels[None]) & short[None]
    return texts, alike | torch.eye(len(labels), dtype=torch.bool)


class Clip(Recipe):
    """Contrast of pictures and captions (Radford et al. 2021)."""

    schedule: ClassVar[Schedule] = Schedule(steps=3000)
    objective: ClassVar[str] = (
        "contrast of pictures and captions (CLIP), half of which name the large object alone, and so the class"
    )

    def __init__(self) -> None:
        from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

        super().__init__()
        vocabulary, merges = pair_encoding(language.VOCABULARY)
        self.tokenizer = CLIPTokenizer(
            vocab=vocabulary,
            merges=merges,  # type: ignore[arg-type]  # pairs are what it passes on, whatever it says
            model_max_length=MAX_TOKENS,
        )
        text = {
            "vocab_size": len(vocabulary),
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 256,
            "max_position_embeddings": MAX_TOKENS,
            "bos_token_id": vocabulary[BEGIN],
            "eos_token_id": vocabulary[END],
            "pad_token_id": vocabulary[END],
        }
        config = CLIPConfig(vision_config=ENCODER, text_config=text, projection_dim=EMBEDDING)
        self.model = CLIPModel(config)

    def loss(self, pixels: Tensor, captions: Sequence[str], *, labels: Tensor, done: float) -> Tensor:
        """Return the mean cross-entropy of both directions; what is true of a picture shares its target."""
        texts, true = short_captions(captions, labels, torch.rand(len(pixels)) < SHORT)
        read = self.tokenizer(texts, padding=True, return_tensors="pt")
        logits = self.model(pixel_values=pixels, **read).logits_per_image
        directions = ((logits, true.float()), (logits.T, true.T.float()))
        losses = [F.cross_entropy(found, told / told.sum(1, keepdim=True)) for found, told in directions]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def after_step(self, done: float) -> None:
        """Keep the scale of the similarities in range."""
        self.model.logit_scale.clamp_(max=LARGEST_SCALE)

    def save_reader(self, folder: Path) -> None:
        """Write image processor and tokenizer of CLIP."""
        from transformers import CLIPImageProcessor

        CLIPImageProcessor(
            size={"shortest_edge": SIZE},
            crop_size={"height": SIZE, "width": SIZE},
            image_mean=[MEAN] * 3,
            image_std=[STD] * 3,
        ).save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
