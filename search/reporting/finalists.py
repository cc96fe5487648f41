"""Latency of finalists as a whole, one at a time while nothing else runs, beside the figures that are added up."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search.inputs.inputs import Inputs
from search.inputs.teacher_figures import Say
from search.run_folder.recorder import Recorder
from trainables.costs.latency import Latency, measure_whole
from trainables.costs.subject import Subject
from trainables.costs.target import Target

Row = Mapping[str, Any]


def measured_whole(subjects: Sequence[Subject], target: Target, samples: int) -> list[Latency]:
    """Return the latency of each subject by the clock on the wall, one after the other, of at most so many samples.

    Raises:
        ResourceError: the target does not exist here.
    """
    return [measure_whole(subject, target, rounds=samples) for subject in subjects]


def measure_finalists(inputs: Inputs, recorder: Recorder, rows: Sequence[Row], *, say: Say) -> dict[str, Any]:
    """Fill in the latency of some students as a whole, and how much faster than their teachers they are.

    Teachers are measured in the same way, on the same target and, on a cluster, by the same process.

    Returns:
        For run.json: `whole_latency`, teacher -> its figures, and `whole_latency_of_students`, candidate -> its own.

    Raises:
        ResourceError: the target does not exist where it is measured.
    """
    target, students = inputs.latencies.target, inputs.students
    if target is None or not rows:
        return {}
    own = [students.teacher_name(json.loads(row["config"])) for row in rows]
    teachers = list(dict.fromkeys(own))
    subjects = [
        *(inputs.measures[name].subject for name in teachers),
        *(students.subject(json.loads(row["config"])) for row in rows),
    ]
    different = {str(subject): subject for subject in subjects}
    say(f"latency of {len(different)} models as a whole, one at a time: {target.describe()}")
    found: dict[str, Latency] = {}
    for key, latency in _measured(inputs, different, target):
        found[key] = latency
        for row, name, subject in zip(rows, own, subjects[len(teachers) :], strict=True):
            if str(subject) == key:
                teacher = found[str(inputs.measures[name].subject)]
                recorder.update(row["candidate_id"], _cells(latency, teacher))
    own_subjects = zip(rows, subjects[len(teachers) :], strict=True)
    return {
        "whole_latency": {name: found[str(inputs.measures[name].subject)].to_dict() for name in teachers},
        "whole_latency_of_students": {
            row["candidate_id"]: found[str(subject)].to_dict() for row, subject in own_subjects
        },
    }


def _measured(
    inputs: Inputs, subjects: Mapping[str, Subject], target: Target
) -> Iterator[tuple[str, Latency]]:
    """Yield each latency as it is known, in order."""
    samples = inputs.space.latency.samples
    if inputs.elsewhere is None:
        for key, subject in subjects.items():
            (latency,) = measured_whole([subject], target, samples)
            yield key, latency
        return
    found = inputs.elsewhere.run(measured_whole, list(subjects.values()), target, samples)
    yield from zip(subjects, found, strict=True)


def _cells(student: Latency, teacher: Latency) -> dict[str, float]:
    """Return the columns of one student."""
    return {
        "wall_latency_ms": student.latency_ms,
        "wall_latency_spread_ms": student.spread_ms,
        "speedup": teacher.latency_ms / student.latency_ms,
    }
