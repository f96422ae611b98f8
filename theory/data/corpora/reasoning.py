"""Proofs over fictional ontologies, in the spirit of PrOntoQA (Saparov & He, ICLR 2023), in our own words.

A problem is a line: premises in random order, a question, a proof by modus ponens, an answer.

    every nolpid is a glimber . elva is a nolpid . each mizzen is not shy . every glimber is shy . true or false :
    elva is not shy ? elva is a nolpid . every nolpid is a glimber . elva is a glimber . every glimber is shy .
    elva is shy . answer : false .

The nouns form a line from the one that the proof starts from to the one whose property is asked for; one premise more,
the distractor, gives the opposite property to a noun outside that line, so that the words of the question do not tell
the answer. Names, nouns and properties are drawn anew for every problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...base.errors import FieldError
from ...base.validate import integer

NAMES, NOUNS, PROPERTIES = (
    tuple(words.split())
    for words in (
        "arlo bex cato dunya elva fipp goran hesta ivo jarn kesi lumo mirek nadja orfeo pella",
        "blenkit cronter dulvar embrick floozel glimber hastrik inkvole jopling kreddle lorvant mizzen "
        "nolpid orbeck pranket quibber rustow snarvel tibbock urmple vostrel whindle yarrock zintar",
        "amber brittle cold damp earnest fragrant gentle hollow loud nimble opaque rough shy sour swift tidy",
    )
)
MOST_HOPS = 8


@dataclass(frozen=True)
class Statement:
    """That a subject, a name or every member of a noun, is or is not something, a noun or a property."""

    subject: str
    positive: bool
    predicate: str

    @property
    def negated(self) -> Statement:
        """The opposite statement."""
        return Statement(self.subject, not self.positive, self.predicate)


@dataclass(frozen=True)
class ReasoningProblem:
    """A question over premises, with its proof and answer.

    Attributes
    ----------
    premises : tuple of Statement
        Rules and one fact, in the order told.
    question : Statement
        What is asked to be true or false.
    proof : tuple of Statement
        Premises and conclusions; every conclusion follows from the two statements before it.
    answer : bool
        Whether the question's statement is true.
    """

    premises: tuple[Statement, ...]
    question: Statement
    proof: tuple[Statement, ...]
    answer: bool


def reasoning_corpus(n: int, seed: int = 0, hops: tuple[int, int] = (1, 3)) -> str:
    """Write `n` problems, one a line.

    Parameters
    ----------
    n : int
        Number of problems.
    seed : int
        Problem ``k`` depends on the seed and on ``k`` alone.
    hops : (int, int)
        Fewest and most nouns between the name and the property; drawn uniformly.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    n, seed = integer("n", n, 1), integer("seed", seed, 0)
    low, high = integer("hops", hops[0], 1), integer("hops", hops[1], 1)
    if not low <= high <= MOST_HOPS:
        raise FieldError("hops", f"must be two numbers, 1 <= fewest <= most <= {MOST_HOPS}, got {hops}.")
    rngs = (np.random.default_rng([seed, k]) for k in range(n))
    return "\n".join(_write(_problem(rng, int(rng.integers(low, high + 1))), rng) for rng in rngs) + "\n"


def _problem(rng: np.random.Generator, hops: int) -> ReasoningProblem:
    """Draw a problem whose proof passes `hops` nouns."""
    name = str(rng.choice(NAMES))
    *line, outside = (str(noun) for noun in rng.choice(NOUNS, hops + 1, replace=False))
    truth = Statement(name, bool(rng.integers(2)), str(rng.choice(PROPERTIES)))
    rules = [Statement(a, True, b) for a, b in pairwise(line)]
    rules.append(Statement(line[-1], truth.positive, truth.predicate))
    fact = Statement(name, True, line[0])
    told = [fact, *rules, Statement(outside, not truth.positive, truth.predicate)]
    premises = tuple(told[i] for i in rng.permutation(len(told)))
    proof = [fact]
    for rule in rules:
        proof += [rule, Statement(name, rule.positive, rule.predicate)]
    answer = bool(rng.integers(2))
    return ReasoningProblem(premises, truth if answer else truth.negated, tuple(proof), answer)


def _write(problem: ReasoningProblem, rng: np.random.Generator) -> str:
    """A problem as a line; a rule keeps its wording in the proof."""
    said: dict[Statement, str] = {}
    for s in (*problem.premises, problem.question, *problem.proof):
        said.setdefault(s, _phrase(s, rng))
    premises, proof = (" ".join(f"{said[s]} ." for s in part) for part in (problem.premises, problem.proof))
    answer = "true" if problem.answer else "false"
    return f"{premises} true or false : {said[problem.question]} ? {proof} answer : {answer} ."


