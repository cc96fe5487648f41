"""How a pass is run on a target, and by which clock."""

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spaces.errors import ResourceError
from trainables.costs.blocks import TimedPass
from trainables.costs.target import Target
from trainables.families.base import Family

Run = Callable[[], object]
Clock = Callable[[Run], float]
"""Runs once, and says how long that took, in ms."""
RECOMPILES = 10_000  # torch.compile goes back to eager, in silence, after 8 models that share a line of code


class Runs:
    """Makes passes ready to be run; a model that several of them belong to is built once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._models: dict[Any, Family] = {}

    def of(self, timed: TimedPass) -> Run:
        """Return a pass with random weights, and inputs of a batch; what has to be compiled is.

        Raises:
            ResourceError: no compiler works, or the runtime does not know an operation.
        """
        model = self._model(timed)
        inputs = {
            name: torch.cat([value] * self._target.batch)
            for name, value in model.pass_inputs(timed.mode, timed.tokens).items()
        }
        if self._target.runtime == "compiled":
            return _compiled(model, timed.mode, inputs)
        if self._target.runtime == "onnxruntime":
            return _in_onnxruntime(model, timed.mode, inputs, self._target)
        return lambda: model.run_pass(timed.mode, inputs)

    @property
    def weights_bytes(self) -> int:
        """Size of all models together."""
        return sum(
            one.numel() * one.element_size() for model in self._models.values() for one in model.parameters()
        )

    def _model(self, timed: TimedPass) -> Family:
        key = str(timed.to_dict()["model"])
        if key not in self._models:
            with torch.random.fork_rng(devices=[]):
                made = timed.blueprint.build().eval()
            self._models[key] = made.to(self._target.device, getattr(torch, self._target.dtype))
        return self._models[key]


@contextmanager
def as_target(target: Target) -> Iterator[None]:
    """Run as the target says for a while: its threads, and no gradients. All is as it was afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(target.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def own_clock(target: Target) -> Clock:
    """Return the clock that other work on the machine disturbs least.

    That of the thread, for one thread of a CPU; that of the GPU, between two events; the one on the wall for several threads.
    """
    if target.device == "cuda":
        return _event_ms
    return _thread_ms if target.threads == 1 else _wall_ms


def wall_clock(target: Target) -> Clock:
    """Return the clock on the wall; on a GPU it stops when that is idle again."""
    return _synchronised_ms if target.device == "cuda" else _wall_ms


def version_of(runtime: str) -> str:
    """Return which version of a runtime runs here."""
    if runtime == "onnxruntime":
        return f"{torch.__version__}, onnxruntime {_onnxruntime_version()}"
    return torch.__version__


def _onnxruntime_version() -> str:
    """Return the version of onnxruntime, which packages of other names bring, too: onnxruntime-gpu, -openvino, ..."""
    try:
        return importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        return str(getattr(importlib.import_module("onnxruntime"), "__version__", "unknown"))
    except ImportError:  # whoever measures by it says why
        return "unknown"


def _thread_ms(run: Run) -> float:
    start = time.thread_time()
    run()
    return 1e3 * (time.thread_time() - start)


def _wall_ms(run: Run) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def _synchronised_ms(run: Run) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def _event_ms(run: Run) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


class _Pass(nn.Module):
    """A pass as a module on tensors alone, which is what compilers read."""

    def __init__(self, model: Family, mode: str, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.mode, self.names = model, mode, tuple(names)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return all tensors that the pass says."""
        return tuple(_tensors(self.model.run_pass(self.mode, dict(zip(self.names, given, strict=True)))))


def _tensors(said: object) -> Iterator[Tensor]:
    """Yield the tensors of what a pass returns: one, a tuple with gaps, or signals by their names."""
    if isinstance(said, Tensor):
        yield said
    elif isinstance(said, Mapping):
        yield from _tensors(tuple(said.values()))
    elif isinstance(said, tuple):
        for one in said:
            yield from _tensors(one)


def _compiled(model: Family, mode: str, inputs: Mapping[str, Tensor]) -> Run:
    """Return a pass that `torch.compile` has compiled, whole."""
    given = tuple(inputs.values())
    made: Any = torch.compile(_Pass(model, mode, list(inputs)), fullgraph=True, dynamic=False)
    limits = {"recompile_limit": RECOMPILES, "accumulated_recompile_limit": RECOMPILES}
    try:
        with torch._dynamo.config.patch(limits):
            made(*given)
    except Exception as error:  # of the compiler of kernels, too, which has errors of its own
        raise _unusable("compiled", "torch.compile", mode, error) from error
    return lambda: made(*given)


def _in_onnxruntime(model: Family, mode: str, inputs: Mapping[str, Tensor], target: Target) -> Run:
    """Return a pass that is exported, and loaded by onnxruntime."""
    runtime: Any = importlib.import_module("onnxruntime")
    names = list(inputs)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = target.threads, 1
    try:
        exported = torch.onnx.export(
            _Pass(model, mode, names).eval(),
            tuple(inputs.values()),
            input_names=names,
            dynamo=True,
            verbose=False,
        )
        assert exported is not None  # dynamo=True gives a program
        data = exported.model_proto.SerializeToString()
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of exporter and runtime, which have errors of their own
        raise _unusable("onnxruntime", "the export", mode, error) from error
    read = {one.name for one in session.get_inputs()}  # what a block does not look at, the export leaves out
    fed = {name: value.cpu().numpy() for name, value in inputs.items() if name in read}
    return lambda: session.run(None, fed)


def _unusable(runtime: str, what: str, mode: str, error: Exception) -> ResourceError:
    told = " ".join(str(error).split())[:300] or type(error).__name__
    return ResourceError(
        f"latency.runtime: got {runtime}, and {what} of {mode} fails here ({told}). Set latency.runtime: eager, or mend that."
    )
