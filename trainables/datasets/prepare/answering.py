"""Questions with their answers as a split has them: one answer to each, or those that people gave, each as often as they did."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from trainables.datasets.prepare.items import Question


class Answered(NamedTuple):
    """A question with one answer.

    Attributes:
        question: with the answers of all people.
        answer: one of them.
        times: how often it is drawn beside the others of its picture.
    """

    question: Question
    answer: str
    times: int


def commonest(asked: Sequence[Question]) -> list[Answered]:
    """Return each question with the answer that most people gave; of several the first."""
    return [Answered(one, Counter(one.answers).most_common(1)[0][0], 1) for one in asked]


def drawn(asked: Sequence[Question]) -> list[Answered]:
    """Return each question with each of its answers.

    Li et al. 2022 (code) sum the log-likelihoods of all answers to a question, each by the share of people who gave it. Who is
    shown each as often learns of the same sum on average, one answer at a time.
    """
    return [Answered(one, answer, times) for one in asked for answer, times in Counter(one.answers).items()]


def differ(asked: Sequence[Question]) -> bool:
    """Return whether people answered one of some questions otherwise than others."""
    return any(len(set(one.answers)) > 1 for one in asked)
