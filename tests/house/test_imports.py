"""Rooms import one way only, and the light rooms stay light."""

import os
import subprocess
import sys

import pytest

from tests.house.tree import ROOT, dotted, modules

HEAVY = ("ray", "timm", "torch", "torchvision", "transformers")
RUNTIME_ONLY = ("pydantic", "ray", "yaml")

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED and ours():
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)
def ours():
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("importlib", "_frozen_importlib", "__main__")):
            return name.partition(".")[0] in ("spaces", "trainables")
        frame = frame.f_back
    return True
sys.meta_path.insert(0, Block())
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def importing(names: list[str]) -> str:
    return f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"


def test_import_contracts_of_pyproject_are_kept():
    done = python("import sys\nfrom importlinter.cli import lint_imports\nsys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ["spaces", "analysis"])
def test_light_room_never_loads_torch_or_ray(room: str):
    names = [dotted(path) for path in modules(room)]
    done = python(importing(names) + f"print([name for name in {HEAVY!r} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_trainables_imports_where_ray_and_pydantic_are_missing():
    """On a bare training machine; yaml may be there, as a part of timm, but we never ask for it."""
    names = [dotted(path) for path in modules("trainables") if path.name not in ("trial.py", "__main__.py")]
    everywhere = (
        "import sys\nclass Gone:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('ray', 'pydantic', 'pydantic_core'):\n"
        "            raise ModuleNotFoundError(name, name=name)\nsys.meta_path.insert(0, Gone())\n"
    )
    done = python(everywhere + importing(names))
    assert done.returncode == 0, done.stderr


def test_trainables_itself_asks_for_no_ray_pydantic_or_yaml():
    names = [dotted(path) for path in modules("trainables") if path.name != "trial.py"]
    done = python(f"BLOCKED = {RUNTIME_ONLY!r}\n" + BLOCK + importing(names))
    assert done.returncode == 0, done.stderr
