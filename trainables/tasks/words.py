"""The words of a text where no published tokeniser can be run."""

import re

WORD = re.compile(r"\w+(?:['’]\w+)*")


def plain_words(text: str) -> list[str]:
    """Return runs of letters, digits and apostrophes inside words, in lower case; all else parts them.

    >>> plain_words("A dog's ball, 2 cats - and me!")
    ['a', "dog's", 'ball', '2', 'cats', 'and', 'me']
    """
    return WORD.findall(text.lower())
