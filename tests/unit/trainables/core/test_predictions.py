"""What a model says about a split: counted by hand on a fake speaker, and row by row on a real model."""

import copy
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerance import close
from tests.unit.trainables.core.fake_speaker import FakeSpeaker
from tests.unit.trainables.core.small import CPU, encoded, lively, small_config
from trainables.datasets.encoded import EncodedSplit
from trainables.metrics import predictions as module
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize, predict
from trainables.models.blip import Blip
from trainables.teachers.teacher import Teacher

OPS = 2 * 12 * 32  # the small model's layers
ALL = EvaluationSize(images=24, captions_per_image=4, questions_per_image=4)


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val", val_images=24)


def rows(split: EncodedSplit, *, questions: bool) -> list[list[int]]:
    """Return the token ids of every caption or question row, without padding."""
    table = split.questions if questions else split.captions
    assert table is not None
    return [table.ids[r, : table.lengths[r]].tolist() for r in range(len(table.ids))]


def commonest_successors(texts: list[list[int]]) -> dict[int, int]:
    pairs = Counter(pair for text in texts for pair in pairwise(text))
    best: dict[int, int] = {}
    for (token, following), _ in reversed(pairs.most_common()):
        best[token] = following
    return best


def test_caption_token_accuracy_counts_every_token_after_the_first(split: EncodedSplit) -> None:
    v = small_config().vocabulary
    texts = [[v.dec, *row[1:]] for row in rows(split, questions=False)]
    successors = commonest_successors(texts)
    pairs = [pair for text in texts for pair in pairwise(text)]
    right = sum(successors[a] == b for a, b in pairs)
    found = predict(FakeSpeaker(small_config(), successors), split, CPU, size=ALL)  # type: ignore[arg-type]
    assert (found.tokens_right, found.tokens) == (right, len(pairs))
    assert 0.2 < right / len(pairs) < 0.9


def test_vqa_counts_answers_that_are_said_whole_and_ended(split: EncodedSplit, teacher: Teacher) -> None:
    v, tokenizer = small_config().vocabulary, teacher.tokenizer
    yes, question_mark = (tokenizer.captions([word])[0][1] for word in ("yes", "?"))
    said = [row[-2] for row in rows(split, questions=True)]
    speaker = FakeSpeaker(small_config(), {question_mark: yes, yes: v.sep})
    found = predict(speaker, split, CPU, size=ALL)  # type: ignore[arg-type]
    assert (found.answers_right, found.answers) == (said.count(yes), 96)
    assert 5 < said.count(yes) < 60
    endless = FakeSpeaker(small_config(), {question_mark: yes, yes: yes})
    assert predict(endless, split, CPU, size=ALL).answers_right == 0  # type: ignore[arg-type]


def trained_a_little(split: EncodedSplit) -> Blip:
    """Return a real model that gets some tokens and answers right, and others not."""
    model = lively(small_config(), seed=5)
    assert split.questions is not None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    everything = np.arange(24)
    for step in range(24):
        batch = split.batch(everything, everything * 4 + step % 4, everything * 4 + step % 4, CPU)
        tokens = model.encode_image(batch.images).tokens_BPD
        assert tokens is not None
        assert batch.question_ids is not None
        assert batch.answer_mask is not None
        loss = torch.zeros(())
        for ids, mask, said in (
            (batch.caption_ids, batch.caption_mask, batch.caption_mask[:, 1:]),
            (batch.question_ids, batch.question_mask, batch.answer_mask[:, :-1]),
        ):
            assert mask is not None
            logits = model.decode(ids, mask, tokens).logits_BTV
            assert logits is not None
            loss = loss + torch.nn.functional.cross_entropy(logits[:, :-1][said], ids[:, 1:][said])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@torch.no_grad()
