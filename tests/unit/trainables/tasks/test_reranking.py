"""Re-ranking by the image-grounded encoder, against one pair after another, by hand, and shared by workers."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError
from tests.unit.trainables.small import CPU, encoded, lively, small_config, told
from tests.unit.trainables.tasks.together import together
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.model import Blip
from trainables.signals import Serving, Want
from trainables.tasks import pool as module
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.tasks.retrieval import UNSCORED, Retrieval, nearest, recalls, rescored
from trainables.teachers.teacher import Teacher

ALL = EvaluationSize(images=24, captions_per_image=3)
IMAGE, TEXT, MATCH = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val", val_images=24)


def task(**options: int) -> Retrieval:
    made: Any = make_tasks({"retrieval": options})["retrieval"]
    return made


def measured(model: Blip, split: EncodedSplit, options: dict[str, int], **more: Any) -> dict[str, float]:
    return evaluate(model, split, tasks=[task(**options)], size=ALL, **more)


Table = list[list[float]]


@pytest.fixture(scope="module")
def model() -> Blip:
    return lively(small_config(), seed=4)


@pytest.fixture(scope="module")
@torch.no_grad()
def one_after_another(model: Blip, split: EncodedSplit) -> tuple[Table, Table]:
    """Return cosine and match logit of every picture with every caption, each pair by itself and without padding."""
    table = split.tables["caption"]
    cosines, matches = [], []
    for picture in range(24):
        pixels = split.images(np.array([picture]), CPU)
        cosines.append([]), matches.append([])
        for other in range(24):
            for row in range(4 * other, 4 * other + 3):
                ids = torch.from_numpy(table.ids[row : row + 1, : table.lengths[row]].astype(np.int64))
                said = model(told(pixels, ids, torch.ones_like(ids).bool()), frozenset({IMAGE, TEXT, MATCH}))
                cosines[-1].append(float((said[IMAGE] * said[TEXT]).sum()))
                matches[-1].append(float(said[MATCH][0, 1]))
    return cosines, matches


def expected(
    cosines: list[list[float]], matches: list[list[float]], k: int, split: EncodedSplit
) -> dict[str, float]:
    """Return the re-ranked recalls by sorting lists."""
    texts = split.tables["caption"]
    ids = [tuple(texts.ids[4 * (c // 3) + c % 3].tolist()) for c in range(72)]
    of = [{tuple(texts.ids[row].tolist()) for row in range(4 * p, 4 * p + 4)} for p in range(24)]
    fits = [[ids[c] in of[p] for c in range(72)] for p in range(24)]
    hits: dict[str, list[int]] = {"tr": [], "ir": []}
    for way, queries, answers in (("tr", 24, 72), ("ir", 72, 24)):
        for query in range(queries):
            pair = (lambda a, q=query: (q, a)) if way == "tr" else (lambda a, q=query: (a, q))
            near = sorted(range(answers), key=lambda a: -cosines[pair(a)[0]][pair(a)[1]])[:k]
            score = {a: -100.0 for a in range(answers)}
            score |= {a: matches[pair(a)[0]][pair(a)[1]] + cosines[pair(a)[0]][pair(a)[1]] for a in near}
            right = [a for a in range(answers) if fits[pair(a)[0]][pair(a)[1]]]
            best = max(score[a] for a in right)
            hits[way].append(sum(score[a] >= best for a in range(answers) if a not in right))
    return {
        f"reranked_{way}_at_{n}": 100 * sum(rank < n for rank in hits[way]) / len(hits[way])
        for way, n in product(hits, (1, 5, 10))
    }


@pytest.mark.parametrize("k", [3, 8, 72])
def test_equals_reading_one_pair_after_another(
    model: Blip, split: EncodedSplit, one_after_another: tuple[Table, Table], k: int
) -> None:
    found = measured(model, split, {"rerank": k})
    by_hand = expected(*one_after_another, k, split)
    assert {name: found[name] for name in by_hand} == pytest.approx(by_hand)
    assert found["reranked_mean_recall"] == pytest.approx(sum(by_hand.values()) / 6)
    alone = measured(model, split, {})
    assert {name: found[name] for name in alone} == alone, "what is not re-ranked stays as it is"
    assert found["reranked_mean_recall"] != alone["mean_recall"]


def test_shared_by_workers_and_in_other_chunks_the_figures_stay(
    split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lively(small_config(), seed=4)
    expected = measured(model, split, {"rerank": 8})
    monkeypatch.setattr(module, "CHUNK", 7)
    assert measured(model, split, {"rerank": 8}) == expected
    for world in (2, 3):
        assert (
            together(world, lambda sharing: measured(model, split, {"rerank": 8}, sharing=sharing))
            == [expected] * world
        )


def test_each_way_takes_its_own_number(split: EncodedSplit) -> None:
    model = lively(small_config(), seed=4)
    both, texts = measured(model, split, {"rerank": 8}), measured(model, split, {"rerank_texts": 8})
    assert [texts[f"reranked_tr_at_{n}"] for n in (1, 5, 10)] == [
        both[f"reranked_tr_at_{n}"] for n in (1, 5, 10)
    ]
    assert [texts[f"reranked_ir_at_{n}"] for n in (1, 5, 10)] == [texts[f"ir_at_{n}"] for n in (1, 5, 10)]
    pictures = measured(model, split, {"rerank": 8, "rerank_texts": 0})
    assert pictures["reranked_ir_at_1"] == both["reranked_ir_at_1"]
    assert pictures["reranked_tr_at_1"] == pictures["tr_at_1"]


def test_a_number_that_both_ways_leave_nothing_to_say_is_refused() -> None:
    with pytest.raises(PluginError, match=r"rerank: got 8 with rerank_texts 4 and rerank_pictures 0"):
        task(rerank=8, rerank_texts=4, rerank_pictures=0)
    task(rerank=8, rerank_texts=4)


def test_more_than_the_pool_has_is_told() -> None:
    told = str(task(rerank=256, rerank_texts=8).note(100, 100))
    assert told.startswith("retrieval re-ranks the 256 nearest pictures, and there are 100 different ones")
    assert "captions" not in told
    assert task(rerank=100).note(100, 100) is None


def test_scores_worked_by_hand() -> None:
    cosines = torch.tensor([[0.5, 0.9, 0.1, 0.9], [0.2, 0.3, 0.4, 0.1]])
    near = nearest(cosines, 2)
    assert near.tolist() == [[1, 3], [2, 1]], "of equal ones the first"
    scores = rescored(cosines, near, torch.tensor([[-3.0, 1.0], [0.5, 2.0]]))
    assert scores.tolist() == [
        [UNSCORED, pytest.approx(-2.1), UNSCORED, pytest.approx(1.9)],
        [UNSCORED, pytest.approx(2.3), pytest.approx(0.9), UNSCORED],
    ]
    belongs = torch.tensor([[True, True, False, False], [False, False, True, True]])
    # picture 0: its caption 1 (-2.1) stands behind caption 3; picture 1: its caption 2 (0.9) behind caption 1
    assert recalls(scores, belongs, belongs.T.float())["tr_at_1"] == 0.0
    assert recalls(scores, belongs, belongs.T.float())["tr_at_5"] == 100.0
    assert recalls(scores, belongs, belongs.T.float())["ir_at_1"] == 100.0


def test_a_broken_head_scores_0(split: EncodedSplit) -> None:
    class Broken(torch.nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            return torch.full((len(states), 2), float("nan"))

    model = lively(small_config(), seed=4)
    model.itm_head = Broken()  # type: ignore[assignment]
    found = measured(model, split, {"rerank": 72})
    assert found["reranked_mean_recall"] == 0.0
    assert found["mean_recall"] > 0.0


def test_its_passes_are_charged_and_it_says_what_it_does() -> None:
    offers = Blip.offers(small_config())
    made = task(rerank=32, rerank_pictures=16)
    assert list(made.serving(offers)) == [
        Serving(mode="image"),
        Serving(mode="text", tokens=24),
        Serving(mode="fused", tokens=24, repeats=48),
    ]
    remark = made.remark()
    assert remark is not None
    assert "re-ranks the 32 nearest texts of each picture and the 16 nearest pictures of each text" in remark
    assert made.counts == "reranked_mean_recall"
    assert made.counts in made.metrics
    assert task().remark() is None
    assert task().counts == "mean_recall"


def test_a_dual_encoder_cannot_rerank(split: EncodedSplit) -> None:
    dual = Blip.offers(small_config(fusion=()))
    assert task(rerank=4).model_lack(dual) == "needs fused.logits"
    assert task().model_lack(dual) is None


@pytest.mark.parametrize("value", [-1, 0.5, "many", True, 10_001])
def test_what_is_no_number_of_pairs_is_refused(value: Any) -> None:
    with pytest.raises(PluginError, match=r"tasks\.retrieval\.rerank"):
        task(rerank=value)
