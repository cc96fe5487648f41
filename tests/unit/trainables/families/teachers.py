"""What students are made beside: teachers as far as their offers go, and students of these."""

from typing import Any

import torch

from spaces.plugins import resolve
from trainables.configs import made_config
from trainables.families import FAMILIES
from trainables.families.base import Blueprint, Family, Surroundings
from trainables.signals import CAPTION, PICTURE, Batch, Offer, Offers, Signals, Want

TOKENS = 7  # longest text


def offers(embedding: int, *, pooled: int = 24, grid: int = 3, text: bool = True) -> Offers:
    """Return what heads read of a vision transformer of square pictures, and of a text side beside it."""

    def both(mode: str, rows: str, tokens: Offer) -> dict[Want, Offer]:
        return {
            Want(mode, "pooled"): Offer(axes=("D",), sizes=(pooled,), rows=rows),
            Want(mode, "embedding"): Offer(axes=("E",), sizes=(embedding,), rows=rows),
            Want(mode, "joint"): tokens,
        }

    images = Offer(axes=("P", "E"), sizes=(grid * grid + 1, embedding), rows=PICTURE)
    words = Offer(axes=("T", "E"), sizes=(TOKENS, embedding), rows=CAPTION, mask="caption.mask")
    found = both("image", PICTURE, images) | (both("text", CAPTION, words) if text else {})
    found[Want("image", "map")] = Offer(axes=("E", "Y", "X"), sizes=(embedding, grid, grid), rows=PICTURE)
    return found


def around(embedding: int = 16, *, image_size: int = 32, classes: int = 0, **said: Any) -> Surroundings:
    """Return the surroundings of a student of such a teacher."""
    return Surroundings(
        image_size=image_size,
        sizes={"embedding": embedding},
        offers=offers(embedding, **said),
        classes=tuple(f"class {number}" for number in range(classes)),
    )


def drafted(kind: str, beside: Surroundings, **options: Any) -> Blueprint:
    """Return a student as a search drafts it: options resolved, then an architecture."""
    family: type[Family] = resolve(FAMILIES, kind, "families")
    resolved = family.resolve(options, beside.sizes).options
    return Blueprint(kind, family.draft(made_config(family.Config, resolved, "student"), beside))


def student(kind: str, beside: Surroundings, **options: Any) -> Any:
    """Return it with fresh weights, drawn from a seed, in eval mode."""
    torch.manual_seed(0)
    return drafted(kind, beside, **options).build().eval()


def texts(*lengths: int) -> Batch:
    """Return captions of so many tokens, padded to the longest."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Batch(fields={"caption.mask": mask}, rows={})


def ask(model: Family, *wants: str, batch: Batch | None = None, **given: torch.Tensor) -> Signals:
    """Return what a model says to wants by name; `image_embedding` of `given` stands for `image.embedding`.

    It gets exactly those signals of its teacher that are given.
    """
    asked = frozenset(want(name) for name in wants)
    said = Signals({want(name.replace("_", ".", 1)): value for name, value in given.items()})
    assert model.inputs(asked).source == set(said), "it asks for others"
    with torch.no_grad():
        found: Signals = model(batch or Batch(fields={}, rows={}), asked, said)
    assert set(found) == asked
    return found


def want(name: str) -> Want:
    """Return a want by its name, such as `image.attention.0`."""
    mode, what, *layer = name.split(".")
    return Want(mode, what, int(layer[0]) if layer else None)


def params(blueprint: Blueprint) -> int:
    """Return the number of parameters."""
    return sum(one.numel() for one in blueprint.on_meta().parameters())
