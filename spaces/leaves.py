"""What a single field holds: a literal that its rule allows, a domain of such literals, or options at any depth."""

from typing import Any, NoReturn

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from spaces.conditions import Condition
from spaces.domains import Choice, Domain, Float, Int, Log, identity, is_number, relative
from spaces.plugins import listed, meant, near
from spaces.rules import Number, Option, Refused, Rule, Word, show

KINDS = ("choice", "int", "float", "log")
OPTIONAL = ("zero", "default", "when")  # null counts as absent
KEYS = (*KINDS, *OPTIONAL)
PROBLEMS = "space_problems"
DOTTED = "got a key with a dot; allowed: options below one another. Write `a: {b: ...}` for `a.b`."
_NAMES = "a list of names, or a mapping name: options"

# One problem inside a field: the part of the field it is about, and the text without its place.
Finding = tuple[tuple[str | int, ...], str]


def fixed(rule: Rule) -> PlainValidator:
    """Return the pydantic validator of a field that takes literals only."""

    def validate(value: Any) -> Any:
        if is_domain(value):
            stop([((), _fixed_only(rule.allowed()))])
        return _literal(rule, value)

    return PlainValidator(validate)


def searched(rule: Rule) -> PlainValidator:
    """Return the pydantic validator of a field that takes a literal or a domain."""

    def validate(value: Any) -> Any:
        return _Reading(rule).domain(value) if isinstance(value, dict) else _literal(rule, value)

    return PlainValidator(validate)


def option(*, searched: bool) -> PlainValidator:
    """Return the pydantic validator of an option of a plug-in: a literal, a domain of literals if it may be
    searched, or a mapping of options at any depth."""

    def validate(value: Any) -> Any:
        findings: list[Finding] = []
        kept = _option(value, (), findings=findings, searched=searched)
        if findings:
            stop(findings)
        return kept

    return PlainValidator(validate)


def chosen() -> PlainValidator:
    """Return the pydantic validator of plug-ins by name, a list of names or a mapping name: options; kept as the latter."""

    def validate(value: Any) -> Any:
        if value is None:
            return None
        if is_domain(value):
            stop([((), _fixed_only(_NAMES))])
        if not isinstance(value, list | dict) or not value:
            stop([((), f"got {show(value)}; allowed: {_NAMES}. Write [a, b], or drop the key.")])
        findings: list[Finding] = []
        kept = _chosen(value, findings)
        if findings:
            stop(findings)
        return kept

    return PlainValidator(validate)


def within(domain: Domain) -> str:
    """Return the words for `allowed: ...` of a value that a domain must hold."""
    if isinstance(domain, Choice):
        return f"one of {listed(map(show, domain.corners()))}"
    low, high, *zero = map(show, domain.corners())
    return f"a value from {low} to {high}{', or 0' if zero else ''}"


def stop(findings: list[Finding]) -> NoReturn:
    raise PydanticCustomError(PROBLEMS, "{count} problems", {"count": len(findings), "findings": findings})


def _literal(rule: Rule, value: Any) -> Any:
    try:
        return rule.read(value)
    except Refused as refused:
        stop([((), str(refused))])


def is_domain(value: Any) -> bool:
    """Return whether a mapping is meant as a domain: it has one of their kinds, or nothing but what stands in one."""
    if not isinstance(value, dict):
        return False
    return any(kind in value for kind in KINDS) or (bool(value) and all(key in KEYS for key in value))


def _fixed_only(allowed: str) -> str:
    return f"got a domain; allowed: {allowed}. This field cannot be searched: write one value."


