"""The checkpoints of one candidate, each written atomically: after a crash the last complete one is there.

`checkpoint.pt` is the last epoch, to go on from until the candidate has ended, and its weights from then on; `best.pt` holds the
weights of the best one, without what only training needs; `epoch-00003.pt` is the whole state after an epoch, where every epoch
is kept.
"""

import pickle
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from torch import nn

from spaces.errors import CheckpointError, StorageError, StudentSearchError
from spaces.files import atomic_path, guarded, make_folder, refusal
from spaces.rules import show
from trainables.families.base import Blueprint, Family
from trainables.families.origin import Begun
from trainables.model_folder import sized_blueprint
from trainables.signals import Wants

FILE, BEST = "checkpoint.pt", "best.pt"
STUDENT = "student."  # what the student's weights are called by in a step
VERSION = 2
PARTS = {
    "candidate_id": str,
    "config": dict,
    "model": dict,
    "trainer": dict,
    "progress": dict,
    "random": dict,
}
EARLIER: list[
    Any
] = [  # what the state of NumPy's generator stood in until it became a tensor; none of it runs code
    np.zeros(0).__reduce__()[0],
    np.ndarray,
    np.dtype,
    np.dtypes.UInt32DType,
]


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Which checkpoints are kept beside the last one; the `checkpoints` part of a space.

    Attributes:
        every_epoch: the whole state after each epoch, to go on from any of them.
        keep_best: the weights of the best epoch that was measured.
    """

    every_epoch: bool = False
    keep_best: bool = True


def epoch_file(epoch: int) -> str:
    """Return the name of the file that keeps the state after an epoch."""
    return f"epoch-{epoch:05d}.pt"


def kept_epochs(folder: Path) -> list[int]:
    """Return the epochs whose states a folder keeps, rising."""
    names = [path.stem.removeprefix("epoch-") for path in folder.glob("epoch-*.pt")]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def random_state() -> dict[str, Any]:
    """Return the state of all global generators, as tensors and plain values: a checkpoint must not need code to be read."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put all global generators where `random_state` found them."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys).astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # of as many as are here: where it was saved there may have been more, which nothing of this training hangs on
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def without_training(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without what only training needs: optimiser, schedule and generators."""
    return {**state, "trainer": {"step": state["trainer"]["step"]}, "random": {}}


def is_weights_alone(state: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint is one that nobody can go on from."""
    return set(state["trainer"]) == {"step"}


def keep_weights_alone(folder: Path) -> None:
    """Take what only training needs from the last checkpoint of a candidate that has ended; nothing where there is none.

    Raises:
        CheckpointError: it is damaged; it is left as it is.
        StorageError: the new one cannot be written; the old one is left as it was.
    """
    state = load(folder)
    if state is not None and not is_weights_alone(state):
        save(folder, without_training({name: state[name] for name in PARTS}))


def remove(folder: Path) -> None:
    """Remove all checkpoints of a candidate; its order and its rows stay, so that it can be trained again.

    Raises:
        StorageError: one cannot be removed.
    """
    with guarded(folder):
        for path in folder.glob("*.pt"):
            path.unlink(missing_ok=True)


def save(folder: Path, state: dict[str, Any], name: str = FILE) -> Path:
    """Write a checkpoint beside its predecessor, sync it, and rename it over.

    Args:
        folder: of the candidate.
        state: all of `PARTS`.
        name: of the file.

    Raises:
        StorageError: it could not be written (disk full, no permission); the predecessor is untouched.
    """
    target = make_folder(folder) / name
    try:
        with atomic_path(target) as draft, draft.open("wb") as sink:
            _write({"version": VERSION, **state}, sink)
    except StorageError as error:
        if not (folder / FILE).exists():
            raise
        raise StorageError(
            f"{error} The checkpoint before it is kept: the same candidate goes on from there."
        ) from error
    return target


def _write(state: dict[str, Any], sink: IO[bytes]) -> None:
    """Write a checkpoint; a refusal of the system comes as itself."""
    watched: Any = _Watched(sink)
    try:
        torch.save(state, watched)
    except RuntimeError as error:
        raise watched.refused or error from error


class _Watched:
    """A file for torch, which would make a RuntimeError of a full disk and say no more.

    Attributes:
        refused: why the system did not take what was written.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self.refused: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write, and remember a refusal."""
        try:
            return self._sink.write(data)
        except OSError as error:
            self.refused = error
            raise

    def flush(self) -> None:
        """Flush, and remember a refusal."""
        try:
            self._sink.flush()
        except OSError as error:
            self.refused = error
            raise


def load(folder: Path, name: str = FILE) -> dict[str, Any] | None:
    """Return a checkpoint of a folder, or None if there is none yet.

    Raises:
        CheckpointError: the file is damaged or of another version.
    """
    path = folder / name
    try:
        with torch.serialization.safe_globals(EARLIER), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a damaged file may be; it is told below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file raises almost anything
        raise CheckpointError(_unreadable(path, error)) from error
    if not isinstance(state, dict):
        raise CheckpointError(_unreadable(path, TypeError("no mapping")))
    if state.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: has version {show(state.get('version'))}, this program reads {VERSION}. "
            "Go on with the version that wrote it, or train the candidate again in another folder."
        )
    if wrong := [name for name, kind in PARTS.items() if not isinstance(state.get(name), kind)]:
        raise CheckpointError(_unreadable(path, TypeError(f"without {', '.join(wrong)}")))
    return state


