"""Whether a model leaves out some of what it computes in training."""

from torch import nn


def drops(model: nn.Module) -> bool:
    """Return whether a model leaves out some of what it computes in training, at random: dropout, or whole layers."""
    return any(
        (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0)
        or float(getattr(module, "drop_prob", None) or 0)
        > 0  # timm's DropPath, which is not imported for that
        for module in model.modules()
    )
