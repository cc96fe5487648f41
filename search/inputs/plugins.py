"""Searcher and scheduler of a space, out of the plug-in tables."""

from pathlib import Path
from typing import Any

from search.schedulers import SCHEDULERS, config_class
from search.searchers import SEARCHERS
from search.searchers.base import Proposer
from spaces.document import Problem
from spaces.plugins import resolve
from spaces.schema import Space


def rungs_of(space: Space) -> tuple[int, ...]:
    """Return the rungs below full fidelity; needs no Ray."""
    return _rung_config(space).rungs


def fidelity_problem(space: Space) -> list[Problem]:
    """Return a problem where rungs leave nothing to stop early, though the file asks for early stopping."""
    path = "search.scheduler.rungs"
    if (
        any(map(space.is_doubtful, (path, "training.epochs")))
        or "rungs" not in space.search.scheduler.options
    ):
        return []  # the default has a rung below every full fidelity above 1
    asked = space.search.scheduler.options["rungs"]
    if not asked or rungs_of(space) or space.training.epochs == 1:
        return []
    text = (
        f"got {list(asked)} with training.epochs {space.training.epochs}; "
        "allowed: at least one rung below the last epoch, or []. Lower a rung."
    )
    return [Problem(space.mark(path), path, text)]


def make_scheduler(space: Space, folder: Path | None) -> Any:
    """Return the scheduler of a space, which keeps its rungs in a folder."""
    kind = resolve(SCHEDULERS, space.search.scheduler.kind, "schedulers")
    return kind(_rung_config(space), space.objectives, folder=folder)


def make_proposer(space: Space) -> Proposer:
    """Return the search algorithm of a space."""
    kind = resolve(SEARCHERS, space.search.searcher.kind, "searchers")
    made: Proposer = kind(
        kind.Config(**tuples(space.search.searcher.options)),
        space.domains(),
        seed=space.search.seed,
        objectives=space.objectives,
        conditions=space.conditions(),
    )
    return made


def tuples(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a space file as a Config takes them: lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _rung_config(space: Space) -> Any:
    kind = config_class(space.search.scheduler.kind)
    return kind(**tuples(space.search.scheduler.options)).below(space.training.epochs)
