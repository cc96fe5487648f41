"""What several tests of search need: a family and a task from outside of the product."""

import pytest

from tests.house.tree import ROOT
from trainables.families import FAMILIES
from trainables.tasks import TASKS


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package of `tests/toy` for one test: the family `convnet`, and the task `scene_shape`."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "toy"))
    for table in (FAMILIES, TASKS):
        monkeypatch.setattr(table, "_installed", None)
