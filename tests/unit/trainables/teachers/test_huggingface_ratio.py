"""The feed-forward width of a checkpoint survives its way through a ratio."""

from trainables.teachers.blip.huggingface_config import mlp_ratio


def test_every_inner_width_comes_back() -> None:
    for width in range(1, 200):
        for inner in range(1, 900, 7):
            assert int(width * mlp_ratio(width, inner)) == inner
