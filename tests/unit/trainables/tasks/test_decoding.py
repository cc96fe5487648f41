"""Greedy decoding: word after word, each row from its own end."""

from pathlib import Path

import numpy as np
import torch

from tests.unit.trainables import small
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family
from trainables.signals import Want
from trainables.tasks.decoding import Decoder
from trainables.teachers.teacher import Teacher

V = small.vocabulary()


def decoder(model: Family, kind: str = "caption") -> Decoder:
    logits = Want({"caption": "decoder", "question": "answer"}[kind], "logits")
    return Decoder(model=model, logits=logits, rows=kind, vocabulary=V, longest=small.MAX_TOKENS)


def words(tmp_path: Path, sentence: str) -> list[int]:
    return small.tokenizer(tmp_path).captions([sentence])[0][1:-1]


def speaker(tmp_path: Path, sentence: str, *, end: bool = True) -> FakeSpeaker:
    """Return a model that always says this sentence of different words."""
    ids = words(tmp_path, sentence)
    successors = dict(zip([V.dec, *ids], [*ids, V.sep], strict=True))
    if not end:
        successors[ids[-1]] = ids[0]
    return FakeSpeaker(small.small_config(), successors)


def test_greedy_caption_ends_at_the_separator(tmp_path: Path) -> None:
    said = decoder(speaker(tmp_path, "a red ring")).greedy([[V.dec]] * 3, torch.zeros(3, 3, 64, 64))
    assert said == [words(tmp_path, "a red ring")] * 3


def test_greedy_caption_without_end_stops_at_the_longest_text(tmp_path: Path) -> None:
    endless = speaker(tmp_path, "a red ring", end=False)
    said = decoder(endless).greedy([[V.dec]] * 2, torch.zeros(2, 3, 64, 64))
    assert [len(row) for row in said] == [small.MAX_TOKENS - 1] * 2


def test_rows_of_any_length_go_on_from_their_own_end(tmp_path: Path) -> None:
    model = speaker(tmp_path, "there is a small red ring")
    ids = words(tmp_path, "there is a small red ring")
    prompts = [[V.dec, *ids[:4]], [V.dec], [V.dec, *ids], [V.dec, *ids[:1]]]
    for kind in ("caption", "question"):
        said = decoder(model, kind).greedy(prompts, torch.zeros(4, 3, 64, 64))
        assert said == [ids[4:], ids, [], ids[1:]]


def test_a_prompt_that_fills_the_text_is_not_continued(tmp_path: Path) -> None:
    model, full = speaker(tmp_path, "a red ring", end=False), [V.dec, *[9] * (small.MAX_TOKENS - 1)]
    said = decoder(model).greedy([full, [V.dec]], torch.zeros(2, 3, 64, 64))
    assert said[0] == []
    assert len(said[1]) == small.MAX_TOKENS - 1


def test_nothing_asked_is_nothing_said(tmp_path: Path, teacher: Teacher) -> None:
    for model in (speaker(tmp_path, "a red ring"), teacher.model):
        assert decoder(model).greedy([], torch.zeros(0, 3, 64, 64)) == []


def test_greedy_caption_of_a_real_model_is_its_argmax_word_by_word(
    teacher: Teacher, val_split: EncodedSplit
) -> None:
    pixels = val_split.images(np.arange(3), small.CPU)
    tokens = teacher.model.encode_image(pixels)
    prompts = [[V.dec], [V.dec, 9, 12, 8], [V.dec, 7]]
    together = decoder(teacher.model).greedy(prompts, pixels)
    assert any(together)
    for row, (prompt, said) in enumerate(zip(prompts, together, strict=True)):
        ids = list(prompt)
        for word in [*said, V.sep][: small.MAX_TOKENS - len(prompt)]:
            so_far = torch.tensor([ids])
            logits = teacher.model.decode(so_far, torch.ones_like(so_far).bool(), tokens[row : row + 1])
            assert int(logits[0, -1].argmax()) == word
            ids.append(word)
