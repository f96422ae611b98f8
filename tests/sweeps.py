"""A sweep of six small points, for the tests of sweeps."""

import numpy as np

TINY = """
[axes]
"init.gamma" = [0.6, 0.8]
"init.seed" = "0-2"
[task]
keys = "5-9"
memory_anchors = "1-2"
reasoning_anchors = "3-4"
[model]
d_model = 4
d_mlp = 3
[theory]
closures = ["leading", "softmax"]
t1 = 5.0
points = 6
"""


def write(tmp_path, text=TINY, name="sweep.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def same(a, b):
    """Bit for bit, outcomes and all."""
    assert list(a.variables) == list(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))
