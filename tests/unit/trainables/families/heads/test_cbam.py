"""CBAM against Woo et al. 2018, equations 1 to 3: by hand, and against timm's channel attention."""

import math
from dataclasses import replace

import pytest
import torch
from timm.layers.cbam import ChannelAttn

from spaces.errors import ShapeError
from tests.unit.trainables.families.teachers import around, ask, drafted, student, want
from trainables.families.heads.convolutional_attention import CbamBlock
from trainables.signals import Want


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_two_channels_of_two_places_by_hand() -> None:
    block = CbamBlock(2, 1, 3)
    kernel = torch.zeros(1, 2, 3, 3)
    kernel[0, 0, 1] = torch.tensor(
        [0.0, 1.0, 2.0]
    )  # of the mean channel: itself, and twice its right neighbour
    kernel[0, 1, 1] = torch.tensor([0.0, -1.0, 0.0])  # of the largest channel: itself, negative
    block.load_state_dict(
        {
            "reduce.weight": torch.tensor([[1.0, 0.5]]),
            "expand.weight": torch.tensor([[1.0], [-2.0]]),
            "spatial.weight": kernel,
        }
    )
    picture = torch.tensor([[[[1.0, 3.0]], [[-2.0, 0.0]]]])  # (1, 2, 1, 2)
    # means 2 and -1, largest 3 and 0: hidden relu(2 - 0.5) = 1.5 and relu(3) = 3, together 4.5
    first, second = sigmoid(4.5), sigmoid(-9.0)
    weighed = [[1.0 * first, 3.0 * first], [-2.0 * second, 0.0]]
    means = [(weighed[0][place] + weighed[1][place]) / 2 for place in (0, 1)]
    largest = weighed[0]
    places = [sigmoid(means[0] + 2 * means[1] - largest[0]), sigmoid(means[1] - largest[1])]
    expected = [[[channel[place] * places[place] for place in (0, 1)]] for channel in weighed]
    with torch.no_grad():
        torch.testing.assert_close(block(picture), torch.tensor([expected]))


def test_channel_weights_are_those_of_timm() -> None:
    torch.manual_seed(0)
    block, twin = CbamBlock(12, 3, 7), ChannelAttn(12, rd_channels=3)
    with torch.no_grad():
        twin.fc1.weight.copy_(block.reduce.weight[..., None, None])
        twin.fc2.weight.copy_(block.expand.weight[..., None, None])
        picture = torch.randn(2, 12, 5, 5)
        found = block.channel_weights(picture)[:, :, None, None] * picture
        torch.testing.assert_close(found, twin(picture))


def test_the_map_behind_the_blocks_is_said_and_its_mean_is_projected() -> None:
    model = student("cbam", around(16), blocks=3, reduction=4, kernel=3, embedding=8)
    picture = torch.randn(2, 16, 3, 3, generator=torch.Generator().manual_seed(2))
    found = ask(model, "image.map", "image.pooled", "image.embedding", image_map=picture)
    expected = picture
    with torch.no_grad():
        for block in model.image.blocks:
            expected = block(expected)
        vector = model.image_projection(expected.mean((2, 3)))
    assert len(model.image.blocks) == 3
    torch.testing.assert_close(found[want("image.map")], expected)
    torch.testing.assert_close(found[want("image.pooled")], expected.mean((2, 3)))
    torch.testing.assert_close(found[want("image.embedding")], vector / vector.norm(dim=1, keepdim=True))


def test_its_text_side_is_a_linear_layer_on_the_teachers_embedding() -> None:
    model = drafted("cbam", around(16), embedding=8).on_meta()
    assert model.inputs(frozenset({Want("text", "embedding")})).source == {Want("text", "embedding")}
    assert model.get_parameter("text_projection.weight").shape == (8, 16)


def test_hidden_channels_are_at_least_one() -> None:
    model = drafted("cbam", around(16), reduction=64).on_meta()
    assert model.get_parameter("image.blocks.0.reduce.weight").shape == (1, 16)


def test_a_teacher_without_feature_map_is_refused() -> None:
    beside = around(16)
    said = {one: offer for one, offer in beside.offers.items() if one.what != "map"}
    beside = replace(beside, offers=said)
    with pytest.raises(ShapeError, match=r"reads image\.map .* it says image\.embedding, .* another teacher"):
        drafted("cbam", beside)
