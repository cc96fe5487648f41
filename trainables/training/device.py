"""On what a training runs, and what float32 is there."""

import os

import torch

from spaces.errors import ResourceError

DEVICES = ("auto", "cpu", "cuda")
NO_CUDA_REMEDY = "Mend that, or train on CPUs: --set resources.gpus_per_worker=0."


def pick_device(name: str) -> torch.device:
    """Return the device of `auto`, `cpu` or `cuda`; auto is cuda where there is one.

    Raises:
        ResourceError: an unknown name, or cuda where there is none.
    """
    missing = name == "cuda" and not torch.cuda.is_available()
    if name not in DEVICES or missing:
        raise ResourceError(
            f"device: got {name!r}; allowed here: "
            f"{', '.join(d for d in DEVICES if d != 'cuda' or torch.cuda.is_available())}."
            + (f" {why_no_cuda()} {NO_CUDA_REMEDY}" if missing else "")
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        _state_precision()
    return torch.device(name)


def why_no_cuda() -> str:
    """Return a sentence on why torch has no GPU in this process, where others may see one."""
    if not (torch.version.cuda or torch.version.hip):
        return f"This torch ({torch.__version__}) is built without CUDA."
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"CUDA_VISIBLE_DEVICES={visible} leaves torch none that it can use."
    return f"torch sees no GPU: there is none, or its driver is too old for CUDA {torch.version.cuda or torch.version.hip}."


def _state_precision() -> None:
    """Say what float32 is on a GPU, whatever the environment or a library has set: never TF32, whose numbers have 10 bits.

    What is large runs in bfloat16, under autocast; what is left in float32 needs it: losses take the logarithm of similarities
    over a temperature of 0.01, and figures count ranks.
    """
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # torch lacks its type
