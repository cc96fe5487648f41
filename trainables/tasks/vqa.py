"""Visual question answering."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from torch import Tensor

from spaces.errors import PluginError
from spaces.paths import user_path
from spaces.rules import Number
from trainables.signals import PIXELS, QUESTION, Batch, Offers, Serving, Signals, Wants
from trainables.tasks.answers import best_constant, heard, normalised, official_accuracy
from trainables.tasks.base import Task, require_decode
from trainables.tasks.beams import Beams, beam_search
from trainables.tasks.chance import Chance, most_frequent
from trainables.tasks.decoding import (
    ANSWER_STEPS,
    ANSWERS,
    Decoder,
    cut_question,
    longest_text,
    question_room,
    unknown_of,
)
from trainables.tasks.pool import Pool, PoolRows
from trainables.tasks.ranking import ranked
from trainables.tasks.spoken import said
from trainables.tokenizer import Tokenizer

FORCED, GENERATE, RANK = "teacher_forced", "generate", "rank"
SERVES = {"beams": GENERATE, "longest": GENERATE, "candidates": RANK, "answers": RANK}
EXACT, OFFICIAL = "vqa_accuracy", "vqa_official_accuracy"
BEAMS = {"rule": Number(whole=True, low=1, high=100, why="each is a pass of the decoder for every token")}
TOKENS = {"rule": Number(whole=True, low=1, high=1000, why="no model reads longer answers")}
CANDIDATES = {
    "rule": Number(whole=True, low=1, high=100_000, why="each is a pass of the decoder for every question")
}


@final
class Vqa(Task):
    """Answer questions about a picture.

    By default each question has one reference, which is asked for exactly. With `decode: generate` or `rank`, an answer is said
    whole, or chosen from a list (Li et al. 2022, section 5.3), and scored by the official rule over the answers of all people
    who were asked, see `answers`; where they are three or fewer, each counts for several.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Task.Config):
        """Options; all but the first are those of answers that are said whole.

        Attributes:
            decode: `teacher_forced`, each token from the true ones before it; `generate`, by beam search; or `rank`.
            beams: of `generate`.
            longest: tokens of an answer that is generated, [SEP] included; as many as the model can read behind the question.
            candidates: of `rank`, answers of the list that are read to their end, those whose first token is the most likely, of
                all that the model can read behind the question.
            answers: file of the list, an answer a line, or JSON: a list of texts; null for all answers of the train split.
        """

        decode: Literal["teacher_forced", "generate", "rank"] = "teacher_forced"
        beams: int = field(default=3, metadata=BEAMS)
        longest: int = field(default=10, metadata=TOKENS)
        candidates: int = field(default=128, metadata=CANDIDATES)
        answers: str | None = None

        def __post_init__(self) -> None:
            require_decode(self, SERVES)

    metrics: tuple[str, ...] = (EXACT,)
    counts: str = EXACT
    wants: Wants = frozenset({ANSWERS})
    fields: frozenset[str] = frozenset({PIXELS, "question.ids", "question.targets"})
    losses: tuple[str, ...] = ("vqa",)
    version = 4

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._decode, self._candidates = config.decode, config.candidates
        self._beams = Beams(width=config.beams, shortest=1, longest=config.longest, behind=True)
        self._file = None if config.answers is None else user_path(config.answers).absolute()
        if config.decode != FORCED:
            self.metrics, self.counts = (EXACT, OFFICIAL), OFFICIAL
        self.banked = config.decode == RANK and self._file is None

    def settled(self) -> dict[str, Any]:
        """Return where the list is."""
        return {"answers": str(self._file)} if self._decode == RANK and self._file else {}

    def read(self) -> str:
        """Return a digest of the list."""
        if self._decode != RANK or self._file is None or self.machine_lack():
            return ""
        return hashlib.sha256(self._file.read_bytes()).hexdigest()

    def machine_lack(self) -> str | None:
        """Return why the list cannot be read here."""
        if self._decode != RANK or self._file is None:
            return None
        try:
            answers_of(self._file)
        except PluginError as error:
            return str(error)
        return None

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of questions whose reference greedy decoding gives exactly, and ends there.

        That is so where each of its tokens is the most likely one after those before, and none stands for an unknown word. {}
        where nothing could be asked. Of answers that are said whole, the official accuracy, too.

        Raises:
            PluginError: the list of answers cannot be used.
        """

        unknown = unknown_of(pool.split)

        def count(batch: Batch, signals: Signals) -> tuple[Tensor, int]:
            ids, asked = batch["question.ids"], batch["question.targets"][:, :-1]
            hit = ((signals[ANSWERS][:, :-1].argmax(-1) == ids[:, 1:]) & (ids[:, 1:] != unknown)) | ~asked
            return hit.all(dim=1).sum(), len(ids)

        right, total = pool.counted(QUESTION, frozenset({ANSWERS}), count) or (0, 0)
        found = {EXACT: 100.0 * right / total} if total else {}
        if self._decode == FORCED or not total:
            return found
        # One who chooses says an answer as it is given, one who spells it says it as tokens are joined.
        spells = pool.split.tokenizer if self._decode == GENERATE else None
        shares = [
            official_accuracy(normalised(one), given)
            for one, given in zip(self.answers(pool), _given(pool.asked, spells), strict=True)
        ]
        return found | {OFFICIAL: 100.0 * sum(shares) / len(shares)}

    def answers(self, pool: Pool) -> list[str]:
        """Return what a model answers to each question of the pool.

        Raises:
            PluginError: the list of answers cannot be used.
        """
        split = pool.split
        tokenizer, table = split.tokenizer, split.tables[QUESTION]
        assert tokenizer is not None  # there are questions in ids
        decoder = Decoder(
            model=pool.model,
            logits=ANSWERS,
            rows=QUESTION,
            vocabulary=tokenizer.vocabulary,
            longest=tokenizer.max_tokens,
        )
        texts = _sayable(self._list(pool), tokenizer) if self._decode == RANK else []
        if self._decode == RANK and not texts:
            return [""] * len(pool.rows(QUESTION)[0])
        ids = [row[1:] for row in tokenizer.captions(texts)]
        longest = max(map(len, ids), default=min(self._beams.longest, tokenizer.max_tokens - 1))
        shortest = min(map(len, ids), default=1)
        room = min(question_room(tokenizer.max_tokens, longest), tokenizer.max_tokens - shortest)

        def prompts(rows: np.ndarray) -> list[list[int]]:
            return [cut_question(table.ids[row, : table.starts[row]].tolist(), room) for row in rows]

        def generate(pixels: Tensor, rows: np.ndarray) -> list[list[int]]:
            return beam_search(decoder, prompts(rows), pixels, self._beams)

        def rank(pixels: Tensor, rows: np.ndarray) -> list[list[int]]:
            return [[n] for n in ranked(decoder, prompts(rows), pixels, ids, most=self._candidates)]

        if self._decode == RANK:
            return [texts[place] for (place,) in said(pool, QUESTION, rank, 1)]
        return [tokenizer.decode(row) for row in said(pool, QUESTION, generate, longest)]

    def _list(self, pool: Pool) -> list[str]:
        """Return the answers to choose from, the most frequent of the train split first: of each question the commonest."""
        if self._file is not None:
            return answers_of(self._file)
        train = pool.train
        sets = train.answer_sets or [()] * len(train.answers)
        usual = (
            one
            for one, given in zip(train.answers, sets, strict=True)
            if not given or one == _commonest(given)
        )
        return [one for one, _ in Counter(usual).most_common()]

    def remark(self) -> str | None:
        """Return how answers are found and scored, where they are said whole."""
        if self._decode == FORCED:
            return None
        how = f"generates answers with {self._beams.width} beams, at most {self._beams.longest} tokens"
        if self._decode == RANK:
            of = f"of {self._file.name}" if self._file else "of the train split"
            how = f"chooses among the {self._candidates:,} answers {of} that begin most likely"
        return f"{how}, scored by the official rule over all people's answers; {self.counts} is what counts"

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the share of the most frequent answer: who gives it always is right so often."""
        if self._decode != FORCED:
            given = _given(rows)
            return Chance(level=100.0 * best_constant(given), count=len(given)) if given else None
        said, unknown = rows.said(QUESTION), unknown_of(rows.split)
        known = [one for one in said if unknown not in one]
        return Chance(level=most_frequent(known, total=len(said)), count=len(said)) if said else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and a decoder's pass for each token of an answer, of each beam; or for each candidate, and one."""
        tokens = longest_text(offers, "answer")
        repeats = {
            FORCED: ANSWER_STEPS,
            GENERATE: ANSWER_STEPS * self._beams.width,
            RANK: 1 + self._candidates,
        }[self._decode]
        return (Serving(mode="image"), Serving(mode="answer", tokens=tokens, repeats=repeats))


