"""Schedulers by name: who is stopped early. Each is a Ray `TrialScheduler`."""

SCHEDULERS = {
    "asha": "search.schedulers.asha:Asha",
    "moasha": "search.schedulers.moasha:MOAsha",
}

# Their Configs, apart from them: whoever checks options or plans a search needs no Ray.
CONFIGS = dict.fromkeys(SCHEDULERS, "search.schedulers.rung_config:RungConfig")
