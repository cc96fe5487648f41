"""The order for one trial, as a plain file: what `python -m trainables.worker candidate.json` reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spaces.candidate import CANDIDATE_ID, ID_WORDS
from spaces.errors import RunError
from spaces.files import write_text
from spaces.rules import Number, Refused, show
from trainables.tasks import DEFAULT

REQUIRED = ("student.kind", "losses", "training.epochs")
PATIENCE = 0.5
MAPPINGS = (
    *(
        "config",
        "config.student",
        "config.losses",
        "config.losses.*",
        "config.training",
        "dataset",
        "tasks",
        "tasks.*",
    ),
    *("checkpoints", "evaluation", "teacher_metrics", "blind_metrics", "costs"),
)
TEXTS = (
    "candidate_id",
    "folder",
    "teacher",
    "teacher_fingerprint",
    "dataset_fingerprint",
    "space_digest",
    "code",
    "cache",
    "evaluation_cache",
    "storage",
    "start",
    "device",
    "config.student.kind",
    "dataset.kind",
)
FORMS: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (MAPPINGS, Mapping, "a mapping"),
    (TEXTS, str, "a text"),
    (("config.blind", "compiled", "checkpoints.*"), bool, "true or false"),
    (("evaluation.*",), int, "an integer"),
    (("teacher_metrics.*", "blind_metrics.*", "costs.*"), int | float, "a number"),
)
RULES = {
    "seed": Number(whole=True, low=0),
    "threads": Number(whole=True, low=1, high=4096, why="no machine has as many cores"),
    "patience": Number(low=0),
    "config.training.epochs": Number(whole=True, low=1),
}


def _absent(config: Any) -> list[str]:
    """Return the required paths that a candidate's config does not have."""

    def has(path: str) -> bool:
        part = config
        for name in path.split("."):
            if not isinstance(part, Mapping) or name not in part:
                return False
            part = part[name]
        return True

    return [path for path in REQUIRED if not has(path)]


