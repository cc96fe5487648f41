"""What every row of `METRICS` promises."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from analysis.table import METRICS as COLUMNS
from trainables.metrics import METRICS
from trainables.metrics.predictions import Predictions
from trainables.metrics.retention import TASK_METRICS

NUM = 24


def predictions(quality: float = 1.0) -> Predictions:
    """Return predictions that are right to some share: all, nothing, or between."""
    right = round(quality * NUM)
    texts = torch.eye(NUM)
    texts[right:] = texts[right:].roll(1, dims=0)
    return Predictions(
        image_embeddings=torch.eye(NUM),
        text_embeddings=texts,
        caption_images=torch.arange(NUM),
        tokens_right=10 * right,
        tokens=10 * NUM,
        answers_right=right,
        answers=NUM,
    )


def test_table_is_sorted_and_no_two_metrics_share_a_name() -> None:
    assert list(METRICS) == sorted(METRICS)
    names = {key: set(metric(predictions())) for key, metric in METRICS.items()}
    assert all(not names[a] & names[b] for a, b in combinations(names, 2))


def test_every_task_metric_is_produced_and_every_name_has_a_column() -> None:
    names = {name for metric in METRICS.values() for name in metric(predictions())}
    assert set(TASK_METRICS) <= names <= set(COLUMNS)


@pytest.mark.parametrize("name", METRICS)
class TestEveryMetric:
    def test_is_100_where_everything_is_right(self, name: str) -> None:
        found = METRICS[name](predictions())
        assert found
        assert set(found.values()) == {100.0}

    @pytest.mark.parametrize("quality", [0.0, 0.25, 0.5])
    def test_is_a_finite_percentage_and_grows_with_quality(self, name: str, quality: float) -> None:
        worse, better = METRICS[name](predictions(quality)), METRICS[name](predictions(quality + 0.25))
        for key, value in worse.items():
            assert isinstance(value, float)
            assert math.isfinite(value)
            assert 0.0 <= value <= 100.0
            assert value <= better[key]
        assert any(worse[key] < better[key] for key in worse)

    def test_is_the_same_every_time_and_leaves_its_input_alone(self, name: str) -> None:
        given = predictions(0.5)
        before = given.text_embeddings.clone()
        assert METRICS[name](given) == METRICS[name](given)
        assert torch.equal(given.text_embeddings, before)

    def test_says_nothing_rather_than_a_wrong_figure_of_what_a_model_lacks(self, name: str) -> None:
        lacking = replace(predictions(), tokens_right=None, tokens=None, answers_right=None, answers=None)
        found = METRICS[name](lacking)
        assert found == (METRICS[name](predictions()) if name == "retrieval" else {})
