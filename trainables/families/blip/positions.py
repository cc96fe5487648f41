"""Pictures of another size: the table of their positions is interpolated, bicubic as in BLIP, the class token's row kept."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spaces.errors import ShapeError
from trainables.families.blip.architecture import BlipArchitecture

TABLE = "image_encoder.vit.pos_embed"


def interpolated(table_1PD: Tensor, grid: int) -> Tensor:
    """Return a table of positions for another number of patches a side."""
    first, patches = table_1PD[:, :1], table_1PD[:, 1:]
    before = round(patches.shape[1] ** 0.5)
    if before == grid:
        return table_1PD
    square = patches.reshape(1, before, before, -1).permute(0, 3, 1, 2)
    spread = F.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([first, spread.flatten(2).transpose(1, 2)], dim=1)


def sized(architecture: BlipArchitecture, side: int) -> BlipArchitecture:
    """Return the same model for pictures of another side.

    Raises:
        ShapeError: its patches do not fill them.
    """
    patch = architecture.patch_size
    if side < patch or side % patch:
        near = max(side // patch, 1) * patch
        raise ShapeError(
            f"image_size: got {side} with patches of {patch}; allowed: a multiple of {patch}. Give {near} or {near + patch}."
        )
    return replace(architecture, image_size=side)


def fitted(weights: Mapping[str, Tensor], architecture: BlipArchitecture) -> dict[str, Tensor]:
    """Return weights of a model that saw pictures of any size, for one of these sizes."""
    found = dict(weights)
    if TABLE in found:
        found[TABLE] = interpolated(found[TABLE], architecture.grid)
    return found


def at_size(model: Any, side: int) -> Any:
    """Return a `Blip` with the weights of one, for pictures of another side.

    Raises:
        ShapeError: its patches do not fill them.
    """
    with torch.device(model.device):  # also the meta device, where nothing is drawn
        made = type(model)(sized(model.architecture, side))
    made.load_state_dict(fitted(model.state_dict(), made.architecture))
    made.negatives, made.drawn_from, made.floor = model.negatives, model.drawn_from, model.floor
    made.train_with(model.regular)
    return made.train(model.training)
