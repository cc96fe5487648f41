"""YAML 1.2 text to plain values, with the place of every value kept.

PyYAML speaks YAML 1.1: it reads `1e-3` as a string, `on` as true, `010` as 8, and keeps the last of two
equal keys. Here scalars follow the core schema of YAML 1.2.2 (section 10.3.2), equal keys are refused, and so
are tabs, tags and aliases.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

Path = tuple[str | int, ...]
DEEPEST = 40  # levels; reading them is recursive
LARGEST = 1_000_000  # characters, far more than any space; YAML is read at about a second per million
LONGEST = 400  # digits of a number
MOST = 100  # problems in one message

_SCALARS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)

_KINDS = ("null", "bool", "int", "float", "str")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own attribute; only its events are looked at


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Return True: an equal list is written twice, since aliases are refused on reading."""
        return True


class _Composer(Composer, Resolver):
    """Makes nodes out of events that were read already: to read the text is nearly all of the work."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def __init__(self, events: list[yaml.Event]) -> None:
        Composer.__init__(self)
        Resolver.__init__(self)
        self._events = events
        self._next = 0

    def check_event(self, *kinds: type[yaml.Event]) -> bool:
        """Return whether the next event is of one of these kinds, or of any."""
        if self._next == len(self._events):
            return False
        return not kinds or isinstance(self._events[self._next], kinds)

    def peek_event(self) -> yaml.Event:
        """Return the next event, and leave it."""
        return self._events[self._next]

    def get_event(self) -> yaml.Event:
        """Return the next event."""
        self._next += 1
        return self._events[self._next - 1]


for _tag, _pattern, _first in _SCALARS:
    _Composer.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)
    _Dumper.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)


def printed(text: str, most: int = 200) -> str:
    """Return a text of the user's as it can stand in a message: on one line, with what cannot be seen spelled out, not long."""
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[: most + 1]
    )
    return plain if len(plain) <= most else plain[: most - 3] + "..."


class Mark(NamedTuple):
    """A place: a file or flag, and the line in it (counted from 1) or None."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Problem(NamedTuple):
    """One thing that is wrong: its place, the dotted path of the field ("" for none), and what is wrong."""

    mark: Mark
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.mark}{', ' + printed(self.field) if self.field else ''}: {self.text}"


@dataclass
class Document:
    """What a YAML text says: plain values, a mark for each path, and what is wrong with its form."""

    source: str
    value: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, path: Sequence[str | int]) -> Mark:
        """Return the mark of `path`, or of the nearest part around it that stands in the text."""
        parts = tuple(path)
        while parts and parts not in self.marks:
            parts = parts[:-1]
        return self.marks.get(parts, Mark(self.source))

    def put(self, path: Path, value: Any, mark: Mark) -> None:
        """Set the value at `path`, making the mappings on the way; the whole subtree gets `mark`."""
        if not isinstance(self.value, dict):
            self.value = {}
        here = self.value
        for part in path[:-1]:
            if not isinstance(here.get(part), dict):
                here[part] = {}
            here = here[part]
        here[path[-1]] = value
        for known in [known for known in self.marks if known[: len(path)] == path]:
            del self.marks[known]
        for length in range(1, len(path)):
            self.marks.setdefault(path[:length], mark)
        self.marks[path] = mark


def in_order(problems: Iterable[str], source: str) -> tuple[str, ...]:
    """Return messages once each: those about a line of the file in its order, then all others.

    Args:
        problems: messages that begin with their place.
        source: the file, as marks name it.
    """

    def line(text: str) -> float:
        place = text[len(source) + 1 :] if text.startswith(f"{source}:") else ""
        digits = re.match(r"[0-9]+", place)
        return float(digits[0]) if digits else float("inf")

    found = sorted(dict.fromkeys(problems), key=line)
    rest = len(found) - MOST
    return (
        *found[:MOST],
        *([f"{source}: ... and {rest} more problems. Mend these first."] if rest > 0 else ()),
    )


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as messages show it; positions in a list are left to the line."""
    return ".".join(part for part in path if isinstance(part, str))


def _line(mark: Any) -> int | None:
    """Return the line of one of PyYAML's marks, counted from 1."""
    return mark.line + 1 if mark else None