def _sayable(texts: list[str], tokenizer: Tokenizer) -> list[str]:
    """Return the answers that a model can say, of those of the same tokens the first: unknown words would all be one answer."""
    rows = tokenizer.captions(texts)
    found = {
        tuple(ids): text
        for text, ids in zip(reversed(texts), reversed(rows), strict=True)
        if tokenizer.unknown not in ids
    }
    kept = set(found.values())
    return [text for text in texts if text in kept]


def answers_of(file: Path) -> list[str]:
    """Return the list of answers of a file, each once.

    Raises:
        PluginError: it cannot be read, or holds none.
    """
    allowed = "allowed: a text file of an answer a line, or JSON: a list of texts"
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PluginError(f"answers: {file} cannot be read ({why}); {allowed}. Give another file.") from error
    found: Any = text.split("\n")
    if text.lstrip().startswith(("[", "{")):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PluginError(f"answers: {file} is no JSON ({error}); {allowed}. Mend it.") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise PluginError(f"answers: {file} holds no list of texts; {allowed}. Mend it.")
    different = list(dict.fromkeys(one.strip() for one in found if one.strip()))
    if not different:
        raise PluginError(f"answers: {file} holds no answer; {allowed}. Fill it.")
    return different


def _commonest(given: Sequence[str]) -> str:
    """Return the answer that most people gave; of several the first."""
    return Counter(given).most_common(1)[0][0]


def _given(rows: PoolRows, spells: Tokenizer | None = None) -> list[list[str]]:
    """Return the normalised answers to each question of the pool, of all who were asked; as a tokenizer spells them, if any."""
    split = rows.split
    sets = split.answer_sets or [()] * len(split.answers)
    found = [(split.answers[row], sets[row]) for row in rows.rows(QUESTION)[0].tolist()]
    if spells is not None:
        different = sorted({one for answer, given in found for one in (answer, *given)})
        spelled = dict(zip(different, spells.respelled(different), strict=True))
        found = [(spelled[answer], [spelled[one] for one in given]) for answer, given in found]
    return [heard(answer, given) for answer, given in found]
