"""The architecture of a student: its own sizes, and all else as its teacher has it."""

from dataclasses import replace
from typing import Any

from spaces.errors import ShapeError
from trainables.families.base import Surroundings
from trainables.families.blip.architecture import (
    BlipArchitecture,
    EncoderConfig,
    fusion_positions,
    merged_layers,
)
from trainables.families.blip.options import IMPORTANCE, INHERIT, PRETRAINED, BlipOptions, absolute
from trainables.families.blip.pretrained_image import require_image
from trainables.families.blip.pretrained_text import require_text

PATCH_SIZE = 16  # of a student whose teacher is of another family


def drafted(config: BlipOptions, around: Surroundings) -> BlipArchitecture:
    """Return the candidate's widths, depths and fusion; of its teacher's family it can say what that can.

    Raises:
        ShapeError: sizes that do not fit together, or a teacher without texts.
        PluginError: weights to begin with that are not there, or do not fit.
    """
    found, taught = _sized(config, around), getattr(around.teacher, "taught", None)
    for side, asked in (("image", config.image), ("text", config.text)):
        if asked.init in (INHERIT, IMPORTANCE) and not isinstance(taught, BlipArchitecture):
            raise ShapeError(
                f"student.{side}.init: got {asked.init} with a teacher of another family; allowed: random, pretrained. Use "
                "one of those, or take a teacher of this family."
            )
    if config.image.init == PRETRAINED:
        require_image(around.published(str(config.image.weights), "image"), found)
    if config.text.init == PRETRAINED:
        require_text(around.published(str(config.text.weights), "text"), found, around.tokens())
    return found


def _sized(config: BlipOptions, around: Surroundings) -> BlipArchitecture:
    """Return the architecture."""
    sides = {
        name: EncoderConfig(
            width=absolute(side.width, f"{name}.width"),
            depth=absolute(side.depth, f"{name}.depth"),
            heads=absolute(side.heads or 1, f"{name}.heads"),
            mlp_ratio=side.mlp_ratio,
        )
        for name, side in (("image", config.image), ("text", config.text))
    }
    layers, depth = absolute(config.fusion.layers, "fusion.layers"), sides["text"].depth
    fusion = fusion_positions(depth, layers, config.fusion.placement)
    embedding = absolute(config.embedding, "embedding")
    merged = merged_layers(depth, fusion) if config.fusion.two_pictures else None
    parts: dict[str, Any] = {**sides, "fusion": fusion, "embedding": embedding, "merged": merged}
    taught = getattr(around.teacher, "taught", None)
    if isinstance(taught, BlipArchitecture):
        return replace(taught, **parts)
    return BlipArchitecture(
        **parts,
        image_size=around.image_size,
        patch_size=PATCH_SIZE,
        max_tokens=around.max_tokens,
        vocabulary=around.texts(),
    )
