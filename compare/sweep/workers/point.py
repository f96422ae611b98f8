"""What one point of a sweep does, wherever it runs: build, simulate, train, keep the observables."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import numpy as np

from ....theory.base.errors import FieldError
from ...training.identity import differences, environment
from ..input_files import BatchFiles
from .time_limit import TimeLimit

Arrays = dict[str, np.ndarray]


class WrongWorker(RuntimeError):
    """A worker whose results may have other bits than those of the driver and the other workers."""


def run_point(
    config: Mapping[str, Any],
    run: Sequence[str],
    observables: Sequence[str],
    max_seconds: float | None = None,
    files: BatchFiles | None = None,
) -> Arrays:
    """Simulate and train one experiment.

    Parameters
    ----------
    config : dict
        The experiment.
    run, observables : sequence of str
        What to do and what to keep; see `SweepPlan`.
    max_seconds : float or None
        Wall-clock limit, looked at between the steps of integration and training.
    files : BatchFiles, optional
        Files that this batch has met, and what they must be.

    Returns
    -------
    dict
        "RUN|NAME" -> array, with RUN a closure or "training" and NAME an observable, "t", "outcome" or "t_end". A
        closure trained beside has a "horizon": flow time at which the first weight is ``output.tolerance`` off.
    """
    from ...experiment.build import Built, initial_weights
    from ...experiment.layers import Loaded
    from ...experiment.schema import Experiment

    experiment = Experiment.model_validate(config)
    files = BatchFiles() if files is None else files
    files.check(config)
    data, model, flows = _shared(_setup(config), files.shared(config))
    limit = TimeLimit(max_seconds)  # what points share is nobody's own time
    built = Built(Loaded(experiment, {}), data, model, initial_weights(experiment.init, model))
    found: Arrays = {}
    theory = {
        name: limit.check(built.integrate(flow, throw=False, max_seconds=limit.left))
        for name, flow in (flows.items() if "simulate" in run else ())
    }
    for closure, path in theory.items():
        found |= _kept(closure, path, built.times(), observables)
    if "train" in run:
        training = limit.check(built.train(throw=False, max_seconds=limit.left))
        found |= _kept("training", training, built.training_times(), observables)
        if experiment.training.keep == "weights":  # else there is nothing to hold those of theory against
            found |= _horizons(theory, training, experiment.output.tolerance)
    return found


def _horizons(theory: Mapping[str, Any], training: Any, tolerance: float) -> Arrays:
    from ...overlays.overlay import overlay

    return {
        f"{closure}|horizon": np.array(overlay(path, training).horizon(tolerance))
        for closure, path in theory.items()
        if len(path.t) > 1 and len(training.t) > 1
    }


def run_batch(
    configs: Sequence[tuple[str, Mapping[str, Any]]],
    run: Sequence[str],
    observables: Sequence[str],
    max_seconds: float | None = None,
    inputs: Mapping[str, str] | None = None,
    expected: Mapping[str, str] | None = None,
) -> tuple[dict[str, Arrays | str], float]:
    """Run some points; id -> arrays, or what was wrong, and the seconds it took.

    Raises
    ------
    WrongWorker
        If the driver runs other sources or versions than this process does, or on another processor.
    """
    if expected is not None and (changed := differences(expected, environment("train" in run))):
        raise WrongWorker(
            f"a worker is not like the driver of the sweep ({'; '.join(changed)}): give workers the driver's "
            "sources, versions and processor, or go on with accept_changes=True (--accept-changes)."
        )
    done: dict[str, Arrays | str] = {}
    began, files = time.perf_counter(), BatchFiles(inputs)
    with single_threaded("train" in run):
        for name, config in configs:
            try:
                done[name] = run_point(config, run, observables, max_seconds, files)
            except Exception as error:  # one bad point must not take the others with it
                done[name] = f"{type(error).__name__}: {error}"
    return done, time.perf_counter() - began


@contextmanager
def single_threaded(torch: bool) -> Iterator[None]:
    """One thread for BLAS, and for torch where it trains: results do not depend on how many there are."""
    from ....sim.kernel.threads.blas_threads import one_blas_thread

    with one_blas_thread():
        if not torch:
            yield
            return
        from ...training.torch_threads import one_torch_thread

        with one_torch_thread():
            yield


def _setup(config: Mapping[str, Any]) -> str:
    parts = {key: config[key] for key in ("task", "data", "model")}
    parts["theory"] = {"closures": config["theory"]["closures"]}
    return json.dumps(parts, sort_keys=True)


@lru_cache(maxsize=8)
def _shared(setup: str, content: str) -> tuple[Any, Any, Any]:
    """Data, model and flows, the same objects for all points that share them: kernels are kept by them.

    `content` tells apart what `setup` only names: the files of data and model.
    """
    from ...experiment.build import build_data, build_model, derive_flows
    from ...experiment.layers import Loaded
    from ...experiment.schema import Experiment

    parts = {k: v for k, v in json.loads(setup).items() if v is not None}
    loaded = Loaded(Experiment.model_validate(parts), {})
    data = build_data(loaded)
    model = build_model(loaded, data.d_vocab, data.n_ctx)
    model.check_data(data)
    return data, model, derive_flows(loaded, model)


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
