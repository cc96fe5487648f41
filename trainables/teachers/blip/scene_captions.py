"""Whether greedy captions of scenes name exactly the objects that are there."""

import re
from itertools import pairwise

import numpy as np
import torch

from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes.drawing import COLORS, SHAPES
from trainables.families.blip.model import Blip
from trainables.signals import CAPTION
from trainables.tasks.decoding import LOGITS, Decoder
from trainables.tokenizer import Tokenizer

NUMBERS_PER_OBJECT = 5
WORD = re.compile("[a-z]+")


def named_objects(caption: str) -> set[tuple[str, str]]:
    """Return the (colour, shape) pairs that a caption names."""
    words = WORD.findall(caption)  # a tokenizer's text has `star,` where the data has `star ,`
    return {(a, b) for a, b in pairwise(words) if a in COLORS and b in SHAPES}


def exact_captions(
    model: Blip, split: EncodedSplit, tokenizer: Tokenizer, scenes: list[list[int]], *, num_images: int
) -> float:
    """Return the share of captions, in percent, whose (colour, shape) pairs are exactly those of the scene.

    Args:
        model: with a decoder.
        split: held-out scenes.
        tokenizer: turns ids into words.
        scenes: integer description of every scene: colour, shape, size, x, y per object.
        num_images: the first so many pictures.
    """
    decoder = Decoder(
        model=model.eval(),
        logits=LOGITS,
        rows=CAPTION,
        vocabulary=tokenizer.vocabulary,
        longest=tokenizer.max_tokens,
    )
    pixels = split.images(np.arange(num_images), torch.device("cpu"))
    captions = decoder.greedy([tokenizer.prompt()] * num_images, pixels)
    colors = list(COLORS)
    right = 0
    for ids, scene in zip(captions, scenes, strict=False):
        objects = [scene[i : i + NUMBERS_PER_OBJECT] for i in range(0, len(scene), NUMBERS_PER_OBJECT)]
        truth = {(colors[o[0]], SHAPES[o[1]]) for o in objects}
        right += named_objects(tokenizer.decode(ids)) == truth
    return 100.0 * right / num_images
