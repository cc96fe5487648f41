"""An image side that begins with a vision transformer of timm: what fits, and where it goes."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from spaces.errors import PluginError
from spaces.plugins import listed
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.origin import Published
from trainables.layers import evenly_spaced

BEFORE = ("module.", "timm_model.", "vit.")  # what libraries put before the names
HEADS = ("head.", "head_drop.", "fc_norm.", "pre_logits.")  # of classifiers: not needed
BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
PATCHES, PLACES = "patch_embed.proj.weight", "pos_embed"


def bare_names(names: Mapping[str, Any]) -> dict[str, str]:
    """Return the name that timm's class gives each weight -> the published one."""
    found = {}
    for name in names:
        bare = name
        for prefix in BEFORE:
            bare = bare.removeprefix(prefix)
        found[bare] = name
    return found


def require_image(published: Published, a: BlipArchitecture) -> None:
    """Accept a plain vision transformer of the student's width, heads and feed-forward part, as deep as it or deeper.

    Positions and patches of another size are resampled.

    Raises:
        PluginError: anything else; says what was found and what is needed.
    """
    names = bare_names(published.shapes)
    shapes = {bare: published.shapes[name] for bare, name in names.items() if not bare.startswith(HEADS)}
    depth = 1 + max((int(one[1]) for name in shapes if (one := BLOCK.fullmatch(name))), default=-1)
    width, inner = a.image.width, int(a.image.width * a.image.mlp_ratio)
    needed = _needed(min(depth, a.image.depth) or 1)
    lacking = [name for name in needed if name not in shapes]
    known = {*needed, *_needed(depth), PATCHES, PLACES}
    foreign = sorted(set(shapes) - known)
    if lacking or foreign:
        parts = [
            f"it lacks {listed(lacking[:3])}" if lacking else "",
            f"it has {listed(foreign[:3])}" if foreign else "",
        ]
        raise _refused(
            published,
            f"which is no plain vision transformer with a class token ({'; '.join(filter(None, parts))})",
            "Take one such as deit_small_patch16_224",
        )
    found = {
        "width": shapes["cls_token"][-1],
        "layers": depth,
        "feed-forward": shapes["blocks.0.mlp.fc1.weight"][0],
    }
    asked: dict[str, Any] = {"width": width, "layers": f"{a.image.depth} or more", "feed-forward": inner}
    if heads := _heads(published):
        found["heads"], asked["heads"] = heads, a.image.heads
    tokens = shapes.get(PLACES, (1, 0, 0))[1] - 1
    fits = depth >= a.image.depth and all(found[name] == asked[name] for name in found if name != "layers")
    if not fits or PATCHES not in shapes or tokens < 1 or math.isqrt(tokens) ** 2 != tokens:
        grid = (
            ""
            if tokens >= 1 and math.isqrt(tokens) ** 2 == tokens
            else f", {tokens + 1} positions that are no square and a class token"
        )
        raise _refused(
            published,
            f"where {_said(found)}{grid} are found; needed are {_said(asked)}",
            "Change student.image, or take other weights",
        )


def load_image(student: Any, published: Published) -> tuple[str, ...]:
    """Overwrite the student's image encoder; return what its user should know, a sentence each.

    Raises:
        PluginError: it does not fit.
    """
    require_image(published, student.architecture)
    vit, weights = student.image_encoder.vit, published.weights()
    names = bare_names(weights)
    given = {bare: weights[name] for bare, name in names.items()}
    depth = 1 + max(int(one[1]) for name in given if (one := BLOCK.fullmatch(name)))
    layers, notes, used = evenly_spaced(len(vit.blocks), depth), list[str](), set[str]()
    side, patch = student.architecture.grid, student.architecture.patch_size
    if given[PATCHES].shape[-1] != patch:
        notes.append(f"image side: patches of {given[PATCHES].shape[-1]} pixels are resampled to {patch}")
        given[PATCHES] = resample_patch_embed(given[PATCHES], [patch, patch])
    if given[PLACES].shape[1] != side**2 + 1:
        notes.append(f"image side: {given[PLACES].shape[1]} positions are resampled to {side**2 + 1}")
        given[PLACES] = resample_abs_pos_embed(given[PLACES], [side, side], num_prefix_tokens=1)
    with torch.no_grad():
        for name, parameter in vit.named_parameters():
            block = BLOCK.fullmatch(name)
            source = f"blocks.{layers[int(block[1])]}.{block[2]}" if block else name
            used.add(names[source])
            parameter.copy_(_fitting(given[source], parameter, published, source))
    left = sorted(set(weights) - used)
    of = f"layers {', '.join(map(str, layers))} of {depth}"
    told = f"image side: begins with {of} of {published.place}"
    return (told + (f"; not loaded: {', '.join(left)}" if left else ""), *notes)


def _fitting(value: Tensor, target: Tensor, published: Published, name: str) -> Tensor:
    if value.shape != target.shape:
        raise _refused(
            published,
            f"where {name} has the shape {tuple(value.shape)}; needed is {tuple(target.shape)}",
            "Take other weights",
        )
    return value


def _needed(depth: int) -> list[str]:
    """Return the names of the weights that a plain vision transformer of a depth has."""
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    linear = [f"blocks.{index}.{part}" for index in range(depth) for part in parts]
    return [
        "cls_token",
        PLACES,
        *(f"{one}.{kind}" for one in ("patch_embed.proj", "norm", *linear) for kind in ("weight", "bias")),
    ]


def _heads(published: Published) -> int | None:
    """Return how many heads its config tells, or timm knows of its name; None where nobody does: no weight shows it."""
    args = published.config.get("model_args")
    if isinstance(args, Mapping) and isinstance(args.get("num_heads"), int):
        return int(args["num_heads"])
    name = published.config.get("architecture")
    if not isinstance(name, str):
        return None
    import timm

    if not timm.is_model(name):
        return None
    with torch.device("meta"):
        model: Any = timm.create_model(name)
    blocks = getattr(model, "blocks", None)
    heads = getattr(getattr(blocks[0], "attn", None), "num_heads", None) if blocks is not None else None
    return int(heads) if heads else None


def _said(sizes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sizes.items())


def _refused(published: Published, why: str, what: str) -> PluginError:
    return PluginError(f"student.image.weights: got {published.place}, {why}. {what}.")