def _phrase(s: Statement, rng: np.random.Generator) -> str:
    subject = s.subject if s.subject in NAMES else f"{'every' if rng.integers(2) else 'each'} {s.subject}"
    predicate = f"{_article(s.predicate)} {s.predicate}" if s.predicate in NOUNS else s.predicate
    return f"{subject} is {'' if s.positive else 'not '}{predicate}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


_LINE = re.compile(
    r"(?P<premises>(?:[^.?:]+ \. )+)true or false : (?P<question>[^.?:]+) \? "
    r"(?P<proof>(?:[^.?:]+ \. )+)answer : (?P<answer>true|false) \."
)
_SENTENCE = re.compile(
    r"(?:(?P<all>every|each) )?(?P<subject>[a-z]+) is (?P<no>not )?(?:(?P<article>an?) )?(?P<predicate>[a-z]+)"
)


def read_problem(line: str) -> ReasoningProblem:
    """Parse a line of the corpus.

    Raises
    ------
    ValueError
        If it, or a sentence of it, does not have the form.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"no premises, question, proof and answer in {line!r}.")
    premises, proof = (
        tuple(map(_read_sentence, found[part].removesuffix(" . ").split(" . ")))
        for part in ("premises", "proof")
    )
    return ReasoningProblem(premises, _read_sentence(found["question"]), proof, found["answer"] == "true")


def _read_sentence(sentence: str) -> Statement:
    found = _SENTENCE.fullmatch(sentence)
    if found is None:
        raise ValueError(f"the sentence {sentence!r} cannot be parsed.")
    known = found["subject"] in (NOUNS if found["all"] else NAMES)
    known &= found["predicate"] in (NOUNS if found["article"] else PROPERTIES)
    if not known or (found["article"] and found["article"] != _article(found["predicate"])):
        raise ValueError(f"the sentence {sentence!r} has words in the wrong place.")
    return Statement(found["subject"], found["no"] is None, found["predicate"])


def consequences(premises: Iterable[Statement]) -> set[Statement]:
    """All statements about names that follow from premises, by forward chaining."""
    told = set(premises)
    rules = [s for s in told if s.subject not in NAMES]
    known = told - set(rules)
    fresh = known
    while fresh:
        positive = {(s.subject, s.predicate) for s in fresh if s.positive}
        fresh = {
            Statement(name, rule.positive, rule.predicate)
            for name, noun in positive
            for rule in rules
            if rule.subject == noun
        } - known
        known = known | fresh
    return known


def check_problem(problem: ReasoningProblem) -> None:
    """Hold a problem against the forward chainer.

    Raises
    ------
    ValueError
        If the premises contradict each other or do not decide the question, a step of the proof does not follow, the
        proof ends elsewhere, or the answer is wrong.
    """
    true = consequences(problem.premises)
    if any(s.negated in true for s in true):
        raise ValueError("the premises contradict each other.")
    if problem.question not in true and problem.question.negated not in true:
        raise ValueError("the premises do not decide the question.")
    if problem.answer != (problem.question in true):
        raise ValueError(f"the answer {str(problem.answer).lower()} is wrong.")
    for i, step in enumerate(problem.proof):
        if step not in problem.premises and not _follows(step, problem.proof[max(i - 2, 0) : i]):
            raise ValueError(f"step {i + 1} of the proof, {step}, does not follow.")
    if problem.proof[-1] not in (problem.question, problem.question.negated):
        raise ValueError("the proof does not end at the question.")


def _follows(step: Statement, before: tuple[Statement, ...]) -> bool:
    """Modus ponens from the two statements before."""
    if len(before) < 2:
        return False
    fact, rule = before
    return (
        fact.positive
        and fact.predicate == rule.subject
        and step == Statement(fact.subject, rule.positive, rule.predicate)
    )


def check_reasoning(text: str) -> int:
    """Parse every sentence of a corpus back and hold every proof and answer against a forward chainer.

    Parameters
    ----------
    text : str
        From `reasoning_corpus`.

    Returns
    -------
    int
        Number of problems, all of which are right.

    Raises
    ------
    ValueError
        At the first problem that cannot be parsed or is wrong, with its line number.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            check_problem(read_problem(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return len(lines)
