"""Whatever stands in a file or a setting: a space, or a told mistake with its place; no other exception, and soon."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from search.inputs.completed import completed
from search.inputs.plugin_checks import plugin_problems
from spaces.errors import SpaceError
from spaces.load import Override, dump_space, load_space, read_draft

pytestmark = [pytest.mark.properties, pytest.mark.timeout(3000)]  # a guard against hanging at 5,000 examples

SMALL = """\
name: small
teacher: {choice: [embedded, other/one], default: embedded}
dataset: {kind: scenes, train_images: 400, mismatched: 0.4}
student:
  kind: blip
  image: {width: {choice: [0.25x, 0.5x], default: 0.5x}, depth: {int: [1, 3]}}
  text: {width: 64, depth: 3, init: {choice: [random, inherit], default: random, when: {student.image.depth: [1, 2]}}}
  fusion: {layers: 2}
tasks: [retrieval, vqa]
losses:
  itc: {weight: 1.0}
  image_hidden:
    weight: {log: [2, 60], zero: 0.1, default: 20}
    tokens: {choice: [all, first], default: all}
training: {epochs: 9, pairs_per_epoch: 2000, batch_size: 64, lr: 1e-3}
objectives: {retention: max, params: min}
limits: {params: {max: 0.5x}}
search:
  searcher: {kind: evolution, population: 20}
  scheduler: {kind: moasha, rungs: [1, 3]}
  trials: 8
  start:
    - {student.image.depth: 2}
    - student: {image: {depth: 1}}
  stop: {plateau: {trials: 5}}
"""
KNOWN_TEXT = (
    "name teacher dataset student tasks allow_partial losses training objectives limits search evaluation resources "
    "teacher_cache kind file image_root train_images mismatched image text fusion width depth heads layers init embedding "
    "blip weight itc lm vqa image_hidden epochs pairs_per_epoch batch_size lr weight_decay params min max retention searcher "
    "scheduler rungs trials seed start stop plateau wall_hours choice int float log zero default when not retrieval"
)
KNOWN = KNOWN_TEXT.split()
WORDS = [
    *KNOWN,
    "scenes",
    "jsonl",
    "embedded",
    "random",
    "hyperopt",
    "moasha",
    "inherit",
    "0.5x",
    "1x",
    "student.kind",
]
ODD = [
    "", " ", "~", "null", "NaN", ".nan", "-.inf", "1e999", "0x" + "f" * 400, "9" * 5000, "9" * 30, "-0.0", "1e-400", "0o17",
    "2026-11-26", "2026-11-26 01:02:03", "!!binary aGk=", "!!python/object:os.system x", "&a [1]", "*a", "<<: {a: 1}", "? a",
    "- - -", "{", "[", "}", "]", ":", "#", "%", "@", "`", "|", ">", "'", '"', '"\\ud800"', '"\\0"', "\x00", "\ufeff", "\u2028",
    "\t", "\r\n", "\x85", "\x1b[31m", "іtc", "é", "e\u0301", "-", "_", "x" * 3000, "[" * 100, "{a: " * 60, "0" * 40 + "x",
    "99999999999999999999x", "1.x", ".5x", "-1x", "yes", "on", "true", "[1, 2]", "{}", "[]", "a.b", "..", ".", "1.5",
]  # fmt: skip
scalars = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(ODD),
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**400, 0, 1, 2, 3]),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=5),
    max_leaves=15,
)  # fmt: skip
sections = st.fixed_dictionaries({}, optional=dict.fromkeys(KNOWN[:14], values))
lines = st.lists(
    st.sampled_from(SMALL.splitlines()) | st.sampled_from(ODD) | st.text(max_size=12), max_size=40
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a space file that every example writes anew."""
    return tmp_path_factory.mktemp("any") / "space.yaml"


