"""Token similarities on three corpora: predicted, trained, and what the corpus alone says.

Writes docs/text.json, docs/text.png and the table in docs/text.md. `python docs/measure_text.py [seeds]` (some four
minutes a seed on one core; downloads the novel, see fetch_novel.py). Windows of 4 words, 4000 of them spread over each
corpus; the novel with a vocabulary of 200, generated corpora (1000 documents) with all their words; gamma 0.8, tanh;
Emb-MLP with d_model = d_mlp = 64, one-layer transformer with d_model = d_mlp = 48, d_head = 24 on 3000 windows;
full-batch GD, learning rate 0.25. "Other weights" are those of the next seed.
"""

import json
import runpy
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from _marked import fill

from smallinit.compare import SimilarityOverlay, plot_similarity, similarity_overlay, train
from smallinit.sim import Trajectory, integrate
from smallinit.theory import Dataset, EmbMLP, Lexicon, OneLayerTransformer, derive, read_text
from smallinit.theory.data.corpora.reasoning import reasoning_corpus
from smallinit.theory.data.corpora.stories import story_corpus
from smallinit.theory.models.model import Model

HERE = Path(__file__).parent
GAMMA, RATE, N_CTX, SAVED = 0.8, 0.25, 4, 41
# End of the runs in flow time, past the first stage.
ENDS = {
    ("novel", "Emb-MLP"): 60.0,
    ("reasoning", "Emb-MLP"): 60.0,
    ("stories", "Emb-MLP"): 100.0,
    ("novel", "transformer"): 60.0,
    ("reasoning", "transformer"): 60.0,
    ("stories", "transformer"): 160.0,
}
STATISTIC = {"Emb-MLP": "C", "transformer": "X_last"}


def corpora() -> dict[str, tuple[str, int | None]]:
    """Text and size of the vocabulary."""
    fetch = runpy.run_path(str(HERE / "fetch_novel.py"))["novel"]
    with tempfile.TemporaryDirectory() as folder:
        novel = read_text(fetch(Path(folder) / "novel.txt"))
    return {
        "novel": (novel, 200),
        "reasoning": (reasoning_corpus(1000), None),
        "stories": (story_corpus(1000), None),
    }


def problem(text: str, size: int | None, kind: str) -> tuple[Model, Dataset]:
    """A small model and its data."""
    lexicon = Lexicon.of(text, size)
    if kind == "Emb-MLP":
        return EmbMLP(len(lexicon), 64, 64), lexicon.dataset(text, N_CTX, max_sequences=4000)
    model = OneLayerTransformer(len(lexicon), 48, 24, 48, N_CTX)
    return model, lexicon.dataset(text, N_CTX, max_sequences=3000)


def trajectories(model: Model, data: Dataset, t1: float, seed: int) -> dict[str, Trajectory]:
    """Training and both closures from the weights of one seed."""
    start = model.init(GAMMA, seed)
    run = train(model, data, start, learning_rate=RATE, steps=round(t1 / RATE), save_at=SAVED)
    found = {"training": run}
    for closure in ("softmax", "leading"):
        flow = derive(model, closure)
        found[closure] = integrate(flow, data, start, t1=t1, save_at=run.t, rtol=1e-4, throw=False)
    return found


def measure(name: str, kind: str, text: str, size: int | None, seeds: int) -> list[SimilarityOverlay]:
    """One overlay per seed."""
    model, data = problem(text, size, kind)
    paths = [trajectories(model, data, ENDS[name, kind], seed) for seed in range(max(seeds, 2))]
    overlays = []
    for mine, other in zip(paths[:seeds], [*paths[1:], paths[0]], strict=False):
        theories = {name: mine[name] for name in ("softmax", "leading")}
        theories |= {f"{name}, other weights": other[name] for name in ("softmax", "training")}
        overlays.append(similarity_overlay(mine["training"], theories, statistic=STATISTIC[kind]))
        print(name, kind, overlays[-1], flush=True)
    return overlays


def row(name: str, kind: str, overlays: list[SimilarityOverlay]) -> dict:
    """Everything that the table needs, and the curves."""
    return {
        "corpus": name,
        "model": kind,
        "tokens": len(overlays[0].tokens),
        "end": [float(o.t[o.stage_end]) for o in overlays],
        "mean cosine": [float(o.mean_cosine[o.stage_end]) for o in overlays],
        "leading up to": [
            float(o.t[np.flatnonzero(np.isfinite(o.correlation["leading"]))[-1]]) for o in overlays
        ],
        "leading there": [
            float(o.correlation["leading"][np.isfinite(o.correlation["leading"])][-1]) for o in overlays
        ],
        "at the end of the runs": [float(o.correlation["softmax"][-1]) for o in overlays],
        "correlation": {k: [o.at_stage_end[k] for o in overlays] for k in overlays[0].correlation},
    }


def table(rows: list[dict]) -> str:
    """Medians over seeds, with the range."""
    names = [name for name in rows[0]["correlation"] if name != "leading"]
    titles = ["corpus", "model", "tokens", "end of stage", *names, "`softmax` at the end of the run"]
    titles += ["`leading`: up to, there", "mean cosine"]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for r in rows:
        cells = [spread(r["correlation"][name]) for name in names]
        cells += [spread(r["at the end of the runs"])]
        cells += [
            f"{np.median(r['leading up to']):.0f}, {spread(r['leading there'])}",
            spread(r["mean cosine"]),
        ]
        lines.append(
            f"| {r['corpus']} | {r['model']} | {r['tokens']} | t = {np.median(r['end']):.0f} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Median (least .. greatest)."""
    return f"{np.median(values):.3f} ({min(values):.3f} .. {max(values):.3f})"


def rewrite(rows: list[dict]) -> None:
    """Put the table between its marks."""
    fill(HERE / "text.md", "measure_text.py", table(rows))


def main() -> None:
    """Measure and write."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    texts, rows, drawn = corpora(), [], {}
    for name, kind in ENDS:
        overlays = measure(name, kind, *texts[name], seeds)
        rows.append(row(name, kind, overlays))
        if kind == "Emb-MLP":
            drawn[name] = overlays
    (HERE / "text.json").write_text(json.dumps(rows, indent=1) + "\n")
    plot_similarity(drawn, HERE / "text.png")
    rewrite(rows)


if __name__ == "__main__":
    main()
