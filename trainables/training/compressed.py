"""A trained model in other forms: quantised to int8, and pruned by magnitude; how good, how large and how fast it then is.

What distillation is compared with: the same architecture made smaller without any training. Both forms are PyTorch's own.
"""

import copy
import io
import time
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from trainables.configs import made_config
from trainables.costs.blocks import different, whole_passes
from trainables.costs.latency import added_up
from trainables.costs.runtimes import as_target
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.families.base import Family
from trainables.share import within_share
from trainables.signals import Serving
from trainables.tasks.base import wants_of
from trainables.tasks.evaluation import evaluate, make_tasks, reads_bank
from trainables.tasks.pool import EvaluationSize
from trainables.training.build import shared_split, shared_teacher
from trainables.training.checkpoint import load_model
from trainables.training.measuring import Measuring
from trainables.training.sources import Sources

FLOAT32, INT8, PRUNED = "float32", "int8", "pruned"
MIB = 2**20
WARM_UP, ROUNDS = 3, 25
PRUNABLE = (nn.Linear, nn.Conv2d, nn.Embedding)


@dataclass(frozen=True, kw_only=True)
class Forms:
    """What is measured; plain values all through.

    Attributes:
        order: the model, tasks and data; see `Measuring`.
        subject: what its latency is measured on.
        keep: name of a form -> weights that stay of its pruning.
        int8: whether the model is quantised, too.
        known: figures in float32, where they are known already.
    """

    order: Measuring
    subject: Subject
    keep: Mapping[str, int]
    int8: bool = True
    known: Mapping[str, float] | None = None


def quantised(model: Family, servings: Sequence[Serving]) -> Family:
    """Return a copy whose linear layers have int8 weights, and quantise what comes in as it comes.

    Dynamic quantisation, symmetric, one scale for each tensor of weights; embeddings, convolutions and norms stay as they are,
    and linear layers that none of the passes calls: the layer around them reads their weights itself (timm's BEiT, EVA-02).

    Args:
        model: to be quantised.
        servings: the passes that are deployed.
    """
    made = copy.deepcopy(model).eval()
    called: set[str] = set()
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: called.add(name))
        for name, layer in made.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    with torch.no_grad():
        for mode, tokens in {(one.mode, one.tokens) for one in servings}:
            made.run_pass(mode, made.pass_inputs(mode, tokens))
    for hook in hooks:
        hook.remove()
    with warnings.catch_warnings():  # torch.ao is going to move to a package of its own (2.10 on)
        warnings.simplefilter("ignore")
        found: Family = torch.ao.quantization.quantize_dynamic(made, called, dtype=torch.qint8)
    return found


def pruned(model: Family, keep: int) -> Family:
    """Return a copy that has its largest weights left, and zeros elsewhere: unstructured, over all layers at once.

    Han et al. 2015, without training after it. Biases and norms stay whole.

    Args:
        model: to be pruned.
        keep: weights of the model that are to stay, with biases and norms.
    """
    made = copy.deepcopy(model).eval()
    layers = [(one, "weight") for one in made.modules() if isinstance(one, PRUNABLE)]
    tensors = {one.weight.data_ptr(): one.weight.numel() for one, _ in layers}
    prunable = sum(tensors.values())
    others = sum(one.numel() for one in made.parameters()) - prunable
    gone = min(prunable, max(0, prunable - max(0, keep - others)))
    if gone:
        prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=gone)
        for layer, name in layers:
            prune.remove(layer, name)
    return made


def disk_mib(model: nn.Module, *, compressed: bool = False) -> float:
    """Return the size of the file that holds all weights of a model, in MiB.

    Args:
        model: in any form.
        compressed: by zlib, which is what leaves zeros out.
    """
    sink = io.BytesIO()
    torch.save(model.state_dict(), sink)
    data = sink.getvalue()
    return len(zlib.compress(data) if compressed else data) / MIB


def num_weights(model: nn.Module) -> int:
    """Return how many weights of a model are not 0."""
    return sum(int(torch.count_nonzero(one)) for one in model.parameters())


def measure_forms(forms: Forms, target: Target) -> list[dict[str, Any]]:
    """Return a row for each form of a model: metrics, weights, size of its file, latency in turns by the clock on the wall.

    Args:
        forms: which.
        target: of the latency; int8 is of CPUs.
    """
    model = _deployed(forms.order)
    made: dict[str, Family] = {FLOAT32: model}
    if forms.int8:
        made[INT8] = quantised(model, forms.subject.servings)
    made |= {name: pruned(model, keep) for name, keep in forms.keep.items()}
    rows = []
    latencies = _latencies(made, forms.subject, target)
    whole = sum(one.numel() for one in model.parameters())
    for name, one in made.items():
        known = forms.known if name == FLOAT32 else None
        rows.append(
            {
                "form": name,
                "metrics": dict(known) if known is not None else _metrics(one, forms.order),
                "costs": {
                    "params": num_weights(one) if name in forms.keep else whole,
                    "size_mib": disk_mib(one, compressed=name in forms.keep),
                    **latencies[name],
                },
            }
        )
    return rows


def _deployed(order: Measuring) -> Family:
    """Return the part of a model that does the tasks, with its weights, on the CPU."""
    made = make_tasks(order.tasks).values()
    if order.student:
        offers = load_model(Path(order.student))[1].offers
        return load_model(Path(order.student), wants_of(made) & frozenset(offers))[0]
    teacher = shared_teacher(order.teacher, "cpu")
    model = teacher.blueprint.deployed(wants_of(made) & frozenset(teacher.offers)).build()
    weights = teacher.model.state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model.eval()


def _metrics(model: Family, order: Measuring) -> dict[str, float]:
    """Return what a model scores."""
    made = list(make_tasks(order.tasks).values())
    teacher = shared_teacher(order.teacher, "cpu")
    names = {order.split, *(["train"] if reads_bank(made) else [])}
    splits = {name: shared_split(order.teacher, "cpu", order.dataset, name) for name in names}
    with within_share():
        return evaluate(
            model,
            splits[order.split],
            tasks=made,
            size=made_config(EvaluationSize, order.evaluation, "evaluation"),
            source=Sources(teacher, {}) if order.student else None,
            bank=splits.get("train"),
        )


def _latencies(models: Mapping[str, Family], subject: Subject, target: Target) -> dict[str, dict[str, float]]:
    """Return the latency of each model, all passes of all models in turns."""
    counted = whole_passes(subject.head)
    times: dict[str, dict[str, list[float]]] = {
        name: {one.digest: [] for one in different(counted)} for name in models
    }
    with as_target(target):
        for number in range(-WARM_UP, ROUNDS):
            for one in different(counted):
                for name, model in models.items():
                    inputs = model.pass_inputs(one.mode, one.tokens)
                    began = time.perf_counter()
                    model.run_pass(one.mode, inputs)
                    if number >= 0:
                        times[name][one.digest].append(1e3 * (time.perf_counter() - began))
    found = {}
    for name, own in times.items():
        latency = added_up(counted, own, target, composed=False)
        found[name] = {"latency_ms": latency.latency_ms, "latency_spread_ms": latency.spread_ms}
    return found
