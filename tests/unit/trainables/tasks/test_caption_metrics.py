"""Figures of captions: those of pycocoevalcap's scorers, worked by hand where that can be done, and what is told without them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from spaces.errors import ResourceError
from tests.house.tree import ROOT
from trainables.tasks import caption_metrics as module
from trainables.tasks.caption_metrics import CaptionMetrics, ptb_words, usual_tokenizer
from trainables.tasks.words import parted, plain_words

SAID = ["a red ring above a blue star", "a dog's ball", "two cats, sleeping", ""]
TRUE = [
    ["A red ring above a blue star.", "there is a ring"],
    ["the dog plays with a ball", "A ball!", "a dog"],
    ["two cats are sleeping - on a sofa"],
    ["nothing, nothing at all"],
]
HAS_JAVA = usual_tokenizer() == "ptb"


def named(metrics: CaptionMetrics, said: list[str], true: list[list[str]]) -> dict[str, float]:
    return dict(zip(metrics.names, metrics.measured(said, true), strict=True))


def theirs(said: list[str], true: list[list[str]]) -> dict[str, float]:
    """Return what the scorers say of texts whose words stand between blanks."""
    gts, res = dict(enumerate(true)), {place: [text] for place, text in enumerate(said)}
    return {
        "cider": 100 * Cider().compute_score(gts, res)[0],
        "bleu_4": 100 * Bleu(4).compute_score(gts, res, verbose=0)[0][3],
        "rouge_l": 100 * Rouge().compute_score(gts, res)[0],
    }


def test_plain_words_are_letters_digits_and_inner_apostrophes() -> None:
    assert plain_words("A dog's ball, 2 cats - and me!") == ["a", "dog's", "ball", "2", "cats", "and", "me"]
    assert plain_words(" ...\n") == []
    assert plain_words("Ein GRÜNER Kreis") == ["ein", "grüner", "kreis"]


def test_plain_figures_are_those_of_the_scorers_under_other_names() -> None:
    found = named(CaptionMetrics(tokenizer="plain"), SAID, TRUE)
    words = [" ".join(plain_words(text)) for text in SAID]
    expected = theirs(words, [[" ".join(plain_words(text)) for text in own] for own in TRUE])
    assert found == {f"{name}_plain": pytest.approx(value) for name, value in expected.items()}
    assert found["cider_plain"] > 0


def test_worked_by_hand() -> None:
    """Of 4 words 3 stand in the reference's order; beside it a picture whose caption is the reference itself."""
    found = named(
        CaptionMetrics(tokenizer="plain"),
        ["a ring is red", "two green stars near one"],
        [["a ring is blue"], ["two green stars near one"]],
    )
    assert found["rouge_l_plain"] == pytest.approx(
        100 * (0.75 + 1.0) / 2
    )  # precision and recall are both 3/4
    # n-grams of the same length as the reference's: 8 of 9 words, 6 of 7 pairs, 4 of 5 triples, 2 of 3 fours
    assert found["bleu_4_plain"] == pytest.approx(100 * (8 / 9 * 6 / 7 * 4 / 5 * 2 / 3) ** 0.25)
    # every n-gram is in one reference, so that all weigh log 2: cosines 3/4, 2/3, 1/2 and 0, and 1 of the other picture
    assert found["cider_plain"] == pytest.approx(1000 * ((3 / 4 + 2 / 3 + 1 / 2 + 0) / 4 + 1) / 2)


@pytest.mark.java
@pytest.mark.skipif(not HAS_JAVA, reason="needs Java")
def test_the_words_of_published_figures_are_those_of_its_own_class() -> None:
    texts = [
        "A man's dog, on the -LRB- left...",
        "can't stop",
        "",
        "x " * 300,
        "naïve café ☕",
        "a\u2028b",
        'Two (2) cats; "Tom"',
    ]
    one_line = [" ".join(text.split()) for text in texts]
    said = {place: [{"caption": text}] for place, text in enumerate(one_line)}
    assert ptb_words(one_line) == [one[0] for one in PTBTokenizer().tokenize(said).values()]


