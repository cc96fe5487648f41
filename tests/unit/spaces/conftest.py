"""A small space in absolute and relative values, and toy plug-ins whose sizes are easy to halve by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from spaces.errors import SpaceError
from spaces.load import load_space
from spaces.schema import Space
from tests.unit.spaces.toy import ToyPlugins

SMALL = """\
name: small
teacher: embedded
dataset: {kind: scenes, train_images: 400}
student:
  kind: blip
  image: {width: {choice: [0.25x, 0.5x], default: 0.5x}, depth: 2}
  text: {width: 64, depth: 3}
  fusion: {layers: 2}
losses:
  itc: {weight: 1.0}
  image_embedding:
    weight: {log: [2, 60], zero: 0.1, default: 20}
training: {epochs: 9, pairs_per_epoch: 2000, batch_size: 64, lr: 1e-3}
objectives: {retention: max, params: min}
search:
  searcher: {kind: random}
  scheduler: {kind: moasha, rungs: [1, 3]}
  trials: 8
"""

Load = Callable[..., Space]
Problems = Callable[..., list[str]]


@pytest.fixture
def toy() -> ToyPlugins:
    """Return the toy plug-ins."""
    return ToyPlugins()


@pytest.fixture
def costs() -> dict[str, float]:
    """Return the costs of the embedded teacher."""
    return {"params": 1000, "flops": 5000, "latency_ms": 8.0, "size_mib": 10.0}


@pytest.fixture
def small() -> str:
    """Return the text of the small space."""
    return SMALL


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads the small space after replacements (old, new) in its text."""

    def function(*changes: tuple[str, str], overrides: Sequence[str] = ()) -> Space:
        text = SMALL
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "space.yaml"
        path.write_text(text, encoding="utf-8")
        return load_space(path, overrides)

    return function


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Problems:
    """Return a function like `load` that returns the problems, the folder cut off: `space.yaml:6, ...`."""

    def function(*changes: tuple[str, str], overrides: Sequence[str] = ()) -> list[str]:
        with pytest.raises(SpaceError) as caught:
            load(*changes, overrides=overrides)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return function
