"""Finds the matrix products in a loss, which a BLAS library computes many times faster than a loop.

A sum over shared indices of a product of two arrays, whose other indices have nothing in common, is one:

    sum_hw  x[c, h, w] y[d, h, w]         two inputs, into a matrix over (c, d) that the kernel reads
    sum_d   A[c, d] x[d, h, w]            a matrix that the kernel writes, and an input, into an output

The first kind is computed before the kernel, the second after it; in between, the kernel does everything
else. What isn't of this form stays a loop. The indices that an array sums over must stand together, in front
or at the end, so that the array is a matrix without being copied.

The difference of two Gram matrices, x x^T - y y^T, is one matrix and not two: it is the symmetric part of
(x - y)(x + y)^T, which costs as much as the two and keeps its digits where x is near y.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

from sympy import Add, Expr, Mul, Symbol, expand_mul
from sympy.core.parameters import distribute

from symloss.index import Entry, Index, Sum, rewrite, substitute
from symloss.program import Matrix, MatrixProduct
from symloss.roles import LabelIndex, Loss


class Factor(NamedTuple):
    """What the kernel writes, an output or a matrix for a product after it: its name, indices and formula."""

    name: str
    indices: tuple[Index, ...]
    expr: Expr


class Products:
    """The matrix products that one entry point of a loss leaves to its caller.

    `before` are made of inputs, by their names; `after` of `factors`, which maps the names of matrices to
    their dimensions.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.before: dict[str, MatrixProduct] = {}
        self.after: list[MatrixProduct] = []
        self.factors: dict[str, tuple[str, ...]] = {}

    def leave(self, name: str, indices: tuple[Index, ...], expr: Expr) -> list[Factor]:
        """What the body has to compute in place of an output, under the output's name and others."""
        made: dict[str, MatrixProduct] = {}

        def product(left: Matrix, right: Matrix, indices: tuple[Any, ...]) -> str:
            dims = tuple(index.dim for index in indices)
            return self._named(MatrixProduct("", left, right, dims=dims), made)

        def difference(one: str, other: str) -> str | None:
            left, less = made[one], made[other]
            if not (_is_gram(left) and _is_gram(less) and left.dims == less.dims):
                return None
            return self._named(dataclasses.replace(left, into="", less=less.left), made)

        expr = of_differences(of_inputs(expr, self.loss, product), made, difference)
        read = {entry.base.name for entry in expr.atoms(Entry)}
        self.before |= {into: matrix for into, matrix in made.items() if into in read}
        if name == "value":
            return [Factor(name, indices, expr)]
        expr, products = of_output(name, indices, expr, self.loss)
        symmetric = {into for into, matrix in self.before.items() if _is_gram(matrix)}
        products = [(after, along_rows(factor, symmetric)) for after, factor in products]
        for after, factor in products:
            self.after.append(after)
            self.factors[factor.name] = tuple(index.dim for index in factor.indices)
        rest = [] if products and expr == 0 else [Factor(name, indices, expr)]
        return rest + [factor for _, factor in products]

    def _named(self, product: MatrixProduct, made: dict[str, MatrixProduct]) -> str:
        """The name of a matrix made of inputs: the one that it has, or a new one, which goes into `made`."""
        known = self.before | made
        for name, other in known.items():
            if dataclasses.replace(other, into="") == product:
                made[name] = other
                return name
        taken = {i.name for i in self.loss.inputs} | {p.name for p in self.loss.parameters} | {*known}
        stem = f"{product.left.array}_by_{product.right.array}"
        if product.less:
            stem = f"{product.left.array}_gram_less_{product.less.array}"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        made[name] = dataclasses.replace(product, into=name)
        return name


class _Split(NamedTuple):
    """An input's indices: those that are summed, and its own."""

    summed: tuple[Expr, ...]
    own: tuple[Expr, ...]
    summed_first: bool