def row_by_row(model: Blip, split: EncodedSplit) -> dict[str, Any]:
    """Return the counts from one text at a time, without padding; answers by decoding word after word."""
    v, counts = (
        model.config.vocabulary,
        dict.fromkeys(("tokens_right", "tokens", "answers_right", "answers"), 0),
    )
    images, texts = [], []
    for image in range(24):
        seen = model.encode_image(split.images(np.array([image]), CPU))
        assert seen.tokens_BPD is not None
        images.append(seen.embedding_BE)
        for row in range(4 * image, 4 * image + 4):
            ids = torch.tensor([rows(split, questions=False)[row]])
            texts.append(model.encode_text(ids, torch.ones_like(ids).bool()).embedding_BE)
            for place in range(1, ids.shape[1]):
                before = ids[:, :place]
                logits = model.decode(before, torch.ones_like(before).bool(), seen.tokens_BPD).logits_BTV
                assert logits is not None
                counts["tokens"] += 1
                counts["tokens_right"] += int(logits[0, -1].argmax() == ids[0, place])
            whole = rows(split, questions=True)[row]
            said = whole[:-2]  # answers of scenes are one word
            while len(said) < len(whole) and said[-1] != v.sep:
                so_far = torch.tensor([said])
                logits = model.decode(so_far, torch.ones_like(so_far).bool(), seen.tokens_BPD).logits_BTV
                assert logits is not None
                said = [*said, int(logits[0, -1].argmax())]
            counts["answers"] += 1
            counts["answers_right"] += said == whole
    return counts | {"images": torch.cat(images), "texts": torch.cat(texts)}  # type: ignore[arg-type]


def test_a_real_model_gives_what_it_says_row_by_row(
    split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained_a_little(split)
    expected = row_by_row(model, split)
    metrics = []
    for chunk in (100, 7, 1):
        monkeypatch.setattr(module, "CHUNK", chunk)
        found = predict(model, split, CPU, size=ALL)
        assert {
            name: getattr(found, name) for name in ("tokens_right", "tokens", "answers_right", "answers")
        } == {name: expected[name] for name in ("tokens_right", "tokens", "answers_right", "answers")}
        close(found.image_embeddings, expected["images"], ops=OPS)
        close(found.text_embeddings, expected["texts"], ops=OPS)
        assert found.caption_images.tolist() == [image for image in range(24) for _ in range(4)]
        metrics.append(evaluate(model, split, CPU, size=ALL))
    assert 0 < expected["answers_right"] < expected["answers"]
    assert 0 < expected["tokens_right"] < expected["tokens"]
    assert metrics[0] == metrics[1] == metrics[2] == evaluate(model, split, CPU, size=ALL)


def test_size_takes_the_first_pictures_and_their_first_texts(split: EncodedSplit, teacher: Teacher) -> None:
    small = EvaluationSize(images=5, captions_per_image=2, questions_per_image=1)
    found = predict(teacher.model, split, CPU, size=small)
    assert found.image_embeddings.shape[0] == 5
    assert found.caption_images.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert found.answers == 5
    whole = predict(teacher.model, split, CPU, size=ALL)
    first = whole.text_embeddings.view(24, 4, -1)[:5, :2].flatten(0, 1)
    close(found.text_embeddings, first, ops=OPS)
    more = predict(teacher.model, split, CPU, size=EvaluationSize(images=999, captions_per_image=99))
    assert more.image_embeddings.shape[0] == 24
    assert len(more.text_embeddings) == 96


def test_a_blind_model_sees_black_and_retrieves_nothing(split: EncodedSplit) -> None:
    speaker = FakeSpeaker(small_config(), {})
    predict(speaker, split, CPU, size=ALL, blind=True)  # type: ignore[arg-type]
    assert all(not bool(images.any()) for images in speaker.seen_images)
    model = lively(small_config())
    blind, seeing = (evaluate(model, split, CPU, size=ALL, blind=flag) for flag in (True, False))
    assert blind["ir_at_1"] == blind["ir_at_10"] == 0.0
    found = predict(model, split, CPU, size=ALL, blind=True).image_embeddings
    close(found, found[:1].expand_as(found), ops=OPS)
    assert seeing["ir_at_10"] > 0.0


def test_a_dual_encoder_has_retrieval_alone(split: EncodedSplit) -> None:
    found = evaluate(lively(small_config(fusion=())), split, CPU, size=ALL)
    assert set(found) == {f"{way}_at_{k}" for way in ("tr", "ir") for k in (1, 5, 10)} | {"mean_recall"}


def test_no_questions_no_vqa(split: EncodedSplit) -> None:
    silent = copy.copy(split)
    silent.questions = None
    found = evaluate(lively(small_config()), silent, CPU, size=ALL)
    assert "vqa_accuracy" not in found
    assert "caption_token_accuracy" in found


def test_evaluation_leaves_mode_and_weights_as_they_were(split: EncodedSplit) -> None:
    for training in (True, False):
        model = lively(small_config()).train(training)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        evaluate(model, split, CPU, size=EvaluationSize(images=8))
        assert model.training is training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