@pytest.mark.java
@pytest.mark.skipif(not HAS_JAVA, reason="needs Java")
def test_published_figures_are_those_of_the_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    """METEOR takes seconds to start: it is asked once, of captions that are a reference each, of which it says 1.

    Where numbers have a decimal comma, too, which its Java program would read and write.
    """
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")
    said = [own[-1] for own in TRUE]
    found = named(CaptionMetrics(tokenizer="ptb"), said, TRUE)
    expected = theirs(ptb_words(said), [ptb_words(own) for own in TRUE])
    assert found == {name: pytest.approx(value) for name, value in expected.items()} | {
        "meteor": pytest.approx(100.0)
    }
    assert os.environ["JAVA_TOOL_OPTIONS"] == "-Duser.language=de -Duser.country=DE"


def test_a_meteor_that_fails_is_one_message_and_ends(tmp_path: Path) -> None:
    """In a process of its own: its class waits for its own lock where it is deleted, in other words for ever."""
    java_program = tmp_path / "java"
    java_program.write_text("#!/bin/sh\nexit 1\n")
    java_program.chmod(0o755)
    code = "from trainables.tasks.caption_metrics import _meteor; _meteor({0: ['a']}, {0: ['a']})"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "ResourceError: tasks.captioning: METEOR's Java program ended early" in ended.stderr


def test_words_keep_their_marks_and_chinese_characters_are_words() -> None:
    assert plain_words("एक नीला कुत्ता, cafe\u0301!") == ["एक", "नीला", "कुत्ता", "cafe\u0301"]
    assert plain_words(parted("一只红色的狗 x2")) == [*"一只红色的狗", "x2"]
    assert plain_words("'tis a dog's -- 'n rock_n_roll’s") == ["tis", "a", "dog's", "n", "rock_n_roll’s"]


def java(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called java before all others."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_spice_is_read_from_the_jar_that_the_user_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = tmp_path / "spice-1.0.jar"
    jar.touch()
    scores = [{"image_id": n, "scores": {"All": {"f": f}}} for n, f in enumerate((0.25, 0.75, float("nan")))]
    (tmp_path / "answer").write_text(json.dumps(scores))
    # java -D... -D... -jar -Xmx8G JAR IN -out OUT ...
    java(
        tmp_path,
        f'[ "$5" = "{jar}" ] && cp "$6" "{tmp_path}/asked" && cp "{tmp_path}/answer" "$8"',
        monkeypatch,
    )
    assert module.spice(jar, {0: ["a b"], 1: ["c"], 2: ["d"]}, {0: ["a"], 1: ["c"], 2: ["e"]}) == 0.5
    assert json.loads((tmp_path / "asked").read_text())[0] == {"image_id": 0, "test": "a", "refs": ["a b"]}
    java(tmp_path, "exit 0", monkeypatch)
    with pytest.raises(ResourceError, match=r"tasks\.captioning\.spice: .*spice-1\.0\.jar gave no scores"):
        module.spice(jar, {0: ["a"]}, {0: ["a"]})


def test_a_java_that_fails_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java(tmp_path, "echo 'no such\n  class' >&2; exit 3", monkeypatch)
    with pytest.raises(
        ResourceError, match=r"`java -cp .*` failed \(no such class\)\. Mend that, or set tokenizer: plain"
    ):
        ptb_words(["a"])
    java(tmp_path, "echo one line", monkeypatch)
    with pytest.raises(ResourceError, match="gave 2 lines of 3 captions"):
        ptb_words(["a", "b", "c"])


def test_what_this_machine_lacks_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CaptionMetrics(tokenizer="plain").lack() is None
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert usual_tokenizer() == "plain"
    assert CaptionMetrics(tokenizer="plain").lack() is None
    assert "there is no `java` on the PATH" in str(CaptionMetrics(tokenizer="ptb").lack())
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/java")
    assert usual_tokenizer() == "ptb"
    assert CaptionMetrics(tokenizer="ptb").lack() is None
    gone = CaptionMetrics(tokenizer="ptb", spice=str(tmp_path / "gone.jar"))
    assert "gone.jar is no file; allowed: the path of spice-1.0.jar" in str(gone.lack())
    assert gone.names[-1] == "spice"
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "pip install -e '.[caption]'" in str(CaptionMetrics(tokenizer="plain").lack())