def load_epoch(folder: Path, epoch: int) -> dict[str, Any]:
    """Return the state after an epoch.

    Raises:
        CheckpointError: it is damaged, or not kept.
    """
    state = load(folder, epoch_file(epoch))
    if state is None:
        kept = ", ".join(map(str, kept_epochs(folder))) or "none"
        raise CheckpointError(
            f"{folder}: keeps no checkpoint of epoch {epoch}; kept: {kept}. Go on from one of those, or without --from-epoch "
            "from the last one. A candidate whose `checkpoints` say every_epoch: true keeps all."
        )
    return state


def _unreadable(path: Path, error: Exception) -> str:
    """Return what is told of a checkpoint that cannot be read."""
    if isinstance(error, OSError) and error.errno:
        return f"{path}: cannot be read: {refusal(path, error)}"
    said = (isinstance(error, TypeError) and str(error)[:200].partition("\n")[0]) or type(error).__name__
    refused = any(word in str(error) for word in ("Unsupported global", "Unsupported class"))  # torch's words
    if refused and isinstance(error, pickle.UnpicklingError):
        return (
            f"{path}: holds more than tensors and plain values, which could run code; it is not opened. "
            "Delete its folder: the candidate is trained again from the start."
        )
    return f"{path}: damaged ({said}). Delete its folder: the candidate is trained again from the start."


@contextmanager
def fitting(folder: Path, name: str = FILE) -> Iterator[None]:
    """Tell what a checkpoint of good form, but with wrong contents, raises where it is taken over.

    Raises:
        CheckpointError: it does not fit.
    """
    try:
        yield
    except (StudentSearchError, torch.OutOfMemoryError):
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise CheckpointError(
            f"{folder / name}: damaged, its contents do not fit together "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}). "
            "Delete its folder: the candidate is trained again from the start."
        ) from error


def begin_with(step: nn.Module, start: str) -> None:
    """Give a step the weights of a checkpoint: all of the student, and of its losses those that both have.

    Of a student that saw pictures of another size, the table of positions is interpolated (`Family.fitted`). What its `init`
    began with is gone: its `begun` says so.

    Args:
        step: student and losses, as `DistillationStep` names their weights.
        start: folder of the candidate that had such a student; "" for the weights that the step has.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or of another student.
    """
    if not start:
        return
    folder = Path(start)
    state = load(folder)
    if state is None:
        raise CheckpointError(f"{folder / FILE}: missing, and training was to begin with its weights.")
    with fitting(folder):
        found, own = dict(state["trainer"]["step"]), step.state_dict()
        trained = {
            name.removeprefix(STUDENT): found.pop(name) for name in list(found) if name.startswith(STUDENT)
        }
        student = cast(Family, step.student)  # which may see pictures of another size than that one saw
        fitted = student.fitted(trained)
        found |= {STUDENT + name: value for name, value in fitted.items()}
        mine, theirs = ({name for name in names if name.startswith(STUDENT)} for names in (own, found))
        if mine != theirs or any(own[name].shape != found[name].shape for name in mine):
            raise CheckpointError(
                f"{folder / FILE}: is of a student of other sizes than the one that was to begin with its weights. "
                "Give the folder of the same candidate."
            )
        shared = {
            name: value for name, value in found.items() if name in own and own[name].shape == value.shape
        }
        step.load_state_dict({**own, **shared})
    resized = [name for name, value in trained.items() if fitted[name].shape != value.shape]
    told = f"; interpolated for pictures of another size: {', '.join(resized)}" if resized else ""
    student.begun = Begun(notes=(f"begins with the weights of {folder / FILE}{told}",), loaded=tuple(fitted))


def load_model(folder: Path, wants: Wants | None = None, *, name: str = FILE) -> tuple[Family, Blueprint]:
    """Return the student of a candidate's checkpoint, in eval mode, without the projections of its losses; its blueprint.

    Args:
        folder: of the candidate.
        wants: load only the part that answers these; None for all that was trained.
        name: of the file: the last epoch, or `BEST`.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
    """
    state = load(folder, name)
    if state is None:
        raise CheckpointError(
            f"{folder / name}: missing. The candidate was never checkpointed, or its folder was deleted."
        )
    with fitting(folder, name):
        trained = {
            name.removeprefix(STUDENT): value
            for name, value in state["trainer"]["step"].items()
            if name.startswith(STUDENT)
        }
        blueprint = sized_blueprint(state["model"], trained)
        if wants is not None:
            blueprint = blueprint.deployed(wants)
        model = blueprint.build()
        model.load_state_dict({name: trained[name] for name in model.state_dict()})
    return model.eval(), blueprint


def ended(folder: Path, epochs_done: int) -> CheckpointError:
    """Return what is told of a candidate that nobody can go on with."""
    kept = kept_epochs(folder)
    after = (
        f"; or go on after an epoch that is kept ({', '.join(map(str, kept))}) with --from-epoch"
        if kept
        else ""
    )
    return CheckpointError(
        f"{folder / FILE}: holds weights after epoch {epochs_done} alone: the candidate had ended, and what only "
        "training needs was not kept. Train it from the start in another folder: python -m trainables.worker "
        f"{folder / 'candidate.json'} --out NEW{after}."
    )
