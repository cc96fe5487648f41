"""A small model of every family, drafted from the options that it declares, and a batch for it.

A new family needs no edit here, unless an option without default is none of what `_example` knows.
"""

import dataclasses
import typing
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import StudentSearchError
from spaces.plugins import resolve
from spaces.rules import Number
from tests.unit.trainables.losses.factory import EPS, make_batch, make_signals, student_architecture
from trainables.configs import made_config
from trainables.families import FAMILIES
from trainables.families.base import Blueprint, Family, Surroundings
from trainables.families.blip.architecture import EncoderConfig
from trainables.signals import CAPTION, PICTURE, Batch, Offer, Offers, Signals, Want, Wants
from trainables.tasks import TASKS
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks

EXAMPLES: dict[str, dict[str, Any]] = {
    "bottleneck": {"bottleneck": 6, "embedding": 8, "feature": "pooled"},
    "cbam": {"reduction": 4, "embedding": 8},
    "densenet": {"depth": 13, "growth": 4, "stem": "small", "projection": "linear", "embedding": 8},
    "multihead_attention": {"heads": 4, "embedding": 8},
    "resnet": {"depth": 10, "width": 0.125, "projection": "none", "classifier": True},
    "simple_projection": {"embedding": 8, "classifier": True},
    "timm": {"name": "timm/test_efficientnet", "bottleneck": 6, "embedding": 8},
}
"""Options of a family whose drafted ones will not do, by its name; nested as in its `Config`."""

MORE: dict[str, dict[str, dict[str, Any]]] = {"blip": {"fusion": {"two_pictures": True}}}
"""Options with a default without which a family cannot do one of the tasks, laid over the drafted ones."""

ROUNDINGS = 128  # products of 24 channels through 2 + 3 layers
ROWS = 4
TEACHER = Blueprint(
    "blip",
    student_architecture(
        image=EncoderConfig(width=48, depth=4, heads=4),
        text=EncoderConfig(width=32, depth=6, heads=4),
        fusion=(1, 3, 4, 5),
        embedding=20,
        merged=(3, 4, 5),
    ),
)
_GRID = TEACHER.architecture.image_size // TEACHER.architecture.patch_size
_TOKENS, _E = TEACHER.architecture.image_tokens, TEACHER.architecture.embedding
SAYS: Offers = {
    # what heads read, of a family that does not say it
    Want("image", "pooled"): Offer(axes=("D",), sizes=(48,), rows=PICTURE),
    Want("text", "pooled"): Offer(axes=("D",), sizes=(32,), rows=CAPTION),
    Want("image", "joint"): Offer(axes=("P", "E"), sizes=(_TOKENS, _E), rows=PICTURE),
    Want("image", "map"): Offer(axes=("E", "Y", "X"), sizes=(_E, _GRID, _GRID), rows=PICTURE),
    Want("text", "joint"): Offer(
        axes=("T", "E"), sizes=(TEACHER.architecture.max_tokens, _E), rows=CAPTION, mask="caption.mask"
    ),
    **TEACHER.offers,
}
AROUND = Surroundings(
    image_size=TEACHER.architecture.image_size,
    max_tokens=TEACHER.architecture.max_tokens,
    vocabulary=TEACHER.architecture.vocabulary,
    sizes=TEACHER.sizes,
    teacher=TEACHER.architecture,
    offers=SAYS,
    classes=("bee", "cat", "dog"),
)


def blueprint(kind: str, around: Surroundings = AROUND, factor: str = "0.5x") -> Blueprint:
    """Return a small student of a family: half as large as the teacher wherever it may say so."""
    family: type[Family] = resolve(FAMILIES, kind, "families")
    try:
        options = family.resolve(example(kind, factor), around.sizes).options
        config = made_config(family.Config, options, "student")
        return Blueprint(kind, family.draft(config, around))
    except StudentSearchError as error:
        pytest.fail(
            f"no small student of family {kind!r} ({error}); give its options: EXAMPLES in {__file__}"
        )


