"""A backbone of timm says what timm says: tokens, states, maps, pooled feature and class logits."""

from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.utils import AttentionExtract
from torch import Tensor
from torch.nn.functional import normalize

from spaces.errors import ShapeError
from tests import tolerance
from tests.unit.trainables.teachers.published_towers import TIMM, shaken
from trainables.families.towers.timm_backbone import BUILT, TimmArchitecture, TimmBackbone, measure
from trainables.signals import PIXELS, Batch, Want

close = partial(tolerance.close, ops=12 * 64 * 8)  # 12 widths a layer, see there; the deepest has 8


def built(name: str) -> tuple[TimmBackbone, Any]:
    """The tower and timm's own model, with equal weights."""
    model, args = TIMM[name]
    theirs = shaken(timm.create_model(model, **args))
    config = {key: theirs.pretrained_cfg.get(key) for key in BUILT if theirs.pretrained_cfg.get(key)}
    side = args.get("img_size", config["input_size"][-1])
    config |= {"input_size": [3, side, side], "num_classes": theirs.num_classes}
    rest = {key: value for key, value in args.items() if key not in ("img_size", "num_classes")}
    ours = TimmBackbone(measure(model, config, rest, ()))
    ours.network.load_state_dict(theirs.state_dict())
    return ours.eval(), theirs


def pictures(ours: TimmBackbone) -> Batch:
    side = ours.architecture.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Batch(fields={PIXELS: pixels}, rows={})


def tokens_of(features: Tensor, theirs: Any) -> Tensor:
    """Tokens of what timm says: maps are cell after cell, row after row."""
    if features.ndim == 3:
        return features
    if getattr(theirs, "output_fmt", "NCHW") == "NHWC":
        features = features.permute(0, 3, 1, 2)
    return features.reshape(*features.shape[:2], -1).transpose(1, 2)


@pytest.mark.parametrize("name", TIMM)
@torch.no_grad()
def test_tokens_map_pooled_feature_and_logits_are_timms(name: str) -> None:
    ours, theirs = built(name)
    batch = pictures(ours)
    offers = ours.offers(ours.architecture)
    found = ours(batch, frozenset(offers))
    features = theirs.forward_features(batch[PIXELS])
    close(found[Want("image", "tokens")], tokens_of(features, theirs))
    pooled = theirs.forward_head(features, pre_logits=True)
    close(found[Want("image", "pooled")], pooled)
    close(found[Want("image", "embedding")], normalize(pooled, dim=-1))
    assert (Want("image", "logits") in offers) == (theirs.num_classes > 0)
    if theirs.num_classes:
        close(found[Want("image", "logits")], theirs(batch[PIXELS]))
        assert offers[Want("image", "logits")].meaning == f"{theirs.num_classes} classes without names"
    if features.ndim == 4:
        last = getattr(theirs, "output_fmt", "NCHW") == "NHWC"
        grid = features.permute(0, 3, 1, 2) if last else features
    else:  # timm's own reading of its tokens as a grid
        grid = theirs.forward_intermediates(batch[PIXELS], indices=1, norm=True, output_fmt="NCHW")[1][-1]
    close(found[Want("image", "map")], grid)


@pytest.mark.parametrize("name", ["timm vit", "timm distilled", "timm dinov3", "timm beit"])
@torch.no_grad()
def test_states_and_maps_of_layers_are_timms(name: str) -> None:
    ours, theirs = built(name)
    batch = pictures(ours)
    depth = len(theirs.blocks)
    wants = {Want("image", what, index) for what in ("hidden", "attention") for index in range(depth)}
    found = ours(batch, frozenset(wants))
    states = theirs.forward_intermediates(
        batch[PIXELS], norm=False, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    for index, (patches, special) in enumerate(states):
        close(found[Want("image", "hidden", index)], torch.cat([special, patches], dim=1))
    for block in theirs.blocks:
        block.attn.fused_attn = False
    maps = AttentionExtract(theirs, method="hook")(batch[PIXELS])
    assert len(maps) == depth
    for index, value in enumerate(maps.values()):
        close(found[Want("image", "attention", index)], value)


@torch.no_grad()
def test_states_of_a_convolutional_trunk_are_the_maps_of_its_stages_and_it_has_no_maps_of_attention() -> None:
    ours, theirs = built("timm resnet")
    batch = pictures(ours)
    maps = theirs.forward_intermediates(batch[PIXELS], intermediates_only=True)
    offers = ours.offers(ours.architecture)
    states = [want for want in offers if want.what == "hidden"]
    assert len(states) == len(maps)
    assert not [want for want in offers if want.what == "attention"]
    found = ours(batch, frozenset(states))
    for want, theirs_map in zip(states, maps, strict=True):
        close(found[want], theirs_map.flatten(2).transpose(1, 2))


@torch.no_grad()
def test_only_the_layers_whose_maps_are_wanted_leave_the_fused_kernel() -> None:
    ours, _ = built("timm distilled")
    fused: list[bool] = []
    for block in ours.network.blocks:  # type: ignore[union-attr]
        block.attn.register_forward_pre_hook(lambda made, _: fused.append(made.fused_attn))
    ours(pictures(ours), frozenset({Want("image", "attention", 1)}))
    ours(pictures(ours), frozenset({Want("image", "pooled")}))
    assert fused == [True, False, True, True]


def test_features_that_are_no_tokens_and_no_map_are_refused() -> None:
    config = {"input_size": [3, 240, 240], "num_classes": 0, "fixed_input_size": True}
    with pytest.raises(ShapeError, match="'crossvit_9_240': its features are no tokens and no map"):
        measure("crossvit_9_240", config, {}, ())


@pytest.mark.parametrize(
    ("config", "args", "told"),
    [
        ({}, {"pretrained": True}, "pretrained"),
        ({}, {"checkpoint_path": "none"}, "checkpoint_path"),
        ({"url": "http://localhost:1/none"}, {}, "url"),
    ],
)
def test_a_config_that_gets_weights_from_elsewhere_is_refused_before_timm_sees_it(
    config: dict[str, Any], args: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"num_classes": 0, "input_size": [3, 64, 64]}
    whole = measure("test_resnet", plain, {}, ())
    monkeypatch.setattr(timm, "create_model", None)
    refusal = f"timm model 'test_resnet': got {told}; allowed: what a model is built by"
    with pytest.raises(ShapeError, match=refusal):
        measure("test_resnet", {**plain, **config}, args, ())
    with pytest.raises(ShapeError, match=refusal):
        TimmArchitecture.from_dict({**whole.to_dict(), "config": {**plain, **config}, "args": args})
