"""Text to token ids and back, on the `tokenizers` library: any `tokenizer.json`, WordPiece `vocab.txt`, or what
`transformers` reads from `vocab.json` and `merges.txt`.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tokenizers import BertWordPieceTokenizer
from tokenizers import Tokenizer as Backend
from tokenizers.implementations.base_tokenizer import BaseTokenizer

from spaces.errors import TeacherError
from spaces.files import atomic_path, write_text
from trainables.tokenizer_files import FILES, PAIR, SAVE, WHOLE, read_backend, read_published

END_OF_WORD = "</w>"  # what CLIP's byte-pair tokenizers leave of the end of a word


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """Token ids that a model itself must know: size of the vocabulary and the special tokens.

    `cls` begins a text and `sep` ends it, whatever they are called. `dec` begins a text that a decoder goes on with, `enc`
    one that is read together with a picture; None in a vocabulary that was made for neither, such as CLIP's.
    """

    size: int
    pad: int
    cls: int
    sep: int
    dec: int | None = None
    enc: int | None = None


class Tokenizer:
    """Encode captions and questions for a text network.

    Attributes:
        words: of the prompt that the captions which a decoder says go on from (Li et al. 2022: `a picture of`); "" for none.
            In training it is read before the caption, and is not in the loss.
        begun: ids of these words.
    """

    def __init__(
        self, backend: Backend | BaseTokenizer, vocabulary: VocabularyConfig, max_tokens: int
    ) -> None:
        self.backend = backend
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens
        self.unknown = _unknown(backend)
        self.words, self.begun = "", list[int]()

    def tokens(self) -> list[str]:
        """Return the tokens by their ids; "" for an id that has none."""
        found = [""] * self.vocabulary.size
        for token, number in self.backend.get_vocab(with_added_tokens=True).items():
            if number < len(found):
                found[number] = token
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what a model folder has to say beside the tokenizer's own files; JSON-able."""
        told = {"vocabulary": asdict(self.vocabulary), "max_tokens": self.max_tokens}
        return told | ({"prompt": self.words} if self.words else {})

    @property
    def digest(self) -> str:
        """Hash of all that decides which ids a text gets."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    @classmethod
    def from_folder(cls, folder: Path, vocabulary: VocabularyConfig, max_tokens: int) -> "Tokenizer":
        """Return the tokenizer of a model folder.

        Raises:
            TeacherError: the folder holds no tokenizer, or a damaged one.
        """
        for name in WHOLE:
            if (folder / name).is_file():
                return cls(read_backend(folder / name), vocabulary, max_tokens)
        if all((folder / name).is_file() for name in PAIR):
            return cls(read_published(folder).backend, vocabulary, max_tokens)
        raise TeacherError(
            f"{folder}: holds neither {' nor '.join(WHOLE)}, nor {' with '.join(PAIR)}. {SAVE}"
        )

    def save(self, folder: Path, source: Path) -> None:
        """Copy the tokenizer's files, and write `tokenizer.json` where they alone would not be read as this tokenizer is.

        Args:
            folder: target.
            source: where they are; may be the target.

        Raises:
            StorageError: a file cannot be written.
        """
        for name in FILES:
            if (source / name).is_file() and (source / name).resolve() != (folder / name).resolve():
                with atomic_path(folder / name) as draft:
                    shutil.copyfile(source / name, draft)
        whole = next((folder / name for name in WHOLE if (folder / name).is_file()), None)
        if whole is None or read_backend(whole).to_str() != self.backend.to_str():
            write_text(folder / WHOLE[0], self.backend.to_str() + "\n")

    def _words(self, texts: list[str]) -> list[list[int]]:
        encoded = self.backend.encode_batch(texts, add_special_tokens=False)
        return [item.ids for item in encoded]

    @property
    def room(self) -> int:
        """Tokens of a caption or statement that are read, without those that frame it."""
        return self.max_tokens - 2 - len(self.begun)

    def cut_share(self, texts: Sequence[str]) -> float:
        """Return the share of captions or statements of which the end is not read; 0 of none."""
        return sum(len(ids) > self.room for ids in self._words(list(texts))) / max(1, len(texts))

    def cut_questions_share(self, questions: Sequence[str], answers: Sequence[str]) -> float:
        """Return the share of questions that do not fit with their answers, so that the beginning is not read; 0 of none."""
        pairs = zip(self._words(list(questions)), self._words(list(answers)), strict=True)
        return sum(len(one) + len(other) > self.max_tokens - 2 for one, other in pairs) / max(
            1, len(questions)
        )

    def captions(self, texts: list[str]) -> list[list[int]]:
        """Return `[CLS] words [SEP]` per text, cut to max_tokens less the prompt (the [SEP] stays)."""
        v = self.vocabulary
        return [[v.cls, *ids[: self.room], v.sep] for ids in self._words(texts)]

    def questions(self, questions: list[str], answers: list[str]) -> tuple[list[list[int]], list[int]]:
        """Return `[DEC] question answer [SEP]` per pair, and the position of the first answer token.

        The question is cut from its front where both do not fit; an answer is never cut below max_tokens - 2.

        Raises:
            TeacherError: the vocabulary has no [DEC].
        """
        v, rows, starts = self.vocabulary, [], []
        begin = self._first()
        for question, answer in zip(self._words(questions), self._words(answers), strict=True):
            answer = answer[: self.max_tokens - 2]
            room = self.max_tokens - 2 - len(answer)
            question = question[max(0, len(question) - room) :]
            rows.append([begin, *question, *answer, v.sep])
            starts.append(1 + len(question))
        return rows, starts

    @property
    def answers(self) -> bool:
        """Whether its vocabulary has the token with which a decoder begins."""
        return self.vocabulary.dec is not None

    def prompt(self) -> list[int]:
        """Return what a decoder goes on with where it is asked for a caption.

        Raises:
            TeacherError: the vocabulary has no token for it.
        """
        return [self._first(), *self.begun]

    def prompting(self, words: str) -> "Tokenizer":
        """Return a tokenizer with a prompt; itself for "".

        Raises:
            TeacherError: nothing decodes, the prompt leaves no room, or its words are not known.
        """
        if not words:
            return self
        made = copy.copy(self)
        begun, _ = self._words([words])[0], self._first()
        unknown, _, example = self.unknown_words([words])
        if unknown or not begun or len(begun) > self.max_tokens - 3:
            wrong = f"{example!r} is no word of this tokenizer" if unknown else f"{len(begun)} tokens"
            raise TeacherError(
                f"prompt: got {words!r}, {wrong}; allowed: known words, 1 to {self.max_tokens - 3} tokens. Change or shorten it."
            )
        made.words, made.begun = words, begun
        return made

    def _first(self) -> int:
        if self.vocabulary.dec is None:
            raise TeacherError(
                "tokenizer: has no token with which a decoder begins a text, so that there are neither captions nor answers "
                "of it. Leave out what decodes, or take a teacher whose tokenizer has one."
            )
        return self.vocabulary.dec

    def unknown_share(self, texts: list[str]) -> float:
        """Return the share of words that this vocabulary does not have."""
        unknown, total, _ = self.unknown_words(texts)
        return unknown / total if total else 0.0

    def unknown_words(self, texts: list[str]) -> tuple[int, int, str]:
        """Return how many words this vocabulary does not have, of how many, and the first of them; "" for none."""
        missing = total = 0
        first = ""
        for text, item in zip(texts, self.backend.encode_batch(texts, add_special_tokens=False), strict=True):
            total += len(item.ids)
            for number, (start, end) in zip(item.ids, item.offsets, strict=True):
                if number == self.unknown:
                    missing += 1
                    first = first or text[start:end]
        return missing, total, first

    def decode(self, ids: list[int]) -> str:
        """Return the words of ids, special tokens left out."""
        v = self.vocabulary
        special = {v.pad, v.cls, v.sep, v.dec, v.enc}
        text = str(self.backend.decode([i for i in ids if i not in special]))
        # the backend joins apostrophes within a piece alone; the transformers library does it across them
        return text.replace(END_OF_WORD, " ").replace(" ' ", "'").replace(" ’ ", "’").strip()

    def respelled(self, texts: Sequence[str]) -> list[str]:
        """Return texts as `decode` says their tokens: what is read alike is spelled alike; unknown words stay as they are."""
        found = []
        read = self.backend.encode_batch(list(texts), add_special_tokens=False)
        for text, item in zip(texts, read, strict=True):
            parts: list[str] = []
            tokens = zip(item.ids, item.offsets, strict=True)
            for unknown, run in groupby(tokens, lambda one: one[0] == self.unknown):
                told = list(run)
                parts += [text[a:b] for _, (a, b) in told] if unknown else [self.decode([n for n, _ in told])]
            found.append(" ".join(parts))
        return found


def _unknown(backend: Backend | BaseTokenizer) -> int | None:
    """Return the id of what a tokenizer does not know; None for one that can spell everything."""
    found: int | None = backend.token_to_id("[UNK]")
    if found is None and isinstance(backend, Backend) and getattr(backend.model, "unk_token", None):
        found = backend.token_to_id(backend.model.unk_token)
    return found


def word_divider(vocabulary: Mapping[str, int] | None = None, *, marks: bool) -> BertWordPieceTokenizer:
    """Return what divides texts into words in lower case, signs apart.

    Args:
        vocabulary: word -> id, of what is to read them.
        marks: whether accents and signs of vowels stay, as `strip_accents` of BERT says: without them words of Hindi, Thai and
            others lose letters. None of the published uncased ones keeps them.
    """
    return BertWordPieceTokenizer(
        vocab=None if vocabulary is None else dict(vocabulary),
        lowercase=True,
        strip_accents=False if marks else None,
    )


def write_word_tokenizer(
    folder: Path, words: tuple[str, ...], max_tokens: int, *, marks: bool = False
) -> VocabularyConfig:
    """Write a word-level BERT tokenizer, for `transformers.AutoTokenizer` too; return its special ids.

    Args:
        folder: of the teacher.
        words: of the vocabulary.
        max_tokens: of a text.
        marks: see `word_divider`.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "[ENC]"]
    vocabulary = {token: index for index, token in enumerate([*special, *words])}
    tokenizer = word_divider(vocabulary, marks=marks)
    tokenizer.add_special_tokens(special)
    with atomic_path(folder / "tokenizer.json") as draft:
        tokenizer.save(str(draft))
    write_text(folder / "vocab.txt", "\n".join(vocabulary) + "\n")
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        **({"strip_accents": False} if marks else {}),
        "model_max_length": max_tokens,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "additional_special_tokens": ["[DEC]", "[ENC]"],
    }
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
    return VocabularyConfig(size=len(vocabulary), pad=0, cls=2, sep=3, dec=4, enc=5)
