"""Index notation: equality up to bound names, substitution without capture, what the constructors tidy up."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Add, Eq, Expr, Integer, Mul, Piecewise, Pow, S, Symbol, exp, srepr

from symloss.atoms import LogSumExp, Softmax
from symloss.index import (
    Binder,
    Bound,
    Delta,
    Entry,
    Index,
    Max,
    Min,
    Product,
    Size,
    Sum,
    is_count,
    rewrite,
    substitute,
    walk,
)
from symloss.roles import LabelIndex

z, p, g = (Symbol(name, real=True) for name in "zpg")
k, j, m = Index("k", "K"), Index("j", "K"), Index("m", "K")
d, e = Index("d", "D"), Index("e", "D")
label = LabelIndex("label", "K")
a = Symbol("a", real=True)


def Z(*at):
    return Entry(z, *at)


def P(*at):
    return Entry(p, *at)


def G(*at):
    return Entry(g, *at)


# --- a brute-force reading of index notation, in exact integers ------------------------------------------------

SIZES = {"K": 3, "D": 2}
DATA = {"z": {(i,): 2 * i - 1 for i in range(3)}, "p": {(i,): i * i - 3 for i in range(3)},
        "g": {(c, i): (-1) ** i * (c + 2) + i for c in range(3) for i in range(3)}}  # fmt: skip
REDUCE = {Sum: sum, Product: math.prod, Max: max, Min: min}


def value(expr, at):
    """The number that an expression is, its free indices given by name and dimension."""
    if isinstance(expr, Index):
        return at[expr.name, expr.dim]
    if isinstance(expr, Size):
        return SIZES[expr.name]
    if isinstance(expr, Entry):
        return DATA[expr.base.name][tuple(value(i, at) for i in expr.indices)]
    if isinstance(expr, Delta):
        return int(value(expr.args[0], at) == value(expr.args[1], at))
    if isinstance(expr, Binder):
        places = itertools.product(*(range(SIZES[i.dim]) for i in expr.indices))
        names = [(i.name, i.dim) for i in expr.indices]
        return REDUCE[type(expr)](
            [value(expr.body, at | dict(zip(names, place, strict=True))) for place in places]
        )
    if expr.is_Integer:
        return int(expr)
    parts = [value(arg, at) for arg in expr.args]
    return (
        sum(parts)
        if isinstance(expr, Add)
        else math.prod(parts)
        if isinstance(expr, Mul)
        else parts[0] ** parts[1]
    )


FREE = (k, j, m)
leaves = st.one_of(
    st.sampled_from([Z(i) for i in FREE] + [P(i) for i in FREE] + [G(i, n) for i in FREE for n in FREE]),
    st.integers(-2, 2).map(Integer),
    st.sampled_from([Delta(k, j), Delta(j, m), Delta(k, m), Size("K")]),
)


def bigger(inner):
    return st.one_of(
        st.tuples(inner, inner).map(lambda pair: Add(*pair)),
        st.tuples(inner, inner).map(lambda pair: Mul(*pair)),
        inner.map(lambda x: Pow(x, 2)),
        st.tuples(st.sampled_from([Sum, Max, Min, Product]), inner, st.sampled_from(FREE)).map(
            lambda case: case[0](case[1], case[2])
        ),
        st.tuples(inner, st.permutations(FREE)).map(lambda case: Sum(case[0], *case[1][:2])),
    )


formulas = st.recursive(leaves, bigger, max_leaves=6)
places = st.tuples(*(st.integers(0, 2) for _ in FREE))


def at_place(place):
    return {(i.name, i.dim): n for i, n in zip(FREE, place, strict=True)}


@given(formulas, st.tuples(*(st.sampled_from(FREE) for _ in FREE)), places)
def test_renaming_free_indices_is_reading_them_elsewhere(formula, targets, place):
    """Also where an index is renamed to one that some binder inside once had, or two are swapped."""
    renamed = substitute(formula, dict(zip(FREE, targets, strict=True)))
    at = at_place(place)
    assert value(renamed, at) == value(
        formula, {(i.name, i.dim): value(t, at) for i, t in zip(FREE, targets, strict=True)}
    )


@given(formulas, formulas, st.sampled_from(FREE), places)
def test_putting_a_formula_in_place_of_an_entry_captures_nothing(formula, inner, index, place):
    """z[index] is replaced by a formula that has free indices and binders of its own."""
    marker = Symbol("a", real=True)
    with_marker = substitute(formula, {Z(index): marker})
    at = at_place(place)
    whole = substitute(with_marker, {marker: inner})
    number = Integer(value(inner, at))
    assert value(whole, at) == value(substitute(with_marker, {marker: number}), at)


@given(formulas, places)
def test_rewriting_by_nothing_changes_nothing(formula, place):
    again = rewrite(formula, lambda node: node)
    assert again == formula
    assert value(again, at_place(place)) == value(formula, at_place(place))


@given(formulas, places)
def test_opening_a_binder_keeps_its_meaning(formula, place):
    at = at_place(place)
    for binder in [node for node in walk(formula) if isinstance(node, Binder)][:1]:
        if not any(isinstance(s, Bound) for s in binder.free_symbols):
            (body,), fresh = binder.open()
            assert value(type(binder)(body, *fresh), at) == value(binder, at)


# --- equality ----------------------------------------------------------------------------------------------------

SAME = [
    ("one index", Sum(exp(Z(k)), k), Sum(exp(Z(j)), j)),
    ("two indices", Sum(G(k, j) ** 2, k, j), Sum(G(m, k) ** 2, m, k)),
    ("nested, names swapped", Sum(exp(Sum(G(k, j) ** 2, j)), k), Sum(exp(Sum(G(j, k) ** 2, k)), j)),
    ("nested, the same name again", Sum(exp(Z(k)) * Max(P(k), k), k), Sum(exp(Z(j)) * Max(P(m), m), j)),
    ("a free index stays", Max(G(k, j), k), Max(G(m, j), m)),
    ("row atoms", LogSumExp(Z(k), k), LogSumExp(Z(j), j)),
    (
        "a row atom read inside another binder",
        Sum(Softmax(Z(k), k, j) * P(j), j),
        Sum(Softmax(Z(m), m, k) * P(k), k),
    ),
    ("a row read at its own index", Softmax(Z(k), k, k), Softmax(Z(j), j, k)),
]
OTHER = [
    ("another free index", Max(G(k, j), k), Max(G(k, m), k)),
    ("rows are not columns", Sum(exp(Max(G(k, j), j)), k), Sum(exp(Max(G(k, j), k)), j)),
    ("another dimension", Sum(exp(Entry(z, k)), k), Sum(exp(Entry(z, d)), d)),
    ("another place", Softmax(Z(k), k, j), Softmax(Z(k), k, m)),
    ("another kind", Max(Z(k), k), Min(Z(k), k)),
]


@pytest.mark.parametrize(("one", "other"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_bound_names_do_not_matter(one, other):
    assert one == other
    assert hash(one) == hash(other)
    assert srepr(one) == srepr(other) and str(one) == str(other)


@pytest.mark.parametrize(("one", "other"), [case[1:] for case in OTHER], ids=[case[0] for case in OTHER])
def test_what_is_different_stays_different(one, other):
    assert one != other


def test_free_symbols_leave_out_what_is_bound():
    assert Sum(G(k, j) ** 2, k).free_symbols == {g, j}
    assert Softmax(Z(k), k, label).free_symbols == {z, label}
    assert Sum(exp(Max(G(k, j), j)), k).free_symbols == {g}


@pytest.mark.parametrize(
    "node", [Sum(exp(Z(k)), k), k, Size("K"), label, G(k, label), Delta(k, j), Max(Z(k), k)]
)
def test_nodes_survive_pickling(node):
    again = pickle.loads(pickle.dumps(node))
    assert again == node
    assert type(again) is type(node)
    assert getattr(again, "dim", None) == getattr(node, "dim", None)


# --- substitution ------------------------------------------------------------------------------------------------

PUT_IN = [
    ("an index into its own binder", Sum(exp(Z(k) + P(j)), k), {j: k}, lambda s: Sum(exp(Z(m) + P(k)), m)),
    ("two indices swapped", G(k, j), {k: j, j: k}, lambda s: G(j, k)),
    ("swapped under a binder", Sum(exp(G(k, j) + G(j, m)), m), {k: j, j: k}, lambda s: Sum(exp(G(j, k) + G(k, d_)), d_)),
    ("an entry by a sum over the same name", Sum(exp(a * Z(k)), k), {a: Max(P(k), k)},
     lambda s: Sum(exp(Max(P(j), j) * Z(k)), k)),
    ("an entry with a free index under its binder", Sum(exp(a + Z(k)), k), {a: P(k)}, lambda s: Sum(exp(P(k) + Z(j)), j)),
    ("a place", Softmax(Z(k), k, j), {j: label}, lambda s: Softmax(Z(k), k, label)),
    ("a place, not the row", Softmax(Z(k), k, k), {k: label}, lambda s: Softmax(Z(j), j, label)),
    ("what is bound is left alone", Sum(exp(Z(k)), k), {k: label}, lambda s: s),
    ("three deep", Sum(exp(Sum(exp(a + Max(G(k, j), k)), j) + Z(m)), m), {a: P(m)},
     lambda s: Sum(exp(Sum(exp(P(m) + Max(G(d_, e_), d_)), e_) + Z(k)), k)),
]  # fmt: skip
d_, e_ = Index("other", "K"), Index("another", "K")


@pytest.mark.parametrize(
    ("expr", "mapping", "wanted"), [case[1:] for case in PUT_IN], ids=[case[0] for case in PUT_IN]
)
def test_substitution_captures_nothing(expr, mapping, wanted):
    assert substitute(expr, mapping) == wanted(expr)


def test_rewrite_goes_leaves_first_and_through_binders():
    seen = []

    def double(node):
        seen.append(node)
        return 2 * node if isinstance(node, Entry) else node

    assert rewrite(Sum(exp(Z(k)), k), double) == Sum(exp(2 * Z(k)), k)
    kinds = [type(node).__name__ for node in seen]
    assert kinds.index("Entry") < kinds.index("exp") < kinds.index("Sum")


def test_body_at_reads_an_entry():
    row = Softmax(G(k, j) + Z(k), k, m)
    assert row.body_at() == G(m, j) + Z(m)
    assert row.body_at((label,)) == G(label, j) + Z(label)


# --- sums ----------------------------------------------------------------------------------------------------------

TIDY = [
    ("a factor goes out", lambda: Sum(2 * a * Z(k), k), 2 * a * Sum(Z(k), k)),
    ("so does one with another index", lambda: Sum(Z(k) * P(j), k), P(j) * Sum(Z(k), k)),
    ("what doesn't depend is counted", lambda: Sum(Z(j) ** 2, k), Size("K") * Z(j) ** 2),
    ("ones are counted", lambda: Sum(S.One, k, d), Size("K") * Size("D")),
    ("half of it", lambda: Sum(Z(k), k, d), Size("D") * Sum(Z(k), k)),
    ("a sum of sums is one", lambda: Sum(Sum(exp(G(k, j)), j), k), Sum(exp(G(k, j)), k, j)),
    ("a factor between two sums", lambda: Sum(Z(k) * Sum(exp(G(k, j)), j), k), Sum(Z(k) * Sum(exp(G(k, m)), m), k)),
    ("zero", lambda: Sum(S.Zero, k), S.Zero),
]  # fmt: skip


@pytest.mark.parametrize(("make", "wanted"), [case[1:] for case in TIDY], ids=[case[0] for case in TIDY])
def test_sums_tidy_up(make, wanted):
    assert make() == wanted


def test_products_and_extremes_do_not_take_factors_out():
    assert Max(2 * Z(k), k).has(Integer(2)) and not Max(2 * Z(k), k).is_Mul
    assert isinstance(Product(2 * Z(k), k), Product)  # 2^K in front, if at all


def test_extremes_of_several_numbers_are_ordinary():
    import sympy

    assert Max(a, 0) == sympy.Max(a, 0)
    assert Min(a, Z(k)) == sympy.Min(a, Z(k))
    assert isinstance(Max(Z(k), k), Max)


def test_delta():
    assert Delta(k, k) == 1
    assert Delta(k, j) == Delta(j, k)
    assert substitute(Delta(k, j), {j: k}) == 1
    assert substitute(Delta(k, label), {k: j}) == Delta(j, label)
    assert Delta(k, j).is_nonnegative


@pytest.mark.parametrize(
    "make", [lambda: Sum(Z(k)), lambda: Sum(Z(k), a), lambda: Sum(Z(k), label), lambda: Product(Z(k), 3)]
)
def test_reductions_need_an_index(make):
    with pytest.raises(TypeError, match="index"):
        make()


def test_signs_are_known():
    positive = Symbol("q", positive=True)
    assert Sum(Entry(positive, k), k).is_positive
    assert Sum(Z(k) ** 2, k).is_nonnegative
    assert Max(Entry(positive, k), k).is_nonnegative
    assert Sum(Z(k), k).is_nonnegative is None
    assert Sum(Z(k), k).is_real


@pytest.mark.parametrize(
    ("expr", "counts"),
    [(Size("K") * 2 - 1, True), (S.Half, True), (a, False), (Sum(Z(k), k), False), (Z(k), False)],
)
def test_what_is_known_before_the_data(expr: Expr, counts: bool):
    assert is_count(expr) is counts


def test_a_case_in_a_sum():
    """A Piecewise is an ordinary node: its conditions are substituted and bound too."""
    case = Piecewise((Z(k), Eq(k, j)), (Integer(0), True))
    assert Sum(case, k) == Sum(Piecewise((Z(m), Eq(m, j)), (Integer(0), True)), m)
    assert substitute(Sum(case, k), {j: k}) == Sum(Piecewise((Z(m), Eq(m, k)), (Integer(0), True)), m)
