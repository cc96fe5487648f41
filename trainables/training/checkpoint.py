"""One checkpoint file per candidate, replaced atomically: after a crash the last complete one is there."""

import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spaces.errors import CheckpointError
from trainables.families.base import Blueprint, Family
from trainables.signals import Wants

FILE = "checkpoint.pt"
STUDENT = "student."  # what the student's weights are called by in a step
VERSION = 2


def random_state() -> dict[str, Any]:
    """Return the state of all global generators."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put all global generators where `random_state` found them."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write the checkpoint beside its predecessor, sync it, and rename it over.

    Raises:
        CheckpointError: it could not be written (disk full, no permission); the predecessor is untouched.
    """
    target, temporary = folder / FILE, folder / f".{FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as sink:
            torch.save({"version": VERSION, **state}, sink)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
        raise CheckpointError(
            f"{target}: the checkpoint could not be written ({error}). "
            "The previous one is kept. Free disk space, then --resume the run."
        ) from error
    finally:
        with suppress(OSError):  # gone after the rename; or its folder never was
            temporary.unlink()
    return target


def load(folder: Path) -> dict[str, Any] | None:
    """Return the checkpoint of a folder, or None if there is none yet.

    Raises:
        CheckpointError: the file is damaged or of another version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling a damaged file raises almost anything
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}). "
            "Delete its folder: the candidate is trained again from the start."
        ) from error
    if state.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: has version {state.get('version')}, this program reads {VERSION}. "
            "Go on with the version that wrote it, or train the candidate again in another folder."
        )
    return state


def load_model(folder: Path, wants: Wants | None = None) -> tuple[Family, Blueprint]:
    """Return the student of a candidate's checkpoint, in eval mode, without the projections of its losses; its blueprint.

    Args:
        folder: of the candidate.
        wants: load only the part that answers these; None for all that was trained.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
    """
    state = load(folder)
    if state is None:
        raise CheckpointError(
            f"{folder / FILE}: missing. The candidate was never checkpointed, or its folder was deleted."
        )
    blueprint = Blueprint.from_dict(state["model"])
    if wants is not None:
        blueprint = blueprint.deployed(wants)
    model = blueprint.build()
    trained = {
        name.removeprefix(STUDENT): value
        for name, value in state["trainer"]["step"].items()
        if name.startswith(STUDENT)
    }
    model.load_state_dict({name: trained[name] for name in model.state_dict()})
    return model.eval(), blueprint
