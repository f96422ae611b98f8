import json
import re
import shutil
from dataclasses import asdict
from html.parser import HTMLParser

import browser
import pytest
from helpers import TINY
from markupsafe import escape
from matplotlib.figure import Figure

from smallinit.cli import run
from smallinit.compare.figures.result import Statistic
from smallinit.compare.report.directory import page_of
from smallinit.compare.sweep.plan import SweepPlan, read_sweep
from smallinit.compare.sweep.run_sweep import recorded_sweep
from smallinit.theory import AttentionOnly, EmbMLP, OneLayerTransformer, ScalarClassifier, TwoTokenMLP, derive
from smallinit.theory.base.errors import InputError
from smallinit.theory.base.records import write_record
from smallinit.theory.printing import html as markup

SWEEP = """
[axes]
"init.gamma" = [0.3, 0.5, 0.6]
"init.seed" = "0-1"
""" + TINY.replace("t1 = 4.0", 't1 = 40.0\nclosures = ["softmax"]')
HOSTILE = '<script>alert("x")</script> & "quoted" \\href{javascript:alert(1)}{x} $title ${body}'


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One directory of every kind, written by the commands, and its page."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "sweep.toml").write_text(SWEEP)
    for verb in ("overlay", "simulate", "train"):
        assert run([verb, str(folder / "tiny.toml"), "--out", str(folder / verb)]) == 0
    assert run(["sweep", str(folder / "sweep.toml"), "--out", str(folder / "sweep")]) == 0
    make_figure(folder / "figure")
    for kind in ("overlay", "simulate", "train", "sweep", "figure"):
        assert run(["report", str(folder / kind)]) == 0
    return folder


def make_figure(folder, text="losses of memory and reasoning"):
    """A directory such as `smallinit figure` writes."""
    folder.mkdir(exist_ok=True)
    picture = Figure(figsize=(4, 3))
    picture.subplots().plot([0, 1])
    picture.savefig(folder / "figure.png")
    claims = [
        Statistic(f"{text} first", "t_a - t_b in flow time; reproduced if < 0", (-1.25, -2.5), True),
        Statistic("the other", "cosine; reproduced if > 0.5", (0.25, 0.125), False, "depends on gamma"),
    ]
    record = {
        "name": "3b", "title": text, "caption": f"{text} over flow time",
        "settings": {"gamma": [0.5, 0.8], "text": text},
        "statistics": [asdict(c) for c in claims],
        "provenance": {"numpy": "2", "size": "paper", "seeds": [0, 2]},
    }  # fmt: skip
    write_record(folder / "figure.json", record)


