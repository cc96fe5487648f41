"""Schedulers by name: who is stopped early. Each is a Ray `TrialScheduler`."""

from typing import Any

from spaces.plugins import Table, resolve, resolve_config

SCHEDULERS = Table(
    "schedulers",
    {
        "asha": "search.schedulers.asha:Asha",
        "moasha": "search.schedulers.moasha:MOAsha",
    },
)
# Configs of our own, apart from them: whoever checks options or plans a search needs no Ray.
_CONFIGS = {
    "asha": "search.schedulers.rung_config:RungConfig",
    "moasha": "search.schedulers.rung_config:RungConfig",
}


def config_class(name: str) -> Any:
    """Return the Config of a scheduler.

    Raises:
        PluginError: there is no such scheduler.
    """
    return resolve(_CONFIGS, name) if name in _CONFIGS else resolve_config(SCHEDULERS, name, "schedulers")