def _scalar(tag: str, text: str) -> Any:
    """Return the value of a plain scalar of the core schema."""
    kind = tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        if len(text) > LONGEST:
            raise ValueError("too long to be meant")
        return int(text[2:], {"o": 8, "x": 16}[text[1]]) if text[:2] in ("0o", "0x") else int(text)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _convert(node: yaml.Node, path: Path, document: Document, *, flag: Mark | None) -> Any:
    """Return the plain value of a node; note marks and problems in `document`."""
    mark = flag or Mark(document.source, _line(node.start_mark))
    document.marks.setdefault(path, mark)
    if isinstance(node, yaml.ScalarNode):
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _KINDS:
            text = f"got the tag {printed(node.tag)!r}; allowed: plain values. Remove the tag."
            document.problems.append(Problem(mark, dotted(path), text))
            return node.value
        try:
            return _scalar(node.tag, node.value)
        except ValueError:
            text = f"got {node.value[:40]!r} as a number; allowed: a number of ordinary length. Write it out."
            document.problems.append(Problem(mark, dotted(path), text))
            return None
    if isinstance(node, yaml.SequenceNode):
        return [_convert(part, (*path, i), document, flag=flag) for i, part in enumerate(node.value)]
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        here = flag or Mark(document.source, _line(key_node.start_mark))
        if key in values:
            first = document.marks[(*path, key)]
            text = f"got this key a second time (first at {first}); allowed: each key once. Delete one."
            document.problems.append(Problem(here, dotted((*path, key)), text))
        document.marks[(*path, key)] = here
        values[key] = _convert(value_node, (*path, key), document, flag=flag)
    return values


def _events(text: str, source: str) -> tuple[list[yaml.Event], list[Problem]]:
    """Return the events of a text, and a problem for each alias, since one could hold itself, and for values too deep to be
    read by recursion."""
    events: list[yaml.Event] = []
    problems: list[Problem] = []
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        events.append(event)
        mark = Mark(source, _line(event.start_mark))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            return events, [*problems, Problem(mark, "", too_deep())]
        if isinstance(event, yaml.AliasEvent):
            told = f"got the alias *{printed(str(event.anchor))}; allowed: plain values. Write the value out."
            problems.append(Problem(mark, "", told))
    return events, problems


def too_deep() -> str:
    """Return the message for values inside values inside values."""
    return f"got more than {DEEPEST} levels; allowed: up to {DEEPEST}. Write it flatter."


def _tabs(text: str, source: str) -> list[Problem]:
    """Return a problem for each line with a tab: YAML forbids most of them, and they cannot be seen."""
    return [
        Problem(Mark(source, number), "", "got a tab; allowed: spaces. Replace the tab with spaces.")
        for number, line in enumerate(text.split("\n"), start=1)
        if "\t" in line
    ]


def _syntax(error: yaml.YAMLError, source: str) -> Problem:
    """Return the problem of a text that is not YAML."""
    if isinstance(error, yaml.MarkedYAMLError):
        at = error.problem_mark or error.context_mark
        said = error.problem or error.context
        advice = "allowed: `key: value` lines and lists. Look at this line and the one before it."
        return Problem(Mark(source, _line(at)), "", f"got text that is not YAML ({said}); {advice}")
    return Problem(
        Mark(source), "", f"got text that is not YAML ({error}); allowed: printable UTF-8. Save it so."
    )


def read_document(text: str, source: str, *, flag: bool = False) -> Document:
    """Return what a YAML 1.2 text says; what is wrong with its form stands in `problems`.

    Args:
        text: the YAML.
        source: file or flag, for the marks.
        flag: whether `source` is a command-line flag, which has no lines.
    """
    document = Document(source)
    if len(text) > LARGEST:
        told = f"got {len(text):,} characters; allowed: up to {LARGEST:,}. Write ranges, or fewer options."
        document.problems = [Problem(Mark(source), "", told)]
        return document
    one = Mark(source) if flag else None
    document.problems = _tabs(text, source)
    node = None
    try:
        if not document.problems:
            events, document.problems = _events(text, source)
            node = _Composer(events).get_single_node() if not document.problems else None
    except yaml.YAMLError as error:
        document.problems = [_syntax(error, source)]
    if flag:
        document.problems = [problem._replace(mark=Mark(source)) for problem in document.problems]
        rest = text[node.end_mark.index if node is not None else 0 :].strip()
        if (
            rest.startswith("#") and not document.problems
        ):  # nobody comments on a flag: it is a part of a name, cut off
            told = f"got {printed(rest[:40])!r} behind the value, which YAML takes for a comment; allowed: a value alone."
            told += f" Put the whole value into quotes: '\"{printed(text.strip()[:40])}\"'."
            document.problems = [Problem(Mark(source), "", told)]
    if node is not None:
        document.value = _convert(node, (), document, flag=one)
    return document


def write_document(value: Any) -> str:
    """Return YAML text that `read_document` reads back to the same value."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return text
