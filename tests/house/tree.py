"""The files of the project, found without git: everything that .gitignore does not name; and a Python that sees them."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("spaces", "trainables", "search", "analysis")


@cache
def ignored() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the patterns of .gitignore that hold at the top only, and those that hold everywhere."""
    lines = [line.strip() for line in (ROOT / ".gitignore").read_text().splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    top = tuple(line.strip("/") for line in patterns if line.startswith("/"))
    everywhere = (".git", *(line.rstrip("/") for line in patterns if not line.startswith("/")))
    return top, everywhere


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder and belongs to the project, sorted by name; folders that hold nothing do not."""
    top, everywhere = ignored()
    patterns = (*everywhere, *(top if folder == ROOT else ()))
    kept = [path for path in folder.iterdir() if not any(fnmatch(path.name, pattern) for pattern in patterns)]
    return sorted(path for path in kept if not path.is_dir() or entries(path))


def walk(folder: Path = ROOT) -> Iterator[Path]:
    """Yield the files of the project below a folder."""
    for path in entries(folder):
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def modules(*folders: str) -> list[Path]:
    """Return the Python files below folders of the root."""
    return [path for folder in folders for path in walk(ROOT / folder) if path.suffix == ".py"]


def dotted(path: Path) -> str:
    """Return the module name of a Python file of a room."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def short(path: Path) -> str:
    """Return the path from the root."""
    return path.relative_to(ROOT).as_posix()


@cache
def syntax(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh Python, from the root, and return how it ended and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
