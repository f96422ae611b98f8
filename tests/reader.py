"""An independent reading of printed equations: text and LaTeX to numbers, with numpy alone.

A recursive descent that knows the conventions of docs/notation.md and nothing of the package: what it returns is what
a reader with a calculator would find.
"""

import re

import numpy as np
from scipy.special import erf

FUNCTIONS = {
    **{"tanh": np.tanh, "sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log, "sqrt": np.sqrt},
    **{"atan": np.arctan, "erf": erf},
}


class Sized:
    """A matrix that takes its size from what it meets: I, Pi, a row of ones; times a number."""

    def __init__(self, make, factor=1.0):
        self.make, self.factor = make, factor

    def of(self, n):
        return self.factor * self.make(n)


IDENTITY = Sized(np.eye)
CENTRING = Sized(lambda n: np.eye(n) - 1.0 / n)
ROW_OF_ONES = Sized(lambda n: np.ones((1, n)))
COLUMN = object()  # of ones, where a matrix stands before it


def times(a, b):
    if b is COLUMN:
        return a @ np.ones((a.shape[1], 1)) if np.ndim(a) else a
    if isinstance(a, Sized) and np.ndim(b):
        return a.of(b.shape[0]) @ b
    if isinstance(b, Sized) and np.ndim(a):
        wide = b.make is ROW_OF_ONES.make  # as wide as what it meets later
        return Sized(lambda n: a @ b.of(n)) if wide else a @ b.of(a.shape[1])
    if isinstance(a, Sized):
        return Sized(a.make, a.factor * b)
    if isinstance(b, Sized):
        return Sized(b.make, b.factor * a)
    if not (np.ndim(a) and np.ndim(b)):
        return a * b
    if b.shape[0] == 1 != a.shape[1]:  # a row that a column of ones repeats, "1*b"
        return a.sum(axis=1, keepdims=True) @ b
    return a @ b.sum(axis=0, keepdims=True) if a.shape[1] == 1 != b.shape[0] else a @ b


def plus(a, b):
    if isinstance(a, Sized) and isinstance(b, Sized):
        return Sized(lambda n: a.of(n) + b.of(n))
    if isinstance(a, Sized):
        a = a.of(b.shape[1])
    if isinstance(b, Sized):
        b = b.of(a.shape[1])
    assert (np.ndim(a) == 0) == (np.ndim(b) == 0) or 0.0 in (np.size(a) == 1 and a, np.size(b) == 1 and b)
    return a + b


def entrywise(a, b):
    assert np.ndim(a) == np.ndim(b) == 2
    return a * b


def softmax(x, base=1.0):
    mass = base * np.exp(x - x.max(axis=1, keepdims=True))
    return mass / mass.sum(axis=1, keepdims=True)


def norm(x, eps=0.0):
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + eps)


def logsumexp(x):
    return np.log(np.exp(x).sum(axis=1, keepdims=True))


def diagonal(column):
    assert column.shape[1] == 1
    return np.diag(column[:, 0])


MATRIX_FUNCTIONS = {"norm": norm, "softmax": softmax, "diag": diagonal, "logsumexp": logsumexp}


class Reader:
    """Shared by the two notations: sums, and the entry-by-entry arithmetic of square brackets."""

    def __init__(self, line, values):
        self.values = dict(values)
        self.tokens = self.split(line)
        self.at = 0

    @property
    def next(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *words):
        if self.next in words and self.next:
            self.at += 1
            return self.tokens[self.at - 1]
        return ""

    def expect(self, word):
        assert self.take(word), f"{word!r} expected at {self.tokens[self.at : self.at + 8]}"

    def read(self):
        value = self.sum()
        assert not self.next, f"left over: {self.tokens[self.at :]}"
        return value

    def sum(self, entries=False):
        sign = -1.0 if self.take("-") else 1.0
        value = self.term(entries)
        value = value if sign > 0 else times(sign, value)
        while word := self.take("+", "-"):
            term = self.term(entries)
            term = term if word == "+" else times(-1.0, term)
            value = value + term if entries else plus(value, term)
        return value

    def bracket(self, closing):
        """What stands in square brackets, entry by entry: a value, or a function of x that an argument follows."""
        start = self.at
        depth = 1
        while depth:
            word = self.tokens[self.at]
            depth += (word in self.OPENING) - (word in self.CLOSING)
            self.at += 1
        after, inside = self.at, self.tokens[start : self.at - 1]
        bound = "x" in inside and "x" not in self.values
        if bound:
            self.expect(self.LEFT)
            self.values["x"] = self.sum()
            self.expect(self.RIGHT)
            after = self.at
        self.at = start
        value = self.sum(entries=True)
        self.expect(closing)
        self.at = after
        if bound:
            del self.values["x"]
        return value


