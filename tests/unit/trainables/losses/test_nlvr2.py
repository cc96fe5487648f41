"""Statements on two pictures: cross entropy by hand."""

import math

import torch

from tests.unit.trainables.losses.factory import STUDENT
from trainables.losses.base import Ends
from trainables.losses.logits.nlvr2 import Nlvr2
from trainables.signals import HOLDS, Batch, Signals, Want

LOGITS = Want("paired", "logits")


def test_is_the_mean_over_statements_and_leaves_out_what_is_of_none() -> None:
    loss = Nlvr2(Nlvr2.Config(), Ends(name="nlvr2", student=STUDENT))
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [math.nan, 9.0]])
    batch = Batch(fields={HOLDS: torch.tensor([1, 0, -1])}, rows={})
    value = loss(Signals({LOGITS: logits}), Signals(), batch)
    torch.testing.assert_close(value, torch.tensor((math.log(4 / 3) + math.log(2)) / 2))
    none = Batch(fields={HOLDS: torch.tensor([-1, -1, -1])}, rows={})
    assert loss(Signals({LOGITS: logits}), Signals(), none) == 0.0
    assert loss.guessing(8) == math.log(2)
