"""The report is whole, offline and escaped, for finished, empty and interrupted runs."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from plotly.offline import get_plotlyjs

import analysis.report
from analysis.page.markup import Markup, element
from analysis.page.shell import json_text
from analysis.pareto import mark_fronts
from analysis.report import draw_pngs, draw_report, main
from analysis.run_folder import read_run
from analysis.table import FAILED, metric_names, read_trials, write_trials

Make = Callable[..., Path]
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Document(HTMLParser):
    """Collects text, ids and outside addresses, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found[key]) for key in ("src", "href") if key in found]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def drawn(folder: Path) -> Document:
    return Document(draw_report(folder).read_text(encoding="utf-8"))


def test_the_report_says_what_came_out(make_run: Make) -> None:
    folder = make_run()
    page = drawn(folder)
    assert page.text.count("32 candidates tried: 11 trained to the last epoch, 12 stopped early") == 1
    run = read_run(folder)
    for trial in run.candidates:
        if trial.failed:
            assert f"logs/{trial.candidate_id}.log" in page.text
    for status in FAILED:
        assert status in page.text
    assert f"python search/run.py --resume {folder} --trials 48" in page.text
    assert "not clear of the spread" in page.text
    assert "All 38 decisions of the scheduler (moasha)" in page.text


def test_what_is_doubtful_about_the_teacher_stands_before_any_retention(make_run: Make) -> None:
    doubt = "the teacher t is not clearly better than guessing (mean_recall 0.6 %, guessing 0.5 %)"
    text = drawn(make_run(caveats=[doubt])).text
    assert f"Caution: {doubt}" in text
    assert text.index(doubt) < text.index("The best student with at most")
    assert re.search(
        r"in validation(, [\d.]+ % on the test set)? \(see the caution above\)\.", text.replace("\xa0", " ")
    )
    assert "aution" not in drawn(make_run(folder="another")).text


def test_retention_above_100_is_shown_as_it_is(make_run: Make) -> None:
    folder = make_run()
    rows = read_trials(folder / "trials.arrow").to_pylist()
    for row in rows:
        if row["status"] == "finished" and row["role"] == "search":
            row["retention"] = 108.3
    names = read_run(folder).metric_names
    write_trials(folder / "trials.arrow", mark_fronts(rows, "retention", maximise=True), metric_names=names)
    text = drawn(folder).text.replace("\xa0", " ")
    assert "retention 108.3 % in validation" in text
    assert "best retention at 0.5x" in text


def test_every_front_member_has_its_checkpoint_and_export_command(make_run: Make) -> None:
    folder = make_run()
    page = drawn(folder)
    members = [row for row in read_run(folder).finished if row.candidate_id in page.text]
    commands = re.findall(r"python search/export.py (\S+) --pick (\w+) --out student/", page.text)
    assert {ident for _, ident in commands} <= {trial.candidate_id for trial in members}
    assert len(commands) >= 8
    for _, ident in commands:
        assert f"checkpoints/{ident}/final.pt" in page.text


TARGET = {"device": "cuda", "runtime": "compiled", "dtype": "float16", "batch": 8, "threads": 1}


def test_latency_stands_with_its_target_both_figures_and_their_spread(make_run: Make) -> None:
    folder = make_run()
    table = read_trials(folder / "trials.arrow")
    rows = table.to_pylist()
    member = next(row for row in rows if row["role"] == "search" and row["on_front_params"])
    member |= {"latency_ms": 1.234, "latency_spread_ms": 0.056, "speedup": 3.21}
    member |= {"wall_latency_ms": 1.357, "wall_latency_spread_ms": 0.089}
    write_trials(folder / "trials.arrow", rows, metric_names(table))
    known = json.loads((folder / "run.json").read_text())
    known["teacher"] |= {"latency": {"latency_ms": 4.321, "spread_ms": 0.012, "device": "Example GPU"}}
    known |= {"target": TARGET, "whole_latency": {"embedded": {"latency_ms": 4.567, "spread_ms": 0.034}}}
    (folder / "run.json").write_text(json.dumps(known))
    text = drawn(folder).text
    assert "cuda, compiled, float16, batch 8: added up from the times of blocks" in text
    for figure in (
        "1.23 ± 0.06 ms",
        "1.36 ± 0.09 ms",
        "3.2 times",
        "4.32 ± 0.01 ms added up",
        "4.57 ± 0.03 ms as a whole",
    ):
        assert figure in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Example GPU" in text


