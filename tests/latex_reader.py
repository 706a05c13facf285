"""Reads a printed LaTeX formula as a person does, and computes its value.

With it a test can say that a page shows the formula that was derived: a lost bracket changes the value.
Products bind tighter than sums, a sum over an index reaches to the next plus or minus sign.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

TOKEN = re.compile(r"\\left(?:\\lvert|[(\[])|\\right(?:\\rvert|[)\]])|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S")
#: What a product ends at.
ENDS = ("", "+", "-", "}", "&", ",", "=", "<", ">", r"\\", r"\end", r"\leq", r"\geq", r"\neq", r"\text")
CALLS = {
    r"\log": math.log, r"\exp": math.exp, r"\tanh": math.tanh, r"\sin": math.sin, r"\cos": math.cos,
    "erf": math.erf, "sign": lambda x: float(np.sign(x)),
}  # fmt: skip


def read(text: str, values: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> float:
    """The value of a formula.

    Args:
        text: the LaTeX.
        values: from a letter as it is printed (`\\hat{y}`, `z`) to a number or an array.
        sizes: from the capital letter of a dimension to its size.
    """
    reader = Reader(TOKEN.findall(text), dict(values), dict(sizes or {}))
    value = reader.sum()
    assert reader.place == len(reader.tokens), f"stopped reading at {reader.tokens[reader.place :]}"
    return value


class Reader:
    """A recursive-descent parser that computes as it reads; `live` is off where a value isn't wanted."""

    def __init__(self, tokens: list[str], values: dict[str, Any], sizes: dict[str, int]) -> None:
        self.tokens, self.values, self.sizes = tokens, values, sizes
        self.place = 0
        self.live = True

    @property
    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.next
        assert token and (not expected or token == expected), (
            f"{expected!r} expected at {self.tokens[self.place :]}"
        )
        self.place += 1
        return token

    def group(self) -> list[str]:
        """The tokens in the next braces."""
        self.take("{")
        start, level = self.place, 1
        while level:
            token = self.take()
            level += (token == "{") - (token == "}")
        return self.tokens[start : self.place - 1]

    def braced(self) -> float:
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def sum(self) -> float:
        minus = self.next == "-" and bool(self.take())
        total = -self.product() if minus else self.product()
        while self.next in ("+", "-"):
            total += self.product() if self.take() == "+" else -self.product()
        return total

    def product(self) -> float:
        result = self.factor()
        while self.next not in ENDS and not self.next.startswith(r"\right"):
            if self.next == r"\cdot":
                self.take()
            result *= self.factor()
        return result

    def factor(self) -> float:
        base = self.atom()
        if self.next == "^":
            self.take()
            power = self.exponent()
            return base**power if self.live else 1.0
        return base

    def exponent(self) -> float:
        """A power; 3/2 stands for the fraction."""
        start = self.place
        inside = self.group()
        if len(inside) == 3 and inside[1] == "/":
            return float(inside[0]) / float(inside[2])
        self.place = start
        return self.braced()

    def atom(self) -> float:
        token = self.take()
        if re.fullmatch(r"[\d.]+", token):
            return float(token)
        if token == r"\frac":
            over, under = self.braced(), self.braced()
            return over / under if self.live else 1.0
        if token == r"\sqrt":
            return math.sqrt(self.braced()) if self.live else self.braced()
        if token == r"\left(":
            value = self.sum()
            self.take(r"\right)")
            return value
        if token == r"\left\lvert":
            value = abs(self.sum())
            self.take(r"\right\rvert")
            return value
        if token == r"\left[":  # Iverson's bracket
            left, _, right = self.index(), self.take("="), self.index()
            self.take(r"\right]")
            return float(left == right)
        if token in (r"\sum", r"\max", r"\min", r"\prod"):
            return self.reduction(token)
        if token == r"\begin":
            return self.cases()
        if token == "e" and self.next == "^":
            self.take()
            power = self.braced()
            return math.exp(power) if self.live else 1.0
        if token == r"\operatorname":
            return self.call(CALLS["".join(self.group())])
        if token in CALLS:
            return self.call(CALLS[token])
        return self.letter(token)

    def index(self) -> Any:
        return self.values[self.name(self.take())]

    def name(self, token: str) -> str:
        """A letter with its accent, primes and upright words."""
        if self.next == "{" and token in (r"\hat", r"\mathrm"):
            token += "{" + "".join(self.group()) + "}"
        while self.next == "'":
            token += self.take()
        if self.tokens[self.place : self.place + 3] == ["^", "{", r"\mathrm"]:  # a mark, not a power
            self.take()
            token += "^{" + "".join(self.group()) + "}"
        return token

    def letter(self, token: str) -> float:
        name = self.name(token)
        if self.next == "_":
            self.take()
            inner = Reader(self.group(), self.values, self.sizes)
            where = []
            while inner.next:
                where.append(int(inner.index()))
                if inner.next == ",":
                    inner.take()
            return float(self.values[name][tuple(where)])
        return float(self.sizes[name] if name in self.sizes else self.values[name])

    def call(self, function: Any) -> float:
        power = 1.0
        if self.next == "^":
            self.take()
            power = self.braced()
        self.take(r"\left(")
        value = self.sum()
        self.take(r"\right)")
        return function(value) ** power if self.live else 1.0

    def reduction(self, kind: str) -> float:
        if self.next == r"\left(":  # of scalars
            self.take()
            found = [self.sum()]
            while self.next == ",":
                self.take()
                found.append(self.sum())
            self.take(r"\right)")
            return max(found) if kind == r"\max" else min(found)
        self.take("_")
        under = "".join(self.group())
        letters = [name.partition("=")[0] for name in under.split(",")]
        dims = [letter[0].upper() for letter in letters]
        if self.next == "^":
            self.take()
            dims = self.group()
        elif kind in (r"\max", r"\min"):
            dims = [{"J": "K"}.get(dim, dim) for dim in dims]  # the second letter for K
        start, found, outer = self.place, [], dict(self.values)
        for at in itertools.product(*(range(self.sizes[dim]) for dim in dims)):
            self.values.update(zip(letters, at, strict=True))
            self.place = start
            found.append(self.product())
        self.values = outer
        combine = {r"\sum": sum, r"\max": max, r"\min": min, r"\prod": math.prod}[kind]
        return float(combine(found))

    def cases(self) -> float:
        assert self.group() == list("cases")
        chosen = None
        while True:
            start = self.place
            self.live, before = False, self.live
            self.sum()
            self.live = before
            self.take("&")
            self.take(r"\text")
            holds = "".join(self.group()) == "otherwise" or self.condition()
            end = self.place
            if holds and chosen is None and self.live:
                self.place = start
                chosen = self.sum()
                self.place = end
            if self.take() == r"\end":
                break
        self.group()
        return 1.0 if chosen is None else chosen

    def condition(self) -> bool:
        left = self.sum()
        relation = self.take()
        right = self.sum()
        return {r"\leq": left <= right, r"\geq": left >= right, "<": left < right, ">": left > right,
                "=": left == right, r"\neq": left != right}[relation]  # fmt: skip
