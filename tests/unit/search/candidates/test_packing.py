"""How many trials share a GPU, worked out by hand; and which students are measured for it."""

import re
from pathlib import Path
from typing import Any

import pytest

from search.candidates.packing import MOST, Packing, highest, largest_candidates, packed, unmeasured
from search.inputs.inputs import Inputs
from spaces.domains import Choice, Log
from spaces.load import load_space
from tests.unit.search.earlier_run import SPACE, open_admissions
from trainables.training.step_memory import StepMemory

GIB = 2**30


def step(
    peak: float, *, outside: float = 0.5, total: float = 80, name: str = "a", parts: int = 1
) -> StepMemory:
    """Return what a student took, in GiB."""
    return StepMemory(
        candidate_id=name,
        device="H100",
        total=int(total * GIB),
        outside=int(outside * GIB),
        peak=int(peak * GIB),
        micro_batches=parts,
    )


@pytest.mark.parametrize(
    ("peak", "total", "trials", "gpus"),
    [
        (9.5, 80, 6, 0.1666),  # 80 / (1.2 x 10) = 6.67; Ray counts ten-thousandths, 6 x .1666 = .9996
        (19.5, 80, 3, 0.3333),  # 80 / 24 = 3.33
        (11.6, 24, 1, 1.0),  # 24 / (1.2 x 12.1) = 1.65
        (9.5, 24, 2, 0.5),  # 24 / 12 = 2, just
        (1.5, 80, MOST, 0.125),  # 80 / 2.4 = 33, but 8 at most
        (75.0, 80, 1, 1.0),  # 80 / 90.6 = .88: it fits all the same
    ],
)
def test_trials_on_a_device_follow_from_memory(peak: float, total: float, trials: int, gpus: float) -> None:
    found = packed([step(peak, total=total), step(0.1, total=total, name="b")])
    assert (found.trials, found.gpus) == (trials, gpus)
    assert found.trials * (found.gpus or 0) <= 1
    assert found.reason.startswith("a, of the largest students, takes")


def test_a_trial_leaves_the_others_their_memory() -> None:
    found = packed([step(9.5, outside=0.8)])  # 80 / (1.2 x 10.3) = 6.47
    assert found.trials == 6
    # PyTorch's part of 1/6 of 80 GiB, less the .8 that CUDA itself takes in each process
    assert found.memory_share * 80 == pytest.approx(80 / 6 - 0.8)
    assert found.trials * (found.memory_share * 80 + 0.8) == pytest.approx(80)
    assert packed([step(60)]).memory_share == 1


@pytest.mark.parametrize(("parts", "word"), [(4, "only in 4 parts"), (0, "not at all")])
def test_a_batch_that_does_not_fit_alone_shares_nothing(parts: int, word: str) -> None:
    found = packed([step(1.0), step(20.0, name="b", parts=parts)])
    assert (found.trials, found.gpus, found.memory_share) == (1, 1.0, 1.0)
    assert f"a batch of b fits {word}" in found.reason


def test_a_packing_is_told_and_kept() -> None:
    found = packed([step(19.5)])
    assert found.describe() == (
        "trials on a GPU: 3 (gpus_per_worker: auto; a, of the largest students, takes 20.00 of 80.0 GiB on H100; 3 would fit "
        "with a margin of 20%)"
    )
    kept = found.to_dict()
    assert (kept["trials"], kept["gpus"], kept["measured"][0]["peak"]) == (3, 0.3333, int(19.5 * GIB))


@pytest.mark.parametrize(
    ("workers", "gpus", "kinds", "said"),
    [
        (1, 0.0, [], "no GPU"),
        (2, 1.0, ["H100"], "2 workers of a trial speak by NCCL"),
        (1, 1.0, ["A100", "T4"], r"several kinds here \(A100, T4\)"),
    ],
)
def test_nothing_is_measured_where_a_share_would_be_wrong(
    workers: int, gpus: float, kinds: list[str], said: str
) -> None:
    assert re.search(said, unmeasured(workers=workers, gpus=gpus, kinds=kinds))
    assert unmeasured(workers=1, gpus=1.0, kinds=["H100"]) == ""


def test_the_highest_value_is_taken() -> None:
    assert highest(Choice(options=("0.25x", "1x", "0.5x"))) == "1x"
    assert highest(Choice(options=(3, 12, 6))) == 12
    assert highest(Log(low=0.1, high=4.0)) == 4.0
    assert highest(Choice(options=("teacher", "random"))) == "random"


def test_default_packing_leaves_it_to_the_cluster() -> None:
    assert Packing(trials=1, reason="none").gpus is None


def test_the_largest_students_within_the_limits_are_measured(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    wide = ["student.text.width={choice: [32, 64, 96], default: 32}"]
    inputs = Inputs(load_space(tmp_path / "tiny.yaml", wide), say=lambda line: None)
    admissions = open_admissions(inputs, tmp_path)
    (every,) = largest_candidates(inputs, admissions.counted)
    assert every.config["student"]["text"]["width"] == 96

    def narrow(candidate: Any) -> Any:
        found = admissions.counted(candidate)
        return found if candidate.config["student"]["text"]["width"] < 96 else None

    assert {one.config["student"]["text"]["width"] for one in largest_candidates(inputs, narrow)} == {64}
    assert largest_candidates(inputs, lambda candidate: None) == []
