"""The words of a published text side: each under the id that the library gives it, whatever letters there are."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertTokenizer

from trainables.teachers.published import open_published

STRANGE = ("\u2028", "\x85", "##\u2029", "\x1c")
"""Letters at which `str.splitlines` parts a text; vocabularies of many languages have some."""


def test_words_behind_a_strange_letter_keep_their_ids(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", *STRANGE, "dog", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"word": torch.zeros(len(words), 2)}, tmp_path / "model.safetensors")
    found = open_published(str(tmp_path), "text").vocabulary()
    assert found == {word: number for number, word in enumerate(words)}
    theirs = BertTokenizer.from_pretrained(tmp_path).get_vocab()
    assert [found[word] for word in ("a", "dog", "##s")] == [theirs[word] for word in ("a", "dog", "##s")]
