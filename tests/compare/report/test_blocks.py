"""Every kind of block has its macro, and whatever a file says stands on the page literally."""

import pytest
from markupsafe import escape

from smallinit.compare.report.blocks import (
    CodeBlock,
    EquationBlock,
    LetterBlock,
    LinkBlock,
    NoteBlock,
    PageBlock,
    PictureBlock,
    ReproduceBlock,
    TableBlock,
    VerdictBlock,
    facts,
    some,
)
from smallinit.compare.report.page import Page

BAD = '</pre><script>alert("x")</script> {{ 7 * 7 }} {% raw %} \'" onload="y" &lt;'
BLOCKS = {
    "verdicts": VerdictBlock([(True, BAD), (False, BAD), (None, BAD)]),
    "table": TableBlock((BAD,), [(BAD,)], BAD),
    "facts": facts({BAD: {BAD: BAD}}),
    "picture": PictureBlock(b"\x89PNG", BAD, BAD),
    "code": CodeBlock(BAD),
    "note": NoteBlock(BAD, soft=True),
    "equations": EquationBlock(BAD, BAD, BAD, BAD),
    "letters": LetterBlock(),
    "link": LinkBlock(BAD, BAD),
    "reproduce": ReproduceBlock(BAD, BAD, BAD, BAD, BAD),
}


def test_all_kinds_are_here():
    assert {type(block) for block in BLOCKS.values()} == set(PageBlock.__subclasses__())


@pytest.mark.parametrize("kind", BLOCKS)
def test_hostile_text_stands_literally(kind):
    page = Page(BAD, BAD, {BAD: [BLOCKS[kind]], "empty": some([None])}).html()
    assert "<script" not in page
    assert 'onload="' not in page
    assert "49" not in page
    assert "empty" not in page
    assert str(escape(BAD)) in page
