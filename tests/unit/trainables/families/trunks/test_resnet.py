"""resnet against timm's own models, and its thin forms."""

import pytest
import timm
import torch

from tests.unit.trainables.families.teachers import around, ask, drafted, student, want
from trainables.signals import PIXELS, Batch

DEPTHS = (18, 26, 34, 50, 101, 152, 200)
PLAIN = {"projection": "none", "text": False}


def pictures(count: int, side: int) -> Batch:
    random = torch.Generator().manual_seed(5)
    return Batch(fields={PIXELS: torch.randn(count, 3, side, side, generator=random)}, rows={})


@pytest.mark.parametrize("depth", DEPTHS)
def test_has_the_weights_of_timm_under_its_names(depth: int) -> None:
    model = drafted("resnet", around(), depth=depth, **PLAIN).on_meta()
    with torch.device("meta"):
        twin = timm.create_model(f"resnet{depth}", num_classes=0)
    assert {name: one.shape for name, one in model.image.state_dict().items()} == {
        name: one.shape for name, one in twin.state_dict().items()
    }


@pytest.mark.parametrize(("depth", "side"), [(18, 64), (26, 45)])
def test_says_what_timm_says(depth: int, side: int) -> None:
    model = student("resnet", around(image_size=side), depth=depth, **PLAIN)
    twin = timm.create_model(f"resnet{depth}", num_classes=0).eval()
    twin.load_state_dict(model.image.state_dict())
    batch = pictures(2, side)
    found = ask(model, "image.map", "image.pooled", "image.embedding", batch=batch)
    with torch.no_grad():
        grid = twin.forward_features(batch[PIXELS])
        vector = twin.forward_head(grid)
    torch.testing.assert_close(found[want("image.map")], grid)
    torch.testing.assert_close(found[want("image.pooled")], vector)
    torch.testing.assert_close(found[want("image.embedding")], vector / vector.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("side", [224, 64, 33, 7, 1])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("depth", [10, 14])
def test_offers_the_map_that_it_makes(depth: int, stem: str, side: int) -> None:
    plan = drafted("resnet", around(image_size=side), depth=depth, stem=stem, width=0.125, **PLAIN)
    model = plan.on_meta()
    with torch.no_grad():
        found = model.image(torch.empty(1, 3, side, side, device="meta"), None, maps=False)
    assert tuple(found.map.shape[1:]) == plan.offers[want("image.map")].sizes
    assert tuple(found.pooled.shape[1:]) == plan.offers[want("image.pooled")].sizes


def test_a_small_stem_leaves_the_picture_as_large_as_it_is() -> None:
    sizes = {
        stem: drafted("resnet", around(image_size=64), stem=stem).offers[want("image.map")].sizes
        for stem in ("imagenet", "small")
    }
    assert sizes == {"imagenet": (512, 2, 2), "small": (512, 8, 8)}


@pytest.mark.parametrize(
    ("asked", "channels", "rounded"),
    [
        (1.0, 64, False),
        (0.25, 16, False),
        (0.3, 16, True),
        (0.01, 8, True),
        (1.0625, 72, True),
        (2, 128, False),
    ],
)
def test_thin_forms_have_multiples_of_eight_channels(asked: float, channels: int, rounded: bool) -> None:
    family = drafted("resnet", around()).family
    found = family.resolve({"width": asked}, {})
    assert found.options["width"] == channels / 64
    assert bool(found.roundings) == rounded
    plan = drafted("resnet", around(), width=asked, **PLAIN)
    shapes = [
        plan.on_meta().get_parameter(f"image.layer{stage}.0.conv1.weight").shape[0] for stage in (1, 2, 3, 4)
    ]
    assert shapes == [channels, 2 * channels, 4 * channels, 8 * channels]
    assert plan.on_meta().get_parameter("image.conv1.weight").shape == (channels, 3, 7, 7)


def test_options_without_meaning_are_at_their_defaults() -> None:
    family = drafted("resnet", around()).family
    plain = family.resolve({"projection": "none", "embedding": 3, "bottleneck": 5}, {}).options
    assert (plain["embedding"], plain["bottleneck"]) == (256, 128)
    linear = family.resolve({"projection": "linear", "embedding": 3, "bottleneck": 5}, {}).options
    assert (linear["embedding"], linear["bottleneck"]) == (3, 128)


def test_without_projection_texts_are_brought_to_the_width_of_the_trunk() -> None:
    plan = drafted("resnet", around(16), width=0.125, projection="none")
    assert plan.offers[want("image.embedding")].sizes == plan.offers[want("text.embedding")].sizes == (64,)
    assert plan.on_meta().get_parameter("text_projection.weight").shape == (64, 16)


def test_only_pixels_are_read_for_pictures_and_only_the_teachers_embedding_for_texts() -> None:
    model = drafted("resnet", around(16)).on_meta()
    images, words = frozenset({want("image.embedding")}), frozenset({want("text.embedding")})
    assert (model.inputs(images).fields, model.inputs(images).source) == ({PIXELS}, set())
    assert (model.inputs(words).fields, model.inputs(words).source) == (set(), words)


def test_what_tells_classes_is_the_trunk_and_one_layer() -> None:
    plan = drafted("resnet", around(classes=5), classifier=True)
    model = plan.deployed(frozenset({want("image.logits")})).on_meta()
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"image", "classifier"}
    assert model.get_parameter("classifier.weight").shape == (5, 512)
