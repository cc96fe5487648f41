"""Where latency is measured: device, runtime, number type, batch and threads of who will run the student."""

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from spaces.errors import ResourceError, SpaceError
from spaces.plugins import meant
from spaces.rules import show
from trainables.share import usable_cores

DEVICES = ("cpu", "cuda")
RUNTIMES = ("eager", "compiled", "onnxruntime")
DTYPES = ("float32", "bfloat16", "float16")
ALLOWED: Mapping[str, tuple[str, ...]] = {"device": DEVICES, "runtime": RUNTIMES, "dtype": DTYPES}
MOST = 4096
"""Largest batch, and largest number of threads."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A way to run a student; `made` builds it from options that nobody has checked yet.

    Attributes:
        device: `cpu` or `cuda`; the first GPU that this process sees.
        runtime: `eager` PyTorch, `compiled` by `torch.compile`, or `onnxruntime`.
        dtype: of weights and pictures.
        batch: examples that are served at once; a latency is the time of the batch over this.
        threads: of the CPU that one call may use; 1 on a GPU.
    """

    device: str = "cpu"
    runtime: str = "eager"
    dtype: str = "float32"
    batch: int = 1
    threads: int = 1

    @classmethod
    def made(cls, options: Mapping[str, Any], where: str) -> "Target":
        """Return the target that options describe; what they leave out is as the defaults are.

        Args:
            options: name -> literal.
            where: what stands before each message: `spaces/dlip.yaml:14, latency`.

        Raises:
            SpaceError: an unknown option, a value that is not allowed, or values that do not go together.
        """
        problems = [f"{where}.{name}: {text}" for name, text in _problems(options)]
        if not problems:
            target = cls(**options)
            problems = [f"{where}.{name}: {text}" for name, text in target._clashes()]
        if problems:
            raise SpaceError(problems)
        return target

    def check_here(self) -> None:
        """Accept a target that this process can measure.

        Raises:
            ResourceError: no such device, more threads than cores, a runtime that is not installed.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ResourceError(
                "latency.device: got cuda, and this process sees no GPU; allowed here: cpu. "
                "Set latency.device: cpu, or run where a GPU is."
            )
        if self.device == "cpu" and self.threads > usable_cores():
            raise ResourceError(
                f"latency.threads: got {self.threads}; this process may use {usable_cores()} cores, and threads that wait for "
                "one another measure nothing. Set fewer, or give it more cores."
            )
        if self.runtime == "compiled":
            self._check_compiler()
        if self.runtime == "onnxruntime":
            self._check_onnxruntime()

    def describe(self) -> str:
        """Return the target as a line of a report tells it: `cpu, eager, float32, batch 1, 1 thread`."""
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else ""
        return f"{self.device}, {self.runtime}, {self.dtype}, batch {self.batch}{threads}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `made` reads it back."""
        return asdict(self)

    def _clashes(self) -> list[tuple[str, str]]:
        """Return (option, text) of values that do not go together."""
        found = []
        if self.device == "cuda" and self.threads != 1:
            found.append(("threads", f"got {self.threads} with device cuda; allowed with it: 1. Delete it."))
        if self.runtime == "onnxruntime" and self.device == "cuda":
            text = "got cuda with runtime onnxruntime, which is measured on a CPU only; allowed with it: cpu. Set that."
            found.append(("device", text))
        if self.runtime == "onnxruntime" and self.dtype != "float32":
            text = (
                f"got {self.dtype} with runtime onnxruntime, whose kernels compute in float32 here; allowed with it: float32. "
                "Delete it, or take runtime: eager."
            )
            found.append(("dtype", text))
        return found

    def _check_compiler(self) -> None:
        """Refuse where `torch.compile` finds no compiler for its kernels."""
        if self.device == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
            raise ResourceError(
                "latency.runtime: got compiled, and no C++ compiler is on PATH, which torch.compile needs on a CPU; allowed "
                "here: eager. Install g++, or set latency.runtime: eager."
            )
        if self.device == "cuda" and importlib.util.find_spec("triton") is None:
            raise ResourceError(
                "latency.runtime: got compiled, and triton is not installed, which torch.compile needs on a GPU; allowed here: "
                "eager. Install triton, or set latency.runtime: eager."
            )

    def _check_onnxruntime(self) -> None:
        """Refuse where the extra is not installed."""
        packages = ("onnx", "onnxscript", "onnxruntime")
        if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
            raise ResourceError(
                f"latency.runtime: got onnxruntime, and {', '.join(missing)} is not installed; allowed here: eager, compiled. "
                "Install the extra: pip install -e '.[onnx]', or set latency.runtime: eager."
            )


def _problems(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (option, text) of what is no option, or a value that is not allowed for itself."""
    known, found = [field.name for field in fields(Target)], []
    for name, value in options.items():
        if name not in known:
            hint = meant(str(name), known, "Delete it.")
            found.append((str(name), f"got an unknown option; allowed: {', '.join(known)}. {hint}"))
        elif name in ALLOWED:
            if value not in ALLOWED[name]:
                hint = meant(str(value), ALLOWED[name], "Take one of them.")
                found.append((name, f"got {show(value)}; allowed: {', '.join(ALLOWED[name])}. {hint}"))
        elif not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
            found.append((name, f"got {show(value)}; allowed: a whole number from 1 to {MOST}. Give one."))
    return found
