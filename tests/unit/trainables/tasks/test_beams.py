"""Beam search: token by token what the Hugging Face class generates, with and without the cache of keys and values."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.trainables import small
from tests.unit.trainables.families.blip.as_published import as_published
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family
from trainables.families.blip.model import Blip
from trainables.signals import Signals, Want
from trainables.tasks.beams import Beams, beam_search
from trainables.tasks.decoding import LOGITS, Decoder
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

V = small.vocabulary()
PROMPTS = ([], [9], [12, 8, 20])


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return small.encoded(teacher, "val", val_images=24)


def decoder(model: Family, longest: int = small.MAX_TOKENS) -> Decoder:
    return Decoder(model=model, logits=LOGITS, rows="caption", vocabulary=V, longest=longest)


def generated(model: Blip, prompt: list[int], pixels: Tensor, beams: Beams) -> list[list[int]]:
    """Return what the published class says behind the prompt, up to [SEP]."""
    ids = torch.tensor(
        [[V.cls, *prompt, V.sep]] * len(pixels)
    )  # it makes the first [DEC], and drops the last
    rows = as_published(model).generate(
        pixels, input_ids=ids, num_beams=beams.width, min_length=beams.shortest, max_length=beams.longest
    )
    found = [row.tolist()[1 + len(prompt) :] for row in rows]
    return [row[: row.index(V.sep)] if V.sep in row else row for row in found]


def compared(model: Blip, pixels: Tensor) -> set[tuple[int, ...]]:
    """Hold our captions against theirs, for several prompts and beams; return the different ones."""
    different = set()
    for prompt in PROMPTS:
        for width, shortest, most in ((3, 5, 20), (1, 1, 9), (4, 1, 20), (2, 12, 14)):
            beams = Beams(width=width, shortest=shortest, longest=most)
            theirs = generated(model, list(prompt), pixels, beams)
            ours = beam_search(decoder(model), [[V.dec, *prompt]] * len(pixels), pixels, beams)
            assert ours == theirs, (prompt, beams)
            different |= {tuple(row) for row in ours}
    return different


@pytest.mark.parametrize("seed", [0, 2])
def test_random_weights_say_token_by_token_what_the_published_class_says(
    seed: int, split: EncodedSplit
) -> None:
    model = small.lively(small.small_config(), seed=seed)
    assert len(compared(model, split.images(np.arange(12), small.CPU))) > 50


def test_trained_weights_say_token_by_token_what_the_published_class_says() -> None:
    teacher = load_teacher("embedded")
    split = small.encoded(teacher, "val", val_images=24)
    assert len(compared(teacher.model, split.images(np.arange(3), small.CPU))) > 9


@pytest.mark.parametrize("fusion", [(0, 1), (1,)])
def test_the_cache_changes_nothing(fusion: tuple[int, ...], split: EncodedSplit) -> None:
    model = small.lively(small.small_config(fusion=fusion), seed=2)
    pixels = split.images(np.arange(8), small.CPU)
    for prompt in PROMPTS:
        for width in (1, 3):
            said = [
                beam_search(
                    decoder(model),
                    [[V.dec, *prompt]] * 8,
                    pixels,
                    Beams(width=width, shortest=1, cached=cached),
                )
                for cached in (True, False)
            ]
            assert said[0] == said[1]


@torch.no_grad()
def test_logits_of_the_cache_are_those_of_the_whole_text(split: EncodedSplit) -> None:
    model = small.lively(small.small_config(fusion=(1,)), seed=2)
    tokens = model.encode_image(split.images(np.arange(3), small.CPU)).detach()
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(6, V.size, (6, 11), generator=random)
    state = model.decoder_state(LOGITS, Signals({Want("image", "tokens"): tokens}))
    assert state is not None
    first = state.read(ids[::2, :4])
    state.keep(torch.tensor([0, 0, 1, 1, 2, 2]), 2)  # two texts for each picture, alike so far
    rest = ids.clone()
    rest[1::2, :4] = ids[::2, :4]
    parts = [state.read(rest[:, 4:5]), state.read(rest[:, 5:9])]
    whole = model.decode(rest, torch.ones_like(rest).bool(), tokens.repeat_interleave(2, dim=0))
    small.assert_near(first, whole[::2, :4])
    small.assert_near(torch.cat(parts, dim=1), whole[:, 4:9])
    state.keep(torch.tensor([5, 4, 4, 0, 1, 1]), 3)  # pictures 2 and 0, their texts in another order
    again = torch.stack([rest[5], rest[4], rest[4], rest[0], rest[1], rest[1]])
    whole = model.decode(again, torch.ones_like(again).bool(), tokens[[2, 2, 2, 0, 0, 0]])
    small.assert_near(state.read(again[:, 9:]), whole[:, 9:])


def test_one_beam_without_a_shortest_length_is_greedy(split: EncodedSplit) -> None:
    model, pixels = small.lively(small.small_config(), seed=2), split.images(np.arange(12), small.CPU)
    beams = Beams(width=1, shortest=1, longest=small.MAX_TOKENS)
    greedy = decoder(model).greedy([[V.dec]] * 12, pixels)
    assert beam_search(decoder(model), [[V.dec]] * len(pixels), pixels, beams) == greedy


class Ladder(FakeSpeaker):
    """Says by a table of probabilities, whatever it sees."""

    def __init__(self, probabilities: dict[int, dict[int, float]]) -> None:
        super().__init__(small.small_config(), {})
        table = torch.full_like(self.get_buffer("table"), -50.0)
        for token, following in probabilities.items():
            for other, share in following.items():
                table[token, other] = float(np.log(share))
        self.register_buffer("table", table)


A, B, C = 10, 11, 12
WORKED = {V.dec: {A: 0.6, B: 0.4}, A: {A: 0.45, V.sep: 0.55}, B: {C: 1.0}, C: {V.sep: 1.0}}


def test_worked_by_hand() -> None:
    """Greedy takes A; B C [SEP] has log 0.4 over 3 tokens, -0.31 each, A [SEP] log 0.33 over 2, -0.55 each."""
    pixels = torch.zeros(2, 3, 64, 64)
    found = beam_search(
        decoder(Ladder(WORKED)), [[V.dec]] * len(pixels), pixels, Beams(width=2, shortest=1, longest=9)
    )
    assert found == [[B, C]] * 2
    one = beam_search(decoder(Ladder(WORKED)), [[V.dec]], pixels[:1], Beams(width=1, shortest=1, longest=9))
    assert one == [[A]]
    short = beam_search(decoder(Ladder(WORKED)), [[V.dec]], pixels[:1], Beams(width=2, shortest=1, longest=2))
    assert short == [[A]], "cut at the longest, the more likely beginning is left"


def test_no_text_ends_before_the_shortest_or_goes_on_behind_the_longest() -> None:
    ends = {V.dec: {V.sep: 0.9, A: 0.1}, A: {V.sep: 0.9, A: 0.1}}
    pixels = torch.zeros(1, 3, 64, 64)
    for shortest in (1, 5, 8):
        (said,) = beam_search(
            decoder(Ladder(ends)), [[V.dec]] * len(pixels), pixels, Beams(shortest=shortest, longest=9)
        )
        assert said == [A] * (shortest - 1)
    endless = {V.dec: {A: 1.0}, A: {A: 1.0}}
    for longest in (9, small.MAX_TOKENS, 99):
        (said,) = beam_search(
            decoder(Ladder(endless)), [[V.dec]] * len(pixels), pixels, Beams(longest=longest)
        )
        assert len(said) == min(longest, small.MAX_TOKENS) - 1


def test_a_prompt_as_long_as_the_longest_text_is_not_continued() -> None:
    pixels = torch.zeros(2, 3, 64, 64)
    assert beam_search(
        decoder(Ladder(WORKED)), [[V.dec, *[A] * 8]] * len(pixels), pixels, Beams(longest=9)
    ) == [[], []]
    assert beam_search(decoder(Ladder(WORKED)), [], pixels[:0], Beams()) == []


def test_prompts_of_any_length_go_on_from_their_own_end(split: EncodedSplit) -> None:
    model, pixels = small.lively(small.small_config(), seed=2), split.images(np.arange(8), small.CPU)
    prompts = [[V.dec, *range(7, 7 + n % 3)] for n in range(8)]
    for beams in (Beams(), Beams(width=2, shortest=1, longest=4, behind=True)):
        alone = [
            beam_search(decoder(model), [one], pixels[n : n + 1], beams)[0] for n, one in enumerate(prompts)
        ]
        assert beam_search(decoder(model), prompts, pixels, beams) == alone
    assert {len(row) for row in alone} <= {0, 1, 2, 3, 4}


def test_a_broken_model_says_something_and_hangs_nowhere() -> None:
    model = Ladder(WORKED)
    model.register_buffer("table", torch.full_like(model.get_buffer("table"), float("nan")))
    (said,) = beam_search(decoder(model), [[V.dec]], torch.zeros(1, 3, 64, 64), Beams())
    assert len(said) < 20


def test_more_beams_than_words() -> None:
    config = small.small_config()
    model: Any = FakeSpeaker(config, {V.dec: A, A: B, B: V.sep})
    pixels = torch.zeros(1, 3, 64, 64)
    beams = Beams(width=V.size, shortest=1, longest=6)
    (said,) = beam_search(decoder(model), [[V.dec]] * len(pixels), pixels, beams)
    assert re.fullmatch(r"[\d, ]*", str(said)[1:-1])
