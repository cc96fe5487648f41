"""Every space that we ship loads without a complaint and says what it is for."""

from pathlib import Path

import pytest

from spaces.load import load_space
from tests.house.tree import ROOT, short

SHIPPED = sorted((ROOT / "spaces").glob("*.yaml"))


def test_the_default_space_is_shipped():
    assert ROOT / "spaces/dlip.yaml" in SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_space_loads(path: Path):
    space = load_space(path)
    assert space.name == path.stem
    assert space.domains()
    assert path.read_text().startswith("# "), f"{short(path)} does not open with what it is for"
