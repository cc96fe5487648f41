"""Text to token ids and back, on the `tokenizers` library: any `tokenizer.json` or WordPiece `vocab.txt`."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import BertWordPieceTokenizer
from tokenizers import Tokenizer as Backend
from tokenizers.implementations.base_tokenizer import BaseTokenizer

from spaces.errors import TeacherError
from spaces.files import atomic_path, write_text

FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """Token ids that a model itself must know: size of the vocabulary and the special tokens.

    `dec` begins a text that a decoder goes on with, `enc` one that is read together with a picture.
    """

    size: int
    pad: int
    cls: int
    sep: int
    dec: int
    enc: int


def _backend(path: Path) -> Backend | BaseTokenizer:
    try:
        if path.suffix != ".json":
            return BertWordPieceTokenizer(str(path), lowercase=True)
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise TeacherError(
            f"{path}: cannot be read ({error}). Save the teacher's tokenizer there."
        ) from error
    backend.no_padding()  # a saved tokenizer may pad and cut by itself, to lengths that are not ours
    backend.no_truncation()
    return backend


class Tokenizer:
    """Encode captions and questions for a text network."""

    def __init__(
        self, backend: Backend | BaseTokenizer, vocabulary: VocabularyConfig, max_tokens: int
    ) -> None:
        self.backend = backend
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens
        self.unknown = backend.token_to_id("[UNK]")

    def to_dict(self) -> dict[str, Any]:
        """Return what a model folder has to say beside the tokenizer's own files; JSON-able."""
        return {"vocabulary": asdict(self.vocabulary), "max_tokens": self.max_tokens}

    @property
    def digest(self) -> str:
        """Hash of all that decides which ids a text gets."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    @classmethod
    def from_folder(cls, folder: Path, vocabulary: VocabularyConfig, max_tokens: int) -> "Tokenizer":
        """Return the tokenizer of a model folder.

        Raises:
            TeacherError: the folder holds neither tokenizer.json nor vocab.txt, or a damaged one.
        """
        for name in ("tokenizer.json", "vocab.txt"):
            if (folder / name).is_file():
                return cls(_backend(folder / name), vocabulary, max_tokens)
        raise TeacherError(
            f"{folder}: holds neither tokenizer.json nor vocab.txt. Save the teacher's tokenizer there."
        )

    def _words(self, texts: list[str]) -> list[list[int]]:
        encoded = self.backend.encode_batch(texts, add_special_tokens=False)
        return [item.ids for item in encoded]

    def captions(self, texts: list[str]) -> list[list[int]]:
        """Return `[CLS] words [SEP]` per text, cut to max_tokens (the [SEP] stays)."""
        v, room = self.vocabulary, self.max_tokens - 2
        return [[v.cls, *ids[:room], v.sep] for ids in self._words(texts)]

    def questions(self, questions: list[str], answers: list[str]) -> tuple[list[list[int]], list[int]]:
        """Return `[DEC] question answer [SEP]` per pair, and the position of the first answer token.

        The question is cut from its front where both do not fit; an answer is never cut below max_tokens - 2.
        """
        v, rows, starts = self.vocabulary, [], []
        for question, answer in zip(self._words(questions), self._words(answers), strict=True):
            answer = answer[: self.max_tokens - 2]
            room = self.max_tokens - 2 - len(answer)
            question = question[max(0, len(question) - room) :]
            rows.append([v.dec, *question, *answer, v.sep])
            starts.append(1 + len(question))
        return rows, starts

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
        return str(self.backend.decode([i for i in ids if i not in special]))


def write_word_tokenizer(folder: Path, words: tuple[str, ...], max_tokens: int) -> VocabularyConfig:
    """Write a word-level BERT tokenizer, for `transformers.AutoTokenizer` too; return its special ids."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "[ENC]"]
    vocabulary = {token: index for index, token in enumerate([*special, *words])}
    tokenizer = BertWordPieceTokenizer(vocab=vocabulary, lowercase=True)
    tokenizer.add_special_tokens(special)
    with atomic_path(folder / "tokenizer.json") as draft:
        tokenizer.save(str(draft))
    write_text(folder / "vocab.txt", "\n".join(vocabulary) + "\n")
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": max_tokens,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "additional_special_tokens": ["[DEC]", "[ENC]"],
    }
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
    return VocabularyConfig(size=len(vocabulary), pad=0, cls=2, sep=3, dec=4, enc=5)
