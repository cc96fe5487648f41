"""FLOPs of a forward pass, 2 per multiply-accumulate, counted on the meta device.

torch counts matrix products, convolutions and attention; norms, activations and additions are left out, as in
every published figure. Attention is counted over all token pairs, under a causal mask too: that is what the
products cost.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainables.costs.subject import Subject, on_meta
from trainables.models.config import BlipConfig

MODES = ("image", "text", "fused", "decoder")


def flops(subject: Subject) -> int:
    """Return the FLOPs of all modes together for one pair, see `flops_by_mode`."""
    return sum(flops_by_mode(subject.config).values())


def flops_by_mode(config: BlipConfig) -> dict[str, int]:
    """Return the FLOPs of one forward pass per mode that the model has.

    Batch 1 at the task's sizes: one picture of `image_size`, one text of `max_tokens` tokens. `fused` and
    `decoder` take the image tokens as given. The heads are in: projections, ITM head, language-model head at
    every position.

    Layers of one kind cost the same. So a model with one layer of each kind is run (the meta device takes
    about 10 ms a layer) and each layer counts as often as the full model has it; a test compares this with
    the full count.
    """
    layers = Counter(index in config.fusion for index in range(config.text.depth))
    kinds = sorted(layers)  # text-only layers first, then fusion layers
    sample = replace(
        config,
        image=replace(config.image, depth=1),
        text=replace(config.text, depth=len(kinds)),
        fusion=tuple(index for index, fused in enumerate(kinds) if fused),
    )
    counter = _LayerCounter(sample)
    repeats = {"image": {0: config.image.depth}}
    texts = {index: layers[fused] for index, fused in enumerate(kinds)}
    return {mode: counter.count(mode, repeats.get(mode, texts)) for mode in modes(config)}


def modes(config: BlipConfig) -> tuple[str, ...]:
    """Return the modes that a model of these sizes has."""
    exists = {"fused": config.has_fusion, "decoder": config.has_decoder}
    return tuple(mode for mode in MODES if exists.get(mode, True))


class _LayerCounter:
    """Counts the FLOPs of each mode of one model, and those of each of its layers."""

    def __init__(self, config: BlipConfig) -> None:
        self.model = on_meta(config)
        self.layers: dict[str, Iterable[nn.Module]] = {
            "image": self.model.image_encoder.vit.blocks,
            "text": self.model.text_network.layers,
        }
        self.inputs = meta_inputs(config)

    def count(self, mode: str, repeats: dict[int, int]) -> int:
        """Return the FLOPs of a mode where layer `i` stands `repeats[i]` times."""
        counter = FlopCounterMode(display=False)
        spent: Counter[int] = Counter()
        hooks = [
            hook
            for index, layer in enumerate(self.layers["image" if mode == "image" else "text"])
            for part in layer.children()
            for hook in _watch(part, counter, spent, index)
        ]
        try:
            with torch.no_grad(), counter:
                run_mode(self.model, mode, self.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return counter.get_total_flops() + sum((repeats[index] - 1) * spent[index] for index in spent)


def _watch(part: nn.Module, counter: FlopCounterMode, spent: Counter[int], index: int) -> list[Any]:
    """Add what each call of `part` costs to `spent[index]`; return the hooks."""

    def before(*_: Any) -> None:
        spent[index] -= counter.get_total_flops()

    def after(*_: Any) -> None:
        spent[index] += counter.get_total_flops()

    return [part.register_forward_pre_hook(before), part.register_forward_hook(after)]


def meta_inputs(config: BlipConfig) -> dict[str, Tensor]:
    """Return the inputs of every mode at batch 1, on the meta device."""
    return {
        "images": torch.empty(1, 3, config.image_size, config.image_size, device="meta"),
        "ids": torch.empty(1, config.max_tokens, dtype=torch.long, device="meta"),
        "mask": torch.empty(1, config.max_tokens, dtype=torch.bool, device="meta"),
        "tokens": torch.empty(1, config.image_tokens, config.image.width, device="meta"),
    }


def run_mode(model: Any, mode: str, inputs: dict[str, Tensor]) -> None:
    """Run one mode of a `Blip` once on inputs named as in `meta_inputs`."""
    ids, mask, tokens = inputs["ids"], inputs["mask"], inputs["tokens"]
    runs: dict[str, Callable[[], object]] = {
        "image": lambda: model.encode_image(inputs["images"]),
        "text": lambda: model.encode_text(ids, mask),
        "fused": lambda: model.fuse(ids, mask, tokens),
        "decoder": lambda: model.decode(ids, mask, tokens),
    }
    runs[mode]()
