"""densenet against timm's own models, its thin forms and its stems."""

import pytest
import timm
import torch

from spaces.errors import ShapeError
from tests.unit.trainables.families.teachers import around, ask, drafted, params, student, want
from trainables.families.trunks.densenet import BLOCKS
from trainables.signals import PIXELS, Batch

PLAIN = {"projection": "none", "text": False}


@pytest.mark.parametrize(("depth", "growth"), [(121, 32), (161, 48), (169, 32), (201, 32)])
def test_has_the_weights_of_timm_under_its_names(depth: int, growth: int) -> None:
    model = drafted("densenet", around(), depth=depth, growth=growth, **PLAIN).on_meta()
    with torch.device("meta"):
        twin = timm.create_model(f"densenet{depth}", num_classes=0)
    assert {name: one.shape for name, one in model.image.layers.state_dict().items()} == {
        name: one.shape for name, one in twin.features.state_dict().items()
    }


def test_says_what_timm_says() -> None:
    model = student("densenet", around(image_size=45), depth=121, growth=8, **PLAIN)
    twin = timm.create_model("densenet121", num_classes=0, growth_rate=8).eval()
    twin.features.load_state_dict(model.image.layers.state_dict())
    random = torch.Generator().manual_seed(5)
    batch = Batch(fields={PIXELS: torch.randn(2, 3, 45, 45, generator=random)}, rows={})
    found = ask(model, "image.map", "image.pooled", batch=batch)
    with torch.no_grad():
        grid = twin.forward_features(batch[PIXELS])
        torch.testing.assert_close(found[want("image.map")], grid)
        torch.testing.assert_close(found[want("image.pooled")], twin.forward_head(grid))


def test_the_depth_counts_layers_with_weights() -> None:
    assert all(depth == 2 * sum(blocks) + 5 for depth, blocks in BLOCKS.items())


@pytest.mark.parametrize(("stem", "sides"), [("imagenet", (224, 64, 45, 29)), ("small", (64, 45, 8))])
@pytest.mark.parametrize(("depth", "growth"), [(13, 5), (37, 8)])
def test_offers_the_map_that_it_makes(depth: int, growth: int, stem: str, sides: tuple[int, ...]) -> None:
    for side in sides:
        plan = drafted("densenet", around(image_size=side), depth=depth, growth=growth, stem=stem, **PLAIN)
        model = plan.on_meta()
        with torch.no_grad():
            found = model.image(torch.empty(1, 3, side, side, device="meta"), None, maps=False)
        assert tuple(found.map.shape[1:]) == plan.offers[want("image.map")].sizes
        assert tuple(found.pooled.shape[1:]) == plan.offers[want("image.pooled")].sizes


@pytest.mark.parametrize(("stem", "side", "least"), [("imagenet", 28, 29), ("small", 7, 8)])
def test_pictures_of_which_nothing_is_left_are_refused(stem: str, side: int, least: int) -> None:
    with pytest.raises(
        ShapeError, match=rf"student\.stem: got {stem} with pictures of {side} .*at least {least}"
    ):
        drafted("densenet", around(image_size=side), stem=stem)
    drafted("densenet", around(image_size=least), stem=stem)


def test_thin_forms_are_thin() -> None:
    thin = drafted("densenet", around(image_size=32), depth=21, growth=8, stem="small", **PLAIN)
    assert params(thin) < 50_000
