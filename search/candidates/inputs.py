"""Everything that is loaded and checked before a search: space, teacher, data, plug-in options, costs of the teacher."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import torch

from analysis.table import METRICS
from search.schedulers import SCHEDULERS
from search.searchers import SEARCHERS
from spaces.candidate import TeacherFacts
from spaces.domains import Domain
from spaces.errors import SpaceError, StudentSearchError, TeacherError
from spaces.options import check_options
from spaces.plugins import Table, resolve, unknown
from spaces.schema import COSTS, Space, check_objectives
from trainables.build import make_dataset, prepare_split
from trainables.costs.latency import Latency
from trainables.costs.size import tokenizer_bytes
from trainables.costs.static import StaticCosts
from trainables.costs.store import CostStore
from trainables.datasets import DATASETS
from trainables.datasets.base import Dataset
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.encoded import EncodedSplit
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize
from trainables.metrics.retention import evaluated_tasks
from trainables.models import MODELS
from trainables.outputs import Want, Wants
from trainables.teachers.cache import build_cache, cache_key
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

Say = Callable[[str], None]
QUESTION_LOSSES = frozenset({"vqa", "answer_logit"})


def check_plugins(space: Space) -> None:
    """Refuse unknown plug-ins, options that they do not take, and objectives that nothing produces.

    Raises:
        SpaceError: all problems at once, each with file and line.
    """
    problems = check_objectives(space, {*METRICS, *COSTS})
    sections: list[tuple[Table, str, str, Mapping[str, Any], str]] = [
        (DATASETS, "datasets", space.dataset.kind, space.dataset.options, "dataset"),
        (
            SEARCHERS,
            "searchers",
            space.search.searcher.kind,
            space.search.searcher.options,
            "search.searcher",
        ),
        (
            SCHEDULERS,
            "schedulers",
            space.search.scheduler.kind,
            space.search.scheduler.options,
            "search.scheduler",
        ),
        *((LOSSES, "losses", name, loss.options, f"losses.{name}") for name, loss in space.losses.items()),
    ]
    for table, room, name, options, path in sections:
        if name not in table:
            problems.append(f"{space.place(path)}: {unknown(room, name, table)}")
            continue
        config = resolve(table, name, room).Config
        problems += check_options(config, options, space.option_place(path))
    if space.student.kind not in MODELS:
        problems.append(f"{space.place('student.kind')}: {unknown('models', space.student.kind, MODELS)}")
    if problems:
        raise SpaceError(problems)


def loss_configs(space: Space) -> Iterable[tuple[str, type[Loss], Loss.Config]]:
    """Yield name, class and every corner of the options of each loss that can be active at all."""
    for name, section in space.losses.items():
        kind: type[Loss] = resolve(LOSSES, name, "losses")
        axes = {
            option: [v for v in value.corners() if option != "weight" or v != 0]
            if isinstance(value, Domain)
            else [value]
            for option, value in section.options.items()
        }
        if axes["weight"] == [0]:
            continue
        for values in product(*axes.values()):
            yield name, kind, kind.Config(**dict(zip(axes, values, strict=True)))


def check_losses(space: Space, teacher: Teacher) -> None:
    """Refuse losses that this teacher can feed for no student.

    Raises:
        SpaceError: names each of them, with its line and the reason.
    """
    problems: dict[str, str] = {}
    for name, kind, config in loss_configs(space):
        if reason := kind.unfeedable_by_teacher(config, teacher.config):
            problems[name] = f"{space.place(f'losses.{name}')}: {reason} (--set losses.{name}.weight=0)"
    if problems:
        raise SpaceError(list(problems.values()))


def check_measurable(space: Space, teacher: Mapping[str, float]) -> None:
    """Refuse objectives that no student can be ranked by while it trains.

    Args:
        space: the loaded space.
        teacher: its metrics on the validation split; what it lacks, every student lacks.

    Raises:
        SpaceError: names each of them, with its line.
    """
    allowed = ["retention", *sorted(teacher), *COSTS]
    problems = [
        f"{space.place(f'objectives.{name}')}: got {name}, which "
        + (
            "is known only when the blind student is through"
            if name == "retention_above_blind"
            else "this teacher does not have on this data"
        )
        + f"; allowed: {', '.join(allowed)}. Take one of these."
        for name in space.objectives
        if name not in allowed
    ]
    if problems:
        raise SpaceError(problems)


@dataclass(frozen=True, kw_only=True)
class TeacherReport:
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
    def report(self) -> TeacherReport:
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
        return TeacherReport(
            static=self.store.static(self.teacher.config, self.tokenizer_bytes),
            latency=self.store.latency(self.teacher.config),
            metrics=found["val"],
            test_metrics=found.get("test", {}),
        )

    def _metrics(self, split: str) -> dict[str, float]:
        size = "-".join(map(str, vars(self.evaluation).values()))
        path = (
            cache_folder("teachers")
            / f"{self.teacher.files.fingerprint}-{self.dataset.fingerprint}-{split}-{size}.json"
        )
        if path.exists():
            try:
                kept: dict[str, float] = json.loads(path.read_text())
                return kept
            except json.JSONDecodeError:
                self.say(f"{path}: damaged; the teacher is measured again")
        self.say(f"measuring the teacher on the {split} split")
        metrics = evaluate(self.teacher.model, self.splits[split], torch.device("cpu"), size=self.evaluation)
        path.write_text(json.dumps(metrics))
        return metrics

    @cached_property
    def teacher_wants(self) -> Wants:
        """Every teacher output that some candidate of the space may need."""
        wants: set[Want] = set()
        student = (
            self.teacher.config
        )  # teacher layers are wanted by their own index, whatever the student's depth
        for name, kind, config in loss_configs(self.space):
            if name in self.absent_losses:
                continue
            if kind.feedable(config, student, self.teacher.config) is None:
                for depth in range(1, student.text.depth + 1):
                    wants |= _wants_at_depth(kind, config, self.teacher, depth)
            if name == "itm":
                wants |= {Want("image", "embedding"), Want("text", "embedding")}
        return frozenset(wants)

    def build_teacher_cache(self) -> str:
        """Compute the teacher's outputs on the training pairs where they are missing; return the folder, or "" if live."""
        settings = self.space.teacher_cache
        if settings.kind == "live":
            return ""
        folder = cache_folder("teacher-outputs") / cache_key(
            self.teacher, self.dataset.fingerprint, settings.precision
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, torch.multiprocessing.cpu_count()))
        try:
            build_cache(
                folder,
                self.teacher,
                self.splits["train"],
                self.teacher_wants,
                precision=settings.precision,
                progress=self.say,
            )
        finally:
            torch.set_num_threads(threads)
        return str(folder)


def _wants_at_depth(kind: type[Loss], config: Loss.Config, teacher: Teacher, depth: int) -> Wants:
    """Return what a loss wants of the teacher for a student of `depth` layers that fuses in all of them."""
    c = teacher.config
    student = replace(
        c,
        image=replace(c.image, depth=depth),
        text=replace(c.text, depth=depth),
        fusion=tuple(range(depth)) if c.fusion else (),
    )
    try:
        return kind(config, student, c).teacher_wants
    except StudentSearchError:
        return frozenset()
