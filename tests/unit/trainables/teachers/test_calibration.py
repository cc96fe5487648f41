"""The temperature under which pairs are most likely, against a search over all of them with another formula."""

import numpy as np
import pytest
import torch

from trainables.teachers.calibration import HIGHEST, LOWEST, most_likely


def likelihood(similarity: np.ndarray, belongs: np.ndarray, temperature: float) -> float:
    """Mean log probability of a matching one, of rows and of columns, written out."""
    total = 0.0
    for values, right in ((similarity, belongs), (similarity.T, belongs.T)):
        logs = []
        for row, fits in zip(values, right, strict=True):
            if fits.any() and not fits.all():
                weights = np.exp((row - row.max()) / temperature)
                logs.append(np.log(weights[fits].sum() / weights.sum()))
        total += float(np.mean(logs))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_most_likely_of_all(seed: int) -> None:
    draws = np.random.default_rng(seed)
    belongs = np.zeros((12, 20), dtype=bool)
    belongs[draws.integers(0, 12, 20), np.arange(20)] = True  # several captions of a picture, none of others
    similarity = 0.3 * draws.standard_normal((12, 20)) + 0.3 * belongs
    found = most_likely(torch.from_numpy(similarity), torch.from_numpy(belongs))
    tried = np.geomspace(0.02, HIGHEST, 1201)
    best = tried[np.argmax([likelihood(similarity, belongs, one) for one in tried])]
    assert 0.02 < best < HIGHEST
    assert found == pytest.approx(best, rel=3e-3)  # the step of what was tried


def test_pairs_without_a_doubt_or_without_a_clue_lie_at_the_ends() -> None:
    belongs = torch.eye(3, dtype=torch.bool)
    assert most_likely(torch.eye(3), belongs) == pytest.approx(LOWEST, rel=0.05)
    assert most_likely(-torch.eye(3), belongs) == pytest.approx(HIGHEST, rel=1e-3)


def test_nothing_to_tell_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture has both"):
        most_likely(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
