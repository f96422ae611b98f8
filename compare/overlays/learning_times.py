"""When a group is learnt beyond the frequencies of its labels, and what that makes of theory beside training."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.crossings import first_crossing
from ...theory.base.validate import kind_of
from ...theory.data.frequencies import label_entropy

BELOW = 0.1  # part of the label entropy that a loss must lie below it


def learnt_at(run: Trajectory) -> dict[str, float]:
    """First flow time at which each group's loss is 10 % below the entropy of its labels.

    Frequencies alone bring a loss down to that entropy: only an answer that depends on the input goes below. So a
    group whose loss falls early, but to its entropy and no further, is not learnt.

    Parameters
    ----------
    run : Trajectory
        With its model and data.

    Returns
    -------
    dict
        Group -> flow time, linear between saved times; inf where it is not up to the end. Groups of one label, of
        which frequencies tell everything, are left out. Empty without the losses of groups, for a loss other than the
        cross-entropy, and for a model that predicts at every position.

    Raises
    ------
    ValueError
        If it is no trajectory, or one that lacks its model or data.
    """
    kind_of("run", run, Trajectory, "of an overlay its `theory` or `training`")
    model, data = run.model_and_data()
    if model.loss != "cross_entropy" or model.per_position:
        return {}
    known = [g for g in map(str, data.group_names) if f"loss/{g}" in run.observable_names]
    levels = {g: (1.0 - BELOW) * label_entropy(data, g) for g in known}
    return {
        g: float(first_crossing(run.t, run[f"loss/{g}"], level)) for g, level in levels.items() if level > 0.0
    }


def learning_order(training: Mapping[str, float], theory: Mapping[str, Mapping[str, float]]) -> str:
    """What is learnt first, and whether theories say so, in a sentence.

    Parameters
    ----------
    training : dict
        Group -> flow time, as of `learnt_at`.
    theory : dict
        The same by closure; one that blows up says nothing and belongs left out.

    Returns
    -------
    str
        Empty where there is no group.
    """
    if not training:
        return ""
    lead = first_learnt(training)
    sentence = f"Learnt first, beyond the frequencies of labels: {_named(lead, training)} in training"
    said = {name: first_learnt(times) for name, times in theory.items()}
    agree = [f"{name!r} (t = {theory[name][lead]:.4g})" for name in said if lead and said[name] == lead]
    other = [f"{name!r} says {_named(said[name], theory[name])}" for name in said if said[name] != lead]
    same = [repr(name) for name in said if not lead and not said[name]]
    sentence += (
        f", and {' and '.join(agree or same)} {'says' if len(agree or same) == 1 else 'say'} so"
        * bool(agree or same)
    )
    return "; ".join([sentence, *other]) + "."


def first_learnt(times: Mapping[str, float]) -> str:
    """The group that is learnt first; empty if none is."""
    first = min(times, key=times.__getitem__, default="")
    return first if first and times[first] < inf else ""


def _named(group: str, times: Mapping[str, float]) -> str:
    return f"{group} (t = {times[group]:.4g})" if group else "nothing"
