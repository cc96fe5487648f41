"""Captioning, measured token by token, or by captions that are said whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from torch import Tensor

from spaces.errors import PluginError, ResourceError, TeacherError
from spaces.paths import user_path
from spaces.rules import Number
from trainables.signals import CAPTION, PICTURE, PIXELS, Batch, Offers, Serving, Signals, Wants
from trainables.tasks.base import Task, require_decode
from trainables.tasks.beams import Beams, beam_search
from trainables.tasks.caption_metrics import PLAIN, CaptionMetrics, usual_tokenizer
from trainables.tasks.chance import Chance, most_frequent
from trainables.tasks.decoding import LOGITS, Decoder, caption_steps, unknown_of
from trainables.tasks.pool import Pool, PoolRows
from trainables.tasks.spoken import said
from trainables.tokenizer import Tokenizer

FORCED, BEAM = "teacher_forced", "beam"
WHOLE = (
    "beams",
    "shortest",
    "longest",
    "prompt",
    "tokenizer",
    "spice",
)  # options of captions that are said whole
TOKEN_ACCURACY = "caption_token_accuracy"
BEAMS = {"rule": Number(whole=True, low=1, high=100, why="each is a pass of the decoder for every token")}
LENGTH = {"rule": Number(whole=True, low=1, high=1000, why="no model reads longer captions")}


@final
class Captioning(Task):
    """Say what is in a picture.

    By default measured under teacher forcing, [SEP] included and padding not: cheap and discriminative inside trials. With
    `decode: beam` a caption is said whole, as Li et al. 2022 do (section 5.2), and compared with all captions of its picture:
    CIDEr, BLEU-4 and ROUGE-L, with Java METEOR, too, see `caption_metrics`.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Task.Config):
        """Options; all but the first are those of `decode: beam`.

        Attributes:
            decode: `teacher_forced`, each token from the true ones before it; or `beam`, the whole caption.
            beams: texts that are followed at a time.
            shortest, longest: tokens of a caption, [DEC], prompt and [SEP] included; at most what the model reads.
            prompt: words that every caption goes on from, and that are not part of it; "" for those of the teacher, with which
                its students are trained and exported, too (`teacher: NAME,prompt=a picture of`).
            tokenizer: `ptb`, that of published figures, which needs Java; `plain`; `auto` takes the first where there is Java.
            spice: path of spice-1.0.jar, with which SPICE is measured; null for none.
        """

        decode: Literal["teacher_forced", "beam"] = "teacher_forced"
        beams: int = field(default=3, metadata=BEAMS)
        shortest: int = field(default=5, metadata=LENGTH)
        longest: int = field(default=20, metadata=LENGTH)
        prompt: str = ""
        tokenizer: Literal["auto", "ptb", "plain"] = "auto"
        spice: str | None = None

        def __post_init__(self) -> None:
            require_decode(self, dict.fromkeys(WHOLE, BEAM))
            if self.shortest > self.longest:
                raise PluginError(
                    f"shortest: got {self.shortest} with longest {self.longest}; allowed: at most that. Lower it."
                )
            if self.spice is not None and self.tokenizer == PLAIN:
                raise PluginError(
                    "spice: got a jar with tokenizer plain; allowed: ptb, since SPICE is a Java program, too. "
                    "Leave one of them out."
                )

    metrics: tuple[str, ...] = (TOKEN_ACCURACY,)
    counts: str = TOKEN_ACCURACY
    wants: Wants = frozenset({LOGITS})
    fields: frozenset[str] = frozenset({PIXELS, "caption.ids", "caption.targets"})
    losses: tuple[str, ...] = ("lm",)
    version = 2

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._says = config.decode == BEAM
        self._prompt = config.prompt
        self._beams = Beams(width=config.beams, shortest=config.shortest, longest=config.longest)
        tokenizer = usual_tokenizer() if config.tokenizer == "auto" else config.tokenizer
        jar = "" if config.spice is None else str(user_path(config.spice).absolute())
        self._scores = CaptionMetrics(tokenizer=tokenizer, spice=jar)
        if self._says:
            self.metrics = (TOKEN_ACCURACY, *self._scores.names)
            self.counts = self._scores.names[0]

    def settled(self) -> dict[str, Any]:
        """Return the tokeniser, and where the jar is."""
        if not self._says:
            return {}
        return {"tokenizer": self._scores.tokenizer} | (
            {"spice": self._scores.spice} if self._scores.spice else {}
        )

    def machine_lack(self) -> str | None:
        """Return what is missing to score captions that are said whole."""
        return self._scores.lack() if self._says else None

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of caption tokens that are predicted right from those before them; {} without captions.

        A token that stands for an unknown word is never right. Of captions that are said whole, their metrics, too.

        Raises:
            ResourceError: this machine lacks what scores them.
        """

        unknown = unknown_of(pool.split)

        def count(batch: Batch, signals: Signals) -> tuple[Tensor, Tensor]:
            ids, real = batch["caption.ids"], batch["caption.targets"][:, :-1]
            hit = (signals[LOGITS][:, :-1].argmax(-1) == ids[:, 1:]) & (ids[:, 1:] != unknown)
            return (hit & real).sum(), real.sum()

        right, total = pool.counted(CAPTION, frozenset({LOGITS}), count) or (0, 0)
        found = {TOKEN_ACCURACY: 100.0 * right / total} if total else {}
        return found | self._scored(pool) if self._says and total else found

    def _scored(self, pool: Pool) -> dict[str, float]:
        """Return the metrics of one caption for each picture that has some, against all of its own as the data has them."""
        said, table = self.captions(pool), pool.split.tables[CAPTION]
        texts = pool.split.references
        if self._scores.tokenizer == PLAIN:
            # such figures are no published ones: both sides are spelled alike, whatever joins words and signs
            assert pool.split.tokenizer is not None
            texts = pool.split.tokenizer.respelled(texts)
        references = [[texts[row] for row in table.rows_of(picture)] for picture in pool.pictures.tolist()]
        asked = [(one, own) for one, own in zip(said, references, strict=True) if own]

        def scores() -> list[float]:
            if lack := self.machine_lack():
                raise ResourceError(f"tasks.captioning: {lack}")
            return self._scores.measured([one for one, _ in asked], [own for _, own in asked])

        return dict(zip(self._scores.names, pool.first(scores, len(self._scores.names)), strict=True))

    def captions(self, pool: Pool) -> list[str]:
        """Return what a model says of each picture by beam search, without the prompt.

        Raises:
            PluginError: the prompt leaves no room.
        """
        tokenizer = pool.split.tokenizer
        assert tokenizer is not None  # there are captions in ids
        prompt = tokenizer.prompt()
        if self._prompt and self._prompt != tokenizer.words:
            if tokenizer.words:
                raise PluginError(
                    f"tasks.captioning.prompt: got {self._prompt!r}, and students are trained with {tokenizer.words!r}; allowed: "
                    "the same. Leave it out: the prompt of the teacher is taken."
                )
            prompt = [*prompt, *self._begun(tokenizer)]
        longest = min(self._beams.longest, tokenizer.max_tokens)
        if len(prompt) >= longest:
            raise PluginError(
                f"tasks.captioning.prompt: got {self._prompt!r}, {len(prompt)} tokens with [DEC]; allowed: fewer than {longest}. "
                "Shorten it, or raise longest."
            )
        decoder = Decoder(
            model=pool.model,
            logits=LOGITS,
            rows=CAPTION,
            vocabulary=tokenizer.vocabulary,
            longest=tokenizer.max_tokens,
        )

        def ask(pixels: Tensor, rows: np.ndarray) -> list[list[int]]:
            return beam_search(decoder, [prompt] * len(pixels), pixels, self._beams)

        rows = said(pool, PICTURE, ask, longest)
        return [tokenizer.decode(row) for row in rows]

    def _begun(self, tokenizer: Tokenizer) -> list[int]:
        """Return the ids of the prompt.

        Raises:
            PluginError: a word of it is not known, or it is too long.
        """
        try:
            return tokenizer.prompting(self._prompt).begun
        except TeacherError as error:
            raise PluginError(f"tasks.captioning.{error}") from error

    def remark(self) -> str | None:
        """Return how captions are said and scored, where they are said whole."""
        if not self._says:
            return None
        b, jar = self._beams, f", SPICE by {Path(self._scores.spice).name}" if self._scores.spice else ""
        prompt = f"prompt {self._prompt!r}" if self._prompt else "the teacher's prompt if it has one"
        words = "by the Penn Treebank tokeniser, METEOR, too"
        if self._scores.tokenizer == PLAIN:
            words = "plainly and not by the Penn Treebank tokeniser, so that figures are no published ones, without METEOR"
        return (
            f"says captions with {b.width} beams, {b.shortest} to {b.longest} tokens, {prompt}; words are taken "
            f"{words}{jar}; {self.counts} is what counts"
        )

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the share of the most frequent token: who says it always is right so often. Counted are whole captions.

        None of captions that are said whole: no level is known.
        """
        said = [] if self._says else rows.said(CAPTION)
        tokens, unknown = list(chain.from_iterable(said)), unknown_of(rows.split)
        known = [one for one in tokens if one != unknown]
        return Chance(level=most_frequent(known, total=len(tokens)), count=len(said)) if said else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and a decoder's pass for each token, of each beam where there are several."""
        steps, tokens = caption_steps(offers, self._beams.longest if self._says else None)
        repeats = steps * self._beams.width if self._says else steps
        return (Serving(mode="image"), Serving(mode="decoder", tokens=tokens, repeats=repeats))
