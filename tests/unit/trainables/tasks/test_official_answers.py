"""The official accuracy of answers, by cases worked by hand; generated and ranked answers against one text after another."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import PluginError
from tests.unit.trainables.small import CPU, encoded, lively, measured, small_config, tokenizer
from tests.unit.trainables.tasks.together import together
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.model import Blip
from trainables.signals import Serving
from trainables.tasks import pool as module
from trainables.tasks import ranking, vqa
from trainables.tasks.answers import best_constant, heard, normalised, official_accuracy
from trainables.tasks.decoding import ANSWERS, ROOM, Decoder, cut_question, question_room
from trainables.tasks.evaluation import evaluate, make_tasks, reads_bank
from trainables.tasks.pool import EvaluationSize, Pool, PoolRows
from trainables.tasks.vqa import Vqa, answers_of
from trainables.teachers.teacher import Teacher

ALL = EvaluationSize(images=24, questions_per_image=2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Dog", "dog"),
        ("an apple on a table", "apple on table"),
        ("Two", "2"),
        ("none", "0"),
        ("one hundred", "1 hundred"),
        ("2.5 ft.", "2.5 ft"),
        ("10:30 p.m.", "10:30 pm"),
        ("100,978", "100978"),
        ("red, white", "red white"),
        ("T-shirt", "t shirt"),
        ("yes/no", "yes no"),
        ("girl's", "girl's"),
        ("dont", "don't"),
        ("It isnt.", "it isn't"),
        ("can’t", "can't"),
        ("  black   &\twhite\n", "black white"),
        ("shell", "shell"),
        ("", ""),
        ("the", ""),
        ("नीला, रंग", "नीला रंग"),
        ("สีแดง!", "สีแดง"),
        ("cafe\u0301", "caf\u00e9"),
        ("week\u00adend", "weekend"),
    ],
)
def test_answers_are_compared_as_the_published_rule_says(answer: str, expected: str) -> None:
    assert normalised(answer) == expected


def by_leaving_each_out(said: str, given: list[str]) -> float:
    subsets = itertools.combinations(given, len(given) - 1)
    shares = [min(sum(one == said for one in subset) / 3, 1) for subset in subsets]
    return sum(shares) / len(shares)


def test_leave_one_out_over_ten_people_by_hand() -> None:
    """Of ten sets of nine, n hold one agreeing person fewer: with 2 who agree 8 sets have 2/3 and 2 sets 1/3."""
    shares = [official_accuracy("x", ["x"] * n + ["y"] * (10 - n)) for n in range(11)]
    assert shares == pytest.approx([0.0, 0.3, 0.6, 0.9, *[1.0] * 7])
    for people in (1, 2, 3, 10):
        for n in range(people + 1):
            given = ["x"] * n + ["y"] * (people - n)
            assert official_accuracy("x", given) == pytest.approx(by_leaving_each_out("x", given))


def test_one_reference_counts_as_if_all_had_given_it() -> None:
    assert official_accuracy("3", heard("three", ())) == 1.0
    assert official_accuracy("3", heard("two", ("three",))) == 1.0, "prepared data tells the one in a list"
    assert official_accuracy("red", heard("blue", ("Red", "red.", "a red", "blue"))) == pytest.approx(
        (3 * 2 / 3 + 1) / 4
    )


def test_what_two_or_three_people_agree_on_is_right() -> None:
    for people in range(1, 11):
        assert official_accuracy("red", heard("", ["red"] * people)) == 1.0, people
    assert official_accuracy("red", heard("", ["red", "red", "blue"])) == 1.0
    # three of nine: left out is one of them, with 2/3, or one of the others, with 1
    assert official_accuracy("blue", heard("", ["red", "red", "blue"])) == pytest.approx((3 * 2 / 3 + 6) / 9)
    assert official_accuracy("green", heard("", ["red", "blue"])) == 0.0


def test_the_best_constant_answer_by_hand() -> None:
    questions = [["a"] * 10, ["a"] * 2 + ["b"] * 8, ["b"] * 10]
    assert best_constant(questions) == pytest.approx(2 / 3)  # b: 0 + 1 + 1, a: 1 + 0.6 + 0
    assert best_constant([]) == 0.0


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val", val_images=24)


@pytest.fixture(scope="module")
def model() -> Blip:
    return lively(small_config(), seed=2)


def task(**options: Any) -> Vqa:
    made: Any = make_tasks({"vqa": options})["vqa"]
    return made


def prompts(split: EncodedSplit) -> list[tuple[int, list[int]]]:
    """Return picture and prompt of each question of the pool."""
    table = split.tables["question"]
    rows, owners = PoolRows(split, ALL).rows("question")
    return [(int(o), table.ids[r, : table.starts[r]].tolist()) for r, o in zip(rows, owners, strict=True)]


@torch.no_grad()
def log_probability(
    model: Blip, split: EncodedSplit, picture: int, prompt: list[int], answer: list[int]
) -> float:
    tokens = model.encode_image(split.images(np.array([picture]), CPU))
    ids = torch.tensor([[*prompt, *answer]])
    logits = model.decode(ids, torch.ones_like(ids).bool(), tokens).log_softmax(dim=-1)[0]
    return sum(float(logits[len(prompt) - 1 + n, token]) for n, token in enumerate(answer))


LIST = ("yes", "two shapes", "red ring", "red", "no", "a large blue star", "red star")


def answer_ids(tmp_path: Path) -> list[list[int]]:
    return [row[1:] for row in tokenizer(tmp_path / "words").captions(list(LIST))]


@pytest.mark.parametrize("most", [3, 128])
def test_the_answer_of_a_list_is_the_likeliest_whole_one_of_those_that_begin_most_likely(
    most: int, model: Blip, split: EncodedSplit, tmp_path: Path
) -> None:
    ids = answer_ids(tmp_path)
    expected = []
    for picture, prompt in prompts(split)[:16]:
        first = [log_probability(model, split, picture, prompt, one[:1]) for one in ids]
        near = sorted(range(len(ids)), key=lambda n: -first[n])[:most]
        expected.append(LIST[max(near, key=lambda n: log_probability(model, split, picture, prompt, ids[n]))])
    (tmp_path / "answers.txt").write_text("\n".join(LIST))
    made = task(decode="rank", answers=str(tmp_path / "answers.txt"), candidates=most)
    found = made.answers(Pool(model, split, CPU, size=EvaluationSize(images=8, questions_per_image=2)))
    assert found == expected
    assert len(set(found)) > 1 or most > 3, "over all answers the shortest tend to win"


def test_ranking_without_a_cache_says_the_same(
    model: Blip, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answers.json").write_text('["yes", "two shapes", "red ring", "red", "no"]')
    made = task(decode="rank", answers=str(tmp_path / "answers.json"), candidates=4)
    said = made.answers(Pool(model, split, CPU, size=ALL))
    monkeypatch.setattr(Blip, "decoder_state", lambda self, want, known: None)
    assert made.answers(Pool(model, split, CPU, size=ALL)) == said
    monkeypatch.setattr(ranking, "LARGEST", 1)
    assert made.answers(Pool(model, split, CPU, size=ALL)) == said


def test_generated_answers_are_those_of_the_likeliest_words(
    model: Blip, split: EncodedSplit, tmp_path: Path
) -> None:
    made = task(decode="generate", beams=1, longest=3)
    said = made.answers(Pool(model, split, CPU, size=ALL))
    words = tokenizer(tmp_path)
    for (picture, prompt), answer in list(zip(prompts(split), said, strict=True))[:12]:
        tokens, row = model.encode_image(split.images(np.array([picture]), CPU)), list(prompt)
        while len(row) < len(prompt) + 3 and (len(row) == len(prompt) or row[-1] != words.vocabulary.sep):
            ids = torch.tensor([row])
            row.append(int(model.decode(ids, torch.ones_like(ids).bool(), tokens)[0, -1].argmax()))
        assert answer == words.decode(row[len(prompt) :])


def test_the_figure_is_the_mean_over_questions_and_shared_by_workers(
    model: Blip, split: EncodedSplit, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, train = task(decode="rank"), encoded(teacher, "train")
    assert reads_bank([made])
    assert not reads_bank([task(), task(decode="generate"), task(decode="rank", answers="x")])

    def figures(**more: Any) -> dict[str, float]:
        return evaluate(model, split, tasks=[made], size=ALL, bank=train, **more)

    expected = figures()
    said = made.answers(Pool(model, split, CPU, size=ALL, bank=train))
    true = [split.answers[row] for row in PoolRows(split, ALL).rows("question")[0]]
    assert set(said) <= set(train.answers)
    right = sum(normalised(a) == normalised(b) for a, b in zip(said, true, strict=True))
    assert expected["vqa_official_accuracy"] == pytest.approx(100 * right / 48)
    assert expected["vqa_accuracy"] == measured(model, split, ALL, ["vqa"])["vqa_accuracy"]
    monkeypatch.setattr(module, "CHUNK", 5)
    assert figures() == expected
    assert together(2, lambda sharing: figures(sharing=sharing)) == [expected] * 2


def test_the_list_has_the_commonest_answer_to_each_question(
    model: Blip, split: EncodedSplit, teacher: Teacher
) -> None:
    """Also where a question is trained on with all of its answers: rare ones would stand beside those that begin alike."""
    train = encoded(teacher, "train")
    train.answers = ["red", "blue", "two", "blue", "red", "blue"]
    train.answer_sets = [("red", "blue", "blue")] * 2 + [("two",)] + [("blue", "red", "blue")] * 2 + [()]
    pool = Pool(model, split, CPU, size=ALL, bank=train)
    assert task(decode="rank")._list(pool) == ["blue", "two"]


def test_answers_of_several_people_are_taken_from_the_data(model: Blip, split: EncodedSplit) -> None:

    made = task(decode="generate")
    said = made.answers(Pool(model, split, CPU, size=ALL))
    rows = PoolRows(split, ALL).rows("question")[0]

    sets: list[tuple[str, ...]] = [("no word of it",) * 10] * len(split.answers)
    for row, one in zip(rows, said, strict=True):
        sets[row] = (one.upper(), f"The {one}", *["something else"] * 8)
    before, split.answer_sets = split.answer_sets, sets
    try:
        found = evaluate(model, split, tasks=[made], size=ALL)
        chance = made.chance(PoolRows(split, ALL))
    finally:
        split.answer_sets = before
    assert found["vqa_official_accuracy"] == pytest.approx(60.0)
    assert chance is not None
    assert chance.level == pytest.approx(100.0)  # something else
    assert chance.count == 48


def test_a_question_leaves_room_for_the_longest_answer(
    model: Blip, split: EncodedSplit, tmp_path: Path
) -> None:
    long = " ".join(["red"] * 20)
    (tmp_path / "answers").write_text(f"yes\n{long}\n")
    made = task(decode="rank", answers=str(tmp_path / "answers"))
    assert set(made.answers(Pool(model, split, CPU, size=EvaluationSize(images=4)))) <= {"yes", long}


@pytest.mark.parametrize("options", [{"decode": "rank"}, {"decode": "generate", "beams": 1, "longest": 1000}])
def test_however_long_an_answer_may_be_the_question_is_not_cut_to_nothing(
    options: dict[str, Any], model: Blip, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answers").write_text("\n".join([" ".join(["red"] * 200), *LIST]))
    asked: list[list[int]] = []

    def heard_by(answer: Any) -> Any:
        def told(decoder: Any, prompts: list[list[int]], *more: Any, **kept: Any) -> Any:
            asked.extend(prompts)
            return answer(decoder, prompts, *more, **kept)

        return told

    for name in ("ranked", "beam_search"):
        monkeypatch.setattr(vqa, name, heard_by(getattr(vqa, name)))
    more = {"answers": str(tmp_path / "answers")} if options["decode"] == "rank" else {}
    found = task(**options, **more).answers(Pool(model, split, CPU, size=ALL))
    room = split.tokenizer.max_tokens - ROOM  # type: ignore[union-attr]
    whole = [prompt for _, prompt in prompts(split)]
    assert asked == [[one[0], *one[1:][-(room - 1) :]] for one in whole]
    assert " ".join(["red"] * 200) not in found


def test_of_a_list_only_what_fits_behind_its_question_is_chosen(
    model: Blip, split: EncodedSplit, tmp_path: Path
) -> None:
    """The likeliest of those that fit: with a question of 12 tokens of 16 an answer has 4."""
    words = tokenizer(tmp_path / "words")
    decoder = Decoder(model=model, logits=ANSWERS, rows="question", vocabulary=words.vocabulary, longest=16)
    ids, pixels = answer_ids(tmp_path), split.images(np.array([0]), CPU)
    for length in (4, 12, 13):
        prompt = (prompts(split)[0][1] * 4)[:length]
        fit = [n for n, one in enumerate(ids) if length + len(one) <= 16]
        best = max(fit, key=lambda n: log_probability(model, split, 0, prompt, ids[n]))
        assert ranking.ranked(decoder, [prompt], pixels, ids, most=128) == [best]
    assert 0 < len(fit) < len(ids)


def test_a_question_keeps_half_of_a_text_at_least() -> None:
    assert [question_room(longest) for longest in (40, 24, 20, 16, 9)] == [30, 14, 10, 8, 5]
    assert question_room(40, answer=3) == 37
    assert question_room(40, answer=39) == 30
    assert cut_question([7, 1, 2, 3, 4], 3) == [7, 3, 4]
    assert cut_question([7, 1, 2], 3) == [7, 1, 2]
    assert cut_question([7, 1, 2], 1) == [7]


def test_costs_and_words() -> None:
    offers = Blip.offers(small_config())
    passes = {
        decode: next(one.repeats for one in task(decode=decode).serving(offers) if one.mode == "answer")
        for decode in ("teacher_forced", "generate", "rank")
    }
    assert passes == {"teacher_forced": 2, "generate": 6, "rank": 129}
    assert list(task().serving(offers)) == [
        Serving(mode="image"),
        Serving(mode="answer", tokens=24, repeats=2),
    ]
    assert task().remark() is None
    assert "generates answers with 3 beams, at most 10 tokens" in str(task(decode="generate").remark())
    assert "chooses among the 128 answers of the train split" in str(task(decode="rank").remark())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no answer"),
        ('{"a": 1}', "holds no list of texts"),
        ("[1, 2]", "holds no list of texts"),
        ("[", "is no JSON"),
        (None, r"cannot be read \(No such file"),
    ],
)
def test_a_list_that_cannot_be_used_is_told_before_anything_runs(
    text: str | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "answers"
    if text is not None:
        file.write_text(text)
    with pytest.raises(PluginError, match=message):
        answers_of(file)
    assert "allowed: a text file of an answer a line" in str(
        task(decode="rank", answers=str(file)).machine_lack()
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"vqa": {"beams": 4}}, r"beams: got 4 with decode teacher_forced.* Say decode: generate, or leave"),
        (
            {"vqa": {"decode": "rank", "longest": 4}},
            r"longest: got 4 with decode rank.* with decode generate alone",
        ),
        (
            {"vqa": {"decode": "generate", "answers": "list.json"}},
            r"answers: got 'list\.json' with decode generate",
        ),
        (
            {"captioning": {"spice": "spice.jar"}},
            r"spice: got 'spice\.jar' with decode teacher_forced.* Say decode: beam",
        ),
        ({"captioning": {"prompt": "a"}}, r"prompt: got 'a' with decode teacher_forced"),
    ],
)
def test_an_option_of_another_way_to_decode_is_told(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(PluginError, match=told):
        make_tasks(asked)
    make_tasks({name: {"decode": options.get("decode", "teacher_forced")} for name, options in asked.items()})
