"""What `--list ROOM` prints: the plug-ins of a room with their options and defaults.

Read from the plug-ins' sources: to import them all would take seconds of torch, timm and Ray.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from search.schedulers import SCHEDULERS
from search.searchers import SEARCHERS
from spaces.plugins import Table
from trainables.datasets import DATASETS
from trainables.families import FAMILIES
from trainables.losses import LOSSES
from trainables.tasks import TASKS
from trainables.teachers import TEACHERS

ROOMS: dict[str, Table] = {
    "datasets": DATASETS,
    "families": FAMILIES,
    "losses": LOSSES,
    "schedulers": SCHEDULERS,
    "searchers": SEARCHERS,
    "tasks": TASKS,
    "teachers": TEACHERS,
}
ROOT = Path(__file__).resolve().parents[2]
OURS = ("spaces", "trainables", "search", "analysis")

Place = tuple[str, ast.ClassDef]
"""A class, and the module in which it stands."""


def catalogue(room: str) -> str:
    """Return one block per plug-in: name, first line of its docstring, options with defaults; nested ones as `image.width`."""
    lines = []
    table = ROOMS[room]
    for name, place in sorted(table.items()):
        module, _, class_name = place.partition(":")
        plugin, origin = _class(module, class_name), table.origin(name)
        said = (
            (ast.get_docstring(plugin[1]) or "").partition("\n")[0]
            if plugin
            else f"no source of {place} is found that can be read"
        )
        lines.append(f"{name}: {said}" + (f" [{origin}]" if origin else ""))
        lines += [
            f"    {option} = {default}" for option, default in (options(plugin) if plugin else {}).items()
        ]
    if room == "teachers":
        lines.append("or a model folder (exported here, or of Hugging Face's), or a hub id owner/model")
    return "\n".join(lines)


def options(plugin: Place) -> dict[str, str]:
    """Return option -> default of a plug-in's Config, inherited ones first, `required` for those without a default."""
    config = _config(plugin)
    return _fields(config) if config else {}


def _fields(config: Place) -> dict[str, str]:
    """Return option -> default of the fields that stand in a dataclass itself and in those that it extends.

    A required part that is a dataclass of ours is told by its own options: `image.width`.
    """
    found: dict[str, str] = {}
    for base in _bases(config):
        found |= _fields(base)
    for node in config[1].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, default = node.target.id, _default(node.value)
            part = _named(config[0], ast.unparse(node.annotation)) if default is None else None
            if part:
                found |= {f"{name}.{option}": value for option, value in _fields(part).items()}
            else:
                found[name] = "required" if default is None else _spelled(default)
    return found


def _default(value: ast.expr | None) -> ast.expr | None:
    """Return what stands for the default of a field, also within `field(...)`; None for a required one."""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) in ("field", "dataclasses.field")):
        return value
    given = {keyword.arg: keyword.value for keyword in value.keywords}
    return given.get("default", given.get("default_factory"))


def _spelled(value: ast.expr) -> str:
    """Return a default as Python prints it, as it is written where it is no literal."""
    try:
        return repr(ast.literal_eval(value))
    except ValueError:
        return ast.unparse(value)


def _config(plugin: Place) -> Place | None:
    """Return the Config of a class, its own or an inherited one."""
    module, node = plugin
    for part in node.body:
        if isinstance(part, ast.ClassDef) and part.name == "Config":
            return module, part
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "Config":
            return _named(module, ast.unparse(part.value))
    return next((found for base in _bases(plugin) if (found := _config(base))), None)


def _bases(place: Place) -> Iterator[Place]:
    """Yield the classes that a class extends, as far as they can be read."""
    module, node = place
    for base in node.bases:
        if found := _named(module, ast.unparse(base)):
            yield found


def _named(module: str, name: str) -> Place | None:
    """Return the class that a module calls `Name` or `Name.Config`; None for one of neither ours nor a plug-in's."""
    outer, _, inner = name.partition(".")
    found = _class(module, outer)
    return found if found is None or not inner else _config(found)


def _class(module: str, name: str) -> Place | None:
    """Return a class of a module, or one that it imports."""
    for node in _syntax(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _class(_imported(module, node), alias.name)
    return None


def _imported(module: str, node: ast.ImportFrom) -> str:
    """Return the whole name of the module that `from .other import Name` of a module means."""
    if not node.level:
        return node.module or ""
    parts, source = module.split("."), _source(module)
    is_package = source is not None and source.name == "__init__.py"
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


@cache
def _syntax(module: str) -> list[ast.stmt]:
    """Return the statements of a module of ours or of a package that adds plug-ins, none for any other."""
    source = _source(module)
    try:
        return ast.parse(source.read_text(encoding="utf-8")).body if source else []
    except (SyntaxError, ValueError):  # of a plug-in's; it is told as such, and the others are listed
        return []


@cache
def _source(module: str) -> Path | None:
    """Return where a module stands, which is not imported for it."""
    top, *inner = module.split(".")
    root = ROOT
    if top not in OURS:
        if top not in _plugin_packages():
            return None
        spec = find_spec(top)
        if spec is None or spec.origin is None:
            return None
        root = Path(spec.origin).parents[1 if spec.submodule_search_locations else 0]
    path = root.joinpath(top, *inner)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.is_file() else None


@cache
def _plugin_packages() -> frozenset[str]:
    """Return the packages at the top of all plug-ins."""
    return frozenset(
        place.partition(":")[0].partition(".")[0] for table in ROOMS.values() for place in table.values()
    )
