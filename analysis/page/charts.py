"""The three fronts and the learning curves, each group under one choice of metric."""

from analysis import wording
from analysis.figures import curves, front, palette
from analysis.page.markup import Markup, element, paragraph, section
from analysis.page.shell import chooser, figure_box
from analysis.pareto import hypervolume, reference_point
from analysis.run_folder import Run
from spaces.objectives import FRONT_COSTS

KEY = (
    ("●", palette.FRONT, "on the front of the metric shown"),
    ("●", palette.FINISHED, "finished, dominated"),
    ("×", palette.RUNG, "stopped early, at its last measured value"),
    ("◇", palette.CONTROL, "the same student without distillation"),
    ("★", palette.TEACHER, "teacher"),
    ("╌╌", palette.BLIND, "blind student (sees no image)"),
    ("▲", palette.BASELINE, "baseline, not searched"),
    ("■", palette.FINISHED, "a square is a head: it reads its teacher, which its costs hold"),
)


def fronts_section(run: Run) -> Markup:
    """Return the three fronts under one choice of metric."""
    infos = {axis: front.front_info(run, axis) for axis in FRONT_COSTS}
    if not any(info.finished.ids or info.stopped.ids for info in infos.values()):
        return section("Fronts", paragraph("No candidate has been measured yet."), id_="fronts")
    metrics = {name: wording.label(name) for name in infos["params"].views}
    choices = {f"front-{axis}": front.choices(info) for axis, info in infos.items()}
    boxes = [
        figure_box(front.draw_front(info), f"front-{axis}", f"Against {wording.label(axis)}")
        for axis, info in infos.items()
    ]
    volumes = [
        f"{wording.label(axis)} {hypervolume(run, axis):.1f} (reference: {wording.cost(axis, point[1])}, "
        f"{run.quality} {point[0]:g})"
        for axis in FRONT_COSTS
        if (point := reference_point(run, axis)) is not None
    ]
    return section(
        "Fronts",
        paragraph(
            f"{'Up' if run.maximise else 'Down'} and to the left is better; costs are on log scales. A "
            "student is on a front when no other finished one is at least as good in "
            f"{wording.label(run.quality)} and in that cost, and better in one of them. Hover or tap a point "
            "for its whole configuration."
        ),
        chooser("Metric", metrics, choices, name="front"),
        _key(infos["params"]),
        element("div", *boxes, class_="figures"),
        paragraph(
            "Hypervolume, cost in shares of the reference: " + "; ".join(volumes) + "." if volumes else
            "Hypervolume: not known, since the teacher's costs are not recorded.",
            class_="note",
        ),
        id_="fronts",
    )  # fmt: skip


def _key(info: front.FrontInfo) -> Markup:
    """Return what the marks mean, of those that occur."""
    view = info.views[info.metric]
    occurs = (
        *(True, True, info.stopped.ids, info.control.ids, info.teacher_x, view.blind, info.baseline.ids),
        front.HEAD in info.finished.symbols,
    )
    lines = [
        element("li", element("i", mark, style=f"color:{colour}"), text)
        for (mark, colour, text), there in zip(KEY, occurs, strict=True)
        if there
    ]
    return element("ul", *lines, class_="key")


def curves_section(run: Run) -> Markup:
    """Return the learning curves with the rungs."""
    info = curves.curves_info(run)
    if not info.curves:
        return section("Learning curves", paragraph("No epoch has been recorded yet."), id_="curves")
    looks = (
        (palette.FRONT, "on a front"),
        (palette.FINISHED, "finished, dominated"),
        (palette.STOPPED, "stopped or failed"),
    )
    key = [element("li", element("i", "━", style=f"color:{colour}"), text) for colour, text in looks]
    options = {name: wording.label(name) for name in info.curves}
    return section(
        "Learning curves",
        paragraph(
            "Metrics are measured at the rungs and at the end, the loss at every epoch. At a rung (dotted) "
            "the weaker trials stop. Losses of candidates with different loss weights do not compare."
        ),
        chooser("Value", options, {"curves-figure": curves.choices(info)}, name="curves"),
        element("ul", *key, class_="key"),
        element(
            "div",
            figure_box(curves.draw_curves(info), "curves-figure", "Validation over epochs"),
            class_="figures",
        ),
        id_="curves",
    )
