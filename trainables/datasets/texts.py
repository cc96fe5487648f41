"""Texts in a plain form, as image-text models are usually trained on (Li et al. 2022, code: captions of 30 words at most)."""

import re

AS_IS, PLAIN = "as_is", "plain"
_DROPPED = re.compile(r"[.!\"()*#:;~]")


def normalised(text: str, form: str, most_words: int = 0) -> str:
    """Return a text as a data set's options ask for it; "" where nothing is left of it.

    Args:
        text: as the data has it.
        form: `as_is`, or `plain`: lower case, and a blank for each of . ! " ( ) * # : ; ~
        most_words: that are kept from the front; 0 for all.
    """
    if form == PLAIN:
        text = _DROPPED.sub(" ", text.lower())
    words = text.split()
    if most_words and len(words) > most_words:
        return " ".join(words[:most_words])
    return " ".join(words) if form == PLAIN else text


def asked(text: str, form: str) -> str:
    """Return a question as a data set's options ask for it: `plain` ones are lower case, too, and lose the signs without a blank.

    One of which nothing is left stays as it is, since its answer would be left alone.
    """
    if form != PLAIN:
        return text
    return " ".join(_DROPPED.sub("", text.lower()).split()) or text
