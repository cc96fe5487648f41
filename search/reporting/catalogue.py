"""What `--list ROOM` prints: the plug-ins of a room with their options and defaults."""

from dataclasses import MISSING, fields

from search.schedulers import SCHEDULERS
from search.searchers import SEARCHERS
from spaces.plugins import Table, resolve
from trainables.datasets import DATASETS
from trainables.losses import LOSSES
from trainables.models import MODELS
from trainables.teachers import TEACHERS

ROOMS: dict[str, Table] = {
    "datasets": DATASETS,
    "losses": LOSSES,
    "models": MODELS,
    "schedulers": SCHEDULERS,
    "searchers": SEARCHERS,
    "teachers": TEACHERS,
}


def catalogue(room: str) -> str:
    """Return one block per plug-in: name, first line of its docstring, options with defaults."""
    lines = []
    for name in sorted(ROOMS[room]):
        plugin = resolve(ROOMS[room], name, room)
        lines.append(f"{name}: {(plugin.__doc__ or '').strip().splitlines()[0]}")
        config = getattr(plugin, "Config", None)
        for option in fields(config) if config is not None else ():
            default = "required" if option.default is MISSING else repr(option.default)
            lines.append(f"    {option.name} = {default}")
    if room == "teachers":
        lines.append(
            "or a model folder (exported here, or Hugging Face BlipForImageTextRetrieval), or a hub id owner/model"
        )
    return "\n".join(lines)
