import pytest

from smallinit.theory.printing import html


@pytest.mark.parametrize(
    ("latex", "written"),
    [
        (r"\mathrm{gain} x", "<mi>gain</mi><mi>x</mi>"),
        (r"\mathrm{gain}_{1}", "<msub><mi>gain</mi>"),
        (r"\mathtt{W\_1}", '<mi style="font-family:monospace">W_1</mi>'),
        (r"d_{head}", "<mi>head</mi>"),
    ],
)
def test_a_name_is_one_word(latex, written):
    assert written in html.mathml(latex)
