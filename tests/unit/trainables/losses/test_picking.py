"""Tokens that are picked as rows of a flat table are those of an index by two tensors, in value and gradient."""

import torch

from trainables.losses.picking import picked, picked_flat


def test_a_flat_pick_is_an_index_by_two_tensors_to_the_bit() -> None:
    torch.manual_seed(0)
    mask = torch.rand(5, 7) < 0.4
    chosen = mask.nonzero(as_tuple=True)
    weights = torch.randn(int(mask.sum()), 11)
    for values in (torch.randn(5, 7, 11), torch.randn(7, 5, 11).transpose(0, 1)):
        found = []
        for how in (picked, picked_flat):
            leaf = values.clone().requires_grad_()
            one = how(leaf, chosen)
            (slope,) = torch.autograd.grad((one * weights).sum(), leaf)
            found.append((one, slope))
        (plain, plain_slope), (flat, flat_slope) = found
        assert torch.equal(plain, values[mask])
        assert torch.equal(flat, plain)
        assert torch.equal(flat_slope, plain_slope)
