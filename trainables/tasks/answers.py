"""When an answer counts: the official accuracy of VQA over the answers of several people.

Written after the rule as published (Antol et al. 2015, section 5; visualqa.org/evaluation), which names no list of contractions:
here are those whose letters alone are no other word. Other programs differ in single questions out of thousands.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from trainables.tasks.words import blank_unless_mark, composed

AGREEING = 3  # so many people make an answer right
PEOPLE = 10  # who answer each question of VQA
ARTICLES = frozenset({"a", "an", "the"})
NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
_NOT = "ain are could did does do had has have is might must need ought should was were would"
_OTHERS = """can't won't shan't i'm i've you're you've you'd you'll they're they've they'd they'll we've he'd it'd it'll that's
that'd that'll there's there'd there'll here's what's what'd what'll what're where's where'd who's who'd who'll who've how's how'd
why's when's could've should've would've might've must've y'all o'clock ma'am"""
CONTRACTIONS = {
    word.replace("'", ""): word
    for word in [*(f"{verb}n't".replace("nn't", "n't") for verb in _NOT.split()), *_OTHERS.split()]
}
_POINT = re.compile(r"(?<!\d)\.|\.(?!\d)")  # that is no decimal one
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_PUNCTUATION = re.compile(r"[^\w\s':.]|_")


def normalised(answer: str) -> str:
    """Return an answer as it is compared.

    In lower case; points dropped that are no decimal ones, and commas between digits; all other punctuation but apostrophes and
    colons is a blank; number words are digits, articles are left out, and contractions get their apostrophe.

    >>> normalised("The 1,000 dogs dont; Three!")
    "1000 dogs don't 3"
    """
    text = _COMMA.sub("", _POINT.sub("", composed(answer.lower())))
    words = _PUNCTUATION.sub(blank_unless_mark, text).split()
    told = (NUMBERS.get(word, word) for word in words if word not in ARTICLES)
    return " ".join(CONTRACTIONS.get(word, word) for word in told)


def official_accuracy(said: str, given: Sequence[str]) -> float:
    """Return the share by which an answer is right, from 0 to 1.

    The mean over all ways to leave one person out of min(people among the others who said so / 3, 1).

    Args:
        said: normalised.
        given: normalised answers of all people, one or more.
    """
    same = sum(one == said for one in given)
    people = len(given)
    with_one, without = min(max(same - 1, 0) / AGREEING, 1.0), min(same / AGREEING, 1.0)
    return (same * with_one + (people - same) * without) / people


def heard(answer: str, given: Sequence[str]) -> list[str]:
    """Return the normalised answers to a question.

    Up to three people count for ten or nine: by the official rule an answer that they all give would be right by a third, or two.
    """
    told = [normalised(one) for one in given or (answer,)]
    return told * (PEOPLE // len(told)) if len(told) <= AGREEING else told


def best_constant(questions: Iterable[Sequence[str]]) -> float:
    """Return the mean official accuracy of the answer that is best where all questions get the same one, from 0 to 1.

    Args:
        questions: the normalised answers to each.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    count = 0
    for given in questions:
        count += 1
        for said in Counter(given):
            sums[said] += official_accuracy(said, given)
    return max(sums.values(), default=0.0) / max(count, 1)
