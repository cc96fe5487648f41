"""Letting torch.compile make kernels of the layers of student and live teacher.

In bfloat16 a layer of a small student moves more bytes than its products take time for: norms, additions, activations and
roundings in between are fused. What is computed is the same up to rounding. The first steps of each process take half a
minute longer, so that it pays for students of some size, trained for long.
"""

import importlib.util
import shutil
from collections.abc import Callable, Iterable

import torch

from spaces.errors import ResourceError
from trainables.families.base import Family
from trainables.teachers.teacher import Teacher
from trainables.training.job import Job

VARIANTS = 64  # of the kernels of one layer: sizes of a batch, in training or not
COMPILERS = ("cc", "gcc", "clang")


def compile_layers(
    job: Job, student: Family, teacher: Teacher, device: torch.device, *, say: Callable[[str], None]
) -> None:
    """Compile the layers of a job's student, and of a teacher that is live, if the job says so.

    On a CPU nothing is compiled, which is told: the same candidate is trained there, more slowly.

    Args:
        job: with `compiled`; its teacher is live where it names no cache.
        student, teacher: in place, on their way to the device, or there.
        device: of the training.
        say: takes a line.

    Raises:
        ResourceError: there is nothing that compiles for a GPU.
    """
    if not job.compiled:
        return
    if device.type != "cuda":
        say("resources.compiled: this training is on a CPU, whose layers are run as they are")
        return
    compile_models([student, *([] if job.cache else [teacher.model])])


def compile_models(models: Iterable[Family]) -> None:
    """Compile models for a GPU, anew for each candidate: a process may train several, and kernels of others are of no use.

    Raises:
        ResourceError: there is nothing that compiles.
    """
    if importlib.util.find_spec("triton") is None or not any(map(shutil.which, COMPILERS)):
        raise ResourceError(
            "resources.compiled: got true, and torch.compile finds no triton or no C compiler here, which it needs on a GPU; "
            "allowed here: false. Install triton and gcc, or delete it."
        )
    torch.compiler.reset()
    torch._dynamo.config.recompile_limit = VARIANTS  # beyond it torch goes back to eager, in silence
    for model in models:
        model.compile_layers()
