"""How near captions are to references: pycocoevalcap's own scorers, on words that one of two tokenisers makes.

Published figures are of the Penn Treebank tokeniser, a Java program that comes with pycocoevalcap, as METEOR does. Where there
is no Java, words are taken plainly; such figures bear other names (`cider_plain`), since they are not those of a paper.
"""

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spaces.errors import ResourceError
from spaces.files import write_text
from trainables.tasks.words import composed, parted, plain_words

PACKAGE, JAVA = "pycocoevalcap", "java"
PTB, PLAIN = "ptb", "plain"
SCORES = ("cider", "bleu_4", "rouge_l")  # that need no Java; the first is what papers compare by
METEOR, SPICE = "meteor", "spice"
JAVA_OPTIONS, ENGLISH = "JAVA_TOOL_OPTIONS", ("-Duser.language=en", "-Duser.country=US")
SPICE_MEMORY = "-Xmx8G"  # as pycocoevalcap asks for
PTB_COMMAND = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")


def usual_tokenizer() -> str:
    """Return the tokeniser that this machine can run: that of published figures where there is Java."""
    return PLAIN if shutil.which(JAVA) is None else PTB


@dataclass(frozen=True, kw_only=True)
class CaptionMetrics:
    """What is measured.

    Attributes:
        tokenizer: `ptb` or `plain`.
        spice: the jar of SPICE 1.0, with its libraries in `lib` beside it; "" for none.
    """

    tokenizer: str
    spice: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What the metrics are called, in the order of `measured`."""
        if self.tokenizer == PLAIN:
            return tuple(f"{name}_{PLAIN}" for name in SCORES)
        return (*SCORES, METEOR, *([SPICE] if self.spice else []))

    def lack(self) -> str | None:
        """Return what of it this machine lacks and what to do, or None."""
        if find_spec(PACKAGE) is None:
            return (
                f"captions are scored by the package {PACKAGE}, which is not installed. Install the extra: "
                "pip install -e '.[caption]', or set decode: teacher_forced."
            )
        if self.tokenizer == PTB and shutil.which(JAVA) is None:
            return (
                "tokenizer: got ptb, which is a Java program, and there is no `java` on the PATH. Install a Java runtime, or set "
                "tokenizer: plain."
            )
        if self.spice and not Path(self.spice).is_file():
            return f"spice: {self.spice} is no file; allowed: the path of spice-1.0.jar. Give it, or leave it out."
        return None

    def measured(self, said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """Return the metrics of captions, each a hundred times the scorer's, as papers print them; CIDEr may exceed 100.

        Args:
            said: a caption of each picture.
            references: the true captions of each, one or more.

        Raises:
            ResourceError: a program of Java's failed.
        """
        owners = [place for place, own in enumerate(references) for _ in own]
        words = self._words([*said, *(text for own in references for text in own)])
        res = {place: [text] for place, text in enumerate(words[: len(said)])}
        gts: dict[int, list[str]] = {place: [] for place in res}
        for place, text in zip(owners, words[len(said) :], strict=True):
            gts[place].append(text)
        found = [_cider(gts, res), _bleu(gts, res), _rouge(gts, res)]
        if self.tokenizer == PTB:
            found.append(_meteor(gts, res))
            if self.spice:
                found.append(spice(Path(self.spice), gts, res))
        return [100.0 * one for one in found]

    def _words(self, texts: list[str]) -> list[str]:
        """Return the words of each text with a blank between."""
        one_line = [" ".join(parted(composed(text)).split()) for text in texts]
        return ptb_words(one_line) if self.tokenizer == PTB else [" ".join(plain_words(t)) for t in one_line]


def ptb_words(texts: list[str]) -> list[str]:
    """Return the words of texts without line breaks by pycocoevalcap's Penn Treebank tokeniser, its punctuation left out.

    Its jar is run, and not its Python class, which writes into the folder of the package.

    Raises:
        ResourceError: Java failed.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer as theirs

    jar = Path(theirs.__file__).parent / theirs.STANFORD_CORENLP_3_4_1_JAR
    told = "".join(f"{text}\n" for text in texts)
    lines = _java(["-cp", str(jar), *PTB_COMMAND], told=told).split("\n")[: len(texts)]
    if len(lines) < len(texts):
        raise ResourceError(
            f"tasks.captioning: the tokeniser gave {len(lines):,} lines of {len(texts):,} captions. Set tokenizer: plain."
        )
    left_out = set(theirs.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in left_out) for line in lines]


