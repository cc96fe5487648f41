"""The words of a text where no published tokeniser can be run."""

import re
import unicodedata

_OTHER = re.compile(r"[^\w\s'’]")
_WORD = re.compile(r"[^\s'’]+(?:['’][^\s'’]+)*")
# Chinese characters, as BERT's tokenizer parts them: nobody writes blanks between them.
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")


def blank_unless_mark(found: re.Match[str]) -> str:
    """Return a blank for what parts words; marks, such as the vowel signs of Hindi and Thai, do not, though `\\w` lacks them."""
    return found[0] if unicodedata.category(found[0])[0] == "M" else " "


def composed(text: str) -> str:
    """Return a text of composed letters, with straight apostrophes, and without what cannot be seen: as models say it."""
    straight = unicodedata.normalize("NFC", text.replace("’", "'"))
    return "".join(one for one in straight if unicodedata.category(one) != "Cf")


def parted(text: str) -> str:
    """Return a text with blanks around each Chinese character: each is a word, as tokenizers of BERT say them."""
    return _IDEOGRAPH.sub(r" \g<0> ", text)


def plain_words(text: str) -> list[str]:
    """Return runs of letters, digits, marks and apostrophes inside words, in lower case; all else parts them.

    >>> plain_words("A dog's ball, 2 cats - and me!")
    ['a', "dog's", 'ball', '2', 'cats', 'and', 'me']
    """
    return _WORD.findall(_OTHER.sub(blank_unless_mark, text.lower()))
