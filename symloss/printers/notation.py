"""What the LaTeX and the text printer share: letters for inputs and indices, and the order of terms.

Nothing here builds a new formula. SymPy reorders and distributes what it rebuilds, and a page must show the
formula that the kernels compute, so the printers only take a formula apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sympy import Add, Expr, FiniteSet, Function, Interval, Mul, Piecewise, Pow, Rational, Set, Symbol

from symloss.index import Binder, Delta, Entry, Index, Reduction, Size
from symloss.roles import Input, LabelIndex, Loss

#: The letters that papers use for inputs and parameters of these names.
STANDARD = {
    "prediction": r"\hat{y}",
    "target": "y",
    "logits": "z",
    "label": "t",
    "features": "x",
    "target_features": "y",
    "centers": "c",
    "left": "a",
    "right": "b",
    "similar": "s",
    "mean": r"\mu",
    "variance": r"\sigma^{2}",
    "scale": "s",
    "strength": r"\lambda",
    "margin": "m",
    "pos_weight": "w",
    "temperature": r"\tau",
    "smoothing": r"\varepsilon",
    "weight": "w",
}
#: The same for inputs that are probabilities.
PROBABILITIES = {"prediction": "q", "target": "p"}

GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
     "nu", "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega")
)  # fmt: skip
#: Second and later indices over one dimension; other letters are primed.
NEIGHBOURS = dict.fromkeys("ijklmn", "kjlimn")


def standard(name: str) -> str:
    """The LaTeX of an input or a parameter called `name`."""
    if name in STANDARD:
        return STANDARD[name]
    if name in GREEK:
        return "\\" + name
    if len(name) == 1:
        return name
    head, _, tail = name.rpartition("_")
    if len(tail) == 1 or tail.isdigit():  # p_t
        return f"{standard(head)}_{{{tail}}}" if head and "_" not in head else upright(name)
    if head and (tail in STANDARD or tail in GREEK):  # style_features
        return f"{standard(tail)}^{{{upright(head)}}}"
    return upright(name)


def upright(name: str) -> str:
    """A name in upright letters."""
    return r"\mathrm{" + name.replace("_", r"\_") + "}"


def symbols(loss: Loss) -> dict[str, str]:
    """The LaTeX letter of every input, vector and parameter of a loss; no two share one."""
    letters: dict[str, str] = {}
    wanted = [(item.name, _letter(item)) for item in loss.inputs]
    wanted += [(parameter.name, standard(parameter.name)) for parameter in loss.parameters]
    for name, letter in wanted:
        letters[name] = upright(name) if letter in letters.values() else letter
    for item in loss.predictions:
        alone = len(loss.predictions) == 1 and "v" not in letters.values()
        letters["vector_" + item.name] = "v" if alone else f"v^{{{letters[item.name]}}}"
    return letters


def _letter(item: Input) -> str:
    """The letter of an input; a probability has another one than a real number."""
    probable = _within_unit(item.domain) and (item.kind == "prediction" or bool(item.dims))
    return PROBABILITIES[item.name] if probable and item.name in PROBABILITIES else standard(item.name)


def _within_unit(domain: Set) -> bool:
    return isinstance(domain, (Interval, FiniteSet)) and bool(domain.is_subset(Interval(0, 1)))


@dataclass
class Letters:
    """The letters of the indices that are in scope.

    Args:
        reserved: letters that mean something else in the formula, such as `m` for a margin.
    """

    reserved: frozenset[str] = frozenset()
    scope: dict[Index, str] = field(default_factory=dict)

    def of(self, index: Index) -> str:
        """The letter of an index, chosen at its first use."""
        if index not in self.scope:
            self.scope[index] = self._choose(index)
        return self.scope[index]

    @contextmanager
    def bind(self, indices: Iterable[Index]) -> Iterator[None]:
        """Within the block, the bound `indices` have letters that nothing around them has."""
        outer = dict(self.scope)
        for index in indices:
            self.scope[index] = self._choose(index)
        try:
            yield
        finally:
            self.scope = outer

    def _choose(self, index: Index) -> str:
        taken = self.reserved | set(self.scope.values())
        first = index.dim[0].lower()
        for letter in dict.fromkeys(first + NEIGHBOURS.get(first, "")):
            if letter not in taken:
                return letter
        letter = first + "'"
        while letter in taken:
            letter += "'"
        return letter


def free_indices(expr: Expr) -> list[Index]:
    """The indices that a formula leaves open, in a fixed order; labels are inputs, not open."""
    found = (s for s in expr.free_symbols if isinstance(s, Index) and not isinstance(s, LabelIndex))
    return sorted(found, key=lambda index: (index.dim, index.name))


def reserved(names: Mapping[str, str], expr: Expr) -> frozenset[str]:
    """The letters that are taken by what `expr` is made of, indices aside."""
    found = (s for s in expr.free_symbols if isinstance(s, LabelIndex) or not isinstance(s, (Index, Size)))
    return frozenset(names.get(s.name, standard(s.name)) for s in found) | frozenset(names.values())


def is_negative(term: Expr) -> bool:
    """Whether a term is written with a minus sign in front."""
    if isinstance(term, Mul):
        return sum(bool(factor.is_Number and factor.is_negative) for factor in term.args) % 2 == 1
    return bool(term.is_Number and term.is_negative)


def ordered_terms(expr: Add) -> list[Expr]:
    """The terms of a sum as one writes them: what is added first, then what is subtracted.

    A positive number leads (`1 - p`), a negative one trails (`x - 1`).
    """
    return sorted(expr.args, key=is_negative)


@dataclass(frozen=True)
class Quotient:
    """A product taken apart: a sign, the factors above the line and those below."""

    negative: bool
    above: tuple[Expr, ...]
    below: tuple[Expr, ...]


def quotient(expr: Expr) -> Quotient:
    """Take a product (or a single factor) apart into its sign, numerator and denominator."""
    above: list[Expr] = []
    below: list[Expr] = []
    negative = False
    for factor in Mul.make_args(expr):
        if isinstance(factor, Rational):
            negative ^= bool(factor.is_negative)
            if abs(factor.p) != 1:
                above.append(abs(Rational(factor.p)))
            if factor.q != 1:
                below.append(Rational(factor.q))
        elif isinstance(factor, Pow) and factor.exp.is_Rational and factor.exp.is_negative:
            power = -factor.exp
            below.append(factor.base if power == 1 else Pow(factor.base, power, evaluate=False))
        else:
            above.append(factor)
    return Quotient(negative, tuple(sorted(above, key=_place)), tuple(sorted(below, key=_place)))


def is_wide(factor: Expr) -> bool:
    """Whether a factor is written beside a fraction, not above its line."""
    return isinstance(factor, (Reduction, Piecewise))


def _place(factor: Expr) -> int:
    """Where a factor stands in a product: numbers, letters, functions, brackets, sums over an index."""
    base = factor.base if isinstance(factor, Pow) else factor
    kinds: tuple[tuple[type | tuple[type, ...], int], ...] = (
        (Size, 1),
        (Symbol, 2),
        (Entry, 3),
        (Delta, 7),
        (Add, 4),
        (Reduction, 9 if base is factor else 6),
        ((Function, Binder), 5),
        (Piecewise, 8),
    )
    if base.is_number:
        return 0
    if isinstance(base, Piecewise):  # SymPy counts it among the functions
        return 8
    return next((place for kind, place in kinds if isinstance(base, kind)), 6)
