"""Weights by name, as a network starts from them."""

from __future__ import annotations

import numpy as np


class StartWeights(dict[str, np.ndarray]):
    """A dict of weight name -> array (rows, cols) that a notebook shows as a table of sizes, not of entries."""

    def _repr_html_(self) -> str:
        """Shapes, norms and standard deviations."""
        from ..printing import html as markup

        rows = [
            (name, " x ".join(map(str, w.shape)), f"{np.linalg.norm(w):.4g}", f"{np.std(w):.4g}")
            for name, w in self.items()
        ]
        count = sum(w.size for w in self.values())
        table = markup.table(("weight", "rows x columns", "Frobenius norm", "standard deviation"), rows)
        return markup.card("Weights", table, status=f"{count:,} numbers")
