"""How the claims are shown: a header, columns, nothing wider than a terminal."""

import json

import pytest

from smallinit.compare.commands import claims_command
from smallinit.compare.literature import claims as literature
from smallinit.compare.literature.claim import Claim, Finding
from smallinit.theory.base.errors import InputError

WORDS = "the relative error falls as eps^3; first difference, at eps^3: -1/d_vocab*K*W_E*W_in*W_out*Pi*W_out.T*W_in.T"
LONG = Claim(
    "B stage 2, closed form", "x", "dW_E = " + " + ".join(["M_last@(W_in@W_out+I).T"] * 6), "x", "x",
    lambda: Finding("wrong by a constant factor", WORDS, {"factor": 2.0}),
)  # fmt: skip
SHORT = Claim("A7", "x", "labels are uniform", "x", "x", lambda: Finding("holds", "chi^2 is 99", {"p": 0.5}))


@pytest.fixture
def shown(monkeypatch, capsys):
    monkeypatch.setattr(literature, "claims", lambda: (LONG, SHORT))
    claims_command.claims()
    return capsys.readouterr().out


def test_a_header_and_columns(shown):
    header, line, first, *_ = shown.splitlines()
    assert header.split("  ")[0] == "claim"
    assert set(line) == {"-", " "}
    places = [header.index(word) for word in claims_command.HEADER]
    assert [first.index(word) for word in ("B stage 2,", "wrong by a", "dW_E")] == places
    assert shown.splitlines()[-1] == "2 statements: 1 wrong by a constant factor, 1 holds."


def test_nothing_is_wider_than_a_hundred_columns_and_nothing_is_lost(shown):
    assert max(map(len, shown.splitlines())) <= 100
    together = "".join(shown.split())
    for claim in (LONG, SHORT):
        finding = claim.verify()
        column = "".join(line[31:].strip().removeprefix("->") for line in shown.splitlines())
        assert "".join(claim.statement.split()) in "".join(column.split())
        assert "".join(finding.sentence.split()) in "".join(column.split())
        assert claim.number.split()[0] in together


def test_the_findings_as_json(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(literature, "claims", lambda: (SHORT,))
    claims_command.claims(json=tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text())[0]["numbers"] == {"p": 0.5}
    with pytest.raises(InputError, match="a folder that does not exist"):
        claims_command.claims(json=tmp_path / "nowhere" / "found.json")
    capsys.readouterr()
