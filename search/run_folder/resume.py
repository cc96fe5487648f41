"""Going on with a run: what may change, and what must be as it was."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from search.run_folder.facts import check_format, read_facts
from search.run_folder.warm_start_file import WARM_START_FILE, check_kept
from spaces.errors import RunError

CHANGEABLE = (
    "resources.",
    "search.stop.",
    "search.trials=",
)  # what decides when, where and how long, not what comes out


def check_changes(folder: Path, *, given: Sequence[str], settings: Sequence[str], warm_start: bool) -> None:
    """Refuse flags that would make the run another one.

    Args:
        folder: of the run.
        given: flags that say what a run begins with: --space, --teacher, ...
        settings: texts `path=value` of --set.
        warm_start: whether --warm-start was given.

    Raises:
        RunError: names the flags.
    """
    if warm_start:
        raise RunError(
            f"--resume {folder}: got --warm-start; allowed: only when a run begins. What a run learns from others "
            f"it takes over once, into {WARM_START_FILE}, so that every resume goes on as it would have gone on "
            "unbroken. Drop --warm-start, or start a new run with it."
        )
    refused = [*given, *(f"--set {text}" for text in settings if not text.startswith(CHANGEABLE))]
    if refused:
        raise RunError(
            f"--resume {folder}: got {', '.join(refused)}; allowed beside --resume: --trials, "
            "--wall-hours, --device-hours, --address, --workers-per-trial, --train, --set resources.*, "
            "--set search.stop.*, --set search.trials. Everything else is as the run began; start a new one."
        )


def check_resumable(folder: Path) -> None:
    """Refuse to go on with a run of another version of this program.

    Raises:
        RunError: says what can be done with it; or the folder is no run.
    """
    check_format(folder, read_facts(folder), f"--resume {folder}")


def check_same_inputs(folder: Path, fingerprints: Mapping[str, str]) -> None:
    """Refuse another teacher or other data than the run began with.

    Raises:
        RunError: names both fingerprints; or what the run was started from is lost.
    """
    facts = read_facts(folder)
    check_kept(folder, facts)
    for name, fingerprint in fingerprints.items():
        before = facts.get(name, {}).get("fingerprint")
        if before and before != fingerprint:
            raise RunError(
                f"--resume {folder}: the {name} has fingerprint {fingerprint}, the run began with {before}. "
                f"Put the old {name} back, or start a new run."
            )
