"""How candidates are trained, in words: what decides results and is no dimension of the search."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from search.run_folder.facts import read_space
from spaces.domains import Domain
from spaces.rules import show
from spaces.schema import Space

TOLD_ELSEWHERE = ("epochs", "pairs_per_epoch")
TWIN = "twin"
MATCHING, RANK = "itm", "rank"
NORMED = ("densenet", "resnet", "timm")  # kinds of students that may have batch norms


def recipe_lines(space: Space) -> list[str]:
    """Return the fixed options of training, what its warm-up is too long for, which losses a twin of the student teaches, and
    what of several workers each does with its own pairs alone.
    """
    training = space.training
    fixed = {
        name: value
        for name in type(training).model_fields
        if name not in TOLD_ELSEWHERE and not isinstance(value := getattr(training, name), Domain)
    }
    lines = (
        [f"training: {', '.join(f'{name} {_plain(value)}' for name, value in fixed.items())}"]
        if fixed
        else []
    )
    lines += _long_warmup(space)
    workers, own = space.resources.workers_per_trial, own_of_space(space)
    if workers > 1 and own:
        size = training.batch_size if isinstance(training.batch_size, int) else "training.batch_size"
        lines.append(f"{own} are of the {size}/{workers} pairs of each worker, not of the whole batch")
    for name, section in space.losses.items():
        options: dict[str, Any] = section.options
        if options.get("taught_by") == TWIN and options["weight"] != 0:
            told = ", ".join(
                f"{one} {_plain(value)}"
                for one, value in options.items()
                if one not in ("weight", "taught_by")
            )
            lines.append(
                f"loss {name} is taught by a momentum twin of the student, which costs its memory and a pass without gradient at "
                f"each step ({told or 'all options at their defaults'})"
            )
    return lines


def own_of_space(space: Space) -> str:
    """Return what of candidates' training hangs on the number of workers, see `own_pairs`."""
    weight = space.losses[MATCHING].weight if MATCHING in space.losses else 0
    mined = max(_ends(weight)) > 0 and RANK in _ends(space.training.negatives)
    return own_pairs([*space.kinds, *(one.kind for one in space.baselines.values())], mined=mined)


def own_pairs(kinds: Iterable[str], *, mined: bool) -> str:
    """Return what each worker of a training does with its own pairs alone, so that it comes out otherwise with more of them.

    Dropout is left out: the masks are others, what they do is not.

    Args:
        kinds: of the students.
        mined: whether hard negatives may be drawn among the pairs of each worker.
    """
    normed = [one for one in NORMED if one in kinds]
    return " and ".join(
        [
            *(["hard negatives (training.negatives: rank)"] if mined else []),
            *([f"batch norms (students of kind {', '.join(normed)})"] if normed else []),
        ]
    )


def other_workers(own: str, *, got: int, before: int, whose: str) -> list[str]:
    """Return a warning where trainings that are compared with one another differ in their workers, and hang on that.

    Args:
        own: as of `own_pairs`.
        got: workers from now on.
        before: workers until now.
        whose: trainings those were.
    """
    if got == before or not own:
        return []
    way = ", or begin a new run with training.negatives: workers" if RANK in own else ""
    return [
        f"WARNING: --workers-per-trial: got {got}, {whose} were trained with {before}: {own} are of {_part(got)}, not of "
        f"{_part(before)}, so that what is trained now comes out otherwise. Keep {before}{way}"
    ]


def workers_changed(folder: Path, space: Space) -> list[str]:
    """Return a warning where a run goes on with another number of workers, see `other_workers`.

    Args:
        folder: of the run, whose `space.yaml` is still that of its last session.
        space: with what the command line changes.
    """
    before = read_space(folder, ()).resources.workers_per_trial
    got = space.resources.workers_per_trial
    return other_workers(own_of_space(space), got=got, before=before, whose="the candidates of this run")


def _part(workers: int) -> str:
    """Return which pairs each worker has."""
    return "the whole batch" if workers == 1 else f"1/{workers} of each batch"


def _long_warmup(space: Space) -> list[str]:
    """Return a warning where the warm-up of every candidate lasts for half of its training or more."""
    training = space.training
    return warmup_lines(
        min(_ends(training.warmup_steps)),
        pairs=max(_ends(training.pairs_per_epoch)),
        batch=min(_ends(training.batch_size)) * min(_ends(training.accumulate)),
        epochs=training.epochs,
    )


def warmup_lines(
    warmup: float, *, pairs: int, batch: int, epochs: int, of: str = "a whole training"
) -> list[str]:
    """Return a warning where a warm-up lasts for half of a training or more.

    The cosine falls from the first update on, so that half of the written rate is reached then: x (1 + cos(pi x)) / 2 over the
    half x of the warm-up is 0.52 at most.

    Args:
        warmup: updates of it.
        pairs: of an epoch.
        batch: pairs of an update.
        epochs: of the training.
        of: what it is called.
    """
    updates = math.ceil(pairs / batch) * epochs
    if 2 * warmup < updates:
        return []
    return [
        f"WARNING: training.warmup_steps: got {warmup:g}, of {updates:,} updates of {of}; allowed: below half, "
        "else no more than about half of training.lr is ever reached. Lower it, or train longer"
    ]


def _ends(value: Any) -> list[Any]:
    """Return the smallest and largest values of an option, fixed or searched."""
    if not isinstance(value, Domain):
        return [value]
    return [*value.bounds(), *([0] if value.zero else [])]


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else show(value)
