"""Which searched values count where: what follows from kinds and weights, and what a domain's own `when` adds."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from spaces.conditions import Condition, Conditions, circle
from spaces.domains import Domain
from spaces.leaves import Finding, within
from spaces.plugins import listed
from spaces.rules import show
from spaces.sections import LossSection, StudentSection
from spaces.start_points import not_searched, unknown_path
from spaces.tree import leaves, located

KIND = "student.kind"


def structural(
    student: StudentSection, losses: Mapping[str, LossSection]
) -> dict[str, tuple[Condition, ...] | None]:
    """Return path -> what the structure of a space asks for it to count, None for what never counts.

    An option counts where the student is of a kind that takes it from there: those under a kind's name belong to it
    alone, and hide shared ones of the same name. Options of a loss count where its weight is not 0.
    """
    found: dict[str, tuple[Condition, ...] | None] = {}
    taken = {kind: {leaf.path for leaf in leaves(student.tree(kind))} for kind in student.kinds}
    for path, _ in leaves(located(student.options, "student")):
        kinds = tuple(kind for kind in taken if path in taken[kind])
        if len(kinds) < len(taken):
            found[path] = (Condition(path=KIND, values=kinds),) if kinds else None
    for name, loss in losses.items():
        switch = f"losses.{name}.weight"
        weight = loss.weight
        for path, _ in leaves(located(loss, f"losses.{name}")):
            if path == switch:
                continue
            if isinstance(weight, Domain):
                if weight.when or weight.contains(0):
                    found[path] = (Condition(path=switch, values=(0,), negated=True),)
            elif weight == 0:
                found[path] = None
    return found


def when_findings(
    domains: Mapping[str, Domain],
    conditions: Conditions,
    *,
    literals: Mapping[str, Any],
    always: Collection[str],
    where: Callable[[str], str],
) -> Iterator[Finding]:
    """Yield what is wrong with the `when` of domains: the keys that lead there, and the text.

    Args:
        domains: dotted path -> domain.
        conditions: what `Space.conditions` says.
        literals: dotted path -> value of what is not searched.
        always: paths that every candidate needs a value of.
        where: dotted path -> file and line.
    """
    for path, domain in domains.items():
        keys = (*path.split("."), "when")
        if domain.when and path in always:
            yield keys, "got `when`; allowed: none here, since every candidate needs a value. Drop `when`."
        for one in domain.when:
            misfit = _misfit(one, domains, literals=literals, where=where)
            if misfit:
                yield (*keys, one.path), misfit
        if domain.when:
            yield from ((keys, text) for text in _never(conditions.get(path, ()), domains))
    ring = circle(conditions)
    if ring:
        first = next(path for path in ring if path in domains and domains[path].when)
        steps = listed(f"{a} on {b}" for a, b in zip(ring, (*ring[1:], ring[0]), strict=True))
        text = f"got conditions in a circle ({steps}); allowed: conditions that end. Drop one `when`."
        yield (*first.split("."), "when"), text


def _never(conditions: Sequence[Condition], domains: Mapping[str, Domain]) -> Iterator[str]:
    """Yield what conditions ask of a path that its domain never gives: the value behind them would be searched in vain."""
    for about in dict.fromkeys(one.path for one in conditions):
        if about not in domains:
            continue  # told by `_misfit`
        domain, asked = domains[about], [one for one in conditions if one.path == about]
        exact = [value for one in asked if not one.negated for value in one.values]
        if not all(map(domain.contains, exact)):
            continue  # told by `_misfit`, too
        tries = exact or domain.values()
        if not any(all(one.holds(value) for one in asked) for value in tries):
            joint = " and ".join(
                f"{'not ' if one.negated else ''}{listed(map(show, one.values))}" for one in asked
            )
            yield (
                f"got conditions that {about} never meets ({joint}, of {within(domain)}); "
                "allowed: those that some value meets. Change or drop one."
            )


def _misfit(
    one: Condition,
    domains: Mapping[str, Domain],
    *,
    literals: Mapping[str, Any],
    where: Callable[[str], str],
) -> str | None:
    """Return what is wrong with one condition, or None."""
    if one.path in literals:
        return not_searched(one.spec(), literals[one.path], place=where(one.path))
    if one.path not in domains:
        return unknown_path(one.path, domains)
    domain = domains[one.path]
    wrong = [value for value in one.values if not domain.contains(value)]
    if not wrong:
        return None
    got = listed(map(show, wrong))
    return f"got {got} for {one.path}; allowed: {within(domain)}. Write a value that it can take."
