"""The section `latency`: on what a student will run, and so where its latency is measured."""

from typing import Annotated

from spaces.leaves import fixed
from spaces.rules import Number, Word
from spaces.sections import Section

AUTO = "auto"
DEVICES = (AUTO, "cpu", "cuda")
RUNTIMES = ("eager", "compiled", "onnxruntime")
DTYPES = ("float32", "bfloat16", "float16")

_DEVICE = Word(options=DEVICES)
_EXAMPLES = Number(whole=True, low=1, high=4096, why="they are held in memory at once")
_THREADS = Number(whole=True, low=1, high=4096, why="each is a core of one machine")
_SAMPLES = Number(whole=True, low=1, high=10_000, why="a low percentile of more is the same")


class LatencySection(Section):
    """Who runs a student: device, runtime, number type, examples at once, threads of a CPU. One target for all candidates.

    `auto` is a GPU where trials take one, else the CPU. `samples` is how often a finalist and its teacher are timed as a whole.
    """

    device: Annotated[str, fixed(_DEVICE)] = AUTO
    runtime: Annotated[str, fixed(Word(options=RUNTIMES))] = "eager"
    dtype: Annotated[str, fixed(Word(options=DTYPES))] = "float32"
    batch: Annotated[int, fixed(_EXAMPLES)] = 1
    threads: Annotated[int, fixed(_THREADS)] = 1
    samples: Annotated[int, fixed(_SAMPLES)] = 100
