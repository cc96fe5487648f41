"""Layers are compiled for GPUs alone, where the job says so; elsewhere that is told, or refused before a search begins."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from spaces.errors import ResourceError, SpaceError
from spaces.load import load_space
from tests.unit.trainables.small import make_job
from trainables.training import compiling
from trainables.training.compiling import compile_layers
from trainables.training.control import PlainControl
from trainables.training.job import Job
from trainables.training.loop import TrialLoop

SPACE = Path(__file__).parents[4] / "spaces" / "dlip.yaml"


class Heard(PlainControl):
    """Keeps the lines that it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Keep it."""
        self.lines.append(line)


@pytest.mark.parametrize(("compiled", "lines"), [(False, 0), (True, 1)])
def test_a_job_of_a_gpu_is_trained_on_a_cpu_too(
    teacher_folder: Path, tmp_path: Path, *, compiled: bool, lines: int
) -> None:
    job, heard = make_job(teacher_folder, tmp_path, compiled=compiled), Heard()
    job.write(tmp_path / "candidate.json")
    assert Job.read(tmp_path / "candidate.json", tmp_path).compiled is compiled
    loop = TrialLoop(job, heard)
    assert loop.trainer.step.student.image_encoder.vit.blocks[0]._compiled_call_impl is None
    assert [line for line in heard.lines if "compiled" in line] == heard.lines
    assert len(heard.lines) == lines


def test_layers_of_student_and_live_teacher_are_compiled_where_there_is_a_gpu(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    student, model = (
        SimpleNamespace(compile_layers=lambda who=who: done.append(who)) for who in ("student", "teacher")
    )
    teacher: Any = SimpleNamespace(model=model)
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)  # put back afterwards
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: name)
    live = make_job(teacher_folder, tmp_path, compiled=True)
    for job in (live, replace(live, cache="somewhere"), replace(live, compiled=False)):
        compile_layers(job, student, teacher, torch.device("cuda"), say=print)  # type: ignore[arg-type]
    assert done == ["student", "teacher", "student"]
    assert torch._dynamo.config.recompile_limit == compiling.VARIANTS
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(ResourceError, match="no triton or no C compiler"):
        compile_layers(live, student, teacher, torch.device("cuda"), say=print)  # type: ignore[arg-type]


def test_a_space_whose_trials_have_no_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from search.start import check_place
    from search.tune.machine import check_compiled

    with pytest.raises(SpaceError, match=r"resources\.compiled: got true with gpus_per_worker 0"):
        load_space(SPACE, ["resources.compiled=true", "resources.gpus_per_worker=0"])
    space = load_space(SPACE, ["resources.compiled=true"])
    check_compiled(space, 1.0)
    check_compiled(load_space(SPACE, []), 0.0)
    with pytest.raises(ResourceError, match=r"resources\.compiled: got true, and trials here have no GPU"):
        check_compiled(space, 0.0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ResourceError, match=r"resources\.compiled: got true, and trials here have no GPU"):
        check_place(None, space, say=print)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_place(None, space, say=print)
