"""Targets: what options may say, and which target can be measured here."""

from typing import Any

import pytest
import torch

from spaces.errors import ResourceError, SpaceError
from trainables.costs import target as targets
from trainables.costs.latency import measure_whole
from trainables.costs.subject import Subject
from trainables.costs.table import LatencyTable
from trainables.costs.target import Target


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"device": "cuda", "dtype": "float16", "batch": 8},
        {"runtime": "onnxruntime", "threads": 2},
        {"runtime": "compiled", "dtype": "bfloat16"},
    ],
)
def test_a_target_goes_through_json(options: dict[str, Any]) -> None:
    target = Target.made(options, "latency")
    assert Target.made(target.to_dict(), "latency") == target == Target(**options)
    hash(target)


def test_a_target_tells_itself_in_a_line() -> None:
    assert Target().describe() == "cpu, eager, float32, batch 1, 1 thread"
    assert Target(threads=2, batch=8).describe() == "cpu, eager, float32, batch 8, 2 threads"
    assert Target(device="cuda", dtype="float16").describe() == "cuda, eager, float16, batch 1"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "gpu"}, "x.yaml:3, latency.device: got 'gpu'; allowed: cpu, cuda."),
        ({"device": "cuda:1"}, "allowed: cpu, cuda. Did you mean 'cuda'?"),
        ({"device": None}, "latency.device: got null; allowed: cpu, cuda."),
        ({"runtime": "onxruntime"}, "Did you mean 'onnxruntime'?"),
        ({"runtime": ["eager"]}, "latency.runtime: got ['eager']; allowed: eager, compiled, onnxruntime."),
        ({"dtype": "float64"}, "allowed: float32, bfloat16, float16."),
        ({"batch": 0}, "latency.batch: got 0; allowed: a whole number from 1 to 4096. Give one."),
        ({"batch": True}, "latency.batch: got true;"),
        ({"batch": 10**9}, "allowed: a whole number from 1 to 4096"),
        ({"threads": 1.5}, "latency.threads: got 1.5;"),
        ({"threads": "2"}, "latency.threads: got '2';"),
        ({"thread": 2}, "latency.thread: got an unknown option; allowed: device, runtime, dtype, batch, threads. Did you"),
        ({"device": "cuda", "threads": 2}, "latency.threads: got 2 with device cuda; allowed with it: 1."),
        ({"runtime": "onnxruntime", "dtype": "float16"}, "allowed with it: float32."),
        ({"runtime": "onnxruntime", "device": "cuda"}, "latency.device: got cuda with runtime onnxruntime"),
    ],
)  # fmt: skip
def test_what_is_no_target_is_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Target.made(options, "x.yaml:3, latency")
    (problem,) = caught.value.problems
    assert told in problem


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SpaceError) as caught:
        Target.made({"device": "tpu", "batch": -1}, "latency")
    assert len(caught.value.problems) == 2


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=r"latency\.device: got cuda, and this process sees no GPU"):
        Target(device="cuda").check_here()


def test_more_threads_than_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "usable_cores", lambda: 2)
    Target(threads=2).check_here()
    with pytest.raises(ResourceError, match=r"latency\.threads: got 3; this process may use 2 cores"):
        Target(threads=3).check_here()


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_onnxruntime_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(
        targets.importlib.util, "find_spec", lambda name: None if name == missing else object()
    )
    with pytest.raises(ResourceError, match=rf"{missing} is not installed.*pip install -e '\.\[onnx\]'"):
        Target(runtime="onnxruntime").check_here()


def test_a_compiler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.shutil, "which", lambda name: None)
    with pytest.raises(
        ResourceError, match=r"latency\.runtime: got compiled, and no C\+\+ compiler is on PATH"
    ):
        Target(runtime="compiled").check_here()


def test_nothing_is_built_for_a_target_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    nothing: Any = Subject(blueprint=None, servings=())  # type: ignore[arg-type]
    with pytest.raises(ResourceError, match="sees no GPU"):
        measure_whole(nothing, Target(device="cuda"))
    with pytest.raises(ResourceError, match="sees no GPU"):
        LatencyTable(tmp_path, Target(device="cuda"))
    assert not list(tmp_path.iterdir())