def test_the_report_needs_no_network_and_has_plotly_once(make_run: Make) -> None:
    text = draw_report(make_run()).read_text(encoding="utf-8")
    page = Document(text)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert text.count(get_plotlyjs()[:2000]) == 1
    outside = text.replace(get_plotlyjs(), "")
    assert "http" not in re.sub(r"http://www\.w3\.org\S*", "", outside)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_text_of_a_run_cannot_become_markup(make_run: Make) -> None:
    evil = "</script><script>alert(1)</script>"
    folder = make_run(name=evil, dataset={"kind": evil, "description": evil}, hardware={evil: evil})
    text = draw_report(folder).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in text
    assert evil in Document(text).text


def test_a_run_without_finished_trials_has_a_report(make_run: Make) -> None:
    page = drawn(make_run([], with_control=False, ended_by=None, ended=None))
    assert "No candidate has been tried yet" in page.text
    assert "it has not ended, or was killed" in page.text


def test_a_killed_run_says_when_it_was_last_alive(make_run: Make) -> None:
    page = drawn(make_run(with_control=False, ended_by=None, ended=None))
    # the last of nine epochs is told at 1,900,000,009 s after 1970
    assert "it has not ended, or was killed. Its last epoch was told 2030-03-17 17:46:49 UTC." in page.text


def test_an_interrupted_run_says_how_to_go_on(make_run: Make) -> None:
    folder = make_run(with_control=False, ended_by="interrupted")
    page = drawn(folder)
    assert "was interrupted; every result up to then is here" in page.text
    assert f"python search/run.py --resume {folder}" in page.text
    assert "no control run" in page.text
    assert f"python search/control.py {folder} --pick front --seeds 3" in page.text


def test_a_torn_history_is_told(make_run: Make) -> None:
    folder = make_run()
    part = folder / "history" / "part-0001.arrow"
    part.write_bytes(part.read_bytes()[:-40])
    assert "the torn end of part-0001.arrow was skipped" in drawn(folder).text


def test_a_run_with_the_least_facts_has_a_report(make_run: Make) -> None:
    folder = make_run(with_control=False)
    (folder / "run.json").write_text('{"objectives": {"retention": "max"}}')
    assert "Hypervolume: not known" in drawn(folder).text


def test_a_task_that_the_teacher_cannot_do_is_a_dash(make_run: Make) -> None:
    nothing = {"vqa_accuracy": None, "mean_recall": 91.0}
    teacher = {"name": "t", "params": 3_000_000, "flops": None, "metrics": nothing, "test_metrics": nothing}
    page = drawn(make_run(teacher=teacher, blind=nothing))
    assert "VQA accuracy –" in page.text.replace("\N{NO-BREAK SPACE}", " ")


def test_choices_of_the_page_are_json_without_nan(make_run: Make) -> None:
    text = draw_report(make_run()).read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" id="(\S+)">(.*?)</script>', text)
    choices = {name: json.loads(block, parse_constant=pytest.fail) for name, block in blocks}
    assert set(choices["front-choices"]) == {"front-params", "front-flops", "front-latency_ms"}
    assert "vqa_accuracy" in choices["front-choices"]["front-params"]
    assert "loss" in choices["curves-choices"]["curves-figure"]


