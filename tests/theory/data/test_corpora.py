from collections import Counter, defaultdict

import numpy as np
import pytest

from smallinit.theory.data.corpora.reasoning import (
    Statement,
    check_reasoning,
    consequences,
    read_problem,
    reasoning_corpus,
)
from smallinit.theory.data.corpora.stories import SLOTS, STEPS, check_stories, read_story, story_corpus
from smallinit.theory.data.splitting import split_words

CORPORA = {"reasoning": (reasoning_corpus, check_reasoning), "stories": (story_corpus, check_stories)}


@pytest.mark.parametrize("name", CORPORA)
def test_every_line_is_parsed_back_and_right(name):
    corpus, check = CORPORA[name]
    assert check(corpus(500, seed=3)) == 500


@pytest.mark.parametrize("name", CORPORA)
def test_a_line_depends_on_the_seed_and_its_number_alone(name):
    corpus, _ = CORPORA[name]
    text = corpus(20, seed=1)
    assert corpus(50, seed=1).startswith(text)
    assert corpus(20, seed=2) != text
    assert len(set(text.splitlines())) == 20


@pytest.mark.parametrize("name", CORPORA)
def test_corpora_are_made_of_plain_words(name):
    text = CORPORA[name][0](50)
    assert split_words(text) == text.split()


@pytest.mark.parametrize("arguments", [(0, 0), (1, -1), (True, 0), (1.5, 0)])
@pytest.mark.parametrize("name", CORPORA)
def test_numbers_are_checked(name, arguments):
    with pytest.raises(ValueError, match=r"`(n|seed)` must be"):
        CORPORA[name][0](*arguments)


@pytest.mark.parametrize("hops", [(0, 2), (3, 2), (1, 9)])
def test_hops_are_checked(hops):
    with pytest.raises(ValueError, match="`hops` must be"):
        reasoning_corpus(1, hops=hops)


LINE = (
    "every nolpid is a glimber . elva is a nolpid . each mizzen is not shy . every glimber is shy . true or false : "
    "elva is not shy ? elva is a nolpid . every nolpid is a glimber . elva is a glimber . every glimber is shy . "
    "elva is shy . answer : false ."
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("answer : false", "answer : true", "the answer true is wrong"),
        ("elva is a glimber . ", "", "step 4 of the proof, .* does not follow"),
        ("elva is shy . answer", "elva is not shy . answer", "step 5 of the proof, .* does not follow"),
        ("every glimber is shy . true", "every glimber is not shy . true", "the answer false is wrong"),
        ("? elva is a nolpid", "? elva is a mizzen", "step 1 of the proof"),
        ("each mizzen is not shy", "each nolpid is not shy", "the premises contradict each other"),
        ("false : elva is not shy", "false : elva is not sour", "the premises do not decide the question"),
        (" elva is shy . answer", " answer", "the proof does not end at the question"),
        ("each mizzen", "each mizen", "has words in the wrong place"),
        ("is a nolpid", "is an nolpid", "has words in the wrong place"),
        ("each mizzen is not shy", "mizzens are not shy", "cannot be parsed"),
        ("answer : false", "so false", "no premises, question, proof and answer"),
    ],
)
def test_a_wrong_problem_is_refused(old, new, message):
    assert check_reasoning(LINE) == 1
    assert old in LINE
    with pytest.raises(ValueError, match=f"line 2: .*{message}"):
        check_reasoning(f"{LINE}\n{LINE.replace(old, new)}")


def test_forward_chaining_goes_round_a_loop():
    rules = [("a", "b"), ("b", "c"), ("c", "a")]
    facts = consequences([Statement("elva", True, "a"), *(Statement(x, True, y) for x, y in rules)])
    assert facts == {Statement("elva", True, x) for x in "abc"}


def test_neither_the_words_of_the_question_nor_the_distractor_tell_the_answer():
    problems = [read_problem(line) for line in reasoning_corpus(1000).splitlines()]
    seen = defaultdict(Counter)
    for p in problems:
        seen["negated"][p.question.positive, p.answer] += 1
        about = [s for s in p.premises if s.predicate == p.question.predicate]
        assert {s.positive for s in about} == {True, False}  # the rule and the distractor
        seen["first"][about[0].positive == p.question.positive, p.answer] += 1
        assert len(p.proof) in (3, 5, 7)
    for counts in seen.values():
        assert max(abs(counts[key] - 250) for key in counts) < 60  # 4 standard deviations


def test_bindings_of_stories_cannot_be_inferred():
    bound = [read_story(line) for line in story_corpus(3000, seed=5).splitlines()]
    for a, b in (("hero", "thing"), ("thing", "colour"), ("thing", "place"), ("hero", "kind")):
        table = np.zeros((len(SLOTS[a]), len(SLOTS[b])))
        for story in bound:
            if a in story and b in story:
                table[SLOTS[a].index(story[a]), SLOTS[b].index(story[b])] += 1
        expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
        degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
        chi2 = ((table - expected) ** 2 / expected).sum()
        assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees), (a, b)


def test_every_wording_is_used():
    text = story_corpus(2000)
    for _, wordings in STEPS:
        for wording in wordings:
            longest = max(wording.replace("}", "{").split("{")[::2], key=len)
            assert longest in text


@pytest.mark.parametrize(
    ("old", "new"),
    [("the drum to the beach", "the flute to the beach"), ("ursula gave", "wanda gave"), ("a blue drum", "a blu drum"),
     ("beach . silas was at the beach", "beach . silas was at the barn"), ("friends .", "friends . amen"),
     ("suddenly the wind blew the drum away . ", ""), ("silas", "ursula"), (" . under", "  . under")],
)  # fmt: skip
def test_a_wrong_story_is_refused(old, new):
    story = (
        "once there was a lonely rabbit named ursula . under the bed ursula kept a blue drum . one day ursula took the "
        "drum to the beach . silas was at the beach too . suddenly the wind blew the drum away . they searched the "
        "whole beach and found the drum behind the bench . ursula gave silas a big hug . "
        "from that day on ursula and silas were friends ."
    )
    assert check_stories(story) == 1
    changed = story.replace(old, new)
    assert changed != story
    with pytest.raises(ValueError, match="line 1: the grammar cannot tell"):
        check_stories(changed)
