"""Small random image models as transformers and timm publish them, for the tests of their loaders."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from timm.models._hub import save_for_hf
from torch import nn

SIDE = 40  # of pictures; not that of the config, so that positions are interpolated
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
SQUARE = {"size": {"height": SIDE, "width": SIDE}}
MIDDLE = {"size": {"shortest_edge": 44}, "crop_size": {"height": SIDE, "width": SIDE}}
BIASED = {"use_relative_position_bias": True, "layer_scale_init_value": 0.1}
SHARED = {"use_shared_relative_position_bias": True, "use_mask_token": True}


@dataclass(frozen=True)
class Kind:
    """One class of the transformers library.

    Attributes:
        model, processor: names of classes.
        config: beside `SMALL`.
        prepared: options of the processor.
    """

    model: str
    processor: str
    config: dict[str, Any]
    prepared: dict[str, Any]


KINDS = {
    "vit": Kind("ViTModel", "ViTImageProcessor", {}, SQUARE),
    "vit classes": Kind("ViTForImageClassification", "ViTImageProcessor", {"num_labels": 5}, SQUARE),
    "vit masked": Kind("ViTForMaskedImageModeling", "ViTImageProcessor", {"encoder_stride": 8}, SQUARE),
    "dinov2": Kind("Dinov2Model", "BitImageProcessor", {"mlp_ratio": 2}, MIDDLE),
    "dinov2 classes": Kind("Dinov2ForImageClassification", "BitImageProcessor", {"num_labels": 3}, MIDDLE),
    "dinov2 gated": Kind("Dinov2Model", "BitImageProcessor", {"use_swiglu_ffn": True}, MIDDLE),
    "registers": Kind("Dinov2WithRegistersModel", "BitImageProcessor", {"num_register_tokens": 2}, MIDDLE),
    "registers classes": Kind("Dinov2WithRegistersForImageClassification", "BitImageProcessor", {}, MIDDLE),
    "dinov3": Kind("DINOv3ViTModel", "DINOv3ViTImageProcessor", {"num_register_tokens": 4}, SQUARE),
    "dinov3 gated": Kind("DINOv3ViTModel", "DINOv3ViTImageProcessor", {"use_gated_mlp": True}, SQUARE),
    "beit": Kind("BeitModel", "BeitImageProcessor", BIASED, SQUARE),
    "beit first token": Kind("BeitModel", "BeitImageProcessor", {"use_mean_pooling": False}, SQUARE),
    "beit classes": Kind(
        "BeitForImageClassification", "BeitImageProcessor", {**BIASED, "num_labels": 6}, SQUARE
    ),
    "beit masked": Kind("BeitForMaskedImageModeling", "BeitImageProcessor", SHARED, SQUARE),
    "beit masked, first token": Kind(
        "BeitForMaskedImageModeling", "BeitImageProcessor", {**SHARED, "use_mean_pooling": False}, SQUARE
    ),
}
TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "timm vit": ("test_vit", {"img_size": 48}),
    "timm distilled": ("deit_tiny_distilled_patch16_224", {"depth": 2, "embed_dim": 48, "img_size": 48}),
    "timm dinov3": ("vit_small_patch16_dinov3", {"depth": 2, "embed_dim": 48, "num_heads": 3}),
    "timm beit": ("beit_base_patch16_224", {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 48}),
    "timm resnet": ("test_resnet", {"num_classes": 7}),
    "timm convnext": ("test_convnext", {"num_classes": 0}),
    "timm swin": (
        "swin_tiny_patch4_window7_224",
        {
            "embed_dim": 24,
            "depths": (1, 1, 1, 1),
            "num_heads": (1, 1, 2, 2),
            "img_size": 64,
            "window_size": 2,
        },
    ),
}
PUBLISHED = (*KINDS, *TIMM)


@dataclass(frozen=True)
class Published:
    """The model of its library, and the folder it was saved to."""

    folder: Path
    model: Any


def shaken(model: Any, seed: int = 3) -> Any:
    """Return the model with weights none of which is a constant: a wrong name would not show otherwise."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def library_model(kind: Kind, **config: Any) -> Any:
    """Return a random model of the transformers library."""
    torch.manual_seed(2)
    made = getattr(transformers, kind.model)
    return shaken(made(made.config_class(**{**SMALL, **kind.config, **config})))


def save(folder: Path, name: str, **how: Any) -> Published:
    """Save a random model with its preprocessing, as a user would.

    Args:
        folder: the folder.
        name: of `PUBLISHED`.
        how: of `save_pretrained`.
    """
    if name in TIMM:
        model, args = TIMM[name]
        torch.manual_seed(2)
        made = shaken(timm.create_model(model, **args))
        save_for_hf(made, str(folder), safe_serialization=True)
        return Published(folder, made)
    kind = KINDS[name]
    found = library_model(kind)
    found.save_pretrained(folder, **how)
    getattr(transformers, kind.processor)(**kind.prepared).save_pretrained(folder)
    return Published(folder, found)


def body(found: Any) -> nn.Module:
    """Return the image model on which a class of the transformers library stands."""
    inner: nn.Module = (
        getattr(found, found.base_model_prefix, found) if "For" in type(found).__name__ else found
    )
    return inner


def explicit(model: nn.Module) -> Any:
    """Return a copy that keeps its maps of attention."""
    made: Any = copy.deepcopy(model)
    made.set_attn_implementation("eager")
    return made


Maker = Callable[[str], Published]
