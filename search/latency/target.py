"""On what the students of a space will run: its section `latency`, with `auto` made plain."""

from collections.abc import Mapping
from typing import Any

from spaces.errors import ResourceError, RunError
from spaces.schema import Space
from spaces.target import AUTO
from trainables.costs.target import Target


def target_of(space: Space, *, gpus: bool) -> Target:
    """Return the target of a space.

    Args:
        space: with its section `latency`.
        gpus: whether trials take a GPU, which `auto` hangs on.

    Raises:
        SpaceError: values that do not go together.
    """
    options = space.latency.model_dump(exclude={"samples"})
    if options["device"] == AUTO:
        options["device"] = "cuda" if gpus else "cpu"
    return Target.made(options, space.place("latency"))


def takes_gpus(asked: float | None) -> bool:
    """Return whether trials on this machine take a GPU; `asked` is `resources.gpus`."""
    if asked is not None:
        return asked > 0
    import torch  # slow, and needed only here

    return bool(torch.cuda.is_available())


def check_target(space: Space, *, here: bool) -> None:
    """Refuse a target that cannot be, and one that this machine has not, before anything is loaded.

    Args:
        space: loaded.
        here: whether this machine runs the trials; a cluster looks for the target on its nodes.

    Raises:
        SpaceError: values that do not go together.
        ResourceError: no such device, too few cores, or a runtime that is not installed.
    """
    asked = space.resources.gpus
    target = target_of(space, gpus=takes_gpus(asked) if here else bool(asked))
    if not here:
        return
    try:
        target.check_here()
    except ResourceError as error:
        raise ResourceError(f"{space.where('latency')}, {error}") from error


def check_same_target(asked: str, facts: Mapping[str, Any], target: Target) -> None:
    """Refuse to measure candidates of one run on two targets.

    Args:
        asked: first words of the message: flag and folder.
        facts: `run.json`; runs of an earlier version do not name their target.
        target: of this session.

    Raises:
        RunError: names both.
    """
    before = facts.get("target")
    if not isinstance(before, Mapping):
        return
    kept = {name: value for name, value in before.items() if name in target.to_dict()}
    if kept == target.to_dict():
        return
    raise RunError(
        f"{asked}: latency would be measured on {target.describe()}, the run began with {_described(kept)}; allowed: that one, "
        "since all candidates of a run are compared with one another. Resume where trials have the same device, or search anew: "
        "--set latency.device=cpu or cuda says which."
    )


def _described(kept: Mapping[str, Any]) -> str:
    try:
        return Target(**kept).describe()
    except TypeError:
        return str(dict(kept))
