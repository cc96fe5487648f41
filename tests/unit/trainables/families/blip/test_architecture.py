"""Sizes of a model: which text layers fuse, and what is refused."""

import json

import pytest

from spaces.errors import ShapeError
from tests.unit.trainables.small import small_config
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig, fusion_positions
from trainables.preprocess import PreprocessConfig


@pytest.mark.parametrize(
    ("depth", "layers", "placement", "expected"),
    [
        (6, 0, "last", ()),
        (6, 0, "even", ()),
        (6, 2, "last", (4, 5)),
        (6, 2, "first", (0, 1)),
        (6, 2, "even", (2, 5)),
        (6, 3, "even", (1, 3, 5)),
        (6, 4, "even", (1, 2, 3, 5)),
        (5, 2, "even", (1, 4)),
        (3, 1, "even", (2,)),
        (3, 3, "first", (0, 1, 2)),
        (3, 3, "last", (0, 1, 2)),
        (3, 3, "even", (0, 1, 2)),
    ],
)
def test_fusion_layers_stand_where_the_placement_says(
    depth: int, layers: int, placement: str, expected: tuple[int, ...]
) -> None:
    assert fusion_positions(depth, layers, placement) == expected


def test_even_placement_is_distinct_ordered_and_ends_with_the_last_layer() -> None:
    for depth in range(1, 13):
        for layers in range(1, depth + 1):
            positions = fusion_positions(depth, layers, "even")
            assert list(positions) == sorted(set(positions))
            assert len(positions) == layers
            assert positions[-1] == depth - 1


def test_too_many_fusion_layers_and_unknown_placements_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"got 4 with text depth 3; allowed 0..3"):
        fusion_positions(3, 4, "last")
    with pytest.raises(ShapeError, match="got 'middle'; allowed: last, first, even"):
        fusion_positions(3, 1, "middle")
    with pytest.raises(ShapeError, match=r"got \(0, 2\) with text depth 2"):
        small_config(fusion=(0, 2))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ShapeError, match="got 3 with width 32"):
        EncoderConfig(width=32, depth=1, heads=3)


def test_image_tokens_are_patches_and_the_class_token() -> None:
    assert small_config(image_size=224, patch_size=16).image_tokens == 14 * 14 + 1


@pytest.mark.parametrize(
    ("fusion", "decoder", "has_fusion", "has_decoder"),
    [
        ((0,), True, True, True),
        ((0,), False, True, False),
        ((), True, False, False),
        ((), False, False, False),
    ],
)
def test_a_decoder_needs_fusion_layers(
    fusion: tuple[int, ...], decoder: bool, has_fusion: bool, has_decoder: bool
) -> None:
    config = small_config(fusion=fusion, decoder=decoder)
    assert (config.has_fusion, config.has_decoder) == (has_fusion, has_decoder)
    assert config.has_matching is has_fusion
    assert not small_config(fusion=fusion, matching=False).has_matching


def test_configs_survive_json() -> None:
    for config in (small_config(fusion=(1,), decoder=False), small_config(matching=False)):
        assert BlipArchitecture.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    preprocess = PreprocessConfig(image_size=32, mean=(0.1, 0.2, 0.3))
    assert PreprocessConfig.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


def test_unknown_and_missing_fields_are_refused() -> None:
    fields = small_config().to_dict()
    with pytest.raises(TypeError, match="colour"):
        BlipArchitecture.from_dict(fields | {"colour": 1})
    del fields["embedding"]
    with pytest.raises(TypeError, match="embedding"):
        BlipArchitecture.from_dict(fields)
