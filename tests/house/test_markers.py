"""A test may be left out for four reasons only, each with its marker, so that nothing is skipped unseen.

Two more leave out nothing: `properties` chooses the tests that draw their inputs, `campaign` the fault tests at full count.
"""

import ast
import tomllib
from pathlib import Path

from tests.house.tree import ROOT, modules, short, syntax

SKIP_MARKERS = ["browser", "gpu", "java", "weights"]

LEAVES_OUT = {"skip", "skipif", "importorskip"}


def attributes(node: ast.AST) -> set[str]:
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def unmarked(path: Path) -> list[str]:
    """Return the places of a test file that leave out a test which bears no skip marker."""
    module = syntax(path)
    top = {name for node in module.body if isinstance(node, ast.Assign) for name in attributes(node)}
    found = []
    for node in module.body:
        names = attributes(node)
        if names & LEAVES_OUT and not (names | top) & set(SKIP_MARKERS):
            found.append(f"{short(path)}:{node.lineno}")
    return found


def test_only_the_four_skip_markers_and_those_of_the_campaign_are_registered():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert sorted(line.partition(":")[0] for line in settings["markers"]) == sorted(
        [*SKIP_MARKERS, "campaign", "properties"]
    )
    assert "--strict-markers" in settings["addopts"]


def test_every_test_that_may_be_skipped_bears_a_marker():
    found = [place for path in modules("tests") for place in unmarked(path)]
    assert not found, "\n".join(found)


def test_no_test_is_expected_to_fail():
    word = "x" + "fail"
    assert not [short(path) for path in modules("tests") if word in attributes(syntax(path))]
