"""The section `plan`: what a dry run takes for granted where data are not here, and what it reckons hours with. Pure Python.

plan:
  data:
    coco: {images: 113287, captions: 566747}
  device: A100
  mfu: 0.35

It changes nothing of a search.
"""

from typing import Annotated

from pydantic import Field

from spaces.leaves import fixed
from spaces.rules import Number, Word
from spaces.sections import Section

PEAK_TFLOPS = {"A100": 312.0, "H100": 989.0, "H200": 989.0, "L4": 121.0, "L40S": 362.0, "V100": 125.0}
"""10^12 FLOPs a second of dense bfloat16 (of the V100 float16), of the SXM form where there is one: from NVIDIA's data sheets,
some of which double them for sparsity. None was measured here."""
MFU = 0.35
"""An assumption, no measurement; `tests/benchmarks/device_step.py` measures it on a GPU."""

_WHY = "no data set has as many"
_IMAGES = Number(whole=True, low=1, high=10**10, why=_WHY)
_TEXTS = Number(whole=True, low=0, high=10**11, why=_WHY)
_PEAK = Number(
    low=0, open_low=True, high=10**6, null=True, why="it is in 10^12 FLOPs a second, of one device"
)
_SHARE = Number(low=0, open_low=True, high=1)


class SourceSection(Section):
    """How much a source of data has to train on."""

    images: Annotated[int, fixed(_IMAGES)]
    captions: Annotated[int, fixed(_TEXTS)] = 0
    questions: Annotated[int, fixed(_TEXTS)] = 0


class PlanSection(Section):
    """What a plan takes for granted.

    Attributes:
        data: source -> its size; what `--dry-run` plans with where the data set is not here.
        device: that trains, of `PEAK_TFLOPS`.
        peak_tflops: of another device, or of this one as you know it.
        mfu: an assumption: share of the peak that a training reaches, in FLOPs of the models (Chowdhery et al. 2022, appendix B).
    """

    data: dict[str, SourceSection] = Field(default_factory=dict)
    device: Annotated[str, fixed(Word(options=tuple(PEAK_TFLOPS)))] = "A100"
    peak_tflops: Annotated[float | None, fixed(_PEAK)] = None
    mfu: Annotated[float, fixed(_SHARE)] = MFU

    @property
    def peak(self) -> float:
        """FLOPs a second of the device."""
        return 1e12 * (self.peak_tflops or PEAK_TFLOPS[self.device])

    @property
    def told_device(self) -> str:
        """The device with its peak, in words."""
        if self.peak_tflops is not None:
            return f"a device of {self.peak_tflops:g} TFLOP/s (plan.peak_tflops)"
        return f"{self.device} of {PEAK_TFLOPS[self.device]:g} TFLOP/s (plan.device)"
