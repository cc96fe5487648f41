"""simple_projection and bottleneck: what they read, what they make of it, and what of them is deployed."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from tests.unit.trainables.families.teachers import around, ask, drafted, student, want
from trainables.signals import Want

GENERATOR = torch.Generator().manual_seed(1)
VECTORS = normalize(torch.randn(5, 16, generator=GENERATOR), dim=-1)
POOLED = 7 * torch.randn(5, 24, generator=GENERATOR)


def test_simple_projection_is_one_linear_layer_on_a_vector_of_entries_about_one() -> None:
    model = student("simple_projection", around(16))
    found = ask(model, "image.embedding", "text.embedding", image_embedding=VECTORS, text_embedding=-VECTORS)
    for mode, sign, layer in (
        ("image", 1, model.image_projection),
        ("text", -1, model.text_projection),
    ):
        expected = sign * 4 * VECTORS @ layer.weight.T + layer.bias
        torch.testing.assert_close(
            found[Want(mode, "embedding")], expected / expected.norm(dim=1, keepdim=True)
        )


def test_bottleneck_is_two_layers_with_relu_between_them() -> None:
    model = student("bottleneck", around(16), bottleneck=6, embedding=8)
    first, _, second = model.image_projection
    assert (first.out_features, second.in_features, second.out_features) == (6, 6, 8)
    hidden = (4 * VECTORS @ first.weight.T + first.bias).clamp(min=0)
    expected = hidden @ second.weight.T + second.bias
    found = ask(model, "image.embedding", image_embedding=VECTORS)[Want("image", "embedding")]
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))


def test_pooled_features_are_read_as_they_are() -> None:
    model = student("simple_projection", around(16), feature="pooled")
    found = ask(model, "image.embedding", image_pooled=POOLED)[Want("image", "embedding")]
    layer = model.image_projection
    expected = POOLED @ layer.weight.T + layer.bias
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))
    assert model.inputs(frozenset({want("text.embedding")})).source == {want("text.pooled")}


@pytest.mark.parametrize("kind", ["simple_projection", "bottleneck"])
def test_classes_are_told_from_the_projected_vector(kind: str) -> None:
    model = student(kind, around(16, classes=3), classifier=True, embedding=8)
    vectors = {}
    model.classifier.register_forward_pre_hook(lambda _, given: vectors.update(read=given[0]))
    found = ask(model, "image.embedding", "image.logits", image_embedding=VECTORS)
    expected = vectors["read"] @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(found[Want("image", "logits")], expected)
    torch.testing.assert_close(normalize(vectors["read"], dim=-1), found[Want("image", "embedding")])
    alone = ask(model, "image.logits", image_embedding=VECTORS)
    assert torch.equal(alone[Want("image", "logits")], found[Want("image", "logits")])


def test_nothing_of_the_teacher_is_read_for_the_temperature() -> None:
    model = student("simple_projection", around(16))
    found = ask(model, "contrast.temperature")[Want("contrast", "temperature")]
    assert float(found) == pytest.approx(0.07)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.after_step()
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    assert float(ask(model, "contrast.temperature")[Want("contrast", "temperature")]) == pytest.approx(0.01)


def test_the_start_does_not_hang_on_the_width_of_the_teacher() -> None:
    spread = []
    for width in (16, 1024):
        vectors = normalize(torch.randn(256, width, generator=GENERATOR), dim=-1)
        model = student("simple_projection", around(width))
        gained = vectors * model.image.gain
        spread.append(model.image_projection(gained).std().item())
    assert spread[0] == pytest.approx(spread[1], rel=0.1)  # 256 x 256 numbers of one normal distribution


def test_a_side_or_classifier_that_nobody_asks_is_not_deployed() -> None:
    whole = drafted("simple_projection", around(16, classes=3), classifier=True, embedding=8)
    names = {
        frozenset({want("image.embedding")}): {"image_projection"},
        frozenset({want("text.embedding")}): {"text_projection"},
        frozenset({want("image.logits")}): {"image_projection", "classifier"},
        frozenset({want("contrast.temperature")}): {"logit_scale"},
    }
    for wants, expected in names.items():
        model = whole.deployed(wants).on_meta()
        assert {name.partition(".")[0] for name, _ in model.named_parameters()} == expected
        assert wants <= set(whole.deployed(wants).offers)


@pytest.mark.parametrize("kind", ["simple_projection", "bottleneck", "multihead_attention", "cbam"])
def test_a_meta_model_knows_what_its_pass_reads(kind: str) -> None:
    bare = drafted(kind, around(16)).on_meta()
    for mode in ("image", "text"):
        source = bare.inputs(frozenset({Want(mode, "embedding")})).source
        given = bare.pass_inputs(mode, 5)
        assert {str(one) for one in source} == set(given) - {"caption.mask"}
        assert all(value.is_meta and len(value) == 1 for value in given.values())
