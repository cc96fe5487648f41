"""Schedulers by name: who is stopped early. Each is a Ray `TrialScheduler`."""

SCHEDULERS = {
    "asha": "search.schedulers.asha:Asha",
    "moasha": "search.schedulers.moasha:MOAsha",
}