def parts(kind: str) -> dict[str, Blueprint]:
    """Return the small student, and what of it each task needs that it can do, by a name for messages."""
    whole = blueprint(kind)
    able = tasks(whole.offers)
    return {"whole": whole} | {
        name: whole.deployed(task.wants & frozenset(whole.offers)) for name, task in able.items()
    }


def tasks(offers: Offers) -> dict[str, Task]:
    """Return the tasks that a model with these offers can do."""
    made = make_tasks({name: {} for name in TASKS})
    return {name: task for name, task in made.items() if task.model_lack(offers) is None}


def built(plan: Blueprint, seed: int = 0) -> Family:
    """Return a model in eval mode, its weights drawn from a seed and large enough that each of them matters."""
    torch.manual_seed(seed)
    model = plan.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.5 * parameter[0].numel() ** -0.5)
            else:
                parameter.mul_(1 + 0.1 * torch.rand_like(parameter)).add_(
                    torch.randn_like(parameter), alpha=0.1 if parameter.ndim else 0.0
                )
    return model


def batch_for(model: Family, wants: Wants) -> Batch:
    """Return examples with exactly the fields that the model asks for."""
    batch = make_batch(ROWS)
    needed = model.inputs(wants).fields
    if missing := sorted(needed - set(batch.fields)):
        pytest.fail(
            f"{type(model).__name__} reads {', '.join(missing)}; let `make_batch` of the losses make it"
        )
    return dataclasses.replace(batch, fields={name: batch[name] for name in needed}, seed=3)


def given_for(model: Family, wants: Wants, batch: Batch) -> Signals:
    """Return what the model asks of its teacher, as random numbers of true shapes."""
    whole = make_batch(len(batch.rows["picture"]))
    return make_signals(SAYS, whole, seed=5).only(model.inputs(wants).source)


def said(model: Family, wants: Wants) -> Signals:
    """Return what the model says to `wants` about the batch that it asks for."""
    batch = batch_for(model, wants)
    with torch.no_grad():
        found: Signals = model(batch, wants, given_for(model, wants, batch))
    return found


def close(found: Tensor, expected: Tensor, what: object) -> None:
    """Accept what two ways of computing in float32 may differ by: some roundings of the largest entry for each layer."""
    allowed = ROUNDINGS * EPS * max(float(expected.detach().abs().max()), 1.0)
    torch.testing.assert_close(found, expected, atol=allowed, rtol=0, msg=lambda text: f"{what}: {text}")


def single(offers: Offers) -> list[Wants]:
    """Return each want by itself."""
    return [frozenset({want}) for want in offers]


def shape_of(offer: Offer, batch: Batch) -> tuple[int, ...]:
    """Return the shape that a signal has for a batch, the number of its rows left out."""
    sizes = zip(offer.axes, offer.sizes, strict=True)
    return tuple(batch[offer.mask].shape[1] if axis == "T" else size for axis, size in sizes)


def example(kind: str, factor: str = "0.5x") -> dict[str, Any]:
    """Return a value for every option that has no default: so much of the teacher's, or the least that is allowed."""
    family: type[Family] = resolve(FAMILIES, kind, "families")
    found = EXAMPLES.get(kind) or _example(family.Config, factor, f"family {kind!r}: option ")
    return found | {name: found[name] | more for name, more in MORE.get(kind, {}).items()}


def _example(config: type[Any], factor: str, path: str) -> dict[str, Any]:
    types, found = typing.get_type_hints(config), dict[str, Any]()
    for field in dataclasses.fields(config):
        hint, rule, place = types[field.name], field.metadata.get("rule"), f"{path}{field.name}"
        if dataclasses.is_dataclass(hint):
            found[field.name] = _example(typing.cast(type[Any], hint), factor, f"{place}.")
        elif field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING:
            continue
        elif isinstance(rule, Number):
            least = rule.low + rule.open_low
            found[field.name] = factor if rule.relative else int(least) if rule.whole else least
        elif typing.get_origin(hint) is typing.Literal:
            found[field.name] = typing.get_args(hint)[0]
        else:
            pytest.fail(f"{place} has no default and no rule; give the options: EXAMPLES in {__file__}")
    return found
