"""What an experiment says reaches the model and the training, and nothing that it says is ignored."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers import TINY, refused

from smallinit.cli import run
from smallinit.compare import train
from smallinit.compare.experiment.build import build
from smallinit.compare.experiment.layers import in_flags, load, to_toml
from smallinit.compare.experiment.model_spec import MODEL_KEYS as MODELS
from smallinit.compare.experiment.outputs import summary, writers
from smallinit.compare.sweep.plan import read_sweep
from smallinit.sim import WarmupCosine, integrate, load_trajectory
from smallinit.sim.optimizers.specs import optimizer_of
from smallinit.theory import Decoder
from smallinit.theory.base.errors import InputError


def of(flags, text=TINY, tmp_path=None):
    if tmp_path is None:
        return build(load(None, "demo", {"model.d_model": 4, "model.d_mlp": 3, "theory.t1": 2.0} | flags))
    (tmp_path / "tiny.toml").write_text(text)
    return build(load(tmp_path / "tiny.toml", None, flags))


OPTIONS = {
    "schedule": (
        {"steps": 12, "schedule": "cosine", "warmup": 3, "schedule_end": 9, "final": 0.25},
        {"steps": 12, "schedule": WarmupCosine(3, 9, 0.25)},
    ),
    "whole schedule": ({"steps": 12, "schedule": "cosine"}, {"steps": 12, "schedule": WarmupCosine(0, 12)}),
    "clip": ({"clip": 1e-3}, {"clip": 1e-3}),
    "betas": ({"optimizer": "adamw", "betas": [0.5, 0.75]}, {"optimizer": "adamw", "betas": (0.5, 0.75)}),
    "device": ({"device": "auto"}, {"device": "auto"}),
    "keep": ({"keep": "observables"}, {"keep": "observables"}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_the_training_reach_it(tmp_path, name):
    said, meant = OPTIONS[name]
    built = of({f"training.{key}": value for key, value in said.items()}, tmp_path=tmp_path)
    arguments = {"learning_rate": 0.5, "steps": 8, "dtype": "float64"} | meant
    early = name == "schedule"
    with pytest.warns(UserWarning, match="ends at step 9 of 12") if early else nullcontext() as told:
        mine = built.train()
        theirs = train(built.model, built.data, built.start, save_at=built.saved_steps(), **arguments)
    assert not early or len(told) == 2
    np.testing.assert_array_equal(mine["loss"], theirs["loss"])
    np.testing.assert_array_equal(mine.t, theirs.t)
    np.testing.assert_array_equal(mine.t, built.training_times())
    assert mine.provenance["config_hash"] == theirs.provenance["config_hash"]
    plain = of({}, tmp_path=tmp_path).train()
    if name not in ("device", "keep"):
        assert not np.array_equal(plain["loss"], mine["loss"])


def test_the_device_of_the_theory(tmp_path):
    built = of({"theory.device": "auto"}, tmp_path=tmp_path)
    assert built.integrate(built.flows()["leading"]).provenance["device"] == (
        "cuda by torch" if torch.cuda.is_available() else "cpu"
    )
    with pytest.raises(ValueError, match=r"`theory.device` 'gpu' is unknown"):
        of({"theory.device": "gpu"}, tmp_path=tmp_path)
    by_steps = of({"theory.device": "cuda", "training.optimizer": "adamw"}, tmp_path=tmp_path)
    with pytest.raises(
        ValueError, match=r"`--theory.device` .*(beside an `optimizer`|torch finds no such device)"
    ):
        by_steps.integrate(by_steps.flows()["leading"])


def test_the_precision_of_the_theory(tmp_path):
    built = of({"theory.dtype": "float32", "theory.closures": ["exact"]}, tmp_path=tmp_path)
    assert built.integrate(built.flows()["exact"]).provenance["dtype"] == "float32"
    close = of({"theory.dtype": "float32", "theory.rtol": 1e-8}, tmp_path=tmp_path)
    with pytest.raises(ValueError, match=r"`--theory.rtol` is 1e-08, closer than float32 can follow a flow"):
        close.integrate(close.flows()["leading"])


def test_a_schedule_and_the_theory_share_their_times(tmp_path):
    built = of(
        {"training.steps": 40, "training.schedule": "cosine", "training.warmup": 4, "theory.t1": 9.0},
        tmp_path=tmp_path,
    )
    times = built.training_times()
    np.testing.assert_array_equal(built.times(), np.unique(np.minimum(times[times <= 9.0], 9.0)))
    assert len(built.times()) > 1


def test_observables_are_measured_on_the_file_that_is_named(tmp_path):
    built = of({}, tmp_path=tmp_path)
    few = built.data.groups == "memory"
    np.savez(tmp_path / "few.npz", sequences=built.data.sequences[few], labels=built.data.labels[few])
    flags = {"training.keep": "observables", "training.measure_on": str(tmp_path / "few.npz")}
    found = of(flags, tmp_path=tmp_path).train()
    whole = built.train()
    np.testing.assert_allclose(found["loss"], whole["loss/memory"], rtol=1e-12)


SMALL = {"model.d_model": 3, "model.d_mlp": 3, "training.keep": "observables", "theory.t1": 1.0}


def on_files(tmp_path, data, other, **flags):
    """The data that a training on one file is measured on, another file."""
    for name, text in (data, other):
        (tmp_path / name).write_text(text)
    options = SMALL | {"data.file": str(tmp_path / data[0]), "training.measure_on": str(tmp_path / other[0])}
    built = build(load(None, "demo", options | flags))
    return built.data, built._measured_on(built.loaded.experiment.training.measure_on)


def test_tokens_mean_where_they_are_measured_what_they_mean_in_training(tmp_path):
    table = ("a.csv", "a,answer\nx,y\nz,y\n")
    _, found = on_files(tmp_path, table, ("b.csv", "a,answer\nz,z\n"), **{"data.label": "answer"})
    assert found.sequences.tolist() == [[2]]
    words = ("a.txt", "the cat sat on the mat and the cat slept")
    data, found = on_files(tmp_path, words, ("b.txt", "the mat slept here"), **{"data.n_ctx": 2})
    read = np.array(data.vocabulary)
    assert read[found.sequences].tolist() == [["the", "mat"], ["mat", "slept"]]
    assert read[found.labels].tolist() == ["slept", "<unk>"]


def test_a_text_gives_as_many_windows_as_are_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(" ".join(f"word{i}" for i in range(100)))
    options = SMALL | {"data.file": str(path), "data.n_ctx": 2}
    assert len(build(load(None, "demo", options)).data) == 98
    few = build(load(None, "demo", options | {"data.max_sequences": 7})).data
    assert len(few) == 7
    assert few.sequences[0].tolist() != few.sequences[1].tolist()
    table = tmp_path / "a.csv"
    table.write_text("a,label\n0,1\n1,0\n")
    with pytest.raises(ValueError, match=r"max-sequences` goes with \.txt and the data are"):
        build(load(None, "demo", SMALL | {"data.file": str(table), "data.max_sequences": 7}))


def test_a_file_of_another_ending_is_refused(tmp_path):
    path = tmp_path / "a.dat"
    path.write_text("a,label\n0,1\n1,0\n")
    with pytest.raises(
        ValueError, match=r"a\.dat' ends in none of \.csv, \.tsv, \.jsonl, \.txt, \.npz, by which"
    ):
        build(load(None, "demo", SMALL | {"data.file": str(path)}))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("b.csv", "a,label\nx,y\n"), "names its tokens and the training data number theirs otherwise"),
        (("b.txt", "one two three"), "is a text and the training data are none"),
    ],
)
def test_names_that_training_does_not_have_measure_nothing(tmp_path, other, said):
    with pytest.raises(ValueError, match=said):
        on_files(tmp_path, ("a.csv", "a,label\n0,1\n1,0\n"), other)


def test_an_npz_keeps_names(tmp_path):
    table = ("a.csv", "a,label\nx,y\nz,y\n")
    data, _ = on_files(tmp_path, table, table)
    data.save(tmp_path / "a.npz")
    again = build(load(None, "demo", SMALL | {"data.file": str(tmp_path / "a.npz")})).data
    assert again.vocabulary == ("x", "y", "z")
    assert again.fingerprint == data.fingerprint


def test_a_training_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = of({"training.checkpoint": "run.npz", "training.checkpoint_every": 2}, tmp_path=tmp_path)
    whole = first.train()
    again = of({"training.checkpoint": "run.npz"}, tmp_path=tmp_path).train()
    assert again.statistics["steps"] == 0
    np.testing.assert_array_equal(again.weights["W_E"], whole.weights["W_E"])
    with pytest.raises(
        InputError,
        match=r"`--training.checkpoint` .* other inputs, sources or versions .*\(on the command line\)",
    ):
        of({"training.checkpoint": "run.npz", "init.seed": 3}, tmp_path=tmp_path).train()


REFUSED = {
    "warmup = 3": ["`warmup` belongs to a schedule", "schedule = 'cosine'"],
    "schedule = 'cosine'": ["`steps` is missing"],
    "schedule = 'cosine'\nsteps = 5\nwarmup = 5": [
        "`warmup` must end before the schedule does at step 5, got 5"
    ],
    "schedule = 'cosin'": ["`training.schedule` 'cosin' is unknown; did you mean 'cosine'?"],
    "betas = [0.9, 0.99]": ["`betas` goes with adamw", "'gd'"],
    "optimizer = 'adamw'\nbetas = [0.9]": ["`training.betas"],
    "optimizer = 'adamw'\nbetas = [0.9, 1.0]": ["`training.betas[1]`", "less than 1"],
    "clip = 0": ["`training.clip`", "greater than 0"],
    "device = 'gpu'": ["`training.device` 'gpu' is unknown; choose one of cpu, cuda, auto"],
    "measure_on = 'a.npz'": ["`measure_on` needs keep = 'observables'"],
    "checkpoint_every = 3": ["`checkpoint_every` needs `checkpoint`"],
}


@pytest.mark.parametrize("text", REFUSED)
def test_options_that_mean_nothing_are_refused(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(f"[training]\n{text}\n")
    with pytest.raises(InputError) as caught:
        load(path)
    for part in [*REFUSED[text], f"(in {path})."]:
        assert part in str(caught.value)


KEYS = {key: {"activation": "tanh", "unembed": True, "positions": False}.get(key, 3) for key in
        ("d_model", "d_mlp", "d_head", "n_layers", "activation", "unembed", "positions")}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_the_model_lacks_is_refused(tmp_path, model, key):
    path = tmp_path / "a.toml"
    value = {True: "true", False: "false", "tanh": '"tanh"'}.get(KEYS[key], KEYS[key])
    value = '"rotary"' if (model, key) == ("Decoder", "positions") else value
    path.write_text(f'[model]\nname = "{model}"\n{key} = {value}\n')
    if key in MODELS[model]:
        experiment = load(path).experiment
        assert f"{key} = {value}" in to_toml(experiment)
        return
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(f"`model.{key}` is no key of {model}, which takes loss, d_vocab")
    assert str(caught.value).endswith(f"; leave it out (in {path}).")


@pytest.mark.parametrize("model", MODELS)
def test_only_the_models_keys_are_written(tmp_path, model):
    experiment = load(None, "demo", {"model.name": model}).experiment
    written = experiment.model_dump(mode="json", exclude_none=True)["model"]
    assert set(written) == {"name", *MODELS[model]} - {"padding"}  # which is absent where there is none
    (tmp_path / "again.toml").write_text(to_toml(experiment))
    again = load(tmp_path / "again.toml").experiment
    assert again == experiment
    assert again.hash == experiment.hash


def test_another_model_leaves_the_keys_of_a_lower_layer(tmp_path):
    (tmp_path / "a.toml").write_text('[model]\nname = "EmbedUnembed"\n')
    loaded = load(tmp_path / "a.toml", "demo")  # the demo has d_mlp and an activation
    assert loaded.experiment.model.d_model == 100
    assert "model.d_mlp" not in loaded.sources
    with pytest.raises(InputError, match=r"`model.d_mlp` is no key of EmbedUnembed.*\(on the command line\)"):
        load(tmp_path / "a.toml", "demo", {"model.d_mlp": 3})


def test_another_optimizer_leaves_the_keys_of_a_lower_layer(tmp_path):
    (tmp_path / "a.toml").write_text('[training]\noptimizer = "adamw"\nbetas = [0.8, 0.9]\neps = 1e-6\n')
    training = load(tmp_path / "a.toml", None, {"training.optimizer": "signgd"}).experiment.training
    assert (training.betas, training.eps) == (None, 1e-6)
    with pytest.raises(InputError, match=r"`betas` goes with adamw .*\(on the command line\)"):
        load(tmp_path / "a.toml", None, {"training.optimizer": "gd", "training.betas": [0.9, 0.9]})


def test_an_end_that_means_nothing_is_refused(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('[theory]\nt1 = 3.0\n[training]\noptimizer = "adamw"\nsteps = 9\n')
    with pytest.raises(
        InputError, match=r"`theory.t1` means nothing beside `training.steps`.*\(in .*a.toml\)"
    ):
        load(file)
    assert load(file, None, {"training.optimizer": "gd"}).experiment.theory.t1 == 3.0
    file.write_text("[theory]\nt1 = 3.0\n")  # the steps of a higher layer take its place
    moved = {"training.optimizer": "adamw", "training.steps": 9}
    experiment = load(file, None, moved).experiment
    assert "t1" not in to_toml(experiment)
    assert load_text(to_toml(experiment), tmp_path) == experiment
    with pytest.raises(InputError, match=r"`theory.t1` means nothing.*\(on the command line\)"):
        load(file, None, moved | {"theory.t1": 2.0})


def test_a_batch_larger_than_the_data_is_refused_before_any_work(tmp_path):
    with pytest.raises(
        InputError, match=r"`--training.batch-size` is 1000 but the data has .*\(on the command line\)"
    ):
        of({"training.optimizer": "sgd", "training.batch_size": 1000}, tmp_path=tmp_path)


def test_few_rows_are_the_default_batch_from_file_and_python(tmp_path):
    built = of({"training.optimizer": "sgd", "training.steps": 3}, tmp_path=tmp_path)
    rows = int((~built.data.held_out).sum())
    assert rows < 100
    plain = train(built.model, built.data, built.start, "sgd", steps=3)
    assert built.train().provenance["batch_size"] == plain.provenance["batch_size"] == rows


def test_refusals_of_the_library_name_the_place_of_their_field(tmp_path):
    (tmp_path / "a.toml").write_text("[task]\nlength = 2\n[model]\nd_vocab = 9\n")
    with pytest.raises(InputError, match=r"\[task\] `length` must be at least .*\(in .*a.toml\)\."):
        build(load(tmp_path / "a.toml", None, {"init.seed": 1}))
    with pytest.raises(InputError, match=r"\[task\] `d_vocab` must be at least .*\(on the command line\)\."):
        build(load(tmp_path / "a.toml", None, {"task.length": 3, "model.d_vocab": 8}))


def test_commands_that_need_weights_say_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    message = refused(capsys, "overlay", "tiny.toml", "--training.keep", "observables")
    assert "`training.keep`" in message
    assert "on the command line" in message
    assert run(["train", "tiny.toml", "--training.keep", "observables", "--out", "out"]) == 0
    kept = load_trajectory(tmp_path / "out" / "training.nc")
    assert not kept.weights
    assert np.isfinite(kept["loss/memory"]).all()
    assert run(["report", "out"]) == 0


@pytest.mark.parametrize("place", ["file", "axis", "flag"])
def test_a_sweep_keeps_no_checkpoint(tmp_path, place):
    axes = '"training.checkpoint" = ["a.npz"]' if place == "axis" else '"init.seed" = "0-1"'
    key = 'checkpoint = "a.npz"\n' if place == "file" else ""
    (tmp_path / "s.toml").write_text(f"[axes]\n{axes}\n{TINY}{key}")
    with pytest.raises(InputError, match=r"`training\.checkpoint` does not go with a sweep"):
        read_sweep(tmp_path / "s.toml", {"training.checkpoint": "a.npz"} if place == "flag" else None)


MOVERS = {
    "adamw": {
        "optimizer": "adamw", "learning_rate": 0.01, "steps": 12, "schedule": "cosine", "warmup": 3, "eps": 1e-6,
        "weight_decay": 0.1, "decays": {"W_E": 0.0}, "rates": "W_E=0.5, W_out=2",
    },
    "momentum": {"optimizer": "momentum", "momentum": 0.5, "nesterov": True, "learning_rate": 0.1, "steps": 12},
    "signgd": {"optimizer": "signgd", "eps": 1e-3, "schedule": "linear", "final": 0.5, "steps": 12},
    "spectral": {"optimizer": "spectral", "momentum": 0.5, "learning_rate": 0.01, "steps": 12},
    "decay": {"weight_decay": 0.5, "steps": 12},
}  # fmt: skip


@pytest.mark.parametrize("name", MOVERS)
def test_optimizers_move_theory_and_training_alike(tmp_path, name):
    said = {f"training.{key}": value for key, value in MOVERS[name].items()}
    built = of(said | {"theory.closures": "exact", "theory.method": "steps"}, tmp_path=tmp_path)
    assert built.loaded.experiment.moved_by == "optimizer"
    theory, training = built.integrate(built.flows()["exact"]), built.train()
    np.testing.assert_array_equal(theory.steps, training.steps)
    np.testing.assert_array_equal(theory.t, training.t)
    np.testing.assert_array_equal(built.times(), training.t)
    for weight, value in training.weights.items():
        np.testing.assert_allclose(
            theory.weights[weight], value, rtol=1e-7, atol=1e-9
        )  # signs amplify rounding
    again = load_text(to_toml(built.loaded.experiment), tmp_path)
    assert again == built.loaded.experiment
    assert optimizer_of(training.provenance["rule"]) == built.optimizer()


@pytest.mark.parametrize(("name", "seed"), [("adamw", None), ("signgd", 4)])
def test_theory_knows_the_batches_of_its_training(tmp_path, name, seed):
    said = {"optimizer": name, "learning_rate": 0.01, "steps": 12, "batch_size": 3, "seed": 4}
    built = of({f"training.{key}": value for key, value in said.items()}, tmp_path=tmp_path)
    flow = built.flows()["softmax"]
    theory = built.integrate(flow)
    meant = integrate(
        flow, built.data, built.start, steps=12, optimizer=built.optimizer(), save_at=built.saved_steps(),
        batch_size=3, seed=seed,
    )  # fmt: skip
    whole = integrate(
        flow, built.data, built.start, steps=12, optimizer=built.optimizer(), save_at=built.saved_steps()
    )
    for weight, value in meant.weights.items():
        np.testing.assert_array_equal(theory.weights[weight], value)
        assert not np.array_equal(whole.weights[weight], value)


def test_results_show_what_moved_the_closures(tmp_path):
    built = of(
        {"training.optimizer": "adamw", "training.steps": 12, "training.learning_rate": 0.01},
        tmp_path=tmp_path,
    )
    flows = built.flows()
    theory = {name: built.integrate(flow) for name, flow in flows.items()}
    files = writers(built.loaded, flows, theory)
    files["equations.tex"](tmp_path / "equations.tex")
    assert r"\sqrt" in (tmp_path / "equations.tex").read_text()
    assert summary(built.loaded, flows, theory)["closures"]["softmax"]["conserved"] == []
    plain = of({}, tmp_path=tmp_path)
    theory = {name: plain.integrate(flow) for name, flow in flows.items()}
    assert summary(plain.loaded, flows, theory)["closures"]["softmax"]["conserved"]


def load_text(text, tmp_path):
    (tmp_path / "again.toml").write_text(text)
    return load(tmp_path / "again.toml", None, {}).experiment


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"training.eps": 1e-3}, "eps"),
        ({"training.momentum": 0.5}, "momentum or spectral"),
        ({"training.nesterov": True, "training.optimizer": "adamw"}, "leave it out"),
        ({"training.rates": "W_E:1"}, 'as in "W_E=0.5,W_U=2"'),
        ({"training.rates": "W_Z=1"}, "W_Z"),
        ({"theory.method": "steps"}, "moved by the flow"),
        ({"theory.method": "tsit5", "training.optimizer": "adamw"}, "moved by the optimizer"),
        ({"theory.atol": 1e-9, "training.optimizer": "adamw"}, "means nothing"),
        ({"training.schedule": "linear", "training.warmup": 2, "training.steps": 9}, "belongs to the cosine"),
    ],
)
def test_optimizers_that_do_not_fit_are_refused(tmp_path, said, says):
    with pytest.raises(InputError, match=says):
        of(said, tmp_path=tmp_path).optimizer()


DECODER = '[model]\nname = "Decoder"\nd_model = 8\nd_head = 4\nd_mlp = 6\n'


def test_every_key_of_a_decoder_reaches_it(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(
        DECODER + 'n_layers = 3\nn_heads = 2\nnorm = "post"\nnorm_kind = "rms"\nnorm_eps = 0\ngains = false\n'
        'biases = true\ntied = true\npositions = "rotary"\nactivation = "relu"\npredict = "all"\npadding = 0\n'
    )
    model = build(load(path, "demo")).model
    sizes = {"d_vocab": 51, "d_model": 8, "d_head": 4, "d_mlp": 6, "n_ctx": 3, "n_layers": 3, "n_heads": 2}
    switches = {
        "norm": "post",
        "norm_kind": "rms",
        "norm_eps": 0.0,
        "gains": False,
        "biases": True,
        "tied": True,
    }
    assert model == Decoder(
        **sizes, **switches, positions="rotary", activation="relu", predict="all", padding=0
    )


def test_defaults_of_a_decoder_are_those_of_its_class(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(DECODER)
    loaded = load(path, "demo")
    assert build(loaded).model == Decoder(51, d_model=8, d_head=4, d_mlp=6, n_ctx=3)
    flags = {"model.norm": "none", "model.positions": "none", "model.norm_eps": 1e-3}
    bare = build(load(path, "demo", flags)).model
    assert bare == Decoder(
        51, d_model=8, d_head=4, d_mlp=6, n_ctx=3, norm=None, positions=None, norm_eps=1e-3
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("positions = true", "`model.positions` of Decoder must be learned, rotary or none, got True"),
        ("positions = 3", "`model.positions` must be true, false or one of learned, rotary, none, got 3"),
        ('positions = "rotari"', "`model.positions` 'rotari' is unknown; did you mean 'rotary'?"),
        ('norm = "before"', "`model.norm` 'before' is unknown; choose one of pre, post, none"),
        ("norm_eps = -1.0", "`model.norm_eps` should be greater than or equal to 0, got -1"),
        ("padding = 51", "[model] `padding` must be a token below 51, got 51"),
        ('activation = "sigmoid"', "`model.activation` 'sigmoid' breaks Assumption 1"),
        ("padding = 30", "[model] the label of sequence"),
    ],
)
def test_what_a_decoder_is_not_is_refused(tmp_path, line, sentence):
    path = tmp_path / "a.toml"
    path.write_text(f"{DECODER}{line}\n")
    with pytest.raises(InputError) as caught:
        build(load(path, "demo"))
    assert str(caught.value).startswith(sentence)
    assert f"(in {path}" in str(caught.value)


def test_positions_of_a_transformer_do_not_become_those_of_a_decoder(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[model]\nname = "OneLayerTransformer"\npositions = true\n')
    loaded = load(path, "demo", {"model.name": "Decoder"})
    assert loaded.experiment.model.positions == "learned"


def test_the_paper_sized_decoder_fits_together():
    built = build(load(preset="decoder-paper"))
    assert built.data.d_vocab == 161
    assert built.data.n_ctx == 9
    assert built.model.weights["blocks.1.W_in"] == (200, 800)
    assert "blocks.1.W_in" in built.flows()["softmax"].equations
    assert built.batch_size() == 100


def test_the_small_decoder_learns_reasoning_before_memory():
    flags = {
        "training.steps": 200,
        "theory.points": 3,
        "training.dtype": "float32",
        "training.keep": "observables",
    }
    run = build(load(preset="decoder", flags=flags)).train()
    memory, reasoning, held_out = (
        run[f"loss/{g}"][-1] for g in ("memory", "reasoning-train", "reasoning-test")
    )
    assert memory > 2.7
    assert reasoning < 2.2
    assert held_out < 2.3


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (
            "flags",
            "`--data.label` 'answr' is no column of .*; give the name of the one with the labels .on the command line.",
        ),
        ("file", r"\[data\] `label` 'answr' is no column of .* .in .*mine.toml.\."),
    ],
)
def test_a_field_is_named_as_it_was_given(tmp_path, where, words):
    table, file = tmp_path / "mine.csv", tmp_path / "mine.toml"
    table.write_text("a,answer\nx,y\n")
    file.write_text(f'[data]\nfile = "{table}"\nlabel = "answr"\n')
    flags = {"data.file": str(table), "data.label": "answr"}
    with pytest.raises(InputError, match=words):
        build(load(flags=flags) if where == "flags" else load(file))


def test_arguments_of_a_remedy_are_flags_on_the_command_line():
    said = '`method` "taylor" is for small states; use method="dop853"'
    assert (
        in_flags("theory", said)
        == '`--theory.method` "taylor" is for small states; use --theory.method dop853'
    )
    column = "mine.csv, line 2: `label` is empty"  # a column, and no argument
    assert in_flags("data", column) == f"[data] {column}"
