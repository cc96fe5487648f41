"""What a search works with: a checked space, its teacher and its data."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from search.candidates.checks import RELATIVE, check_losses, check_measurable, check_plugins
from spaces.candidate import TeacherFacts
from spaces.errors import TeacherError
from spaces.schema import Space
from trainables.build import make_dataset, prepare_split
from trainables.costs.latency import Latency
from trainables.costs.size import tokenizer_bytes
from trainables.costs.static import StaticCosts
from trainables.costs.store import CostStore
from trainables.datasets.base import Dataset
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.encoded import EncodedSplit
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize
from trainables.metrics.retention import evaluated_tasks
from trainables.teachers.loading import load_teacher

Say = Callable[[str], None]
QUESTION_LOSSES = frozenset({"vqa", "answer_logit"})


@dataclass(frozen=True, kw_only=True)
class TeacherFigures:
    """The teacher's own figures: costs, latency, and metrics on the two held-out splits."""

    static: StaticCosts
    latency: Latency
    metrics: dict[str, float]
    test_metrics: dict[str, float]


class Inputs:
    """A checked space with its teacher and data. Splits and figures are made on first use, with progress."""

    def __init__(self, space: Space, *, say: Say) -> None:
        """Load and check.

        Raises:
            StudentSearchError: whatever is wrong, as one message.
        """
        self.space, self.say = space, say
        check_plugins(space)
        self.dataset_settings = {"kind": space.dataset.kind, **space.dataset.options}
        for name in {"file", "image_root"} & set(self.dataset_settings):  # trials work in another folder
            if self.dataset_settings[name] is not None:
                self.dataset_settings[name] = str(Path(self.dataset_settings[name]).expanduser().absolute())
        self.dataset: Dataset = make_dataset(self.dataset_settings)
        self.teacher = load_teacher(space.teacher)
        self.teacher_name = (
            str(Path(space.teacher).absolute()) if Path(space.teacher).is_dir() else space.teacher
        )
        check_losses(space, self.teacher)
        self.store = CostStore(say=say)
        self.tokenizer_bytes = tokenizer_bytes(self.teacher.files.folder)
        self.evaluation = EvaluationSize(**space.evaluation.model_dump())
        space.check(self.facts)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """What tells whether another run had the same teacher and data."""
        return {"teacher": self.teacher.files.fingerprint, "dataset": self.dataset.fingerprint}

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured of each student, in the order of the table's columns."""
        return (*RELATIVE, *self.figures.metrics)

    @cached_property
    def facts(self) -> TeacherFacts:
        """What relative values of the space refer to."""
        c, static = self.teacher.config, self.store.static(self.teacher.config, self.tokenizer_bytes)
        return TeacherFacts(
            image_width=c.image.width,
            image_depth=c.image.depth,
            image_heads=c.image.heads,
            text_width=c.text.width,
            text_depth=c.text.depth,
            text_heads=c.text.heads,
            fusion_layers=len(c.fusion),
            embedding=c.embedding,
            params=static.params,
            flops=static.flops,
            latency_ms=self.store.latency(c).latency_ms,
            size_mib=static.size_mib,
        )

    @cached_property
    def splits(self) -> dict[str, EncodedSplit]:
        """The splits of the data in the teacher's encoding; prepared on disk at the first use. `test` may be missing."""
        return {
            name: prepare_split(self.teacher, self.dataset, name, self.say)
            for name in self.dataset.split_names
        }

    @cached_property
    def absent_losses(self) -> frozenset[str]:
        """Losses of the space that this data cannot feed, because it asks no questions."""
        if self.splits["train"].questions is not None:
            return frozenset()
        return frozenset(self.space.losses) & QUESTION_LOSSES

    @cached_property
    def figures(self) -> TeacherFigures:
        """The teacher's figures; its metrics are kept in the cache folder.

        Raises:
            TeacherError: it can do no task at all on this data.
            SpaceError: an objective that it does not have.
        """
        found = {name: self._metrics(name) for name in self.dataset.split_names if name != "train"}
        if not evaluated_tasks(found["val"]):
            raise TeacherError(
                f"teacher {self.space.teacher}: scores 0 in every task on the validation split, so nothing can be "
                f"retained: {found['val']}. Check that teacher and data belong together."
            )
        check_measurable(self.space, found["val"])
        return TeacherFigures(
            static=self.store.static(self.teacher.config, self.tokenizer_bytes),
            latency=self.store.latency(self.teacher.config),
            metrics=found["val"],
            test_metrics=found.get("test", {}),
        )

    def run_facts(self) -> dict[str, Any]:
        """Return what run.json says of teacher and data."""
        figures, dataset = self.figures, self.dataset
        return {
            "teacher": {
                "name": self.space.teacher,
                "fingerprint": self.fingerprints["teacher"],
                "params": figures.static.params,
                "flops": figures.static.flops,
                "size_mib": figures.static.size_mib,
                "latency_ms": figures.latency.latency_ms,
                "latency": figures.latency.to_dict(),
                "metrics": figures.metrics,
                "test_metrics": figures.test_metrics,
            },
            "dataset": {
                "kind": self.space.dataset.kind,
                "fingerprint": self.fingerprints["dataset"],
                "description": dataset.describe(),
            },
        }

    def _metrics(self, split: str) -> dict[str, float]:
        """Return the teacher's metrics on one split, kept in a file."""
        size = "-".join(map(str, vars(self.evaluation).values()))
        kept = cache_folder("teachers") / f"{'-'.join(self.fingerprints.values())}-{split}-{size}.json"
        if kept.exists():
            try:
                found: dict[str, float] = json.loads(kept.read_text())
                return found
            except json.JSONDecodeError:
                self.say(f"{kept}: damaged; the teacher is measured again")
        self.say(f"measuring the teacher on the {split} split")
        metrics = evaluate(self.teacher.model, self.splits[split], torch.device("cpu"), size=self.evaluation)
        kept.write_text(json.dumps(metrics))
        return metrics
