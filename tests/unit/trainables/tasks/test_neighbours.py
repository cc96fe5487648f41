"""Agreement with the teacher, by hand: who is near whom for the one, and for the other."""

import pytest
import torch
from torch.nn import functional

from spaces.errors import PluginError
from trainables.tasks.neighbours import Neighbours, common_neighbours


def circle(*degrees: float) -> torch.Tensor:
    """Unit vectors in a plane: the nearer two angles, the nearer the pictures."""
    angles = torch.tensor(degrees) * torch.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_the_nearest_of_each_are_compared_and_no_picture_is_its_own() -> None:
    ours, theirs = circle(0, 10, 25, 90), circle(0, 10, 95, 90)
    # nearest: ours 1, 0, 1, 2; theirs 1, 0, 3, 2
    assert common_neighbours(ours, theirs, 1) == 3 / 4
    # two nearest: ours {1,2}, {0,2}, {1,0}, {2,1}; theirs {1,3}, {0,3}, {3,1}, {2,1}
    assert common_neighbours(ours, theirs, 2) == (1 + 1 + 1 + 2) / 8


def test_equal_models_agree_whatever_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.tasks.neighbours.CHUNK", 3)
    some = functional.normalize(torch.randn(10, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    assert common_neighbours(some, some, 4) == 1.0


def test_what_is_not_finite_is_near_nobody() -> None:
    broken = circle(0, 10, 25, 90)
    broken[1] = float("nan")
    assert common_neighbours(broken, circle(0, 10, 25, 90), 1) == 0.25  # the last one's: the third


def test_random_embeddings_agree_as_chance_says() -> None:
    source = torch.Generator().manual_seed(1)
    one, other = (functional.normalize(torch.randn(400, 8, generator=source), dim=1) for _ in range(2))
    share, found = 10 / 399, common_neighbours(one, other, 10)
    assert abs(found - share) < 3 * (share * (1 - share) / 4000) ** 0.5


def test_a_number_of_neighbours_below_one_is_refused() -> None:
    with pytest.raises(PluginError, match="k: got 0"):
        Neighbours.Config(k=0)