def of_inputs(expr: Expr, loss: Loss, name_of: Callable[[Matrix, Matrix, tuple[Expr, ...]], str]) -> Expr:
    """`expr` with every product of two inputs replaced by an entry of the matrix that it makes.

    Args:
        expr: an output's formula, in plain reductions.
        loss: whose inputs they are.
        name_of: gives the matrix of two factors its name, told its indices; for the same factors the same.
    """

    def replace(node: Expr) -> Expr:
        if not isinstance(node, Sum):
            return node
        (body,), summed = node.open()
        found = [_of_two(term, summed, loss) for term in Add.make_args(body)]
        terms = []
        for parts in found:
            if parts is None:
                return node
            left, right, indices, coefficient = parts
            terms.append(coefficient * Entry(Symbol(name_of(left, right, indices), real=True), *indices))
        return Add(*terms)

    return rewrite(expr, replace)


def of_differences(expr: Expr, names: Container[str], name_of: Callable[[str, str], str | None]) -> Expr:
    """`expr` with differences of two matrices that are made of inputs replaced by one matrix.

    Args:
        expr: what `of_inputs` gives.
        names: those matrices' names.
        name_of: gives the difference of two matrices its name, or None if it has to stay.
    """

    def replace(node: Expr) -> Expr:
        if not node.is_Add:
            return node
        terms = list(node.args)
        for one, other in itertools.permutations(node.args, 2):
            left, less = _entry_of(one, names), _entry_of(other, names)
            if left is None or less is None or left.indices != less.indices or not {one, other} <= set(terms):
                continue
            number = one / left
            if number.could_extract_minus_sign() or number != -other / less:
                continue
            name = name_of(left.base.name, less.base.name)
            if name is not None:
                terms = [term for term in terms if term not in (one, other)]
                terms.append(number * Entry(Symbol(name, real=True), *left.indices))
        return Add(*terms)

    return rewrite(expr, replace)


def along_rows(factor: Factor, symmetric: Container[str]) -> Factor:
    """A factor that reads symmetric matrices in the order in which it is written, and so along their rows.

    Args:
        factor: what the kernel writes.
        symmetric: the names of these matrices: each is the same if the halves of its indices change places.
    """
    place = {index: number for number, index in enumerate(factor.indices)}

    def replace(node: Expr) -> Expr:
        if not isinstance(node, Entry) or node.base.name not in symmetric or not {*node.indices} <= {*place}:
            return node
        half = len(node.indices) // 2
        first, second = node.indices[:half], node.indices[half:]
        if [place[i] for i in first] <= [place[i] for i in second]:
            return node
        return Entry(node.base, *second, *first)

    return factor._replace(expr=rewrite(factor.expr, replace))


def _entry_of(term: Expr, names: Container[str]) -> Entry | None:
    """The one factor of a term that is an entry of a matrix with such a name."""
    entries = [f for f in Mul.make_args(term) if isinstance(f, Entry) and f.base.name in names]
    return entries[0] if len(entries) == 1 else None


def _is_gram(product: MatrixProduct) -> bool:
    """Whether it is a matrix times its own transpose."""
    left, right = product.left, product.right
    return (left.array, left.rows) == (right.array, right.rows) and left.transposed != right.transposed


def _of_two(
    term: Expr, summed: Sequence[Index], loss: Loss
) -> tuple[Matrix, Matrix, tuple[Expr, ...], Expr] | None:
    """A term as two inputs, both as matrices, with the indices of their product and a number before it."""
    factors = Mul.make_args(term)
    entries = [factor for factor in factors if _is_input(factor, loss)]
    number = Mul(*(factor for factor in factors if factor not in entries))
    if len(entries) != 2 or not number.is_number:
        return None
    entries.sort(key=lambda entry: entry.base.name)
    left, right = (_split(entry, summed) for entry in entries)
    if left is None or right is None or left.summed != right.summed or set(left.own) & set(right.own):
        return None
    rows = _as_matrix(entries[0], left, summed_in_rows=False)
    columns = _as_matrix(entries[1], right, summed_in_rows=True)
    return rows, columns, (*left.own, *right.own), number