def _found(fields: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the value of a dotted path by its path; `*` stands for all names, {} for one that is not there."""
    found: dict[str, Any] = {"": fields}
    for name in path.split("."):
        found = {
            f"{place}.{key}".lstrip("."): value
            for place, part in found.items()
            if isinstance(part, Mapping)
            for key, value in part.items()
            if name in ("*", key)
        }
    return found


def _wrong_types(fields: Mapping[str, Any]) -> str:
    """Return what stands in the wrong form, "" if nothing does."""
    for paths, kind, what in FORMS:
        for path in paths:
            for place, value in _found(fields, path).items():
                if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                    return f"{place[:80]}: got {show(value)}; allowed is {what}"
    for path, rule in RULES.items():
        for place, value in _found(fields, path).items():
            try:
                rule.read(value)
            except Refused as error:
                return f"{place}: {str(error).rstrip('.')}"
    if not CANDIDATE_ID.fullmatch(fields["candidate_id"]):
        return f"candidate_id: got {fields['candidate_id'][:80]!r}; allowed: {ID_WORDS}"
    at = fields.get("evaluate_at", ())
    if not isinstance(at, list | tuple) or not all(isinstance(epoch, int) for epoch in at):
        return f"evaluate_at: got {show(at)}; allowed is a list of integers"
    return ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that training one candidate needs; JSON all through, so that it travels to any node.

    Attributes:
        candidate_id: 16 hex digits, or the 8 of an earlier version.
        config: resolved config of the candidate: student, losses, training, blind.
        seed: seed of all randomness of this training.
        teacher: name, folder or hub id.
        teacher_fingerprint: refused if the loaded weights differ; empty skips the check.
        dataset: `{"kind": ..., options}`.
        dataset_fingerprint: refused if what is found there differs; empty skips the check.
        space_digest: of the space that the candidate is a point of, as in run.json; told, not compared.
        code: digest of the code that planned it, see `code_version`; a trial of a search is refused by other code.
        tasks: what the student is made to do, name -> options; measured in this order.
        evaluate_at: epochs after which metrics are measured; the last one always is.
        evaluation: images, captions_per_image and questions_per_image of the pool.
        teacher_metrics: the teacher's metrics on the validation split; retention is relative to them.
        blind_metrics: those of the blind student, if it is known already.
        cache: folder of the teacher cache, or empty to run the teacher live.
        evaluation_cache: folder of the cache of the validation split, for students that read what the teacher says; empty to
            run it live.
        storage: folder of all that is derived, which every node sees; empty for the cache folder of whoever trains.
        start: folder of the checkpoint whose weights training begins with, of the same sizes; empty for the initialisation that
            the config names. Optimiser, schedule and epochs begin anew.
        checkpoints: which are kept beside the last one, see `checkpoint.CheckpointConfig`.
        costs: params, flops, latency_ms, size_mib: copied into every row, so that a scheduler can rank.
        folder: where this candidate's checkpoint and rows are kept.
        device: auto, cpu or cuda.
        threads: CPU threads of this worker.
        compiled: whether torch.compile makes kernels of the layers, on a GPU; see `compiling`.
        patience: share of the training's steps for which nothing may be learned; then it has collapsed. Above 1 it is their
            number, as files of earlier versions have it.
    """

    candidate_id: str
    config: Mapping[str, Any]
    seed: int
    dataset: Mapping[str, Any]
    folder: str
    teacher: str = "embedded"
    teacher_fingerprint: str = ""
    dataset_fingerprint: str = ""
    space_digest: str = ""
    code: str = ""
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in DEFAULT})
    evaluate_at: tuple[int, ...] = ()
    evaluation: Mapping[str, int] = field(default_factory=dict)
    teacher_metrics: Mapping[str, float] = field(default_factory=dict)
    blind_metrics: Mapping[str, float] = field(default_factory=dict)
    cache: str = ""
    evaluation_cache: str = ""
    storage: str = ""
    start: str = ""
    checkpoints: Mapping[str, bool] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    device: str = "auto"
    threads: int = 1
    compiled: bool = False
    patience: float = PATIENCE

    @property
    def epochs(self) -> int:
        """Full number of epochs."""
        return int(self.config["training"]["epochs"])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return asdict(self) | {"evaluate_at": list(self.evaluate_at)}

    def write(self, path: Path) -> None:
        """Write the job as JSON; `read` takes it, in a folder of the reader's choice.

        Raises:
            StorageError: it cannot be written.
        """
        write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Job":
        """Return the job that `to_dict` wrote.

        Raises:
            RunError: a field is missing, unknown or of the wrong type, in the job or in its config.
        """
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(fields) - known)
        missing = sorted({"candidate_id", "config", "seed", "dataset", "folder"} - set(fields))
        if unknown or missing:
            raise RunError(
                f"candidate file: unknown fields {unknown}, missing fields {missing}; "
                f"allowed: {', '.join(sorted(known))}."
            )
        if wrong := _wrong_types(fields):
            raise RunError(f"candidate file: {wrong}. Give one that a run wrote.")
        if absent := _absent(fields["config"]):
            raise RunError(f"candidate file: config lacks {', '.join(absent)}. Give one that a run wrote.")
        return cls(**{**fields, "evaluate_at": tuple(fields.get("evaluate_at", ()))})

    @classmethod
    def read(cls, path: Path, folder: Path) -> "Job":
        """Return the job of a JSON file, working in `folder`.

        Raises:
            RunError: the file is missing, no JSON, or not a job.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(
                f"{path}: {error.strerror or error}. Give the candidate.json that a run wrote."
            ) from error
        except json.JSONDecodeError as error:
            raise RunError(f"{path}:{error.lineno}: no JSON ({error.msg}).") from error
        except UnicodeDecodeError as error:
            raise RunError(
                f"{path}: no text ({error.reason}). Give the candidate.json that a run wrote."
            ) from error
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets as deep
            raise RunError(
                f"{path}: no JSON that a run wrote ({error}). Give the candidate.json of one."
            ) from error
        if not isinstance(fields, dict):
            raise RunError(f"{path}: got a {type(fields).__name__}, allowed is one JSON object.")
        try:
            return cls.from_dict({**fields, "folder": str(folder)})
        except RunError as error:
            raise RunError(f"{path}: {error}") from error
