"""The metrics of a teacher or of a trained student on one split, measured wherever their files are seen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError, InputsChanged, PluginError, TeacherError
from trainables.configs import made_config
from trainables.share import within_share
from trainables.tasks.evaluation import evaluate, make_tasks, reads_bank
from trainables.tasks.pool import EvaluationSize
from trainables.training.build import shared_dataset, shared_split, shared_teacher
from trainables.training.checkpoint import load_model
from trainables.training.device import pick_device
from trainables.training.loop import check_same
from trainables.training.sources import Sources, opened_cache


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What is measured; plain values all through, so that it travels to any node.

    Attributes:
        teacher: name, folder or hub id.
        teacher_fingerprint, dataset_fingerprint: refused if what is found differs.
        dataset: `{"kind": ..., options}`.
        split: name of a held-out split.
        tasks: what is measured, name -> options.
        evaluation: how much of the split.
        student: folder of the checkpoint of a student; empty for the teacher itself.
        blind: the student is shown no pictures.
        caches: split -> folder of what the teacher said about it, for students that read it.
        device: auto, cpu or cuda; auto is cuda where this process has one.
    """

    teacher: str
    teacher_fingerprint: str
    dataset: Mapping[str, Any]
    dataset_fingerprint: str
    split: str
    tasks: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, int]
    student: str = ""
    blind: bool = False
    caches: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"


def measure_model(order: Measuring) -> dict[str, float]:
    """Return the metrics of the teacher or student of an order.

    Raises:
        InputsChanged: teacher or data cannot be read here, or are not those that the order was made with.
        CheckpointError: the student cannot be read.
    """
    device = str(pick_device(order.device))
    with within_share():
        try:
            teacher = shared_teacher(order.teacher, device)
            check_same(f"teacher {order.teacher}", teacher.files.fingerprint, order.teacher_fingerprint)
            data = shared_dataset(order.dataset)
            check_same(f"data set {order.dataset.get('kind')}", data.fingerprint, order.dataset_fingerprint)
            made = make_tasks(order.tasks).values()
            read = {order.split, *(["train"] if reads_bank(made) else [])}
            splits = {name: shared_split(order.teacher, device, order.dataset, name) for name in read}
            caches = {name: opened_cache(folder, teacher) for name, folder in order.caches.items()}
        except (TeacherError, DatasetError, PluginError, OSError) as error:
            raise InputsChanged(f"{error} Looked for on the node {os.uname().nodename}.") from error
        model = load_model(Path(order.student))[0].to(device) if order.student else teacher.model
        return evaluate(
            model,
            splits[order.split],
            tasks=made,
            size=made_config(EvaluationSize, order.evaluation, "evaluation"),
            blind=order.blind,
            source=Sources(teacher, caches) if order.student else None,
            bank=splits.get("train"),
        )
