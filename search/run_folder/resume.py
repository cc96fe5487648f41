"""Going on with a run: what may change, and what must be as it was."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.candidates.inputs import Inputs
from search.run_folder.facts import read_facts, read_space
from search.run_folder.warm_start_file import WARM_START_FILE, check_kept
from spaces.errors import RunError
from spaces.schema import Space

FIXED = {
    "space": "--space",
    "teacher": "--teacher",
    "dataset": "--dataset",
    "max_epochs": "--max-epochs",
    "seed": "--seed",
}
CHANGEABLE = ("resources.", "search.stop.")  # fields that decide when and where, not what comes out


def check_changes(options: argparse.Namespace) -> None:
    """Refuse flags that would make the run another one.

    Raises:
        RunError: names the flags.
    """
    if options.warm_start:
        raise RunError(
            f"--resume {options.resume}: got --warm-start; allowed: only when a run begins. What a run learns from others "
            f"it takes over once, into {WARM_START_FILE}, so that every resume goes on as it would have gone on "
            "unbroken. Drop --warm-start, or start a new run with it."
        )
    given = [flag for name, flag in FIXED.items() if getattr(options, name) is not None]
    given += [flag for flag, value in (("--out", options.out), ("--smoke", options.smoke)) if value]
    given += [f"--set {text}" for text in options.set if not text.startswith(CHANGEABLE)]
    if given:
        raise RunError(
            f"--resume {options.resume}: got {', '.join(given)}; allowed beside --resume: --trials, "
            "--wall-hours, --device-hours, --address, --workers-per-trial, --train, --set resources.*, "
            "--set search.stop.*. Everything else is as the run began; start a new one."
        )


def resumed_space(folder: Path, changes: Sequence[Any]) -> Space:
    """Return the run's space with the allowed changes.

    Raises:
        RunError: no run, or a damaged one.
    """
    return read_space(folder, changes)


def check_same_inputs(folder: Path, inputs: Inputs) -> None:
    """Refuse another teacher or other data than the run began with.

    Raises:
        RunError: names both fingerprints; or what the run was started from is lost.
    """
    facts = read_facts(folder)
    check_kept(folder, facts)
    now = {"teacher": inputs.teacher.files.fingerprint, "dataset": inputs.dataset.fingerprint}
    for name, fingerprint in now.items():
        before = facts.get(name, {}).get("fingerprint")
        if before and before != fingerprint:
            raise RunError(
                f"--resume {folder}: the {name} has fingerprint {fingerprint}, the run began with {before}. "
                f"Put the old {name} back, or start a new run."
            )
