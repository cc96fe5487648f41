"""Runtimes: what is compiled or exported is the pass; what does not work here is told in one message."""

import importlib.metadata
import sys
import types
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from spaces.errors import ResourceError
from tests.unit.trainables.costs.subjects import ALL, SMALL, subject_of
from trainables.costs.blocks import TimedPass, blocks_of, different
from trainables.costs.runtimes import Runs, as_target, version_of
from trainables.costs.target import Target
from trainables.families.base import Blueprint

BLOCKS = different(blocks_of(subject_of(SMALL, *ALL)))
LAYER = next(one for one in BLOCKS if one.mode == "image.layer")
ENDS = next(one for one in BLOCKS if one.mode == "text.ends")
WHOLE = TimedPass(blueprint=Blueprint("blip", SMALL), mode="text", tokens=8)


def plain(said: Any) -> Tensor:
    (found,) = said if isinstance(said, tuple) else (said,)
    return torch.as_tensor(found)


def test_every_block_runs_without_its_model_being_built_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    real = Blueprint.build

    def told(plan: Blueprint) -> Any:
        built.append(plan)
        return real(plan)

    monkeypatch.setattr(Blueprint, "build", told)
    runs = Runs(Target())
    with as_target(Target()):
        for one in BLOCKS:
            runs.of(one)()
            runs.of(one)()
    assert len(built) == len(set(built)) <= len(BLOCKS)


def test_more_passes_than_torch_compiles_by_itself_are_all_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **more: real(module, backend=backend, **more))
    limit = 2  # 8 by default; each takes seconds
    with torch._dynamo.config.patch(recompile_limit=limit), as_target(Target()):
        wide = [replace(SMALL, embedding=number + 1) for number in range(limit + 2)]
        ready = [
            Runs(Target(runtime="compiled")).of(replace(ENDS, blueprint=Blueprint("blip", one)))
            for one in wide
        ]
        for run in ready:
            run()
        assert torch._dynamo.config.recompile_limit == limit
    assert len(graphs) == limit + 2


def test_a_compiler_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def fail(*_: Any) -> None:
            raise RuntimeError("Python.h: No such file")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ResourceError) as caught:
        Runs(Target(runtime="compiled")).of(LAYER)
    assert str(caught.value).startswith(
        "latency.runtime: got compiled, and torch.compile of image.layer fails here (Python.h"
    )


class Session:
    """Stands for a session of onnxruntime, which is not installed here: answers by the module that was exported."""

    threads: ClassVar[list[int]] = []

    def __init__(self, data: bytes, options: Any, providers: list[str]) -> None:
        assert data == b"exported"
        assert providers == ["CPUExecutionProvider"]
        self.threads.append(options.intra_op_num_threads)

    def get_inputs(self) -> list[Any]:
        """Return the inputs but the mask, as an export leaves out what is not read."""
        return [types.SimpleNamespace(name="ids")]

    def run(self, outputs: None, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return what was fed."""
        assert set(fed) == {"ids"}
        return list(fed.values())


def test_onnxruntime_gets_the_exported_pass_and_the_inputs_that_it_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in = types.SimpleNamespace(SessionOptions=types.SimpleNamespace, InferenceSession=Session)
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)  # type: ignore[arg-type]
    exported = []

    def export(module: Any, args: Any, **more: Any) -> Any:
        exported.append((module(*args), more["input_names"], more["dynamo"]))
        return types.SimpleNamespace(model_proto=types.SimpleNamespace(SerializeToString=lambda: b"exported"))

    monkeypatch.setattr(torch.onnx, "export", export)
    target = Target(runtime="onnxruntime", threads=2, batch=3)
    with as_target(target):
        (said,) = Runs(target).of(WHOLE)()  # type: ignore[misc]
    assert said.shape == (3, 8)
    assert Session.threads == [2]
    ((outputs, names, dynamo),) = exported
    assert (names, dynamo) == (["ids", "mask"], True)
    assert [one.shape for one in outputs] == [(3, SMALL.embedding)]


def test_an_export_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "onnxruntime", types.SimpleNamespace(SessionOptions=types.SimpleNamespace)
    )  # type: ignore[arg-type]

    def export(*_: Any, **__: Any) -> Any:
        raise ValueError("no symbol for this")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(
        ResourceError, match=r"got onnxruntime, and the export of text fails here \(no symbol"
    ):
        Runs(Target(runtime="onnxruntime")).of(WHOLE)


def test_onnxruntime_says_what_the_eager_pass_says() -> None:
    runs = Runs(Target(runtime="onnxruntime"))
    with as_target(Target()):
        said = plain(tuple(runs.of(WHOLE)()))  # type: ignore[arg-type]
        model = runs._model(WHOLE)
        expected = plain(model.run_pass(WHOLE.mode, model.pass_inputs(WHOLE.mode, WHOLE.tokens)))
    assert torch.allclose(said, expected, rtol=1e-4, atol=1e-4)  # a unit vector out of sums of 128 products


@pytest.mark.parametrize(
    ("module", "version"),
    [
        (types.SimpleNamespace(__version__="1.99.2"), "1.99.2"),
        (types.SimpleNamespace(), "unknown"),
        (None, "unknown"),
    ],
)
def test_a_package_of_another_name_may_bring_onnxruntime(
    module: Any, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> str:  # onnxruntime-gpu is no package of the name onnxruntime
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", refuse)
    monkeypatch.setitem(sys.modules, "onnxruntime", module)  # None: importing it fails
    assert version_of("onnxruntime") == f"{torch.__version__}, onnxruntime {version}"
