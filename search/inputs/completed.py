"""A space with the value of every option of its plug-ins: what a run folder keeps, so that a later default changes nothing."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from search.schedulers import SCHEDULERS, config_class
from search.searchers import SEARCHERS
from spaces.options import nested_configs
from spaces.plugins import resolve
from spaces.rules import Option, Refused
from spaces.schema import Space
from trainables.datasets import DATASETS
from trainables.families import FAMILIES
from trainables.losses import LOSSES
from trainables.tasks import TASKS


def completed(space: Space, tasks: Iterable[str]) -> Space:
    """Return the space with defaults written wherever it is silent; it trains the same candidates under the same ids.

    Options of a plug-in that is not there stay as they are.

    Args:
        space: checked.
        tasks: what students are deployed for, where the space leaves it to teacher and data.
    """
    fields = space.resolved()
    search = fields["search"]
    fields["dataset"] = _filled(DATASETS, fields["dataset"]["kind"], fields["dataset"])
    search["searcher"] = _filled(SEARCHERS, search["searcher"]["kind"], search["searcher"])
    if search["scheduler"]["kind"] in SCHEDULERS:
        lacking = _silent(config_class(search["scheduler"]["kind"]), search["scheduler"])
        search["scheduler"] = _laid_under(search["scheduler"], lacking)
    fields["tasks"] = fields["tasks"] or {name: {} for name in tasks}
    fields["baselines"] = {
        name: _filled(FAMILIES, one["kind"], one) for name, one in fields["baselines"].items()
    }
    for table, section in ((LOSSES, "losses"), (TASKS, "tasks")):
        fields[section] = {name: _filled(table, name, options) for name, options in fields[section].items()}
    for kind in space.kinds:
        lacking = _missing(FAMILIES, kind, space.kind_options(kind))
        if len(space.kinds) == 1:
            fields["student"] = _laid_under(fields["student"], lacking)
        elif lacking:  # they belong to this kind alone
            own = fields["student"].get(kind, {})
            fields["student"][kind] = _laid_under(own, lacking)
    return space.rewritten(fields)


def _missing(table: Mapping[str, str], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of what the options of a plug-in do not say."""
    return _silent(resolve(table, name).Config, options) if name in table else {}


def _filled(table: Mapping[str, str], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a plug-in with its defaults."""
    return _laid_under(options, _missing(table, name, options))


def _silent(config_class: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of what options do not say, nested ones too."""
    found: dict[str, Any] = {}
    nested = nested_configs(config_class)
    for field in dataclasses.fields(config_class):
        if not field.init:
            continue
        if field.name in options:
            given = options[field.name]
            if isinstance(given, dict) and field.name in nested:
                below = _silent(nested[field.name], given)
                found |= {field.name: below} if below else {}
            continue
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            continue
        plain = _plain(value)
        found |= {field.name: plain} if _fits_a_file(plain) else {}
    return found


def _laid_under(section: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section with defaults below what it says."""
    joined = dict(section)
    for name, value in defaults.items():
        both = isinstance(value, dict) and isinstance(joined.get(name), dict)
        joined[name] = _laid_under(joined[name], value) if both else joined.get(name, value)
    return joined


def _plain(value: Any) -> Any:
    """Return a default as a file writes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _fits_a_file(value: Any) -> bool:
    """Return whether a space file can hold a value: nobody can set another one then, either."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _fits_a_file(part) for key, part in value.items())
    try:
        Option().read(value)
    except Refused:
        return False
    return True
