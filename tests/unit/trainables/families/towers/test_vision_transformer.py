"""A vision transformer says what its own class of the transformers library says, at its own and at odd sizes."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from spaces.errors import ShapeError
from tests import tolerance
from tests.unit.trainables.teachers.published_towers import KINDS, body, explicit, library_model
from trainables.families.base import Blueprint
from trainables.families.towers.vision_transformer import (
    SOURCES,
    VisionArchitecture,
    VisionTransformer,
    plain_config,
)
from trainables.signals import PIXELS, Batch, Signals, Want

close = partial(tolerance.close, ops=12 * 32 * 3)  # 12 widths a layer, see there
SIZES = (32, 40, 67)  # the config's, a larger one, and one that is no multiple of the patch of 8
PLAIN = [name for name in KINDS if not name.endswith(("classes", "masked")) and "masked" not in name]


def tower_of(model: Any, side: int) -> VisionTransformer:
    """The tower around the very weights of a model of the library, without its loader."""
    architecture = VisionArchitecture(
        source=model.config.model_type, image_size=side, config=plain_config(model.config)
    )
    made = Blueprint("vision_transformer", architecture).build().eval()
    weights = {name: one for name, one in body(model).state_dict().items() if not dropped(model, name)}
    made.network.load_state_dict(weights)  # type: ignore[operator, union-attr]
    assert isinstance(made, VisionTransformer)
    return made


def dropped(model: Any, name: str) -> bool:
    return model.config.model_type == "vit" and name.startswith("pooler.")


def pictures(side: int) -> Batch:
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Batch(fields={PIXELS: pixels}, rows={})


def said(model: Any, pixels: Tensor, **more: Any) -> Any:
    arguments = {"interpolate_pos_encoding": True} if model.config.model_type == "vit" else {}
    return model(pixels, **arguments, **more)


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_tokens_states_maps_and_pooled_features_are_those_of_its_class(name: str, side: int) -> None:
    model = library_model(KINDS[name])
    ours, batch = tower_of(model, side), pictures(side)
    offers = ours.offers(ours.architecture)
    found: Signals = ours(batch, frozenset(offers))
    theirs = said(explicit(model), batch[PIXELS], output_hidden_states=True, output_attentions=True)
    tokens = theirs.last_hidden_state
    close(found[Want("image", "tokens")], tokens)
    close(found[Want("image", "joint")], tokens)
    for index in range(model.config.num_hidden_layers):
        close(found[Want("image", "hidden", index)], theirs.hidden_states[index + 1])
        close(found[Want("image", "attention", index)], theirs.attentions[index])
    pooled = tokens[:, 0] if name == "vit" else theirs.pooler_output
    close(found[Want("image", "pooled")], pooled)
    close(found[Want("image", "embedding")], normalize(pooled, dim=-1))
    side_in_patches = side // 8
    special = tokens.shape[1] - side_in_patches**2
    grid = tokens[:, special:].reshape(2, side_in_patches, side_in_patches, -1).permute(0, 3, 1, 2)
    close(found[Want("image", "map")], grid)


@pytest.mark.parametrize(
    ("name", "pooled"),
    [
        ("dinov2", "first"),
        ("registers", "first"),
        ("dinov3", "first"),
        ("beit first token", "first"),
        ("beit", "mean"),
    ],
)
@torch.no_grad()
def test_the_pooled_feature_is_the_documented_one(name: str, pooled: str) -> None:
    model = library_model(KINDS[name])
    ours, batch = tower_of(model, 40), pictures(40)
    found = ours(batch, frozenset({Want("image", "pooled"), Want("image", "tokens")}))
    tokens = found[Want("image", "tokens")]
    norm = nn.LayerNorm(32, eps=model.config.layer_norm_eps)
    if pooled == "mean":
        norm.load_state_dict(model.pooler.layernorm.state_dict())
        close(found[Want("image", "pooled")], norm(tokens[:, 1:].mean(1)))
    else:
        close(found[Want("image", "pooled")], tokens[:, 0])


@pytest.mark.parametrize("name", [name for name in KINDS if name.endswith("classes")])
@torch.no_grad()
def test_class_logits_are_those_of_its_class(name: str) -> None:
    model = library_model(KINDS[name])
    architecture = VisionArchitecture(
        source=model.config.model_type,
        image_size=40,
        config=plain_config(model.config),
        classes=model.config.num_labels,
    )
    ours = VisionTransformer(architecture).eval()
    ours.network.load_state_dict(body(model).state_dict())
    assert ours.classifier is not None
    ours.classifier.load_state_dict(model.classifier.state_dict())
    batch = pictures(40)
    found = ours(batch, frozenset({Want("image", "logits")}))
    close(found[Want("image", "logits")], said(model, batch[PIXELS]).logits)


@torch.no_grad()
def test_only_the_layers_whose_maps_are_wanted_leave_the_fused_kernel() -> None:
    ours, batch = tower_of(library_model(KINDS["dinov2"]), 32), pictures(32)
    used: list[tuple[int, str]] = []
    attentions = [part for name, part in ours.network.named_modules() if name.endswith(".attention")]
    for index, part in enumerate(attentions):
        part.register_forward_pre_hook(
            lambda made, _, index=index: used.append((index, made.config._attn_implementation))
        )
    ours(batch, frozenset({Want("image", "attention", 1)}))
    ours(batch, frozenset({Want("image", "pooled")}))
    assert used == [(0, "sdpa"), (1, "eager"), (2, "sdpa"), (0, "sdpa"), (1, "sdpa"), (2, "sdpa")]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"source": "swin"}, "source: got 'swin'; allowed: beit, dinov2"),
        ({"image_size": 7}, "pictures of side 7; allowed: at least one patch of 8"),
        ({"classes": 2, "labels": ("cat",)}, "1 labels for 2 classes"),
    ],
)
def test_sizes_that_do_not_fit_are_told(changed: dict[str, Any], told: str) -> None:
    usual = {"source": "vit", "image_size": 32, "config": {"patch_size": 8}}
    with pytest.raises(ShapeError, match=told):
        VisionArchitecture(**{**usual, **changed})


def test_a_config_with_values_of_another_kind_is_told() -> None:
    architecture = VisionArchitecture(
        source="vit", image_size=32, config={"patch_size": 8, "hidden_size": "wide"}
    )
    with pytest.raises(ShapeError, match="hidden_size"):
        Blueprint("vision_transformer", architecture).on_meta()


def test_sources_are_sorted() -> None:
    assert list(SOURCES) == sorted(SOURCES)
