"""The frame of the report: one HTML file that needs no other, with style, script and plotly.js in it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from analysis.figures import palette
from analysis.page.markup import Markup, element, join

STYLE = """
:root { color-scheme: light;
  --ink: #1d2733; --soft: #566373; --line: #dde3ea; --ground: #f5f7f9; --accent: #0072b2; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; overflow-y: scroll; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 FONT;
  overflow-wrap: break-word; }
main { max-width: 1200px; margin: 0 auto; padding: 28px 24px 64px; }
header p { color: var(--soft); margin: 4px 0 0; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 20px; line-height: 1.3; margin: 0 0 12px; }
h3 { font-size: 16px; margin: 20px 0 4px; }
p { margin: 0 0 12px; max-width: 78ch; }
.lead { font-size: 18px; margin: 20px 0; }
.caution { background: #fdf0d9; border-left: 4px solid #d55e00; border-radius: 6px; padding: 10px 14px; margin: 20px 0 0; }
.note { color: var(--soft); font-size: 14px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 18px 0 0; font-size: 14px; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px; }
section { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px;
  margin: 20px 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px;
  margin: 20px 0 0; }
.tile { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 14px; line-height: 1.35; display: block; }
.figures { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 24px; }
.figures > :first-child { grid-column: 1 / -1; }
.figures > div { min-width: 0; overflow: hidden; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0;
  margin: 0 0 12px; font-size: 14px; }
.key i { font-style: normal; display: inline-block; min-width: 18px; text-align: center; margin-right: 6px; }
label { font-size: 14px; color: var(--soft); display: inline-block; margin: 0 0 12px; }
select { font: inherit; color: var(--ink); padding: 5px 8px; border: 1px solid #b9c3ce; border-radius: 6px;
  background: white; margin-left: 6px; max-width: 100%; }
.scroll { overflow-x: auto; margin: 0 0 12px; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 7px 12px; vertical-align: top; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { background: #f0f3f6; font-weight: 600; vertical-align: bottom; }
tbody tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { position: sticky; left: 0; background: white;
  box-shadow: 1px 0 0 var(--line); }
th:first-child { background: #f0f3f6; }
.number { text-align: right; }
td p { margin: 0; white-space: normal; min-width: 26ch; }
.tag { display: inline-block; border-radius: 4px; padding: 0 6px; font-size: 12px;
  background: #e3eff7; color: #00507d; }
code { font: .92em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre.command { background: #f0f3f6; border-radius: 6px; padding: 8px 12px; margin: 4px 0 12px;
  overflow-x: auto; }
.wrap { white-space: normal; min-width: 34ch; }
details { border-top: 1px solid var(--line); padding: 8px 0; }
details details:first-of-type { margin-top: 8px; }
summary { cursor: pointer; font-weight: 600; padding: 2px 0; }
summary span { font-weight: 400; color: var(--soft); }
details > :last-child { margin-bottom: 8px; }
dl { display: grid; grid-template-columns: minmax(110px, 210px) minmax(0, 1fr); gap: 4px 18px;
  margin: 0 0 12px; font-size: 14px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: 13px; margin: 24px 0 0; }
@media (max-width: 820px) {
  .figures { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 560px) {
  main { padding: 18px 12px 40px; }
  section { padding: 16px 14px; border-radius: 8px; }
  h1 { font-size: 23px; }
  .lead { font-size: 16.5px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  .tile { padding: 10px 12px; }
  .tile b { font-size: 21px; }
  dl { grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 4px 12px; }
}
@media print { body { background: white; } section, .tile { break-inside: avoid; } }
""".replace("FONT", palette.FONT)

SCRIPT = """
for (const select of document.querySelectorAll("select[data-choices]")) {
  const choices = JSON.parse(document.getElementById(select.dataset.choices).textContent);
  const show = () => {
    for (const [figure, updates] of Object.entries(choices)) {
      const update = updates[select.value];
      if (update) Plotly.update(figure, update.traces, update.layout);
    }
  };
  select.addEventListener("change", show);
  if (select.selectedIndex !== 0) show();  // a browser that goes back keeps the choice, not the figure
}
"""


def page(title: str, *content: str) -> str:
    """Return the whole document; plotly.js (4.8 MB) stands in it once."""
    head = join(
        [
            Markup(
                '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            ),
            Markup('<link rel="icon" href="data:,">'),
            element("title", title),
            element("style", Markup(STYLE)),
            element("script", Markup(get_plotlyjs())),
        ]
    )
    body = element("body", element("main", *content), element("script", Markup(SCRIPT)))
    return f'<!DOCTYPE html>\n<html lang="en">{element("head", head)}{body}</html>\n'


def figure_box(figure: go.Figure, name: str, title: str) -> Markup:
    """Return a figure with its title; it follows the width of the window."""
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False, "scrollZoom": False}
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)
    return element("div", element("h3", title), Markup(drawn))


def chooser(text: str, options: Mapping[str, str], choices: Mapping[str, Any], *, name: str) -> Markup:
    """Return a select box that redraws figures.

    Args:
        text: its label.
        options: value -> what the reader sees; the first is shown from the start.
        choices: figure name -> value -> arguments of `Plotly.update`.
        name: of the box, unique in the page.
    """
    listed = join(element("option", seen, value=value) for value, seen in options.items())
    box = element(
        "label", text, element("select", listed, data_choices=f"{name}-choices", autocomplete="off")
    )
    return join([box, element("script", json_text(choices), type="application/json", id=f"{name}-choices")])


def json_text(value: Any) -> Markup:
    """Return JSON that can stand inside a script element: no NaN, and no `<` that could close it."""
    return Markup(json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _finite(value: Any) -> Any:
    """Return the value with None for every non-finite number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
