"""Building HTML so that text is escaped unless it says that it is markup."""

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already. Everything else is escaped where it enters an element."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str) -> Markup:
    """Return one element. An attribute `class_` is written `class`; other underscores become hyphens."""
    marks = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{marks}>{join(content)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """Return parts after one another, escaping what is no markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def code(text: str) -> Markup:
    """Return text as code."""
    return element("code", text)


def command(text: str) -> Markup:
    """Return a command to copy, on a line of its own."""
    return element("pre", element("code", text), class_="command")


def paragraph(*content: str, class_: str = "") -> Markup:
    """Return a paragraph."""
    return element("p", *content, class_=class_) if class_ else element("p", *content)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), label: str
) -> Markup:
    """Return a table that scrolls inside its own box.

    Args:
        head: the column titles.
        rows: the cells.
        numbers: indices of the columns that are set flush right.
        label: what the table shows, for those who cannot see it.
    """
    right = set(numbers)

    def line(cells: Sequence[str], kind: str) -> Markup:
        return element(
            "tr",
            *(
                element(kind, cell, class_="number") if i in right else element(kind, cell)
                for i, cell in enumerate(cells)
            ),
        )

    body = element("tbody", *(line(row, "td") for row in rows))
    whole = element("table", element("thead", line(head, "th")), body)
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=label)


def section(title: str, *content: str, id_: str) -> Markup:
    """Return a titled section that can be linked to."""
    return element("section", element("h2", title), *content, id=id_)


def details(title: str, *content: str) -> Markup:
    """Return content that is folded away under its title."""
    return element("details", element("summary", title), *content)