def test_only_markup_is_left_unescaped() -> None:
    assert (
        element("p", "<b>", Markup("<i></i>"), class_='"x"')
        == '<p class="&quot;x&quot;">&lt;b&gt;<i></i></p>'
    )
    assert json_text({"a": ["</script>", float("nan")]}) == '{"a":["\\u003c/script>",null]}'


def test_the_command_is_a_script_without_torch_or_ray(make_run: Make, tmp_path: Path) -> None:
    folder = make_run()
    out = tmp_path / "other.html"
    script = Path(analysis.report.__file__)
    check = (
        "import runpy, sys; sys.argv = sys.argv[1:]; sys.path[0] = sys.argv[0].rpartition('/')[0]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'ray', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(script), str(folder), "--out", str(out)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"report: {out}\n"
    assert out.stat().st_size > 4_000_000
    assert not (folder / "report.html").exists()


def test_a_wrong_folder_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}: no run (run.json is missing). Name a folder that python search/run.py has made.\n"
    )


def test_an_unwritable_report_is_one_message(
    make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(make_run()), "--out", str(tmp_path / "no" / "such" / "r.html")]) == 2
    assert "r.html: cannot be written: its folder " in capsys.readouterr().err


def test_pictures_without_a_browser_are_one_line(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nonexistent/chrome")
    told = draw_pngs(make_run())
    assert isinstance(told, str)
    assert told.startswith("No front_*.png: ")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (type("ChannelClosedError", (OSError,), {})(), "No front_*.png: no usable Chrome or Chromium (ChannelClosedError)."),
        (TimeoutError("no answer"), "No front_*.png: no usable Chrome or Chromium (no answer)."),
        (OSError(28, "No space left on device"), "cannot be written: the disk of "),
    ],
)  # fmt: skip
def test_a_browser_that_dies_is_told_apart_from_a_full_disk(
    make_run: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    told: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    kaleido = ModuleType("kaleido")
    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", fail, raising=False)
    monkeypatch.setitem(sys.modules, "kaleido", kaleido)
    folder = make_run()
    assert main([str(folder), "--png"]) == (2 if error.errno else 0)
    assert told in "".join(capsys.readouterr())
    assert not list(folder.glob("*front_*"))


def test_pictures_without_kaleido_are_one_line(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert draw_pngs(make_run()) == (
        "No front_*.png: kaleido is missing. Install it with: pip install 'student-search[png]'"
    )


def test_pictures_of_no_finished_trial_are_one_line(make_run: Make) -> None:
    assert draw_pngs(make_run([], with_control=False)) == "No front_*.png: no candidate is finished yet."


def browser() -> str | None:
    return next(
        (path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None
    )


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="no Chrome or Chromium")
def test_pictures_are_drawn_where_a_browser_is(make_run: Make) -> None:
    pytest.importorskip("kaleido")
    paths = draw_pngs(make_run())
    assert [Path(path).name for path in paths] == [
        "front_params.png",
        "front_flops.png",
        "front_latency_ms.png",
    ]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="no Chrome or Chromium")
def test_the_page_draws_fits_and_changes_its_metric_in_a_browser(make_run: Make, tmp_path: Path) -> None:
    text = draw_report(make_run()).read_text(encoding="utf-8")
    probe = """<script>addEventListener("load", () => {
      const select = document.querySelector("select"); select.value = "vqa_accuracy";
      select.dispatchEvent(new Event("change"));
      const figure = document.getElementById("front-flops"), root = document.documentElement;
      document.title = [figure.layout.yaxis.title.text, figure.data.length,
        root.scrollWidth <= root.clientWidth ? "fits" : "too wide"].join("|");
    });</script></body>"""
    page = tmp_path / "probe.html"
    page.write_text(text.replace("</body>", probe), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [str(browser()), *flags, profile, "--virtual-time-budget=4000", "--window-size=500,900",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    titles = re.findall(r"<title>(.*?)</title>", done.stdout)
    assert titles[0] == "VQA accuracy (%)|7|fits", done.stderr[-500:]
