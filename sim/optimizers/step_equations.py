"""The equations of an optimizer, printed with those of the flow whose gradient it follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import sympy as sp

from ...theory.algebra.matrices import apply, hadamard, hadamard_power, product, total
from ...theory.algebra.nodes import free_symbols
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import brief, kind_of
from ...theory.flows.flow import Flow
from ...theory.flows.readable import names_in_use
from ...theory.printing import html as markup
from ...theory.printing.latex import latex
from ...theory.printing.letters import free_name, letters
from ...theory.printing.text import text
from .optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral

if TYPE_CHECKING:
    from ...theory.algebra.nodes import Matrix
    from ...theory.flows.symmetry.invariants import Invariant

X = sp.Symbol("x", real=True)
MOMENTS = "abvgu"  # letters of what a weight has: its moments, gradient and direction
ALIKE = 4  # weights that move by one rule from which on the rule is printed once, for every W of them


@dataclass(frozen=True, eq=False)
class StepEquations(FrozenRecord):
    """What moves weights and moments in the limit of small rates; s counts steps, flow time t grows by eta a step.

    It is what ``integrate(..., method="flow")`` integrates. `str` gives it as text, `latex` as LaTeX; a notebook shows
    it typeset.

    Attributes
    ----------
    flow : Flow
        The closure whose right-hand side is minus the gradient g.
    optimizer : Optimizer
        What uses the gradient.
    """

    flow: Flow
    optimizer: Optimizer

    def __post_init__(self) -> None:
        """Refuse what is no optimizer, and rates and decays of weights that there are not."""
        kind_of("flow", self.flow, Flow, "`derive` makes one")
        if not isinstance(self.optimizer, Optimizer):
            raise FieldError(
                "optimizer", f"must be one such as AdamW(learning_rate=1e-3), got {brief(self.optimizer)}."
            )
        self.optimizer.of_weights(self.flow.model.weights)

    @cached_property
    def _rates(self) -> dict[str, tuple[float, float]]:
        return self.optimizer.of_weights(self.flow.model.weights)

    @cached_property
    def numbers(self) -> Mapping[str, float]:
        """Symbol -> value: eta, the learning rate before its schedule; the optimizer's own; kappa and lambda."""
        o = self.optimizer
        own = {
            "eta": o.learning_rate,
            "mu": getattr(o, "momentum", 0.0),
            **dict(zip(("beta_1", "beta_2"), getattr(o, "betas", ()), strict=False)),
            "delta": getattr(o, "eps", 0.0),
        }
        decays = {w: decay for w, (_, decay) in self._rates.items() if decay}
        alike = len(set(decays.values())) == 1
        own |= {"lambda" if alike else f"lambda_{w}": decay for w, decay in decays.items()}
        found = {self._free(name): value for name, value in own.items() if value > 0.0}
        return found | {self._free(f"kappa_{w}"): k for w, (k, _) in self._rates.items() if k != 1.0}

    def _free(self, name: str) -> str:
        """A name that nothing of the flow has."""
        return free_name(name, self._taken)

    @cached_property
    def _taken(self) -> set[str]:
        return {*names_in_use(self.flow), *self.flow.definitions, *map(str, self.flow._marks())}

    def _number(self, *names: str) -> sp.Expr:
        """Symbol of the first number that there is; 0 where the page does without."""
        found = (sp.Symbol(self._free(n), positive=True) for n in names if self._free(n) in self.numbers)
        return next(found, sp.Integer(0))

    def _named(self, letter: str, w: sp.MatrixSymbol) -> sp.MatrixSymbol:
        return sp.MatrixSymbol(self._free(f"{letter}_{w.name}"), *w.shape)

    @cached_property
    def equations(self) -> Mapping[str, Matrix]:
        """Name -> d/ds of weights W and of moments a_W, b_W or v_W, in terms of the gradient g_W."""
        found: dict[str, Matrix] = {}
        for w in self.flow.model.weight_symbols:
            rests = w.name not in self.flow.moving
            found |= {w.name: sp.ZeroMatrix(*w.shape)} if rests else self._of_weight(w)
        return found

    @cached_property
    def _alike(self) -> tuple[sp.MatrixSymbol, ...]:
        """Weights whose rule is printed once: those that share rate and decay with most, if they are many."""
        moving = [w for w in self.flow.model.weight_symbols if w.name in self.flow.moving]
        if len({decay for _, decay in self._rates.values() if decay}) > 1:
            return ()  # decays have names of their own
        common = Counter(self._rates[w.name] for w in moving).most_common(1)
        found = tuple(w for w in moving if self._rates[w.name] == (1.0, common[0][0][1]))
        return found if len(found) >= ALIKE else ()

    @cached_property
    def _any(self) -> sp.MatrixSymbol:
        """Any of those."""
        return sp.MatrixSymbol(self._free("W"), *self._alike[0].shape)

    @cached_property
    def _shown(self) -> Mapping[str, Matrix]:
        """The equations that are printed one by one, after the common rule."""
        once = {k for w in self._alike for k in self._of_weight(w)}
        return {name: e for name, e in self.equations.items() if name not in once}

    @cached_property
    def _common(self) -> Mapping[str, Matrix]:
        """The common rule, of any weight W."""
        return self._of_weight(self._any) if self._alike else {}

    def _of_weight(self, w: sp.MatrixSymbol) -> dict[str, Matrix]:
        o, g = self.optimizer, self._named("g", w)
        _, decays = self._rates.get(w.name) or self._rates[self._alike[0].name]
        decay = product(self._number("lambda", f"lambda_{w.name}") if decays else 0, w)
        pace = -self._number("eta") * (self._number(f"kappa_{w.name}") or 1)
        if isinstance(o, GD):
            return {w.name: product(pace, total(g, decay))}
        if isinstance(o, Momentum):
            return self._rolled(w, total(g, decay), pace)
        if isinstance(o, AdamW):
            a, b = (self._named(m, w) for m in "ab")
            ahead = {w.name: product(pace, total(self._towards(a, b), decay))}
            fed = ((a, g, "beta_1"), (b, hadamard_power(g, sp.Integer(2)), "beta_2"))
            return ahead | {str(m): self._relaxed(m, new, beta) for m, new, beta in fed if self._number(beta)}
        if isinstance(o, SignGD):
            return {w.name: product(pace, total(self._signed(g), decay))}
        if isinstance(o, Spectral):
            ahead = {w.name: product(pace, total(self._named("u", w), decay))}
            return ahead | {k: e for k, e in self._rolled(w, g, pace).items() if k != w.name}
        raise TypeError(f"no equations for {type(o).__name__}; add them to sim/optimizers/step_equations.py.")

    def _rolled(self, w: sp.MatrixSymbol, g: Matrix, pace: sp.Expr) -> dict[str, Matrix]:
        """Momentum: v' = -log(mu) (g/(1 - mu) - v)."""
        v, mu = self._named("v", w), self._number("mu")
        if not mu:
            return {w.name: product(pace, g)}
        towards = product(-sp.log(mu), total(product(1 / (1 - mu), g), product(-1, v)))
        nesterov = getattr(self.optimizer, "nesterov", False)
        return {w.name: product(pace, total(g, product(mu, v)) if nesterov else v), str(v): towards}

    def _towards(self, a: Matrix, b: Matrix) -> Matrix:
        """a/(sqrt(b) + delta)."""
        return hadamard(a, apply(sp.Lambda(X, 1 / (sp.sqrt(X) + self._number("delta"))), b))

    def _signed(self, g: Matrix) -> Matrix:
        """g/(abs(g) + delta), or the sign itself."""
        delta = self._number("delta")
        return apply(sp.Lambda(X, X / (sp.Abs(X) + delta) if delta else sp.sign(X)), g)

    def _relaxed(self, moment: Matrix, new: Matrix, name: str) -> Matrix:
        """A bias-corrected moment's m' = r (new - m)/(1 - exp(-r (s + 1))), r = -log(beta)."""
        beta, s = self._number(name), sp.Symbol(self._free("s"), positive=True)
        return product(-sp.log(beta) / (1 - beta ** (s + 1)), total(new, product(-1, moment)))

    @cached_property
    def definitions(self) -> Mapping[str, Matrix]:
        """Name -> definition: those of the flow, the gradients g_W, and moments that have no memory."""
        flow, o = self.flow, self.optimizer
        found = dict(flow.definitions)
        for w in flow.model.weight_symbols:
            if w.name not in flow.moving:
                continue
            g = self._named("g", w)
            found[str(g)] = product(-1, flow.readable[w.name])
            if isinstance(o, AdamW):
                fed = {"a": (g, "beta_1"), "b": (hadamard_power(g, sp.Integer(2)), "beta_2")}
                found |= {str(self._named(m, w)): e for m, (e, beta) in fed.items() if not self._number(beta)}
        return found

    @property
    def _polar(self) -> dict[str, sp.MatrixSymbol]:
        """Name of a direction -> the matrix whose polar factor it is."""
        if not isinstance(self.optimizer, Spectral):
            return {}
        letter = "v" if self._number("mu") else "g"
        moving = [w for w in self.flow.model.weight_symbols if w.name in self.flow.moving]
        once = [self._any] if self._alike else []
        return {
            str(self._named("u", w)): self._named(letter, w) for w in (*once, *moving) if w not in self._alike
        }

    @cached_property
    def conserved(self) -> tuple[Invariant, ...]:
        """What stays under gradient descent, or falls with its decay, each proved; other optimizers keep nothing."""
        if not isinstance(self.optimizer, GD):
            return ()
        rates, decays = ({w: pair[i] for w, pair in self._rates.items()} for i in (0, 1))
        return self.flow.weighted_invariants(rates, decays)

    def _kept(self) -> list[tuple[str, str]]:
        """Label and text of what is conserved."""
        if self.conserved:
            return [
                (f"falls as e^(-{i.decay:g} t)" if i.decay else "conserved", str(i)) for i in self.conserved
            ]
        return [("conserved", _NOTHING[type(self.optimizer)])]

    def _head(self) -> str:
        o, flow = self.optimizer, self.flow
        return f"{type(o).__name__} on {flow.model.name}, closure {flow.closure!r}"

    def _notes(self) -> list[str]:
        """What else one has to know: how moments begin, what a polar factor is here."""
        o, decay = self.optimizer, " + lambda W" if isinstance(self.optimizer, Momentum) else ""
        fed = {"a": "g", "b": "g^o2", "v": f"g{decay if any(d for _, d in self._rates.values()) else ''}"}
        has = {"a": "beta_1", "b": "beta_2", "v": "mu"}
        starts = [f"{m} = {fed[m]}" for m in o.moments if self._number(has[m])]
        notes = [f"at s = 0: {', '.join(starts)}, for every weight"] if starts else []
        polar = f"polar: singular values x become x/sqrt(x^2 + ({self._free('delta')} x_max)^2)"
        return notes + ([polar] if self._polar else [])

    def _schedule(self) -> str:
        """What is said of eta."""
        schedule = self.optimizer.schedule
        named = repr(schedule) if hasattr(schedule, "factor") else "a function of the step"
        return "" if schedule is None else f": times its schedule at s, {named}"

    def __str__(self) -> str:
        """Equations with definitions, numbers, and what is conserved, as text."""
        lines = [f"{self._head()} (s: steps; t: flow time, dt = eta ds)"]
        if self._alike:
            lines += [f"  for {self._any} in {', '.join(map(str, self._alike))}:"]
            lines += [f"    d{name}/ds = {text(e)}" for name, e in self._common.items()]
        lines += [f"  d{name}/ds = {text(e)}" for name, e in self._shown.items()]
        lines += [f"  with {eps} = 1: marks powers of the weight scale" for eps in self.flow._marks()]
        lines += [f"  with {name} = {text(e)}" for name, e in self.definitions.items()]
        lines += [f"  with {u} = polar({v})" for u, v in self._polar.items()]
        lines += [
            f"  with {name} = {value!r}{self._schedule() if name == self._free('eta') else ''}"
            for name, value in self.numbers.items()
        ]
        lines += [f"  {note}" for note in self._notes()]
        lines += [f"  {label}: {kept}" for label, kept in self._kept()]
        return "\n".join(lines)

    def latex(self) -> str:
        r"""Equations and definitions as lines of an ``aligned`` environment."""
        shown = self._letters()
        every = [shown[str(w)] for w in self._alike]
        lines = [rf"{shown[str(self._any)]} &\in \left\{{{', '.join(every)}\right\}}"] if every else []
        lines += [
            rf"\frac{{\mathrm{{d}}{shown[name]}}}{{\mathrm{{d}}s}} &= {latex(e, shown)}"
            for name, e in {**self._common, **self._shown}.items()
        ]
        lines += [f"{shown[str(eps)]} &= 1" for eps in self.flow._marks()]
        lines += [f"{shown[name]} &= {latex(e, shown)}" for name, e in self.definitions.items()]
        lines += [
            rf"{shown[u]} &= \operatorname{{polar}}\left({shown[v.name]}\right)"
            for u, v in self._polar.items()
        ]
        lines += [f"{shown[name]} &= {sp.latex(sp.Float(value, 6))}" for name, value in self.numbers.items()]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _letters(self) -> dict[str, str]:
        """LaTeX of every name on the page: an index of a gradient, moment or number is the weight's own letter."""
        lines = (*self._common.values(), *self.equations.values(), *self.definitions.values())
        weights, every = self.flow.model.weight_symbols, [self._any] if self._alike else []
        inside = {*weights, *self._polar.values()}.union(*map(free_symbols, lines))
        prefixes = (*MOMENTS, "kappa", "lambda")
        owned = {self._free(f"{m}_{w}"): (m, str(w)) for m in prefixes for w in (*weights, *every)}
        names = {
            *map(str, inside),
            *self.numbers,
            *self._polar,
            *self._common,
            *self.equations,
            *self.definitions,
        }
        names -= {str(w) for w in every}  # whose letter stands bare beside W_E
        shown = letters(sp.Symbol(n) for n in names - owned.keys()) | {str(w): sp.latex(w) for w in every}
        for name in names & owned.keys():
            letter, weight = owned[name]
            shown[name] = rf"{sp.latex(sp.Symbol(letter))}_{{{shown[weight]}}}"
        return shown

    def _repr_latex_(self) -> str:
        """The equations, for notebooks."""
        return f"$$\n{self.latex()}\n$$"

    def _repr_html_(self) -> str:
        """Equations as MathML, with numbers in words and what is conserved, for notebooks."""
        notes = [markup.escape(note) for note in self._notes()]
        schedule = self._schedule()
        notes += [markup.escape(f"eta {schedule[2:]}")] if schedule else []
        kept = [markup.line(label, body) for label, body in self._kept()]
        return markup.card(
            self._head(),
            markup.equations(self.latex()),
            *notes,
            *kept,
            status="s: steps; t: flow time, dt = eta ds",
        )


_NOTHING = {
    GD: "nothing that a symmetry proves",
    Momentum: "no balance exactly (sums of a weight may stay); nearly what GD keeps at the rate eta/(1 - mu)",
    AdamW: "nothing, for its steps follow no gradient: every entry has a rate of its own",
    SignGD: "nothing, for its steps follow no gradient: every entry has a rate of its own",
    Spectral: "no balance (sums of a weight may stay): every singular direction has a rate of its own",
}
