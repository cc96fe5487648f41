"""Files of tokenizers, as the `tokenizers` library or `transformers` reads them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import BertWordPieceTokenizer
from tokenizers import Tokenizer as Backend
from tokenizers.implementations.base_tokenizer import BaseTokenizer
from tokenizers.normalizers import BertNormalizer

from spaces.errors import TeacherError

FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
WHOLE = ("tokenizer.json", "vocab.txt")  # each of them is a tokenizer by itself
PAIR = ("vocab.json", "merges.txt")  # a byte-pair one, of the class that its config names
BESIDE, ADDED = (
    "tokenizer_config.json",
    "added_tokens.json",
)  # say how a vocab.txt is read, and what comes to it
BERTS = ("BertTokenizer", "BertTokenizerFast")
OPTIONS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Name in the file beside a tokenizer -> of BERT's normaliser."""
UNCASED: Mapping[str, bool | None] = {
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
}
"""Options of BERT's uncased tokenizer, which a vocab.txt alone is."""
SAVE = "Save the teacher's tokenizer there."


def read_backend(path: Path) -> Backend | BaseTokenizer:
    """Return what turns words into ids, of a tokenizer.json or a vocab.txt.

    Raises:
        TeacherError: the file is damaged.
    """
    try:
        if path.suffix == ".json":
            return _plain(_as_told(Backend.from_file(str(path)), path.parent))
        if not _reads_otherwise(path):
            return BertWordPieceTokenizer(str(path), lowercase=True)
        from transformers import BertTokenizer  # 3 s, which only what others published is worth

        return _plain(Backend.from_str(BertTokenizer.from_pretrained(path.parent).backend_tokenizer.to_str()))
    except Exception as error:  # the library raises bare exceptions
        raise TeacherError(f"{path}: cannot be read ({error}). {SAVE}") from error


def _as_told(backend: Backend, folder: Path) -> Backend:
    """Return BERT's tokenizer with what the file beside it says of case and accents, which its class takes for the truth."""
    told, reads = _object(folder / BESIDE), backend.normalizer
    if told.get("tokenizer_class") in BERTS and isinstance(reads, BertNormalizer):
        for name, option in OPTIONS.items():
            if name in told:
                setattr(reads, option, told[name])
        backend.normalizer = reads
    return backend


def _reads_otherwise(words: Path) -> bool:
    """Return whether files beside a vocab.txt say that it is read otherwise than BERT's uncased one, or add tokens to it.

    Raises:
        ValueError: one of them is damaged; names it.
    """
    told, added = (_object(words.parent / name) for name in (BESIDE, ADDED))
    if any(told.get(name, usual) != usual for name, usual in UNCASED.items()):
        return True
    try:
        more = {one["content"] for one in (told.get("added_tokens_decoder") or {}).values()} | set(added)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{BESIDE}, added_tokens_decoder: allowed: ids with the `content` of each"
        ) from error
    return bool(more) and not more <= set(words.read_text(encoding="utf-8").split("\n"))


def _object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file, {} where there is none.

    Raises:
        ValueError: it is damaged; names it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds a {type(found).__name__}; allowed: an object")
    return found


def _plain(backend: Backend) -> Backend:
    backend.no_padding()  # a saved tokenizer may pad and cut by itself, to lengths that are not ours
    backend.no_truncation()
    return backend


@dataclass(frozen=True, kw_only=True)
class Published:
    """A tokenizer as `transformers` reads it.

    Attributes:
        backend: what turns words into ids.
        begin, end, pad: ids of the tokens that frame a text and fill it up; None for one that it lacks.
        longest: texts that it was made for, in tokens.
    """

    backend: Backend
    begin: int | None
    end: int | None
    pad: int | None
    longest: int


def read_published(folder: Path) -> Published:
    """Return the tokenizer of a folder, read by the class that the folder names.

    Raises:
        TeacherError: the folder holds none, or a damaged one.
    """
    if not (folder / WHOLE[0]).is_file() and not all((folder / name).is_file() for name in PAIR):
        raise TeacherError(f"{folder}: holds neither {WHOLE[0]} nor {' with '.join(PAIR)}. {SAVE}")
    from transformers import AutoTokenizer  # 3 s, which only what others published is worth

    try:
        theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backend = Backend.from_str(theirs.backend_tokenizer.to_str())
    except Exception as error:  # the library raises whatever a damaged file brings
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise TeacherError(f"{folder}: its tokenizer cannot be read ({reason}). {SAVE}") from error
    return Published(
        backend=_plain(backend),
        begin=theirs.bos_token_id,
        end=theirs.eos_token_id,
        pad=theirs.pad_token_id,
        longest=int(theirs.model_max_length),
    )
