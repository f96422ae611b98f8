"""What one point of a sweep does, wherever it runs: build, simulate, train, keep the observables."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError

Arrays = dict[str, np.ndarray]


def run_point(
    config: Mapping[str, Any],
    run: Sequence[str],
    observables: Sequence[str],
    read: dict[str, str] | None = None,
) -> Arrays:
    """Simulate and train one experiment.

    Parameters
    ----------
    config : dict
        The experiment.
    run : sequence of str
        "simulate", "train" or both.
    observables : sequence of str
        Names or patterns of what is kept.
    read : dict, optional
        Data file -> hash of its content, of the files that this batch has met: a batch reads each once.

    Returns
    -------
    dict
        "RUN|NAME" -> array, with RUN a closure or "training" and NAME an observable, "t", "outcome" or "t_end". A
        closure trained beside has a "horizon": flow time at which the first weight is ``output.tolerance`` off.
    """
    from ..experiment.build import Built
    from ..experiment.layers import Loaded
    from ..experiment.schema import Experiment

    experiment = Experiment.model_validate(config)
    data, model, flows = _shared(_setup(config), _content(config, {} if read is None else read))
    init = experiment.init
    loaded = Loaded(experiment, {})
    start = model.init(init.gamma, init.seed) if init.file is None else _read_start(init.file, model)
    built = Built(loaded, data, model, start)
    found: Arrays = {}
    theory = (
        {name: built.integrate(flow, throw=False) for name, flow in flows.items()}
        if "simulate" in run
        else {}
    )
    for closure, path in theory.items():
        found |= _kept(closure, path, built.times(), observables)
    if "train" in run:
        training = built.train(throw=False)
        found |= _kept("training", training, built.training_times(), observables)
        if (
            experiment.training.keep == "weights"
        ):  # else there is nothing to hold the theory's weights against
            found |= _horizons(theory, training, experiment.output.tolerance)
    return found


def _horizons(theory: Mapping[str, Any], training: Any, tolerance: float) -> Arrays:
    from ..overlays.overlay import overlay

    return {
        f"{closure}|horizon": np.array(overlay(path, training).horizon(tolerance))
        for closure, path in theory.items()
        if len(path.t) > 1 and len(training.t) > 1
    }


def run_batch(
    configs: Sequence[tuple[str, Mapping[str, Any]]], run: Sequence[str], observables: Sequence[str]
) -> tuple[dict[str, Arrays | str], float]:
    """Run some points; id -> arrays, or what was wrong, and the seconds it took."""
    done: dict[str, Arrays | str] = {}
    began, read = time.perf_counter(), dict[str, str]()
    with single_threaded("train" in run):
        for name, config in configs:
            try:
                done[name] = run_point(config, run, observables, read)
            except Exception as error:  # one bad point must not take the others with it
                done[name] = f"{type(error).__name__}: {error}"
    return done, time.perf_counter() - began


@contextmanager
def single_threaded(torch: bool) -> Iterator[None]:
    """One thread for BLAS, and for torch where it trains: results do not depend on how many there are."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        if not torch:
            yield
            return
        from torch import get_num_threads, set_num_threads

        before = get_num_threads()
        set_num_threads(1)
        try:
            yield
        finally:
            set_num_threads(before)


def _setup(config: Mapping[str, Any]) -> str:
    parts = {key: config[key] for key in ("task", "data", "model")}
    parts["theory"] = {"closures": config["theory"]["closures"]}
    return json.dumps(parts, sort_keys=True)


def _content(config: Mapping[str, Any], read: dict[str, str]) -> str:
    """Hash of the data file, if there is one: another file may lie at the same place by now."""
    file = (config.get("data") or {}).get("file")
    if file is None:
        return ""
    if file not in read:
        path = Path(file)
        read[file] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    return read[file]


@lru_cache(maxsize=8)
def _shared(setup: str, content: str) -> tuple[Any, Any, Any]:
    """Data, model and flows, the same objects for all points that share them: kernels are kept by them.

    `content` tells apart what `setup` only names: the data file.
    """
    from ..experiment.build import build_data, build_model, derive_flows
    from ..experiment.layers import Loaded
    from ..experiment.schema import Experiment

    parts = {k: v for k, v in json.loads(setup).items() if v is not None}
    loaded = Loaded(Experiment.model_validate(parts), {})
    data = build_data(loaded)
    model = build_model(loaded, data.d_vocab, data.n_ctx)
    model.check_data(data)
    return data, model, derive_flows(loaded, model)


def _read_start(file: str, model: Any) -> dict[str, np.ndarray]:
    from ...theory.base.npz import read_arrays

    return model.validate(read_arrays(Path(file), (), tuple(model.weights)))


def _kept(run: str, path: Any, times: np.ndarray, observables: Sequence[str]) -> Arrays:
    """Observables on all times asked for, nan where the run did not get."""
    names = [n for n in path.observable_names if any(fnmatchcase(n, pattern) for pattern in observables)]
    if not names:
        raise FieldError(
            "observables", f"{', '.join(observables)} match none of {', '.join(path.observable_names)}."
        )
    there = np.searchsorted(times, path.t)
    kept: Arrays = {f"{run}|t": times}
    for name in names:
        values = path[name]
        full = np.full((len(times), *values.shape[1:]), np.nan)
        full[there] = values
        kept[f"{run}|{name}"] = full
    kept[f"{run}|outcome"] = np.array(path.outcome.status.name)
    kept[f"{run}|t_end"] = np.array(path.outcome.t)
    return kept
