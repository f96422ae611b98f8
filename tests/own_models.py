"""Small models as a user writes them, with sympy's own operators."""

from dataclasses import dataclass, field

import numpy as np

from smallinit.theory import Dataset, Model, weight

E, U = weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")
A, B = weight("W_A", "d_model", "d_model"), weight("W_B", "d_model", "d_model")
G = weight("g", 1, "d_model")


@dataclass(frozen=True)
class Own(Model):
    d_model: int = 3
    formula: object = field(default=None, repr=False)

    @property
    def weight_symbols(self):
        held = self.formula.atoms(type(E))
        return tuple(w for w in (E, G, A, B, U) if w in held)

    @property
    def start_values(self):
        return {"g": 1.0}

    @property
    def logits(self):
        return self.formula


class EveryPosition(Own):
    """One that predicts the next token at every position."""

    @property
    def per_position(self):
        return True


def own(formula, cls=Own, **options):
    """A model of five tokens with these logits, and data for it: repeated tokens, unequal weights."""
    rng = np.random.default_rng(0)
    tokens, labels = rng.integers(0, 5, (20, 3)), rng.integers(0, 5, 20)
    return cls(5, formula=formula, **options), Dataset(tokens, labels, 5, weights=rng.uniform(0.1, 1, 20))
