"""A model of shapes alone, made without drawing its weights."""

from typing import Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

DRAWING = frozenset(
    {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, init.normal_, init.uniform_, init.kaiming_uniform_}
)
"""What fills a tensor with random numbers, and the function of them by which a normal distribution is cut off."""


class Undrawn(TorchFunctionMode):
    """Leaves weights without memory undrawn: on the meta device each drawing takes milliseconds, and a plan builds hundreds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Give back what would be drawn into, and run all else."""
        if func in DRAWING:
            filled: Tensor = args[0] if args else (kwargs or {})["tensor"]
            if filled.is_meta:
                return filled
        return func(*args, **(kwargs or {}))
