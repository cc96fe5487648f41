"""Texts to ids and back, with the special tokens that the model knows."""

import json
from pathlib import Path
from typing import Any

import pytest

from spaces.errors import TeacherError
from tests.unit.trainables.small import vocabulary
from trainables.tokenizer import Tokenizer, VocabularyConfig, write_word_tokenizer

WORDS = ("a", "red", "blue", "ring", "is", "there", "?", "yes", "no", "more")
PAD, UNK, CLS, SEP, DEC, ENC = range(6)
IDS = {word: 6 + index for index, word in enumerate(WORDS)}


def make(folder: Path, max_tokens: int = 6) -> Tokenizer:
    return Tokenizer.from_folder(folder, write_word_tokenizer(folder, WORDS, max_tokens), max_tokens)


def ids(text: str) -> list[int]:
    return [IDS[word] for word in text.split()]


def test_vocabulary_is_special_tokens_then_words(tmp_path: Path) -> None:
    made = make(tmp_path).vocabulary
    assert (made.size, made.pad, made.cls, made.sep, made.dec, made.enc) == (16, PAD, CLS, SEP, DEC, ENC)
    assert (tmp_path / "vocab.txt").read_text().split() == [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[DEC]",
        "[ENC]",
        *WORDS,
    ]


def test_captions_are_framed_and_cut_with_their_end_kept(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.captions(["a red ring", "A RED Ring", "a red ring is there", ""]) == [
        [CLS, *ids("a red ring"), SEP],
        [CLS, *ids("a red ring"), SEP],
        [CLS, *ids("a red ring is"), SEP],
        [CLS, SEP],
    ]


def test_questions_hold_their_answer_and_where_it_starts(tmp_path: Path) -> None:
    rows, starts = make(tmp_path, 9).questions(["is there a ring ?", "red ?"], ["yes", "no more"])
    assert rows == [[DEC, *ids("is there a ring ? yes"), SEP], [DEC, *ids("red ? no more"), SEP]]
    assert starts == [6, 3]


def test_a_long_question_loses_its_front_and_never_its_answer(tmp_path: Path) -> None:
    made = make(tmp_path, 6)
    rows, starts = made.questions(["is there a red ring ?"] * 2, ["yes", "no more no more no"])
    assert rows[0] == [DEC, *ids("red ring ? yes"), SEP]
    assert rows[1] == [DEC, *ids("no more no more"), SEP]
    assert starts == [4, 1]
    assert all(len(row) == 6 for row in rows)


def test_unknown_share_counts_words(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.unknown_share(["a red dragon", "sleeps"]) == 0.5
    assert made.unknown_share(["a red ring"]) == 0.0
    assert made.unknown_share([]) == made.unknown_share([""]) == 0.0


def test_decoding_leaves_special_tokens_out(tmp_path: Path) -> None:
    assert make(tmp_path).decode([CLS, *ids("a blue ring"), SEP, PAD, PAD]) == "a blue ring"


def test_a_word_list_alone_is_enough(tmp_path: Path) -> None:
    whole = make(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    made = Tokenizer.from_folder(tmp_path, whole.vocabulary, 6)
    assert made.captions(["a blue ring"]) == whole.captions(["a blue ring"])
    assert made.decode(ids("a blue ring")) == "a blue ring"


def test_padding_and_cutting_saved_in_the_file_are_put_off(tmp_path: Path) -> None:
    made = make(tmp_path)
    backend = made.backend
    backend.enable_padding(length=20)
    backend.enable_truncation(2)
    backend.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_folder(tmp_path, made.vocabulary, 6)
    assert again.captions(["a red ring is"]) == [[CLS, *ids("a red ring is"), SEP]]


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"holds neither tokenizer.json nor vocab.txt"):
        Tokenizer.from_folder(tmp_path, vocabulary(), 6)


def test_a_damaged_tokenizer_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(TeacherError, match=r"tokenizer.json: cannot be read .* Save the teacher's tokenizer"):
        Tokenizer.from_folder(tmp_path, vocabulary(), 6)


PIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "Dog",
    "dog",
    "caf",
    "##é",
    "##e",
    "ki",
    "##t",
    "##ten",
    "中",
    "国",
    "中国",
)


@pytest.mark.parametrize(
    "beside",
    [
        {},
        {"tokenizer_config.json": {"do_lower_case": True, "model_max_length": 512}},
        {"tokenizer_config.json": {"do_lower_case": False}},
        {"tokenizer_config.json": {"strip_accents": False}},
        {"tokenizer_config.json": {"tokenize_chinese_chars": False}},
        {"added_tokens.json": {"[DEC]": 16, "[ENC]": 17, "kitten": 18}},
    ],
)
def test_a_vocab_txt_is_read_as_the_library_reads_it_with_what_stands_beside_it(
    tmp_path: Path, beside: dict[str, dict[str, Any]]
) -> None:
    from transformers import BertTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    for name, content in beside.items():
        (tmp_path / name).write_text(json.dumps(content))
    theirs = BertTokenizer.from_pretrained(tmp_path)
    special = VocabularyConfig(size=19, pad=0, cls=2, sep=3)
    made = Tokenizer.from_folder(tmp_path, special, 40)
    exported = tmp_path / "exported"
    exported.mkdir()
    made.save(exported, tmp_path)
    for text in ("a Dog café 中国", "a kitten, [DEC] kitten"):
        wanted = [2, *theirs(text, add_special_tokens=False)["input_ids"], 3]
        assert made.captions([text]) == [wanted]
        assert Tokenizer.from_folder(exported, special, 40).captions([text]) == [wanted]
    assert made.backend.token_to_id("[ENC]") == (17 if "added_tokens.json" in beside else None)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    "told",
    [
        {"do_lower_case": True},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
)
def test_a_tokenizer_json_of_bert_is_read_as_its_class_reads_it_with_what_stands_beside_it(
    tmp_path: Path, lowercase: bool, told: dict[str, Any]
) -> None:
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    words = {piece: number for number, piece in enumerate(PIECES)}
    settings = {"do_lower_case": lowercase, **told}
    BertWordPieceTokenizer(vocab=words, lowercase=lowercase).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", **settings})
    )
    theirs = BertTokenizer.from_pretrained(tmp_path)
    made = Tokenizer.from_folder(tmp_path, VocabularyConfig(size=19, pad=0, cls=2, sep=3), 40)
    for text in ("a Dog café 中国", "Dog dog"):
        assert made.captions([text]) == [[2, *theirs(text, add_special_tokens=False)["input_ids"], 3]]


def test_texts_are_respelled_between_the_words_that_are_not_known(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.respelled(["A  blue ring!", "a zebra's ring", "", "zebra"]) == [
        "a blue ring !",
        "a zebra ' s ring",
        "",
        "zebra",
    ]


@pytest.mark.parametrize("content", ["{", "[]", '{"added_tokens_decoder": {"16": "kitten"}}'])
def test_a_damaged_file_beside_a_vocab_txt_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(TeacherError, match=r"tokenizer_config\.json"):
        Tokenizer.from_folder(tmp_path, VocabularyConfig(size=19, pad=0, cls=2, sep=3), 40)
