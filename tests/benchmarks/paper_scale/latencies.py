"""The latency of students on a device: composed from cold tables, against whole models, and against itself."""

import itertools
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.latency_repeatability import tau
from tests.benchmarks.paper_scale.made import Scale, teacher_architecture
from trainables.costs.latency import measure_whole
from trainables.costs.subject import Subject
from trainables.costs.table import LatencyTable
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import EncoderConfig
from trainables.tasks.base import servings_of, wants_of
from trainables.tasks.evaluation import make_tasks

TASKS = ("retrieval", "captioning")
SIZES = (
    (12, 12, 12),
    (12, 6, 6),
    (12, 6, 3),
    (8, 8, 8),
    (8, 4, 4),
    (6, 12, 6),
    (6, 6, 6),
    (6, 3, 3),
    (3, 3, 1),
)
"""Layers of the image side, of the text side, and with cross-attention, of a student; the first is the teacher's size."""


def students(scale: Scale, count: int) -> list[Subject]:
    """Return the first students of these depths, half as wide as the teacher, deployed for retrieval and captioning."""
    teacher = teacher_architecture(scale)
    tasks = make_tasks({name: {} for name in TASKS}).values()
    found = []
    for image, text, fusion in SIZES[:count]:
        sides = {
            name: EncoderConfig(width=side[0], depth=depth, heads=side[2])
            for name, side, depth in (
                ("image", scale.student_image, image),
                ("text", scale.student_text, text),
            )
        }
        architecture = replace(teacher, **sides, fusion=tuple(range(text - fusion, text)))
        plan = Blueprint("blip", architecture).deployed(wants_of(tasks))
        found.append(Subject(blueprint=plan, servings=servings_of(tasks, plan.offers)))
    return found


def latencies(scale: Scale, target: Target, *, count: int, runs: int, rounds: int) -> dict[str, Any]:
    """Return values of each run of a cold table, of whole models, and how they agree."""
    subjects, values, spent = students(scale, count), [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            start, table = time.monotonic(), LatencyTable(Path(folder), target)
            table.measure(subjects, rounds=rounds)
            spent.append(time.monotonic() - start)
            values.append([table.latency(one).latency_ms for one in subjects])
    whole = [[measure_whole(one, target, rounds=rounds).latency_ms for one in subjects] for _ in range(2)]
    lowest = [min(pair) for pair in zip(*whole, strict=True)]
    each = list(zip(*values, strict=True))
    middle = [statistics.median(ones) for ones in each]
    return {
        "target": target.describe(),
        "students": count,
        "values": values,
        "whole": whole,
        "spread": max((max(ones) - min(ones)) / statistics.median(ones) for ones in each),
        "tau_between_runs": min(tau(*pair) for pair in itertools.combinations(values, 2)),
        "tau_whole": min(tau(ones, lowest) for ones in values),
        "tau_whole_itself": tau(*whole),
        "composed_to_whole": [composed / one for composed, one in zip(middle, lowest, strict=True)],
        "wall_s": spent,
    }
