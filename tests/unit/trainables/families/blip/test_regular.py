"""What holds in training alone: dropout where the published classes have it, drop-path as timm's, and layers computed again."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from spaces.errors import PluginError
from tests.unit.trainables.families.blip.as_published import as_published
from tests.unit.trainables.small import EPS, lively, small_config, vocabulary
from trainables.configs import made_config
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.model import Blip
from trainables.families.blip.options import BlipOptions, resolved
from trainables.families.blip.regular import Regular
from trainables.families.blip.text_network import TraceLayers
from trainables.families.blip.two_pictures import with_second
from trainables.families.dropping import drops
from trainables.signals import PIXELS, Batch, Want

ROWS, LENGTH = 3, 8
ALL = frozenset({0, 1})
SIDE = {"width": 16, "depth": 2, "heads": 2}
BOTH = Regular(image_again=True, text_again=True)


def texts() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(6, vocabulary().size, (ROWS, LENGTH), generator=generator)
    return ids, torch.ones(ROWS, LENGTH, dtype=torch.bool)


@pytest.mark.parametrize("maps", [True, False], ids=["explicit maps", "fused kernel"])
def test_dropout_stands_where_the_published_class_has_it(maps: bool) -> None:
    model = lively(small_config())
    published = as_published(model).text_decoder
    model.train_with(Regular(dropout=0.4))
    for module in published.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.4
    ids, mask = texts()
    tokens = torch.randn(ROWS, 5, 32, generator=torch.Generator().manual_seed(2))
    trace = TraceLayers(attention=ALL, cross_attention=ALL) if maps else TraceLayers()
    found = []
    for training in (True, False):
        model.train(training)
        published.train(training)
        torch.manual_seed(7)
        with torch.no_grad():
            theirs = published(
                input_ids=ids, attention_mask=mask.long(), encoder_hidden_states=tokens, return_dict=True
            ).logits
        torch.manual_seed(7)  # the same numbers, if they are drawn in the same order at the same shapes
        with torch.no_grad():
            states, told = model.text_network(ids, mask, tokens, decode=True, trace=trace)
            ours = model.text_network.logits(states)
        largest = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=256 * EPS * largest)
        for one in told.attention.values():  # what is told of a map is whole
            torch.testing.assert_close(one.sum(-1), torch.ones(one.shape[:-1]))
        found.append(ours)
    assert float((found[0] - found[1]).abs().max()) > 0.1, "or equality would say nothing"


def test_drop_path_is_that_of_timm_and_grows_with_the_layer() -> None:
    encoder = EncoderConfig(width=32, depth=4, heads=2)
    model = lively(small_config(image=encoder)).train()
    model.train_with(Regular(drop_path=0.6))
    theirs = VisionTransformer(
        img_size=64, patch_size=32, num_classes=0, global_pool="", embed_dim=32, depth=4, num_heads=2,
        drop_path_rate=0.6,
    )  # fmt: skip
    for mine, other in zip(model.image_encoder.vit.blocks, theirs.blocks, strict=True):
        for name in ("drop_path1", "drop_path2"):
            rates = [float(getattr(getattr(one, name), "drop_prob", 0.0)) for one in (mine, other)]
            assert rates[0] == pytest.approx(rates[1])
    theirs.load_state_dict(model.image_encoder.vit.state_dict())
    for block in theirs.blocks:
        block.norm1.eps = block.norm2.eps = 1e-6
    theirs.norm.eps = 1e-6
    pixels = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(5)
    want = theirs.train().forward_features(pixels)
    torch.manual_seed(5)
    torch.testing.assert_close(model.encode_image(pixels), want)
    torch.manual_seed(6)
    assert not torch.equal(model.encode_image(pixels), want)
    assert torch.equal(model.eval().encode_image(pixels), theirs.eval().forward_features(pixels))


def batch() -> Batch:
    ids, mask = texts()
    pixels = torch.randn(ROWS, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    return Batch(fields={PIXELS: pixels, "caption.ids": ids, "caption.mask": mask}, rows={})


WANTS = frozenset(
    {Want("image", "embedding"), Want("text", "embedding"), Want("decoder", "logits")}
    | {Want("fused", "cross_attention", 1), Want("image", "attention", 0), Want("text", "hidden", 0)}
)


def gradients(model: Blip, seed: int = 0) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    said = model(batch(), WANTS)
    torch.stack([value.float().sin().sum() for value in said.values()]).sum().backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("random", [{}, {"dropout": 0.3, "drop_path": 0.5}], ids=["plain", "with dropout"])
def test_layers_that_are_computed_again_give_the_same_gradients(random: dict[str, float]) -> None:
    model = lively(small_config()).train()
    model.train_with(Regular(**random))
    kept = gradients(model)
    model.train_with(Regular(**random, image_again=True, text_again=True))
    again = gradients(model)
    assert kept.keys() == again.keys()
    assert all(torch.equal(one, again[name]) for name, one in kept.items())
    if random:
        assert not torch.equal(
            gradients(model, 1)["image_projection.weight"], kept["image_projection.weight"]
        )


def kept_bytes(run: Callable[[], Tensor]) -> int:
    """Return the bytes that a forward pass keeps for the backward one."""
    kept: dict[int, Tensor] = {}

    def note(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        run()
    return sum(value.untyped_storage().nbytes() for value in kept.values())


@pytest.mark.parametrize("side", ["image", "text"])
def test_each_side_alone_keeps_less_where_it_is_computed_again(side: str) -> None:
    encoder = EncoderConfig(width=32, depth=6, heads=2)
    sizes = {
        "image": encoder,
        "text": encoder,
        "fusion": tuple(range(6)),
        "image_size": 128,
        "patch_size": 16,
    }
    model, given = lively(small_config(**sizes)).train(), batch()
    given.fields[PIXELS] = torch.randn(ROWS, 3, 128, 128, generator=torch.Generator().manual_seed(4))
    tokens = model.encode_image(given[PIXELS]).detach()

    def forward() -> Tensor:
        if side == "image":
            return model.encode_image(given[PIXELS])
        states, _ = model.text_network(
            given["caption.ids"], given["caption.mask"], tokens, decode=False, trace=TraceLayers()
        )
        found: Tensor = states
        return found

    whole = kept_bytes(forward)
    model.train_with(Regular(**{f"{side}_again": True}))  # type: ignore[arg-type]
    inputs = 6 * 4 * forward().numel()  # of the layers, which a hook on saved tensors does not see
    assert kept_bytes(forward) + inputs < 0.4 * whole
    model.train_with(Regular(image_again=side == "text", text_again=side == "image"))
    assert kept_bytes(forward) == whole, "the other side changes nothing"


def test_statements_on_two_pictures_keep_less_where_they_are_computed_again_and_have_the_same_gradients() -> (
    None
):
    sizes = {"text": EncoderConfig(width=32, depth=6, heads=2), "fusion": tuple(range(6))}
    model = with_second(lively(small_config(**sizes))).train()
    (ids, mask), tokens = texts(), torch.randn(ROWS, 5, 32, generator=torch.Generator().manual_seed(2))

    def forward() -> Tensor:
        found: Tensor = model.text_network.read_with_two(ids, mask, tokens, tokens.flip(0))
        return found

    found, sizes_kept = [], []
    for again in (False, True):
        model.train_with(Regular(dropout=0.3, text_again=again))
        sizes_kept.append(kept_bytes(forward))
        model.zero_grad()
        torch.manual_seed(0)
        forward().sin().sum().backward()
        found.append(
            {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
        )
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(one, found[1][name]) for name, one in found[0].items())
    inputs = 6 * 4 * forward().numel()
    assert sizes_kept[1] + inputs < 0.4 * sizes_kept[0]


def test_options_reach_the_model_and_hold_in_training_alone() -> None:
    sizes = Blip.sizes(small_config())
    given: dict[str, Any] = {
        "image": SIDE | {"drop_path": 0.2, "checkpoint_activations": True},
        "text": SIDE | {"dropout": 0.1},
        "fusion": {"layers": 1},
    }
    options = made_config(BlipOptions, resolved(given, sizes).options, "student")
    model = lively(small_config())
    assert not drops(model)
    model.begin_training(options)
    assert model.regular == Regular(dropout=0.1, drop_path=0.2, image_again=True)
    assert drops(model)
    assert model.indivisible(frozenset()) == "its dropout would fall otherwise in parts"
    said = [model.eval()(batch(), WANTS) for _ in range(2)]
    plain = lively(small_config())(batch(), WANTS)
    assert all(
        torch.equal(said[0][want], said[1][want]) and torch.equal(said[0][want], plain[want])
        for want in WANTS
    )
    assert with_second(model).regular == model.regular
    model.train_with(Regular(drop_path=0.2))
    assert drops(model)


def test_options_that_came_later_do_not_change_a_student_that_does_without() -> None:
    sizes = Blip.sizes(small_config())
    bare = {"image": SIDE, "text": SIDE, "fusion": {"layers": 1}}
    told = resolved(bare, sizes).options
    assert told["text"].keys() == told["image"].keys() == {*SIDE, "mlp_ratio", "init"}
    given = {**bare, "text": SIDE | {"dropout": 0.0, "checkpoint_activations": False}}
    assert resolved(given, sizes).options == told


@pytest.mark.parametrize("value", [-0.1, 1.0, "much"])
def test_a_share_that_is_none_is_refused_with_its_place(value: object) -> None:
    bare = {"image": SIDE, "fusion": {"layers": 1}}
    with pytest.raises(PluginError, match=r"student\.text\.dropout: got "):
        made_config(BlipOptions, {**bare, "text": SIDE | {"dropout": value}}, "student")