def check(file: Path, changes: Sequence[str | Override] = ()) -> None:
    """Load a file, and look at what can be made of it as a search does before it knows teacher and data."""
    try:
        draft = read_draft(file, changes)
    except SpaceError as error:
        problems, space = tuple(error.problems), None
        assert problems
    else:
        problems, space = draft.problems, draft.space
    assert problems or space is not None
    assert len(set(problems)) == len(problems)
    told = [*problems, *map(str, plugin_problems(space) if space is not None else ())]
    assert all(one.startswith((str(file), "--set", "overrides[")) for one in told), told
    assert all(len(one) < 5000 + len(str(file)) for one in told), told
    if space is not None and not told:
        whole = completed(space, ["retrieval"])
        file.write_text(dump_space(whole), encoding="utf-8")
        assert load_space(file) == whole


def write(file: Path, text: str) -> Path:
    """Write a text that may hold what UTF-8 has no bytes for."""
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return file


@given(text=st.text(st.characters(), max_size=200) | lines.map("\n".join))
def test_any_text_is_a_space_or_a_told_mistake(text: str, file: Path) -> None:
    check(write(file, text))


@given(value=sections)
def test_any_values_under_known_keys_are_a_space_or_a_told_mistake(value: dict[str, Any], file: Path) -> None:
    check(write(file, yaml.dump(value, allow_unicode=True)))


@given(data=st.data())
def test_a_sound_space_with_lines_swapped_lost_doubled_or_changed(data: st.DataObject, file: Path) -> None:
    text = SMALL.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.integers(0, len(text) - 1))
        match data.draw(st.sampled_from(["swap", "lose", "double", "value", "key", "cut"])):
            case "swap":
                text[place], text[other] = text[other], text[place]
            case "lose" if len(text) > 1:
                del text[place]
            case "double":
                text.insert(other, text[place])
            case "value":
                text[place] = (
                    text[place].partition(":")[0] + ": " + data.draw(st.sampled_from([*ODD, *WORDS]))
                )
            case "key":
                head, colon, rest = text[place].partition(":")
                indent = head[: len(head) - len(head.lstrip())]
                text[place] = indent + data.draw(st.sampled_from([*ODD, *WORDS])) + colon + rest
            case _:
                text[place] = text[place][: data.draw(st.integers(0, len(text[place])))]
    check(write(file, "\n".join(text)))


paths = st.lists(
    st.sampled_from(KNOWN) | st.sampled_from(ODD) | st.text(max_size=5), min_size=1, max_size=5
).map(".".join)
settings_ = st.one_of(
    st.text(max_size=30),
    st.builds("{}={}".format, paths, st.sampled_from([*ODD, *WORDS]) | st.text(max_size=20)),
    st.builds("{}={}".format, paths, values.map(lambda one: yaml.dump(one, default_flow_style=True))),
)  # fmt: skip


@given(changes=st.lists(settings_, min_size=1, max_size=3))
def test_any_setting_is_taken_or_told(changes: list[str], file: Path) -> None:
    write(file, SMALL)
    check(file, changes)


keys = st.sampled_from(WORDS) | st.text(max_size=4) | st.integers() | st.none()
foreign = st.recursive(
    scalars | st.just(datetime.timedelta(1)) | st.just({1, 2}) | st.just(1j) | st.just(object),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)  # fmt: skip


@given(path=paths, value=foreign)
def test_any_value_from_python_is_taken_or_told(path: str, value: Any, file: Path) -> None:
    write(file, SMALL)
    check(file, [Override(f"overrides[{path!r}]", path, value)])


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 1]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
        "a: " + "[" * 1000 + "]" * 1000,
        "a: " + "[" * 200_000,
        "- " * 100_000,
        "? " * 50_000,
        "{" * 30_000 + "}" * 30_000,
        "a" * 2_000_000 + ": 1",
        "seed: " + "9" * 2_000_000,
        "seed: 0x" + "f" * 2_000_000,
        "\n".join(f"k{number}: 1" for number in range(3_000)),
        "losses: {" + ", ".join(f"l{number}: {{weight: 1}}" for number in range(300)) + "}",
        "training: {lr: {choice: [" + ", ".join(map(str, range(1, 3_000))) + "]}}",
    ],
    ids=["billion laughs", "brackets", "open", "dashes", "marks", "braces", "key", "int", "hex", "keys", "losses", "options"],
)  # fmt: skip
def test_large_texts_are_told_soon(text: str, file: Path) -> None:
    check(write(file, text))
