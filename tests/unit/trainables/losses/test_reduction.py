"""One process; `test_two_workers.py` has the other half."""

import torch

from trainables.losses.reduction import gather_rows, global_mean, num_workers


def test_one_process_is_one_worker() -> None:
    assert num_workers() == 1


def test_mean_is_the_plain_mean() -> None:
    assert global_mean(torch.tensor([1.0, 2.0, 6.0])).item() == 3.0


def test_mean_of_nothing_is_zero_and_differentiable() -> None:
    values = torch.zeros(0, requires_grad=True)
    mean = global_mean(values)
    mean.backward()
    assert mean.item() == 0.0
    assert values.grad is not None


def test_rows_of_one_worker_come_back_untouched() -> None:
    rows, keys = torch.ones(3, 2, requires_grad=True), torch.arange(3)
    gathered = gather_rows(rows, keys)
    assert gathered[0] is rows
    assert gathered[1] is keys
