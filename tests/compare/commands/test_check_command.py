"""The commands that check statements."""

from smallinit.cli import run

SMALL = ["--preset", "demo", "--model.d-model", "8", "--model.d-mlp", "6"]


def test_check_prints_a_verdict(capsys):
    assert run(["check", "dW_E = M @ W_out.T @ W_in.T", *SMALL]) == 0
    assert "leading order" in capsys.readouterr().out


def test_check_draws_the_proof(capsys, tmp_path):
    path = tmp_path / "proof.svg"
    command = ["check", "dW_E = M @ W_out.T @ W_in.T", *SMALL, "--figure", str(path)]
    assert run(command) == 0
    assert f"wrote {path}" in capsys.readouterr().out
    assert path.stat().st_size > 10_000
    assert run(command) == 2  # before any work: nothing is printed
    out, err = capsys.readouterr()
    assert out == ""
    assert "overwrite" in err
    assert run([*command, "--overwrite"]) == 0


def test_check_draws_the_proof_of_a_conserved_quantity(capsys, tmp_path):
    path = tmp_path / "proof.svg"
    assert run(["check", "d(W_E.T @ W_E - W_in @ W_in.T) = 0", *SMALL, "--figure", str(path)]) == 0
    assert "  exact\n" in capsys.readouterr().out
    drawn = path.read_text()
    for words in ("claim: nothing but rounding", "leading: nothing but rounding", "error of d(..)/d"):
        assert f"<!-- {words}" in drawn or words in drawn, words


def test_check_refuses_a_figure_it_cannot_write(capsys, tmp_path):
    assert run(["check", "dW_E = M", *SMALL, "--figure", str(tmp_path / "proof.doc")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert ".png, .pdf, .svg" in err


def test_an_unreadable_claim_is_pointed_at(capsys):
    assert run(["check", "dW_E = M @ W_ou.T"]) == 2
    line, text, caret = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "did you mean 'W_out'" in line
    assert text[caret.index("^") :].startswith("W_ou")


def test_claims_refuse_a_missing_folder(capsys, tmp_path):
    assert run(["claims", "--json", str(tmp_path / "none" / "claims.json")]) == 2
    assert "create it first" in capsys.readouterr().err
