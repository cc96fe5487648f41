"""YAML 1.2: the core schema's own table (yaml.org/spec/1.2.2, section 10.3.2), marks, and what is refused."""

import math

import pytest

from spaces.document import read_document, write_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("010", 10),
        ("-7", -7),
        ("0o17", 15),
        ("0xff", 255),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("0.5x", "0.5x"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("[1e-3, no, 010]", [0.001, "no", 10]),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    got = read_document(f"key: {text}\n", "f").value["key"]
    assert got == value
    assert type(got) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(read_document("key: .NaN", "f").value["key"])


@pytest.mark.parametrize(
    "value", ["1e-3", "0o7", "010", "on", "null", "", "a: b", "true", "0.5x", 1e-05, 3.0, [1, "2"], None]
)
def test_what_is_written_reads_back_the_same(value: object) -> None:
    got = read_document(write_document({"key": {"inner": value}}), "f").value["key"]["inner"]
    assert got == value
    assert type(got) is type(value)


def test_an_equal_list_is_written_twice_without_alias() -> None:
    rungs = [1, 3]
    text = write_document({"a": rungs, "b": rungs})
    assert "*" not in text
    assert read_document(text, "f").value == {"a": [1, 3], "b": [1, 3]}


def test_marks_name_the_line_of_each_key_and_item() -> None:
    document = read_document("a: 1\nb:\n  c: 2\n  d:\n    - 5\n    - 6\n", "f.yaml")
    lines = {path: document.mark(path).line for path in [("a",), ("b",), ("b", "c"), ("b", "d", 1)]}
    assert lines == {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "d", 1): 6}


def test_the_mark_of_a_missing_path_is_that_of_its_parent() -> None:
    assert str(read_document("a: 1\nb:\n  c: 2\n", "f.yaml").mark(("b", "x", "y"))) == "f.yaml:2"


def test_every_duplicate_key_is_reported_with_both_lines() -> None:
    document = read_document("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yaml")
    assert [str(problem) for problem in document.problems] == [
        "f.yaml:2, b.c: got this key a second time (first at f.yaml:2); allowed: each key once. Delete one.",
        "f.yaml:3, a: got this key a second time (first at f.yaml:1); allowed: each key once. Delete one.",
    ]


def test_every_tab_is_reported_with_its_line() -> None:
    document = read_document("a:\n\tb: 1\nc:\t2\n", "f.yaml")
    assert [problem.mark.line for problem in document.problems] == [2, 3]
    assert str(document.problems[0]) == "f.yaml:2: got a tab; allowed: spaces. Replace the tab with spaces."


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: 1\nb: c: 2\n", 2, "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("a: &x 1\nb: *x\n", 2, "alias"),
        ("a: !!python/name:os.system\n", 1, "tag"),
        ("a: \x07\n", None, "printable"),
        ("a: !!int word\n", 1, "as a number"),
        (f"a: {'9' * 5000}\n", 1, "as a number"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, line: int | None, said: str) -> None:
    (problem,) = read_document(text, "f.yaml").problems
    assert problem.mark.line == line
    assert said in problem.text
