"""The passes of a deployed model of this family: their inputs, and what has to be run to count them."""

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from trainables.families.base import Sample, noise
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.blocks import BLOCKS, needs
from trainables.families.blip.offers import PAIRED


def pass_inputs(architecture: BlipArchitecture, mode: str, tokens: int, like: Tensor) -> dict[str, Tensor]:
    """Return the inputs of one pass at batch 1: pixels, or ids and mask, and image tokens where they are read.

    Args:
        architecture: of the model.
        mode: image, text, fused, paired, decoder or answer; or that of a block, which reads states, too.
        tokens: length of the text.
        like: a weight of the model, for device and dtype.
    """
    a = architecture

    def ids() -> Tensor:
        if like.is_meta:
            return torch.empty((1, tokens), dtype=torch.long, device="meta")
        source = torch.Generator().manual_seed(0)
        return torch.randint(0, a.vocabulary.size, (1, tokens), generator=source).to(like.device)

    made = {
        "pixels": lambda: noise(like, 1, 3, a.image_size, a.image_size),
        "ids": ids,
        "mask": lambda: torch.ones((1, tokens), dtype=torch.bool, device=like.device),
        "tokens": lambda: noise(like, 1, a.image_tokens, a.image.width),
        "tokens_2": lambda: noise(like, 1, a.image_tokens, a.image.width),
        "image_states": lambda: noise(like, 1, a.image_tokens, a.image.width),
        "states": lambda: noise(like, 1, tokens, a.text.width),
    }
    if mode in BLOCKS:
        names = sorted(needs(mode))
    elif mode == "image":
        names = ["pixels"]
    else:
        names = ["ids", "mask"] if mode == "text" else ["ids", "mask", "tokens"]
        names += ["tokens_2"] if mode == PAIRED.mode else []
    return {name: made[name]() for name in names}


def layer_sample(architecture: BlipArchitecture) -> Sample:
    """Return a model with one layer of each kind, and how often each stands in the full one.

    Layers of one kind cost the same, and the meta device takes about 10 ms a layer; a test compares this with the full
    count.
    """
    a = architecture
    merged = a.merged or ()
    kinds = Counter((index in a.fusion, index in merged) for index in range(a.text.depth))
    ordered = sorted(kinds)  # text-only layers first, then fusion layers
    small = replace(
        a,
        image=replace(a.image, depth=1),
        text=replace(a.text, depth=len(ordered)),
        fusion=tuple(index for index, (fused, _) in enumerate(ordered) if fused),
        merged=None if a.merged is None else tuple(i for i, (_, merges) in enumerate(ordered) if merges),
    )
    image = {"image_encoder.vit.blocks.0": a.image.depth}
    networks = ("text_network", *(["answer_network"] if a.has_answerer else []))
    text = {
        f"{network}.layers.{index}": kinds[kind] for network in networks for index, kind in enumerate(ordered)
    }
    repeats = {"": {**image, **text}, "image": image, "text": text}[a.side]
    return Sample(architecture=small, repeats=repeats)
