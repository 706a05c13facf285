"""Row atoms in terms of plain reductions: what a loop can compute.

Each form keeps the promise of its atom. The one idea that repeats: the row's largest entry (`ArgMax`) is the
only one whose share can be near 1, so what is left of 1 is summed over the others there, and subtracted
everywhere else, where the share is at most 1/2 and nothing cancels.
"""

from __future__ import annotations

from sympy import Abs, And, Eq, Expr, Integer, Piecewise, S, exp, piecewise_fold, sqrt

from symloss import atoms as a
from symloss.index import Binder, Index, Max, Min, Sum, rewrite, substitute
from symloss.program import gap, scale_of, scaled, shift


class ArgMax(Binder):
    """The flat position of a row's first largest entry, as an integer."""

    def _eval_is_integer(self):
        return True

    def _eval_is_nonnegative(self):
        return True


def primitive(expr: Expr) -> Expr:
    """`expr` with every row atom replaced by reductions and functions of numbers."""

    def lower(node: Expr) -> Expr:
        return _FORMS[type(node)](node) if type(node) in _FORMS else node

    return rewrite(expr, lower)


def flat(place: tuple[Expr, ...], indices: tuple[Index, ...]) -> Expr:
    """The position of an entry in its row, rows of several indices counted in C order."""
    position: Expr = S.Zero
    for at, index in zip(place, indices, strict=True):
        position = position * index.size + at
    return position


def _others(node: a.RowAtom, body: Expr, indices: tuple[Index, ...], top: Expr, term: Expr) -> Expr:
    """The sum of a term over every entry but the one at position `top`."""
    return Sum(Piecewise((Integer(0), Eq(flat(indices, indices), top)), (term, True)), *indices)


class _Softmax:
    """What the functions of one row of logits share: its maximum and the shares of the others."""

    def __init__(self, node: a.RowAtom) -> None:
        (self.body, *more), self.indices = node.open()
        self.other = more[0] if more else None
        self.largest = Max(self.body, *self.indices)
        self.top = ArgMax(self.body, self.indices)
        self.rest = _others(node, self.body, self.indices, self.top, exp(shift(self.body, self.largest)))
        if node.at:
            where = dict(zip(self.indices, node.at, strict=True))
            self.entry = shift(substitute(self.body, where), self.largest)
            self.is_top = Eq(flat(node.at, self.indices), self.top)


def _logsumexp(node: a.LogSumExp) -> Expr:
    row = _Softmax(node)
    return row.largest + a.log1p(row.rest)


def _log_softmax(node: a.LogSoftmax) -> Expr:
    row = _Softmax(node)
    return row.entry - a.log1p(row.rest)


def _softmax(node: a.Softmax) -> Expr:
    row = _Softmax(node)
    return exp(row.entry) / (1 + row.rest)


def _softmax_complement(node: a.SoftmaxComplement) -> Expr:
    row = _Softmax(node)
    share = exp(row.entry) / (1 + row.rest)
    return Piecewise((row.rest / (1 + row.rest), row.is_top), (1 - share, True))


def _softmax_centred(node: a.SoftmaxCentred) -> Expr:
    row = _Softmax(node)
    weight = exp(shift(row.body, row.largest))
    assert row.other is not None
    here = node.body_at(which=1)
    if len(row.indices) > 1 or not row.other.has(row.indices[0]):
        return here - Sum(weight * row.other, *row.indices) / (1 + row.rest)
    # Both sides less the value at the largest entry: at a share near 1 nothing is left to cancel.
    base = substitute(row.other, {row.indices[0]: row.top})
    return gap(here, base) - Sum(weight * gap(row.other, base), *row.indices) / (1 + row.rest)


class _Norm:
    """What the functions of one vector share: its scale, and its scaled squares."""

    def __init__(self, node: a.RowAtom) -> None:
        (self.body, *more), self.indices = node.open()
        self.other = more[0] if more else None
        self.scale = scale_of(Max(Abs(self.body), *self.indices))
        self.squares = Sum(scaled(self.body, self.scale) ** 2, *self.indices)
        if node.at:
            where = dict(zip(self.indices, node.at, strict=True))
            self.entry = scaled(substitute(self.body, where), self.scale)
            self.unit = a.ratio0(self.entry, sqrt(self.squares))

    def others(self, node: a.RowAtom, term: Expr) -> Expr:
        """A sum over every entry but the largest."""
        return _others(node, self.body, self.indices, self.top, term)

    @property
    def top(self) -> Expr:
        """Where the largest entry stands."""
        return ArgMax(Abs(self.body), self.indices)

    def is_top(self, node: a.RowAtom) -> Expr:
        """Whether the place is that of the largest entry of a row that isn't zero."""
        return And(Eq(flat(node.at, self.indices), self.top), self.squares > 0)


def _norm(node: a.Norm) -> Expr:
    row = _Norm(node)
    return sqrt(row.squares) / row.scale


def _unit(node: a.Unit) -> Expr:
    return _Norm(node).unit


def _unit_complement(node: a.UnitComplement) -> Expr:
    row = _Norm(node)
    rest = row.others(node, scaled(row.body, row.scale) ** 2)
    return Piecewise((rest / row.squares, row.is_top(node)), (1 - row.unit**2, True))


def _unit_centred(node: a.UnitCentred) -> Expr:
    row = _Norm(node)
    assert row.other is not None
    here, entry = node.body_at(which=1), scaled(row.body, row.scale)
    rest = row.others(node, entry**2)
    along_rest = row.others(node, entry * row.other)
    along = Sum(entry * row.other, *row.indices)
    return Piecewise(
        ((here * rest - row.entry * along_rest) / row.squares, row.is_top(node)),
        (here - row.unit * (along / sqrt(row.squares)), row.squares > 0),
        (here, True),
    )


def _max_share(node: a.MaxShare) -> Expr:
    (body,), indices = node.open()
    entry, extreme = node.body_at(), Max
    if body.could_extract_minus_sign():  # of a minimum, which the formula has already
        body, entry, extreme = -body, -entry, Min
    best = extreme(body, *indices)
    count = Sum(_where(body, best, Integer(1)), *indices)
    return _where(entry, best, 1 / count)


def _where(entry: Expr, largest: Expr, value: Expr) -> Expr:
    """A value where an entry is the largest, else 0. SymPy can't compare what has cases, but each of them."""
    if entry.has(Piecewise):
        entry = piecewise_fold(entry)
    if isinstance(entry, Piecewise):
        return Piecewise(*((_where(case, largest, value), test) for case, test in entry.args))
    if entry.as_coeff_Add()[0] != 0 or abs(entry.as_coeff_Mul()[0]) != 1:
        # SymPy would bring 1 + x = m to x = m - 1, which isn't so in floats where the other is.
        entry = gap(entry, S.Zero)
    return Piecewise((value, Eq(entry, largest)), (Integer(0), True))


_FORMS = {
    a.LogSumExp: _logsumexp,
    a.LogSoftmax: _log_softmax,
    a.Softmax: _softmax,
    a.SoftmaxComplement: _softmax_complement,
    a.SoftmaxCentred: _softmax_centred,
    a.Norm: _norm,
    a.Unit: _unit,
    a.UnitComplement: _unit_complement,
    a.UnitCentred: _unit_centred,
    a.MaxShare: _max_share,
}
