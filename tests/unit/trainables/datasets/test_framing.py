"""How pictures of any proportions become squares: hand-worked pixels."""

import numpy as np
import pytest
from PIL import Image

from spaces.errors import DatasetError
from trainables.datasets.pictures import square
from trainables.preprocess import EVEN, MIDDLES, Framing, PreprocessConfig


def columns(width: int, height: int) -> Image.Image:
    """A picture each column of which has its own grey: ten times its number."""
    grey = np.tile((10 * np.arange(width)).astype(np.uint8), (height, 1))
    return Image.fromarray(np.stack([grey] * 3, -1))


def test_the_middle_of_the_shorter_side_is_taken_and_an_odd_rest_is_cut_off_right() -> None:
    seen = square(columns(9, 4), Framing(4, resize=4, interpolation="nearest"))
    assert seen[:, :, 0].tolist() == [[20, 30, 40, 50]] * 4  # 9 - 4 = 5 left over: two before, three behind


@pytest.mark.parametrize(
    ("width", "first"), [(4, 0), (5, 0), (6, 10), (7, 20), (8, 20), (9, 20), (11, 40), (13, 40)]
)
def test_half_of_an_odd_margin_may_be_rounded_to_the_even_neighbour(width: int, first: int) -> None:
    seen = square(columns(width, 4), Framing(4, resize=4, interpolation="nearest", middle=EVEN))
    assert seen[0, 0, 0] == first  # halves 0, .5, 1, 1.5, 2, 2.5, 3.5, 4.5 of ten times the margin


def test_both_sides_may_be_resized_before_the_crop() -> None:
    seen = square(columns(8, 2), Framing(2, resize=4, interpolation="box", squash=True))
    assert seen[:, :, 0].tolist() == [[25, 45]] * 2  # of 5, 25, 45, 65


def test_the_shorter_side_is_resized_before_the_crop() -> None:
    seen = square(columns(8, 4), Framing(2, resize=2, interpolation="box"))
    assert seen[:, :, 0].tolist() == [[25, 45]] * 2  # means of columns 2, 3 and of 4, 5


def test_without_a_resize_proportions_do_not_count() -> None:
    seen = square(columns(8, 2), Framing(4, interpolation="box"))
    assert seen[:, :, 0].tolist() == [[5, 25, 45, 65]] * 4


@pytest.mark.parametrize(
    "framing",
    [
        Framing(8),
        Framing(8, resize=9),
        Framing(8, interpolation="bilinear"),
        Framing(8, 8),
        Framing(8, 9, squash=True),
        Framing(8, 9, middle=EVEN),
        Framing(8, 9, squash=True, middle=EVEN),
    ],
)
def test_framings_have_their_own_keys_and_go_through_a_config(framing: Framing) -> None:
    side, *rest = framing
    config = PreprocessConfig(image_size=side, **dict(zip(Framing._fields[1:], rest, strict=True)))
    assert config.framing == framing
    assert PreprocessConfig.from_dict(config.to_dict()) == config
    assert (framing.key == "8") == (framing == Framing(8))
    assert ("resize" in config.to_dict()) == (framing != Framing(8))


def test_an_interpolation_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"interpolation 'cubic'; allowed: nearest"):
        PreprocessConfig.from_dict(PreprocessConfig(image_size=8).to_dict() | {"interpolation": "cubic"})
    with pytest.raises(ValueError, match=r"middle 'up'; allowed: down, even"):
        PreprocessConfig.from_dict(PreprocessConfig(image_size=8).to_dict() | {"middle": "up"})


def test_keys_tell_all_framings_apart() -> None:
    kinds = [Framing(8, 9, squash=a, middle=b) for a in (False, True) for b in MIDDLES]
    assert len({one.key for one in kinds}) == len(kinds)


def test_a_line_is_refused_before_it_fills_the_memory() -> None:
    line = Image.new("L", (20_000, 1), 0)
    with pytest.raises(
        DatasetError, match=r"20000 x 1 is a line; allowed: one side up to 200 times the other"
    ):
        square(line, Framing(224, 256))
    assert square(line, Framing(224)).shape == (224, 224, 3)
