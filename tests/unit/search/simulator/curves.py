"""Small tables for the simulator's tests, made in memory."""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from search.simulator.goals import Goal
from search.simulator.table import CurveTable, infer_domain
from spaces.conditions import Conditions
from spaces.domains import Domain, Scalar

GOALS = (Goal("val_loss", "min"), Goal("params", "min"))

Row = tuple[int, float, float]
"""Epoch, its cost, and the loss that was measured (NaN: it was not)."""


def make_table(
    curves: Mapping[str, Sequence[Row]],
    *,
    params: Mapping[str, float] | None = None,
    values: Mapping[str, Mapping[str, Scalar]] | None = None,
    fields: Mapping[str, Domain] | None = None,
    conditions: Conditions | None = None,
) -> CurveTable:
    """Return a table with the columns val_loss and params; each candidate's id is its one searched value by default."""
    ids = sorted(curves)
    found = [dict(values[one]) if values else {"x": one} for one in ids]
    rows = [(one, *row) for one in ids for row in curves[one]]
    names = list(found[0])
    return CurveTable(
        name="toy",
        ids=tuple(ids),
        fields=fields or {name: infer_domain([one[name] for one in found]) for name in names},
        conditions=conditions or {},
        values=found,
        starts=np.cumsum([0, *(len(curves[one]) for one in ids)]),
        epochs=np.array([row[1] for row in rows], dtype=np.int64),
        costs=np.array([row[2] for row in rows], dtype=np.float64),
        columns={
            "val_loss": np.array([row[3] for row in rows], dtype=np.float64),
            "params": np.array([(params or {}).get(row[0], 1.0) for row in rows], dtype=np.float64),
        },
    )


def random_table(count: int, *, seed: int = 0, lengths: Sequence[int] = (9,)) -> CurveTable:
    """Return a table of random curves that fall, with larger candidates ending lower, over three searched fields."""
    rng = random.Random(seed)
    curves, params, values = {}, {}, {}
    for number in range(count):
        name = f"c{number:04d}"
        width, depth, rate = rng.choice([32, 64, 96]), rng.randint(1, 30), 10 ** rng.uniform(-4, -1)
        params[name] = float(width * width * depth)
        end = 5 / np.log(params[name]) + 0.1 * abs(np.log10(rate) + 2.5) + rng.gauss(0, 0.01)
        curves[name] = [
            (epoch, params[name] / 1e4, end + 1 / epoch) for epoch in range(1, rng.choice(lengths) + 1)
        ]
        values[name] = {"width": width, "depth": depth, "rate": rate}
    return make_table(curves, params=params, values=values)