def spice(jar: Path, gts: dict[int, list[str]], res: dict[int, list[str]]) -> float:
    """Return the mean F of SPICE (Anderson et al. 2016) over pictures, those left out that it cannot score.

    Raises:
        ResourceError: Java or its jar failed.
    """
    asked = [{"image_id": place, "test": res[place][0], "refs": gts[place]} for place in sorted(res)]
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "captions.json", Path(folder) / "scores.json"
        write_text(given, json.dumps(asked))
        _java(
            ["-jar", SPICE_MEMORY, str(jar), str(given), "-out", str(found), "-subset", "-silent"],
            cwd=jar.parent,
        )
        try:
            scores = [one["scores"]["All"]["f"] for one in json.loads(found.read_text(encoding="utf-8"))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResourceError(
                f"tasks.captioning.spice: {jar} gave no scores ({error}). Leave it out."
            ) from error
    known = [float(one) for one in scores if isinstance(one, int | float) and not math.isnan(one)]
    return sum(known) / len(known) if known else math.nan


def _java(arguments: list[str], *, told: str = "", cwd: Path | None = None) -> str:
    """Run Java and return what it prints.

    Raises:
        ResourceError: it cannot be started, or fails.
    """
    try:
        ran = subprocess.run(
            [JAVA, *ENGLISH, *arguments], input=told, capture_output=True, encoding="utf-8", cwd=cwd
        )
    except OSError as error:
        raise ResourceError(
            f"tasks.captioning: `{JAVA}` cannot be run ({error}). Set tokenizer: plain."
        ) from error
    if ran.returncode:
        why = re.sub(r"\s+", " ", ran.stderr)[-300:].strip() or f"exit code {ran.returncode}"
        raise ResourceError(
            f"tasks.captioning: `{JAVA} {' '.join(arguments[:3])} ...` failed ({why}). Mend that, or "
            f"{'leave spice out' if '-jar' in arguments else 'set tokenizer: plain'}."
        )
    return ran.stdout


@contextmanager
def _in_english() -> Iterator[None]:
    """Let Java programs that are started inside read and write numbers with a point, whatever this machine's language is."""
    before = os.environ.get(JAVA_OPTIONS)
    os.environ[JAVA_OPTIONS] = " ".join(filter(None, (before, *ENGLISH)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[JAVA_OPTIONS]
        else:
            os.environ[JAVA_OPTIONS] = before


def _cider(gts: Any, res: Any) -> float:
    """Return CIDEr-D (Vedantam et al. 2015) over the pool's own references."""
    from pycocoevalcap.cider.cider import Cider

    return float(Cider().compute_score(gts, res)[0])


def _bleu(gts: Any, res: Any) -> float:
    """Return BLEU-4 (Papineni et al. 2002) of the corpus, the closest reference's length counting."""
    from pycocoevalcap.bleu.bleu import Bleu

    return float(Bleu(4).compute_score(gts, res, verbose=0)[0][3])


def _rouge(gts: Any, res: Any) -> float:
    """Return ROUGE-L (Lin 2004)."""
    from pycocoevalcap.rouge.rouge import Rouge

    return float(Rouge().compute_score(gts, res)[0])


def _meteor(gts: Any, res: Any) -> float:
    """Return METEOR 1.5 (Denkowski and Lavie 2014).

    Raises:
        ResourceError: its program ended early.
    """
    from pycocoevalcap.meteor.meteor import Meteor

    with _in_english():
        scorer = Meteor()
    try:
        return float(scorer.compute_score(gts, res)[0])
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"tasks.captioning: METEOR's Java program ended early ({error}). Mend Java (it takes 2 GB), or set tokenizer: plain."
        ) from error
    finally:
        if scorer.lock.locked():
            scorer.lock.release()  # its class keeps it where it fails, and waits for it for ever when it is deleted
        with scorer.meteor_p as program:  # which its class ends, but leaves its pipes open
            program.kill()
