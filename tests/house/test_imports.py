"""Rooms import one way only, and the light rooms stay light."""

import pytest

from tests.house.tree import dotted, modules, python

HEAVY = ("ray", "timm", "torch", "torchvision", "transformers")
GONE = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydantic", "pydantic_core", "ray", "yaml"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Gone())
"""


def importing(names: list[str]) -> str:
    return f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"


def test_import_contracts_of_pyproject_are_kept():
    done = python(
        "import sys\nfrom importlinter.cli import lint_imports\nsys.exit(lint_imports(no_cache=True))"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ["spaces", "analysis"])
def test_light_room_never_loads_torch_or_ray(room: str):
    names = [dotted(path) for path in modules(room)]
    done = python(importing(names) + f"print([name for name in {HEAVY!r} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_trainables_imports_where_ray_pydantic_and_yaml_are_missing():
    names = [
        dotted(path) for path in modules("trainables") if path.name not in ("trial.py", "worker_group.py")
    ]
    done = python(GONE + importing(names))
    assert done.returncode == 0, done.stderr