class Text(Reader):
    """``A.T*diag(omega)*(Y - p) o [1 - tanh(z)^2]``."""

    LEFT, RIGHT = "(", ")"
    OPENING, CLOSING = ("(", "["), (")", "]")

    @staticmethod
    def split(line):
        found = re.findall(
            r"\^o|\.T\b|[A-Za-z_]\w*(?:\.(?!T\b)\w+)*|\d+(?:\.\d+)?(?:e[-+]?\d+)?|[-+*/^()\[\];]|\s+|.", line
        )
        return [word for word in found if word.strip()]

    def term(self, entries):
        value = self.factor(entries, first=True)
        while word := self.take("*", "/", "o"):
            other = self.factor(entries, first=False)
            if word == "/":
                value = value / other if entries or np.ndim(value) == 0 else times(1.0 / other, value)
            elif word == "o":
                value = entrywise(value, other)
            else:
                value = value * other if entries else times(value, other)
        return value

    def factor(self, entries, first):
        if entries and self.take("-"):
            return -self.factor(entries, first)
        ones = self.next == "1" and not entries
        value = self.atom(entries)
        if ones and self.take(".T"):
            return ROW_OF_ONES
        if ones and not first and self.next != "/":
            return COLUMN
        while word := self.take(".T", "^o", "^"):
            if word == ".T":
                value = value.T
            elif word == "^o":
                value = value ** (self.group() if self.next == "(" else float(self.number()))
            else:
                value = value ** self.factor(True, first=True)
        return value

    def number(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def group(self):
        self.expect("(")
        value = self.sum()
        self.expect(")")
        return value

    def atom(self, entries):
        if self.take("("):
            value = self.sum(entries)
            self.expect(")")
            return value
        if self.take("["):
            return self.bracket("]")
        word = self.number()
        if word[0].isdigit():
            return float(word)
        if self.next == "(" and word not in self.values:
            return self.call(word, entries)
        return (
            {"I": IDENTITY, "Pi": CENTRING, "pi": np.pi}[word]
            if word not in self.values
            else self.values[word]
        )

    def call(self, word, entries):
        self.expect("(")
        arguments = [self.sum(entries)]
        while self.take(";"):
            arguments.append(self.sum(entries))
        self.expect(")")
        return {**MATRIX_FUNCTIONS, **FUNCTIONS}[word](*arguments)


class Latex(Reader):
    r"""``A^{T} \operatorname{diag}\left(\omega\right) \left(Y - p\right)``; names are those of `letters`."""

    LEFT, RIGHT = r"\left(", r"\right)"
    OPENING, CLOSING = (r"\left(", r"\left["), (r"\right)", r"\right]")

    def split(self, line):
        names = sorted(map(re.escape, self.values), key=len, reverse=True)
        signs = [
            r"\\left[(\[]",
            r"\\right[)\]]",
            r"\\operatorname\{\w+\}",
            r"\\mathbf\{1\}",
            r"\\mathbb\{I\}",
        ]
        signs += [r"\^\{T\}", r"\^\{\\circ \{", r"\\[A-Za-z]+", r"\d+", r"[-+^{};]", r"[A-Za-z]", r"\s+", "."]
        words = [*names, *signs]
        return [w for w in re.findall("|".join(words), line) if w.strip() and w not in (r"\,", r"\quad")]

    def term(self, entries):
        value = None
        while self.next and self.next not in ("+", "-", "}", ";", *self.CLOSING):
            if self.take(r"\circ"):
                value = entrywise(value, self.factor(entries, False))
                continue
            other = self.factor(entries, value is None)
            value = other if value is None else value * other if entries else times(value, other)
        return value

    def factor(self, entries, first):
        ones = self.next == r"\mathbf{1}"
        value = self.atom(entries)
        if ones:
            return ROW_OF_ONES if self.take("^{T}") else 1.0 if first else COLUMN
        while word := self.take("^{T}", r"^{\circ {", "^"):
            if word == "^{T}":
                value = value.T
            elif word == "^":
                value = value ** self.braced(True)
            else:
                value = value ** self.sum()
                self.expect("}")
                self.expect("}")
        return value

    def braced(self, entries):
        if not self.take("{"):
            self.at += 1
            return float(self.tokens[self.at - 1])
        value = self.sum(entries)
        self.expect("}")
        return value

    def atom(self, entries):
        if self.take("{"):
            value = self.sum(entries)
            self.expect("}")
            return value
        if self.take(r"\left("):
            value = self.sum(entries)
            self.expect(r"\right)")
            return value
        if self.take(r"\left["):
            return self.bracket(r"\right]")
        self.at += 1
        word = self.tokens[self.at - 1]
        if word in self.values:
            return self.values[word]
        if word.isdigit():
            return float(word)
        if word == r"\frac":
            return self.braced(entries) / self.braced(entries)
        if word == r"\sqrt":
            return np.sqrt(self.braced(entries))
        if word == "e":
            self.expect("^")
            return np.exp(self.braced(entries))
        if word in (r"\Pi", r"\mathbb{I}", r"\pi"):
            return {r"\Pi": CENTRING, r"\mathbb{I}": IDENTITY, r"\pi": np.pi}[word]
        return None if word == r"\mathbf{1}" else self.call(word, entries)

    def call(self, word, entries):
        name = re.sub(r"\\operatorname\{(\w+)\}|\\(\w+)", r"\1\2", word)
        power = self.braced(True) if self.take("^") else 1.0
        braces = self.take("{")
        self.expect(r"\left(")
        arguments = [self.sum(entries)]
        while self.take(";"):
            arguments.append(self.sum(entries))
        self.expect(r"\right)")
        if braces:
            self.expect("}")
        value = {**MATRIX_FUNCTIONS, **FUNCTIONS}[name](*arguments)
        return value if power == 1.0 else value**power


def letter(name):
    """The LaTeX of a code name, by docs/notation.md."""
    paper = {
        **{"W_E": "W^{E}", "W_in": "W^{(1)}", "W_out": "W^{(2)}", "omega": r"\omega", "eps": r"\varepsilon"},
        **{"d_vocab": "V", "d_model": "d_m", "d_mlp": "d_f"},
    }
    if name in paper:
        return paper[name]
    name = name if "_" in name else re.sub(r"(?<=[A-Za-z])(?=\d+$)", "_", name)
    head, *parts = name.split("_")
    return head + (f"_{{{' '.join(parts)}}}" if parts else "")


def filled(value, shape):
    """A value of a known shape: what takes its size from its surroundings has it now."""
    value = value.of(shape[1]) if isinstance(value, Sized) else value
    return np.broadcast_to(value, shape)


def read_text(page, values):
    """Name -> value of every equation ``dW/dt`` on a printed page, by its definitions."""
    known = dict(values)
    for name, line in re.findall(r"^ *with (\S+) = (.*)$", page, re.MULTILINE):
        known[name] = Text(line.split(":")[0], known).read()
    lines = re.findall(r"^ *d(\S+)/dt = (.*)$", page, re.MULTILINE)
    return {w: filled(Text(line, known).read(), np.shape(values[w])) for w, line in lines}


def read_latex(page, values, letters=None):
    """The same of LaTeX; `letters` says what names print as, where docs/notation.md does not."""
    letters = {name: letter(name) for name in values} | (letters or {})
    known = {letters[name]: value for name, value in values.items()}
    body = re.search(r"\\begin\{aligned\}\n(.*)\n\\end\{aligned\}", page, re.DOTALL)[1]
    lines = dict(line.split(" &= ") for line in re.split(r" \\\\\n", body))
    for left, line in lines.items():
        if not left.startswith(r"\dot"):
            known[left] = Latex(line, known).read()
    found = {
        left[5:-1]: Latex(line, known).read() for left, line in lines.items() if left.startswith(r"\dot")
    }
    weights = [name for name in values if letters[name] in found]
    assert len(weights) == len(found)
    return {w: filled(found[letters[w]], np.shape(values[w])) for w in weights}


def read_line(line, values, shape):
    """Value of one line of text."""
    return filled(Text(line, values).read(), shape)


def read_latex_line(line, values, shape):
    """Value of one line of LaTeX, by names as docs/notation.md has them."""
    return filled(Latex(line, {letter(name): value for name, value in values.items()}).read(), shape)
