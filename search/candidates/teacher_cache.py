"""The teacher's outputs that trials of a space may need, computed once for all of them."""

from dataclasses import replace

import torch

from search.candidates.checks import loss_configs
from search.candidates.inputs import Inputs
from spaces.errors import StudentSearchError
from trainables.datasets.cache_folder import cache_folder
from trainables.losses.base import Loss
from trainables.outputs import Want, Wants
from trainables.teachers.cache import build_cache, cache_key
from trainables.teachers.teacher import Teacher


def fill_teacher_cache(inputs: Inputs) -> str:
    """Compute the teacher's outputs on the training pairs where they are missing; return the folder, or "" if live."""
    settings = inputs.space.teacher_cache
    if settings.kind == "live":
        return ""
    key = cache_key(inputs.teacher, inputs.dataset.fingerprint, settings.precision)
    folder = cache_folder("teacher-outputs") / key
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, torch.multiprocessing.cpu_count()))
    try:
        build_cache(
            folder,
            inputs.teacher,
            inputs.splits["train"],
            teacher_wants(inputs),
            precision=settings.precision,
            progress=inputs.say,
        )
    finally:
        torch.set_num_threads(threads)
    return str(folder)


def teacher_wants(inputs: Inputs) -> Wants:
    """Return every teacher output that some candidate of the space may need."""
    wants: set[Want] = set()
    teacher = inputs.teacher.config  # its layers are wanted by their own index, whatever the student's depth
    for name, kind, config in loss_configs(inputs.space):
        if name in inputs.absent_losses:
            continue
        if kind.feedable(config, teacher, teacher) is None:
            for depth in range(1, teacher.text.depth + 1):
                wants |= _wants_at_depth(kind, config, inputs.teacher, depth)
        if name == "itm":
            wants |= {Want("image", "embedding"), Want("text", "embedding")}
    return frozenset(wants)


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
