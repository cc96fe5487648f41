"""A non-editable install is whole: spaces and embedded weights are in the wheel, tests are not."""

import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copy2

import pytest

from tests.house.tree import ROOMS, ROOT, modules, short, walk

EMBEDDED = {"embedded_weights", "embedded_objects", "embedded_beit", "embedded_clip", "embedded_dino"}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names in a wheel built from a copy, so that nothing is written beside the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for path in walk():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy2(path, target)
    out = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    done = subprocess.run(
        [*build, str(copy), "-w", str(out)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = Path(out).glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_wheel_holds_all_modules_of_the_four_rooms(names: set[str]):
    assert {short(path) for path in modules(*ROOMS)} <= names


def test_wheel_holds_spaces_and_embedded_weights(names: set[str]):
    weights = [
        path for path in walk(ROOT / "trainables/teachers") if path.parent.name.startswith("embedded_")
    ]
    assert {path.parent.name for path in weights if path.name == "model.safetensors"} == EMBEDDED
    data = [*(ROOT / "spaces").rglob("*.yaml"), *weights]
    assert {short(path) for path in data} <= names


def test_wheel_holds_nothing_else(names: set[str]):
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(ROOMS)
