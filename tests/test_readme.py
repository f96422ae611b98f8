"""What the README and the notation page show must run and be true."""

import json
import re
import runpy
from math import inf
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


NUMBER = r"\d+\.\d+"


def test_readme_example_prints_what_stands_below_it(capsys, tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, flags=re.S)
    table, shown = re.findall(r"```text\n(.*?)```", readme, flags=re.S)
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text(table)
    exec(snippet, {"__name__": "example"})  # noqa: S102 - our own file
    printed = capsys.readouterr().out
    assert re.sub(NUMBER, "#", printed) == re.sub(NUMBER, "#", shown)
    said, found = ([float(number) for number in re.findall(NUMBER, text)] for text in (shown, printed))
    assert found == pytest.approx(said, rel=2e-3)
    assert len(said) >= 7
    assert Path("mine.png").stat().st_size > 10_000


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


def run_page(page):
    """Run a page's examples; its text and the names they leave."""
    text, space = (ROOT / "docs" / page).read_text(), {"__name__": "example"}
    for snippet in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        exec(snippet, space)  # noqa: S102 - our own file
    return text, space


def test_the_check_page(capsys):
    text, _ = run_page("check.md")
    shown = re.findall(r"```text\n(.*?)```", text, flags=re.S)
    assert len(shown) == 3
    assert capsys.readouterr().out == "".join(shown)


def test_the_page_on_ones_own_model():
    text, space = run_page("own-model.md")
    assert space["proof"].measured == pytest.approx(space["proof"].predicted, abs=0.1)
    model = re.findall(r"@dataclass.*?W_U\n", text, flags=re.S)[0]
    assert len([line for line in model.splitlines() if line]) <= 15


def test_the_modes_page(capsys):
    run_page("modes.md")
    memory, reasoning = (line.split("[") for line in capsys.readouterr().out.splitlines())
    halves = [np.array(parts[-1].strip(" ]").split(), float) for parts in (memory, reasoning)]
    assert halves[0].min() > halves[1].max()  # every mode of memory after every mode of reasoning


def test_the_stages_page():
    _, space = run_page("stages.md")
    onset = space["onset"]
    trained = onset(space["run"])
    assert onset(space["theory"]) == pytest.approx(trained, rel=0.005)
    assert space["stages"].onset == pytest.approx(trained, rel=0.03)


def test_the_scale_page(capsys):
    _, space = run_page("scale.md")
    assert {o.success for o in space["runs"].outcomes} == {True}
    assert set(space["many"].statistics["methods"]) == {"taylor"}
    assert space["bound"]["W_E"][-1] < 20 * space["error"]
    assert "ModeEnsemble(1000 x 8 modes" in capsys.readouterr().out


def test_the_sweeps_page(capsys):
    _, space = run_page("sweeps.md")
    assert space["sweep"].done == 6
    times = space["escape_times"](space["data"]).sel(run="softmax").median("init.seed")
    assert (times.sel(group="reasoning-train") < times.sel(group="memory")).all()


def test_the_decoder_page():
    _, space = run_page("decoder.md")
    memory, *reasoning = (space["run"][f"loss/{group}"][-1] for group in space["data"].group_names)
    assert max(reasoning) < 0.75 * memory


def test_the_page_on_why(capsys):
    _, space = run_page("why.md")
    parts, promise = space["parts"], space["promise"]
    assert parts.remainder()[1:].max() < 0.1
    assert parts.share("sampling")[1] > 0.9 > 0.6 > parts.share("sampling")[-1]
    printed = capsys.readouterr().out
    from_here = parts.t >= float(printed.split("from t =")[1].split()[0])
    np.testing.assert_array_equal(space["closure"] > space["sampling"], from_here)  # they change places once
    true = float(printed.split("true horizon")[1])
    assert 0.5 * true < promise.horizon < true


def test_the_record_behind_the_page_on_why():
    judge = runpy.run_path(str(ROOT / "docs" / "measure_certificate.py"))["verdict"]
    rows = json.loads((ROOT / "docs" / "certificate.json").read_text())
    assert len(rows) == 50
    rows = [{key: inf if value is None else value for key, value in row.items()} for row in rows]
    found = [judge(row) for row in rows]
    for row, verdict in zip(rows, found, strict=True):
        assert verdict == {key: row[key] for key in verdict}, row["seed"]
    late = [v for row, v in zip(rows, found, strict=True) if row["true"] >= 5 * row["learning rate"]]
    kinds = ("conservative", "within a factor 2")
    every, held = ([sum(v[kind] for v in some) for kind in kinds] for some in (found, late))
    assert every[0] >= 48
    assert every[1] >= 40
    assert held[0] >= 0.95 * len(late)
    assert held[1] >= 0.8 * len(late)
    said = f"Of the other {len(late)}, {held[0]} are conservative and {held[1]} within a factor 2."
    assert said in (ROOT / "docs" / "why.md").read_text()


def test_the_text_page(capsys):
    _, space = run_page("text.md")
    found = space["found"].at_stage_end
    assert found["softmax"] > 0.9 > found["co-occurrence"]
    assert "1000 1000\n" in capsys.readouterr().out


def test_the_sweep_file_of_the_docs():
    from smallinit.compare.sweep.plan import read_sweep

    assert read_sweep(ROOT / "docs" / "phase.toml").shape == (25, 400)


def test_readme_links_exist():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        prose = re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text(), flags=re.S)
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.parametrize(
    ("closure", "power"), [("order=6", 4), ("order=7", 6), ("order=9", 7), ("order=10", 8)]
)
def test_exponents_in_the_notation_page(closure, power):
    from smallinit.theory import EmbMLP, derive

    page = (ROOT / "docs" / "notation.md").read_text()
    assert f"eps^{power} (k={closure.partition('=')[2]})" in page
    assert derive(EmbMLP(5, 4, 3), closure).residual_order["W_E"] == power


def test_horizons_of_the_what_to_expect_page_are_measured_by_its_script(capsys):
    runpy.run_path(str(ROOT / "docs" / "measure_horizons.py"))["main"](True)
    assert "leading" in capsys.readouterr().out
