"""Picking tokens out of texts."""

from torch import Tensor


def picked(values_BT: Tensor, chosen: tuple[Tensor, ...]) -> Tensor:
    """Return (n, ...) what stands at n places of (B, T, ...), each of them once: `values[rows, columns]`, in value and gradient.

    Backward of an index by two tensors sorts them and adds up what falls on one place, which takes a GPU longer than the
    softmax over a vocabulary of 30,524; rows of a flat table are just put back.

    Args:
        values_BT: of B texts of T tokens.
        chosen: rows and columns, from `Batch.chosen`.
    """
    return picked_flat(values_BT, chosen) if values_BT.is_cuda else values_BT[chosen]


def picked_flat(values_BT: Tensor, chosen: tuple[Tensor, ...]) -> Tensor:
    """Return what stands at n places, as rows of a flat table; see `picked`."""
    rows, columns = chosen
    return values_BT.flatten(0, 1).index_select(0, rows * values_BT.shape[1] + columns)