def _chosen(value: list[Any] | dict[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """Return name -> options; note in `findings` all that is wrong with them."""
    kept: dict[str, Any] = {}
    for place, name in enumerate(value):
        part = (place,) if isinstance(value, list) else (name,)
        options = value[name] if isinstance(value, dict) else None
        options = {} if options is None else options
        if not isinstance(name, str) or not name.strip():
            findings.append((part, f"got {show(name)}; allowed: a text that is not empty. Write a name."))
        elif name in kept:
            findings.append((part, f"got {show(name)} twice; allowed: each name once. Delete one."))
        elif not isinstance(options, dict) or is_domain(options):
            got = "a domain" if isinstance(options, dict) else show(options)
            findings.append((part, f"got {got}; allowed: a mapping of options. Write {{}} for none."))
        else:
            kept[name] = _option(options, part, findings=findings, searched=False)
    return kept


def _option(value: Any, part: tuple[str | int, ...], *, findings: list[Finding], searched: bool) -> Any:
    """Return an option as it is kept; note in `findings` all that is wrong with it."""
    try:
        if not isinstance(value, dict):
            return _literal(Option(), value)
        if is_domain(value):
            if searched:
                return _Reading(Option()).domain(value)
            stop([((), _fixed_only(Option().allowed()))])
    except PydanticCustomError as error:
        findings += [((*part, *inner), text) for inner, text in (error.context or {})["findings"]]
        return None
    kept = {}
    for key, inner in value.items():
        if "." in key:
            findings.append(((*part, key), DOTTED))
        kept[key] = _option(inner, (*part, key), findings=findings, searched=searched)
    return kept


class _Reading:
    """The reading of one domain; everything that is wrong with it is found before it stops."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.findings: list[Finding] = []

    def note(self, part: tuple[str | int, ...], text: str) -> None:
        """Remember one problem."""
        self.findings.append((part, text))

    def accepts(self, part: tuple[str | int, ...], value: Any) -> bool:
        """Return whether the rule allows a value; note why not."""
        try:
            self.rule.read(value)
        except Refused as refused:
            self.note(part, str(refused))
            return False
        return True

    def domain(self, spec: dict[str, Any]) -> Domain:
        """Return the domain that a mapping describes.

        Raises:
            PydanticCustomError: all that is wrong with it.
        """
        spec = {key: value for key, value in spec.items() if value is not None or key not in OPTIONAL}
        kinds = [key for key in spec if key in KINDS]
        misspelt = False  # a kind: that there is none is then told already
        for key in spec:
            guess = near(key, KEYS)
            if key not in KEYS and (kinds or guess):  # else it is no domain at all, as is told below
                hint = meant(key, KEYS, "Delete it.", quoted=False)
                self.note((key,), f"got an unknown key; allowed: {', '.join(KEYS)}. {hint}")
                misspelt = misspelt or guess in KINDS
        if not kinds and misspelt:
            stop(self.findings)
        if len(kinds) != 1:
            got = " and ".join(kinds) if kinds else f"the keys {listed(spec, none='(none)')}"
            allowed = f"{self.rule.allowed()}, or a domain with exactly one of {', '.join(KINDS)}"
            self.note((), f"got {got}; allowed: {allowed}. Keep one, as in {{choice: [a, b], default: a}}.")
            stop(self.findings)
        kind = kinds[0]
        zero, when = self.zero(spec), self.when(spec)
        parts = self.choice(spec[kind]) if kind == "choice" else self.range(kind, spec[kind])
        if parts is None:
            stop(self.findings)
        domain = {"choice": Choice, "int": Int, "float": Float, "log": Log}[kind](**parts)
        if zero:
            self.check_zero(domain)
            domain = type(domain)(**parts, zero=zero)
        if "default" in spec:
            parts["default"] = self.default(domain, spec["default"])
        if self.findings:
            stop(self.findings)
        return type(domain)(**parts, zero=zero, when=when)

    def when(self, spec: dict[str, Any]) -> tuple[Condition, ...]:
        """Return what must hold for the domain to count; whether the space has such paths is checked later."""
        given = spec.get("when", {})
        if not isinstance(given, dict) or ("when" in spec and not given):
            allowed = "a mapping, searched path: value, list of values, or {not: value}"
            self.note(("when",), f"got {show(given)}; allowed: {allowed}. Write {{student.kind: a}}.")
            return ()
        conditions = []
        for path, wanted in given.items():
            negated = isinstance(wanted, dict) and list(wanted) == ["not"]
            inner = wanted["not"] if negated else wanted
            values = inner if isinstance(inner, list) else [inner]
            if not values or any(isinstance(value, list | dict) or value is None for value in values):
                allowed = "a value, a list of values, or {not: value}"
                self.note(("when", path), f"got {show(wanted)}; allowed: {allowed}. Write `path: value`.")
            else:
                conditions.append(Condition(path=path, values=tuple(values), negated=negated))
        return tuple(conditions)

    def zero(self, spec: dict[str, Any]) -> float:
        """Return the probability of an exact zero, 0.0 for none."""
        zero = spec.get("zero", 0.0)
        if "zero" in spec and not (is_number(zero) and 0 < zero < 1):
            allowed = "a probability above 0 and below 1"
            self.note(("zero",), f"got {show(zero)}; allowed: {allowed}. Drop `zero` for never.")
            return 0.0
        return float(zero)

    def choice(self, options: Any) -> dict[str, Any] | None:
        """Return the fields of a Choice, or None with the findings."""
        if not isinstance(options, list) or not options:
            self.note(
                ("choice",), f"got {show(options)}; allowed: a list of at least one value. Write [a, b]."
            )
            return None
        kept: list[Any] = []
        seen = set()
        sound = True
        for i, option in enumerate(options):
            part = ("choice", i)
            if isinstance(option, list | dict) or option is None:
                self.note(part, f"got {show(option)} as an option; allowed: plain values. Write one value.")
                sound = False
            elif not self.accepts(part, option):
                sound = False
            elif identity(option) in seen:
                self.note(part, f"got {show(option)} twice; allowed: each option once. Delete one.")
                sound = False
            else:
                seen.add(identity(option))
                kept.append(self.rule.read(option))
        return {"options": tuple(kept)} if sound else None

    def range(self, kind: str, bounds: Any) -> dict[str, Any] | None:
        """Return the fields of an Int, Float or Log, or None with the findings."""
        reason = _range_problem(kind, self.rule, bounds)
        if reason:
            self.note((kind,), f"got {show(bounds)}; {reason}")
            return None
        if not all([self.accepts((kind, i), bound) for i, bound in enumerate(bounds)]):
            return None
        number = int if kind == "int" else float
        return {"low": number(bounds[0]), "high": number(bounds[1])}

    def check_zero(self, domain: Domain) -> None:
        """Note when 0 is not allowed in the field, or is in the domain already."""
        try:
            self.rule.read(0)
        except Refused:
            self.note(("zero",), f"got `zero`; allowed: {self.rule.allowed()}. Drop `zero`.")
            return
        if domain.contains(0):
            text = f"got `zero` beside a {domain.kind} that holds 0; allowed: one of the two. Drop `zero`."
            self.note(("zero",), text)

    def default(self, domain: Domain, default: Any) -> Any:
        """Return the default as it is kept; it must lie inside."""
        if domain.contains(default):
            return self.rule.read(default)
        self.note(("default",), f"got {show(default)}; allowed: {within(domain)}. Move the default inside.")
        return None


def _range_problem(kind: str, rule: Rule, bounds: Any) -> str | None:
    """Return what is wrong with the bounds of a range, or None."""
    if not isinstance(bounds, list) or len(bounds) != 2:
        return "allowed: two numbers, [low, high]. Write both."
    if any(relative(bound) is not None for bound in bounds):
        return "allowed: plain numbers; relative values go into a choice. Write {choice: [0.25x, 0.5x]}."
    if not all(is_number(bound) for bound in bounds):
        return "allowed: two numbers, [low, high]. Write plain numbers."
    if isinstance(rule, Word):
        return f"allowed: {rule.allowed()}. Use choice."
    if kind == "int" and any(bound != int(bound) for bound in bounds):
        return "allowed: whole numbers. Use float, or round the bounds."
    if kind != "int" and isinstance(rule, Number) and rule.whole:
        return f"allowed: {rule.allowed()}. Use int or choice."
    if kind == "log" and min(bounds) <= 0:
        return (
            "allowed: bounds above 0, since a logarithm has no 0. "
            "Raise the lower bound; add `zero: 0.2` if the field may also be exactly 0."
        )
    if bounds[0] > bounds[1]:
        return f"allowed: the lower bound first. Write [{bounds[1]}, {bounds[0]}]."
    if bounds[0] == bounds[1]:
        return f"allowed: two different bounds. Write the plain value {bounds[0]}."
    return None
