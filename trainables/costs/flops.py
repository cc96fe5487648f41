"""FLOPs of what a deployed model does for one example, 2 per multiply-accumulate, counted on the meta device.

torch counts matrix products, convolutions and attention; norms, activations and additions are left out, as in
every published figure. Attention is counted over all token pairs, under a causal mask too: that is what the
products cost.
"""

from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainables.costs.subject import Subject
from trainables.families.base import Blueprint


def flops(subject: Subject) -> int:
    """Return the FLOPs of all passes together that serve one example."""
    return sum(flops_by_mode(subject).values())


def flops_by_mode(subject: Subject) -> dict[str, int]:
    """Return the FLOPs by mode: those of its passes, each as often as it is repeated, at batch 1.

    Heads are in; passes of the teacher that the model reads stand as `teacher.<mode>`. What the family says of repeated
    layers (`Family.sample`) is used, so that a large model is counted by a small one.
    """
    return {
        f"{owner}{mode}": count
        for owner, part in subject.parts.items()
        for mode, count in _flops_of_one(part).items()
    }


def _flops_of_one(subject: Subject) -> dict[str, int]:
    sample = subject.blueprint.family.sample(subject.blueprint.architecture)
    # No weight needs a gradient: the counter asks inputs of layers for their gradient's node, and views of weights have none.
    model = Blueprint(subject.blueprint.kind, sample.architecture).on_meta().requires_grad_(False)
    parts = {path: model.get_submodule(path) for path in sample.repeats}
    found: Counter[str] = Counter()
    for one in subject.servings:
        counter, spent = FlopCounterMode(display=False), Counter[str]()
        hooks = [hook for path, part in parts.items() for hook in _watch(part, counter, spent, path)]
        try:
            with torch.no_grad(), counter:
                model.run_pass(one.mode, model.pass_inputs(one.mode, one.tokens))
        finally:
            for hook in hooks:
                hook.remove()
        more = sum((sample.repeats[path] - 1) * count for path, count in spent.items())
        found[one.mode] += one.repeats * (counter.get_total_flops() + more)
    return dict(found)


def _watch(part: nn.Module, counter: FlopCounterMode, spent: Counter[str], path: str) -> list[Any]:
    """Add what each call of the children of a part costs to `spent[path]`; return the hooks.

    Its children, since a layer need not be called as a whole.
    """

    def before(*_: Any) -> None:
        spent[path] -= counter.get_total_flops()

    def after(*_: Any) -> None:
        spent[path] += counter.get_total_flops()

    return [
        hook
        for child in part.children()
        for hook in (child.register_forward_pre_hook(before), child.register_forward_hook(after))
    ]
