"""The result of a comparison as one HTML file that needs no network."""

from analysis.figures.anytime import draw_anytime
from analysis.page.markup import element, paragraph, section, table
from analysis.page.shell import figure_box, page
from search.simulator.comparison import COLUMNS, Comparison, head_lines, statistics


def result_page(comparison: Comparison) -> str:
    """Return the whole document: the figure, the table, and what was simulated."""
    title = f"Simulated searches over {comparison.table.name}"
    figure = draw_anytime(comparison.info)
    rows = []
    for engine in comparison.engines:
        found = statistics(engine)
        cells = []
        for column in COLUMNS:
            median, low, high = (column.write(value) for value in found[column.key])
            cells.append(median if low == high else f"{median} ({low} to {high})")
        rows.append([engine.name, *cells])
    unit, first = comparison.table.unit, comparison.engines[0]
    facts = head_lines(comparison, first.setup, len(first.runs))
    return page(
        title,
        element("header", element("h1", title)),
        section(
            "Hypervolume against compute",
            paragraph(
                "Lines are medians over seeds, bands reach from the 10th to the 90th percentile. The line at 1 is the exact "
                "front of the whole table, the limit; dotted lines stand at 95 % and 98 % of it. A candidate counts once it "
                "was trained to its end."
            ),
            element("div", figure_box(figure, "anytime", "Share of the exact hypervolume"), class_="figures"),
            id_="curves",
        ),
        section(
            "Result",
            paragraph(f"Medians over seeds, with 10th and 90th percentile. Compute is counted in {unit}."),
            table(
                ["engine", *(column.title for column in COLUMNS)],
                rows,
                numbers=range(1, len(COLUMNS) + 1),
                label="what each engine reached",
            ),
            id_="result",
        ),
        section("What was simulated", *(paragraph(line) for line in facts), id_="facts"),
        element("footer", "Drawn by python search/simulate.py. This file needs no network."),
    )
