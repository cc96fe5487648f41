"""Two workers that train together on CPUs learn what one worker learns from the same global batches."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.house.tree import ROOT
from tests.unit.trainables.small import EPS
from tests.unit.trainables.training import gloo_worker
from trainables.tasks import pool
from trainables.tasks.sharing import ALONE

EXACT = ("means", "accumulated", "twin")  # with negatives, each worker draws its own among its own pairs


@pytest.fixture(scope="module")
def together(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, gloo_worker.__file__, str(teacher_folder), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", gloo_worker.CASES)
def test_both_workers_end_with_the_same_weights_and_losses(together: list[dict[str, Any]], case: str) -> None:
    first, second = (found[case] for found in together)
    assert first["losses"] == second["losses"]
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


@pytest.mark.parametrize("case", EXACT)
def test_two_workers_learn_what_one_learns(
    together: list[dict[str, Any]], teacher_folder: Path, case: str
) -> None:
    alone, shared = gloo_worker.trained(teacher_folder, case, rank=0, world=1), together[0][case]
    assert all(torch.equal(value, shared["start"][name]) for name, value in alone["start"].items())
    moved = [float((value - alone["start"][name]).abs().max()) for name, value in alone["weights"].items()]
    assert sorted(moved)[len(moved) // 2] > 1e-3, "or equality would say nothing"
    # a gradient of norm CLIP at most is off by some steps of rounding, of which each update makes lr / eps as much
    worker = gloo_worker
    rounding = 64 * EPS * worker.CLIP * worker.UPDATES * worker.LR / worker.ADAM_EPS
    torch.testing.assert_close(shared["weights"], alone["weights"], atol=rounding, rtol=0)
    for mine, theirs in zip(shared["losses"], alone["losses"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_the_queue_of_a_twin_is_the_same_on_both_workers_and_holds_what_one_would_hold(
    together: list[dict[str, Any]], teacher_folder: Path
) -> None:
    first, second = (found["twin"]["queue"] for found in together)
    alone = gloo_worker.trained(teacher_folder, "twin", rank=0, world=1)["queue"]
    assert set(first) == {"image.embedding", "text.embedding"}
    for want, rows in first.items():
        assert torch.equal(rows, second[want])
        # of each batch of 7 the first worker has every second row, and its rows come first; 42 rows were said in all
        order = [batch + place for batch in (0, 7) for place in (0, 2, 4, 6, 1, 3, 5)]
        torch.testing.assert_close(rows, alone[want][order], atol=1e-3, rtol=0)


def test_negatives_of_all_workers_are_the_most_similar_of_both_that_have_neither_picture_nor_caption(
    together: list[dict[str, Any]],
) -> None:
    captions = [key for one in gloo_worker.PAIRS["captions"] for key in one]
    pictures = [key for one in gloo_worker.PAIRS["pictures"] for key in one]
    said = [gloo_worker.shown(rank)[1] for rank in range(2)]
    image, text = (
        torch.cat([one[want] for one in said])
        for want in (gloo_worker.IMAGE_EMBEDDING, gloo_worker.TEXT_EMBEDDING)
    )
    counts, from_the_other = torch.zeros(6), 0
    for rank in range(2):
        found = together[rank]["told"]["met"]
        expected_captions, expected_images = [], []
        for own in range(3 * rank, 3 * rank + 3):
            other = [j for j in range(6) if captions[j] != captions[own] and pictures[j] != pictures[own]]
            expected_captions.append(max(other, key=lambda j: float(image[own] @ text[j])))
            expected_images.append(max(other, key=lambda j: float(text[own] @ image[j])))
        rows = list(range(3 * rank, 3 * rank + 3))
        assert found["captions"].tolist() == [*rows, *rows, *expected_captions]
        assert found["images"].tolist() == [*rows, *expected_images, *rows]
        assert found["labels"].tolist() == [1] * 3 + [0] * 6
        counts += torch.bincount(found["images"], minlength=6)
        from_the_other += sum(row not in rows for row in expected_captions + expected_images)
        assert found["ids"].tolist() == [[1, 1, 1, 0, 0]] * 3 + [[2] * 5] * 3
        assert found["mask"].sum(1).tolist() == [3, 3, 3, 5, 5, 5]
        assert found["seen"][:, 0, 0].tolist() == [10.0] * 3 + [11.0] * 3
    assert from_the_other > 0
    for rank in range(2):  # each picture gets the gradient of every pair that it is in, on whichever worker
        gradient = together[rank]["told"]["met"]["gradient"]
        assert gradient[:, 0, 0].tolist() == counts[3 * rank : 3 * rank + 3].tolist()


def test_two_workers_share_an_evaluation_and_both_have_the_figures_of_one_to_the_bit(
    together: list[dict[str, Any]], teacher_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHUNK", pool.CHUNK)  # which `figures` sets
    alone = gloo_worker.figures(teacher_folder, ALONE)
    passes = [found["told"]["figures"].pop("passes") for found in together]
    whole = alone.pop("passes")
    assert together[0]["told"]["figures"] == together[1]["told"]["figures"] == alone
    assert {"mean_recall", "caption_token_accuracy", "vqa_accuracy", "match_accuracy"} < set(alone["23"])
    assert 0.0 < alone["23"]["caption_token_accuracy"] < 100.0
    assert alone["23"]["reranked_mean_recall"] != alone["23"]["mean_recall"]
    assert len(alone["said 23"]) == 23
    for mode in ("text", "decoder", "answer", "fused"):
        assert max(one[mode] for one in passes) <= 0.7 * whole[mode], (
            "each asks about half, and all of what is small"
        )
        assert passes[0][mode] + passes[1][mode] <= 1.3 * whole[mode]


def test_the_first_worker_works_out_what_costs_much_and_its_failure_ends_both(
    together: list[dict[str, Any]],
) -> None:
    assert together[0]["told"]["first"] == [0.5, "no Java"]
    assert together[1]["told"]["first"] == [
        0.5,
        "the first worker could not work out what it owes the others; it says why",
    ]


def test_workers_measure_and_are_followed_with_the_running_means_that_rank_0_keeps(
    together: list[dict[str, Any]],
) -> None:
    norm = torch.nn.BatchNorm1d(2)
    norm(torch.full((4, 2), 1.0))
    assert norm.running_mean is not None
    assert together[0]["told"]["means"] == together[1]["told"]["means"] == norm.running_mean.tolist()
    assert together[0]["told"]["followed"] == together[1]["told"]["followed"] == norm.running_mean.tolist()