def of_output(
    name: str, indices: tuple[Index, ...], expr: Expr, loss: Loss
) -> tuple[Expr, list[tuple[MatrixProduct, Factor]]]:
    """What is left of an output without its products, and the products, each with what the kernel writes for
    it.

    Args:
        name: the output's.
        indices: its free indices.
        expr: its formula.
        loss: whose inputs occur in it.
    """
    rest: list[Expr] = []
    found: dict[Matrix, list[tuple[tuple[Index, ...], Expr]]] = {}
    for term in Add.make_args(expr):
        parts = _times_input(term, indices, loss)
        if parts is None:
            rest.append(term)
            continue
        for right, own, formula in parts:
            found.setdefault(right, []).append((own, formula))
    products = []
    for number, (right, formulas) in enumerate(found.items(), 1):
        own = formulas[0][0]
        with distribute(False):
            terms = [substitute(formula, dict(zip(other, own, strict=True))) for other, formula in formulas]
            factor = Factor(f"{name}_factor" + (f"_{number}" if number > 1 else ""), own, Add(*terms))
        left = Matrix(factor.name, len(own) - right.rows, False)
        products.append((MatrixProduct(name, left, right, bool(rest) or number > 1), factor))
    return Add(*rest), products


def _times_input(
    term: Expr, indices: tuple[Index, ...], loss: Loss
) -> list[tuple[Matrix, tuple[Index, ...], Expr]] | None:
    """A term of an output as matrices times inputs: each input, and its matrix's indices and formula."""
    sums = [factor for factor in Mul.make_args(term) if isinstance(factor, Sum)]
    if len(sums) != 1:
        return None
    (body,), summed = sums[0].open()
    coefficient = Mul(*(factor for factor in Mul.make_args(term) if factor is not sums[0]))
    parts = []
    for product in Add.make_args(body if body.is_Mul else expand_mul(body, deep=False)):
        columns = [
            (factor, split)
            for factor in Mul.make_args(product)
            if _is_input(factor, loss) and (split := _split(factor, summed)) is not None
            # The input's own indices must be the output's last ones.
            and split.summed_first and split.own == indices[len(indices) - len(split.own) :]
        ]  # fmt: skip
        if len(columns) != 1:
            return None
        entry, split = columns[0]
        rows = indices[: len(indices) - len(split.own)]
        formula = Mul(coefficient, *(factor for factor in Mul.make_args(product) if factor is not entry))
        if not rows or set(split.own) & formula.free_symbols:
            return None
        parts.append((_as_matrix(entry, split, summed_in_rows=True), (*rows, *split.summed), formula))
    return parts


def _is_input(expr: Expr, loss: Loss) -> bool:
    """Whether an expression is an entry of an input, or of a vector, that no label picks."""
    names = {i.name for i in loss.inputs if i.kind != "label"}
    names |= {f"vector_{i.name}" for i in loss.predictions}
    return (
        isinstance(expr, Entry)
        and expr.base.name in names
        and len(set(expr.indices)) == len(expr.indices)
        and all(isinstance(i, Index) and not isinstance(i, LabelIndex) for i in expr.indices)
    )


def _split(entry: Entry, summed: Sequence[Index]) -> _Split | None:
    """The indices of an input that sums over all of `summed` and has indices of its own, apart from them."""
    over = tuple(i for i in entry.indices if i in summed)
    own = tuple(i for i in entry.indices if i not in summed)
    if not own or set(over) != set(summed) or entry.indices not in ((*over, *own), (*own, *over)):
        return None
    return _Split(over, own, entry.indices == (*over, *own))


def _as_matrix(entry: Any, split: _Split, summed_in_rows: bool) -> Matrix:
    first = split.summed if split.summed_first else split.own
    return Matrix(entry.base.name, len(first), split.summed_first != summed_in_rows)