class Parsed(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


KINDS = ("overlay", "simulate", "train", "sweep", "figure")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_one_file_that_loads_and_runs_nothing(results, kind):
    page = Parsed(results / kind / "report.html")
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action"):
            if name in attributes:
                link = attributes[name]
                beside = (tag, link) == ("a", "report-embeddings.html") and (results / kind / link).is_file()
                assert beside or re.match(r"data:image/png;base64,|data:,|#", link), (tag, attributes)
        assert tag != "img" or len(attributes["alt"]) > 40
    assert "url(" not in (results / kind / "report.html").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_in_chromium(results, kind, tmp_path):
    page = results / kind / "report.html"
    assert browser.console(page, tmp_path) == []
    widths = (400, 1400)
    for width, seen in zip(widths, browser.measure(page, tmp_path, *widths), strict=True):
        assert seen["width"] == width
        assert seen["content"] <= width
        assert seen["requests"] == []
        assert seen["errors"] == []
        assert seen["smallest"] >= 12.0
        assert all(image["alt"] and image["width"] > 300 for image in seen["images"])
        assert len(seen["images"]) == 1
        assert all(height > 15 for height in seen["equations"])
        assert len(seen["equations"]) == {"overlay": 2, "simulate": 2}.get(kind, 0)


def test_what_the_page_of_an_overlay_says(results):
    text = (results / "overlay" / "report.html").read_text()
    summary = json.loads((results / "overlay" / "summary.json").read_text())
    for name, closure in summary["closures"].items():
        assert f"Closure {name}" in text
        assert f"{100 * closure['overlay']['error']['W_E']['median']:.3g} %" in text
    assert f"{summary['training']['last']['loss/memory']:.4g}" in text
    assert summary["provenance"]["config_hash"] in text
    assert "smallinit overlay experiment.toml --out overlay" in text
    assert escape((results / "overlay" / "experiment.toml").read_text()) in text
    assert "nats" in text
    assert "Conserved along this flow" in text


def test_what_the_page_of_a_sweep_says(results):
    text = (results / "sweep" / "report.html").read_text()
    sweep = recorded_sweep(results / "sweep")
    assert escape(sweep.status) in text
    ends = sweep.to_xarray()["loss/memory"].sel(run="softmax").isel(time=-1).median("init.seed")
    for value in ends.values[:2]:
        assert f"<td>{value:.4g}</td>" in text


def test_a_sweep_without_a_result_still_has_a_page(results, tmp_path):
    folder = tmp_path / "empty"
    assert run(["sweep", str(results / "sweep.toml"), "--out", str(folder), "--shard", "7/9"]) == 0
    text = page_of(folder).html()
    assert "0 of 6 points done" in text
    assert "<img" not in text
    sweep = recorded_sweep(folder)
    sweep.store.write_failure(sweep.plan.points[4].id, HOSTILE)
    failed = page_of(folder).html()
    assert f"init.gamma = 0.6, init.seed = 0: {escape(HOSTILE)}" in failed
    assert HOSTILE not in failed


def test_the_recorded_sweep_is_the_sweep(results, tmp_path):
    plan = read_sweep(results / "sweep.toml")
    kept = recorded_sweep(results / "sweep").plan
    (tmp_path / "again.toml").write_text(kept.to_toml())
    for other in (kept, read_sweep(tmp_path / "again.toml")):
        assert [p.id for p in other.points] == [p.id for p in plan.points]
        assert other.fixed == plan.fixed
    zipped = {"axes": {"model.d_model": [4, 5], "model.d_mlp": [6, 8], "task.masked": [[[1, 2]], [[2, 1]]]}}
    record = zipped | {
        "layers": [],
        "zip": [["model.d_model", "model.d_mlp"]],
        "run": ["train"],
        "observables": ["loss"],
    }
    assert SweepPlan.from_dict(record, "in x").dimensions == (
        ("model.d_model", "model.d_mlp"),
        ("task.masked",),
    )
    with pytest.raises(InputError, match="no record of a sweep"):
        SweepPlan.from_dict({"axes": 3}, "in x")


def test_what_the_page_of_a_figure_says(results):
    text = (results / "figure" / "report.html").read_text()
    assert "1 of 2 claims reproduced" in text
    assert "-1.25, -2.5" in text
    assert "Not reproduced: the other. Depends on gamma." in text
    assert "smallinit figure 3b --size paper --seeds 0,2 --out figure" in text


def test_a_claim_keeps_its_dots_and_the_folder_its_name(tmp_path, monkeypatch):
    make_figure(tmp_path, "within z - a .. z + a.")
    record = json.loads((tmp_path / "figure.json").read_text())
    record["statistics"][0]["claim"] = "within z - a .. z + a."
    del record["provenance"]
    write_record(tmp_path / "figure.json", record)
    monkeypatch.chdir(tmp_path)
    assert run(["report", "."]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "Reproduced: within z - a .. z + a.</li>" in text
    assert f"smallinit figure 3b --out {tmp_path.name}<" in text


@pytest.mark.parametrize("change", ["no horizons", "tolerance"])
def test_a_damaged_summary_is_refused_in_one_sentence(results, tmp_path, capsys, change):
    summary = json.loads((results / "overlay" / "summary.json").read_text())
    if change == "tolerance":
        summary["experiment"]["output"]["tolerance"] = "5 %"
    else:
        for closure in summary["closures"].values():
            closure["overlay"]["horizon_at_tolerance"] = {}
    write_record(tmp_path / "summary.json", summary)
    assert run(["report", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "lacks what a report needs" in err


def test_hostile_content_is_only_text(tmp_path):
    make_figure(tmp_path / "figure", HOSTILE)
    page = tmp_path / "figure" / "report.html"
    page.write_text(page_of(tmp_path / "figure").html())
    assert "script" not in {tag for tag, _ in Parsed(page).tags}
    assert escape(HOSTILE) in page.read_text()
    shown = markup.equations(HOSTILE) + markup.equations(
        r"\text{<img src=x onerror=alert(1)>} \class{a}{x} \style{b}{y}"
    )
    assert "<img" not in shown
    assert not re.search(r'href="|class="|<script', shown)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, None, "holds none of"),
        ("summary.json", "{", "damaged"),
        ("summary.json", "[" * 100_000, "damaged"),
        ("summary.json", '{"closures": {}}', "damaged"),
        ("summary.json", {"closures": 3}, "lacks what a report needs"),
        ("manifest.json", {}, "does not say what its axes are"),
        ("figure.json", {"statistics": []}, "lacks what a report needs"),
    ],
)
def test_other_directories_are_refused_in_one_sentence(tmp_path, capsys, name, content, words):
    if isinstance(content, dict):
        write_record(tmp_path / name, content)
    elif name:
        (tmp_path / name).write_text(content)
    assert run(["report", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["overlay.png", "equations.tex", "experiment.toml", "summary.json"])
def test_no_page_is_made_of_damaged_files(results, tmp_path, capsys, name):
    folder = tmp_path / "run"
    shutil.copytree(results / "overlay", folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert run(["report", str(folder), "--overwrite"]) == 2
    assert f"{name}' is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["overlay.png", "equations.tex", "summary.json"])
def test_a_page_follows_no_link_out_of_its_folder(results, tmp_path, capsys, name):
    folder = tmp_path / "run"
    shutil.copytree(results / "overlay", folder)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert run(["report", str(folder), "--overwrite"]) == 2
    assert f"{name}' is a link out of its folder" in capsys.readouterr().err


def test_a_page_of_a_sweep_follows_no_link_out_of_its_folder(results, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(results / "sweep", folder)
    shard = next((folder / "shards").iterdir())
    shard.rename(tmp_path / shard.name)
    shard.symlink_to(tmp_path / shard.name)
    with pytest.raises(InputError, match="is a link out of its folder"):
        page_of(folder)


def test_targets(results, tmp_path, capsys):
    for argv, words in [
        (("missing",), "there is no directory 'missing'"),
        ((str(results / "figure"),), "--overwrite"),
        ((str(results / "figure"), "--out", str(tmp_path)), "is a folder"),
        ((str(results / "figure"), "--out", str(tmp_path / "no" / "x.html")), "does not exist"),
    ]:
        assert run(["report", *argv]) == 2
        assert words in capsys.readouterr().err
    assert run(["report", str(results / "figure"), "--out", str(tmp_path / "x.html")]) == 0
    before = (results / "figure" / "report.html").read_bytes()
    assert (tmp_path / "x.html").read_bytes() == before
    assert run(["report", str(results / "figure"), "--overwrite"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.html"]


def test_a_run_replaces_its_page(results, tmp_path):
    argv = [str(results / "tiny.toml"), "--out", str(tmp_path / "out"), "--overwrite"]
    assert run(["train", *argv]) == 0
    assert run(["report", str(tmp_path / "out"), "--gif"]) == 0
    assert len(list((tmp_path / "out").glob("report*"))) == 3
    assert run(["train", *argv]) == 0
    assert not list((tmp_path / "out").glob("report*"))


FLOWS = [
    (EmbMLP(6, 5, 4), "leading"), (EmbMLP(6, 5, 4), "exact"), (EmbMLP(6, 5, 4), "order=9"),
    (TwoTokenMLP(6, 5), "leading"),
    (OneLayerTransformer(6, 7, 3, 4, 3, "gelu"), "softmax"), (AttentionOnly(5, 3), "exact"),
    (ScalarClassifier(6, 5, 3, 4), "exact"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "closure"), FLOWS)
def test_every_flow_becomes_mathml_without_loss(model, closure):
    latex = derive(model, closure).latex()
    shown = markup.equations(latex)
    assert shown.startswith("<math")
    letters = re.sub(r"<[^>]*>", "", shown)
    assert letters.count("softmax") == latex.count("softmax")
    assert letters.count("diag") == latex.count("{diag}")
    assert letters.count("\N{RING OPERATOR}") == latex.count(r"\circ")
    assert letters.count("(") == latex.count("(")
    assert letters.count("\N{GREEK SMALL LETTER OMEGA}") == latex.count(r"\omega")
    assert shown.count("<mfrac>") == latex.count(r"\frac") + latex.count(r"\dot{")
    assert "\\" not in letters
    assert "&=" not in letters


def test_indices_of_words_are_words():
    assert "<mi>head</mi>" in markup.mathml(r"\sqrt{d_{head}}")
    assert "<mi>QK1</mi>" in markup.mathml("W_{QK 1}^{T}")
    with pytest.raises(ValueError, match="cannot read the LaTeX"):
        markup.mathml("a_b_c")
    assert markup.equations("a_b_c < d") == "<pre>a_b_c &lt; d</pre>"


def test_a_long_group_stands_line_by_line():
    """Terms of `leading` beyond the first power stand in one pair of brackets."""
    latex = derive(OneLayerTransformer(6, 7, 3, 4, 3, unembed=False), "leading").latex()
    shown = markup.equations(latex)
    assert shown.count("<mtr>") > latex.count(" &= ") + 6
    letters = re.sub(r"<[^>]*>", "", shown)
    assert letters.count("(") == letters.count(")") == latex.count("(")
    assert "\N{GREEK SMALL LETTER EPSILON}" in letters or "\N{GREEK LUNATE EPSILON SYMBOL}" in letters
