"""Matrix products: which sums are taken for one, and that what NumPy multiplies is what a loop would add up."""

from __future__ import annotations

import ast
from fractions import Fraction
from functools import cache
from importlib import import_module

import numpy as np
import pytest
import symloss_kernels as sk
from formulas import evaluate
from sympy import exp, log
from test_contract import flat, same_bits

import symloss
from symloss.derive import derive
from symloss.lower import lower
from symloss.precision import SINGLE_ARITHMETIC
from symloss.printers.numba_cpu import module
from symloss.program import ENTRIES, Matrix, Program
from symloss.spec import Label, Prediction, Sum, Target, index, loss

products = import_module("symloss_kernels._products")
i, j, k, d, e = index("I"), index("J"), index("K"), index("D"), index("E")
i_2, d_2, k_2 = index("I", "i_2"), index("D", "d_2"), index("K", "k_2")



def printed(spec) -> str:
    """The source of a spec's kernels."""
    return module(derive(spec.trace()), "", dict.fromkeys(ENTRIES, SINGLE_ARITHMETIC))


# --- what is recognised -------------------------------------------------------------------------------------------


@loss(title="Logistic loss of pairwise similarities")
def pairwise(a: Prediction["I", "D"], b: Prediction["J", "D"], t: Target["I", "J"]):
    return Sum(log(1 + exp(-t[i, j] * Sum(a[i, d] * b[j, d], d))), i, j)


@loss(title="A Gram matrix")
def gram(a: Prediction["I", "D"]):
    return Sum(Sum(a[i, d] * a[i_2, d], d) ** 2, i, i_2)


@loss(title="A Gram matrix of columns")
def gram_of_columns(a: Prediction["D", "I"]):
    return Sum(Sum(a[d, i] * a[d, i_2], d) ** 2, i, i_2)


@loss(title="Rows by columns")
def rows_by_columns(a: Prediction["I", "D"], b: Target["D", "J"]):
    return Sum(Sum(a[i, d] * b[d, j], d) ** 2, i, j)


@loss(title="Columns by rows")
def columns_by_rows(a: Prediction["D", "I"], b: Target["J", "D"]):
    return Sum(Sum(a[d, i] * b[j, d], d) ** 2, i, j)


@loss(title="Two axes are summed")
def two_axes(a: Prediction["I", "D", "E"], b: Target["J", "D", "E"]):
    return Sum(Sum(a[i, d, e] * b[j, d, e], d, e) ** 2, i, j)


@loss(title="Two axes are rows")
def two_rows(a: Prediction["I", "K", "D"], b: Target["J", "D"]):
    return Sum(Sum(a[i, k, d] * b[j, d], d) ** 2, i, k, j)


@loss(title="A number before the product")
def scaled(a: Prediction["I", "D"], b: Target["J", "D"]):
    return Sum(Sum(3 * a[i, d] * b[j, d], d) ** 2, i, j)


@loss(title="Two products in one sum")
def two_products(a: Prediction["I", "D"], b: Target["J", "D"], c: Target["J", "D"]):
    return Sum(Sum(a[i, d] * b[j, d] - a[i, d] * c[j, d], d) ** 2, i, j)


#: Of each: the matrices before the kernel, their dimensions, and the outputs that are made of products after it. An
#: input whose own indices aren't the output's last ones makes no output, nor does a difference of inputs.
RECOGNISED = [
    (pairwise, {"a_by_b": (("a", 1, False), ("b", 1, True), ("I", "J"))}, ["grad_a", "grad_b"]),
    (gram, {"a_by_a": (("a", 1, False), ("a", 1, True), ("I", "I"))}, ["grad_a"]),
    (gram_of_columns, {"a_by_a": (("a", 1, True), ("a", 1, False), ("I", "I"))}, []),
    (rows_by_columns, {"a_by_b": (("a", 1, False), ("b", 1, False), ("I", "J"))}, []),
    (columns_by_rows, {"a_by_b": (("a", 1, True), ("b", 1, True), ("I", "J"))}, []),
    (two_axes, {"a_by_b": (("a", 1, False), ("b", 1, True), ("I", "J"))}, ["grad_a"]),
    (two_rows, {"a_by_b": (("a", 2, False), ("b", 1, True), ("I", "K", "J"))}, ["grad_a"]),
    (scaled, {"a_by_b": (("a", 1, False), ("b", 1, True), ("I", "J"))}, ["grad_a"]),
    (
        two_products,
        {
            "a_by_b": (("a", 1, False), ("b", 1, True), ("I", "J")),
            "a_by_c": (("a", 1, False), ("c", 1, True), ("I", "J")),
        },
        [],
    ),
]


@loss(title="Rows with themselves: both have the index i")
def same_rows(a: Prediction["I", "D"], b: Target["I", "D"]):
    return Sum(Sum(a[i, d] * b[i, d], d) ** 2, i)


@loss(title="A matrix by a vector, which has no index of its own")
def matrix_by_vector(a: Prediction["I", "D"], b: Target["D"]):
    return Sum(Sum(a[i, d] * b[d], d) ** 2, i)


@loss(title="A row that a label picks")
def labelled(a: Prediction["K", "D"], b: Target["J", "D"], label: Label["K"]):
    return Sum(Sum(a[label, d] * b[j, d], d) ** 2, j)


@loss(title="The summed axis stands between others")
def between(a: Prediction["I", "D", "E"], b: Target["J", "D"]):
    return Sum(Sum(a[i, d, e] * b[j, d], d) ** 2, i, j, e)


@loss(title="The summed axes stand in another order")
def other_order(a: Prediction["I", "D", "E"], b: Target["J", "E", "D"]):
    return Sum(Sum(a[i, d, e] * b[j, e, d], d, e) ** 2, i, j)


@loss(title="Three factors")
def three(a: Prediction["I", "D"], b: Target["J", "D"], c: Target["D"]):
    return Sum(Sum(a[i, d] * b[j, d] * c[d], d) ** 2, i, j)


@loss(title="No product of inputs themselves")
def of_functions(a: Prediction["I", "D"], b: Target["J", "D"]):
    return Sum(Sum(exp(a[i, d]) * b[j, d], d) ** 2, i, j)


@loss(title="The same axis twice")
def diagonal(a: Prediction["D", "D"], b: Target["J", "D"]):
    return Sum(Sum(a[d, d] * b[j, d], d) ** 2, j)


@loss(title="One of two terms is no product")
def with_a_rest(a: Prediction["I", "D"], b: Target["J", "D"]):
    return Sum(Sum(a[i, d] * b[j, d] + a[i, d] ** 2, d) ** 2, i, j)


# --- differences of Gram matrices ---------------------------------------------------------------------------------


@loss(title="Two Gram matrices")
def grams(a: Prediction["I", "D"], b: Target["I", "D"]):
    return Sum((3 * Sum(a[i, d] * a[i_2, d], d) - 3 * Sum(b[i, d] * b[i_2, d], d)) ** 2, i, i_2)


@loss(title="Two Gram matrices of columns, and one of them alone")
def grams_of_columns(a: Prediction["D", "I"], b: Target["D", "I"]):
    own, other = Sum(a[d, i] * a[d, i_2], d), Sum(b[d, i] * b[d, i_2], d)
    return Sum((other - own) ** 2 + own**4, i, i_2)


@loss(title="A sum of Gram matrices")
def sum_of_grams(a: Prediction["I", "D"], b: Target["I", "D"]):
    return Sum((Sum(a[i, d] * a[i_2, d], d) + Sum(b[i, d] * b[i_2, d], d)) ** 2, i, i_2)


@loss(title="Gram matrices with different numbers before them")
def unlike_grams(a: Prediction["I", "D"], b: Target["I", "D"]):
    return Sum((2 * Sum(a[i, d] * a[i_2, d], d) - Sum(b[i, d] * b[i_2, d], d)) ** 2, i, i_2)


@loss(title="One Gram matrix, and a product of two inputs")
def gram_and_product(a: Prediction["I", "D"], b: Target["I", "D"]):
    return Sum((Sum(a[i, d] * a[i_2, d], d) - Sum(a[i, d] * b[i_2, d], d)) ** 2, i, i_2)


NOT_RECOGNISED = [same_rows, matrix_by_vector, labelled, between, other_order, three, of_functions, diagonal, with_a_rest]


@cache
def program(spec, entry: str = "value_and_grad", found: bool = True) -> Program:
    return lower(derive(spec.trace()), entry, products=found)


def listed(source: str) -> dict:
    """The plans in a generated module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "PRODUCTS":
            return ast.literal_eval(node.value)
    return {}


def of(spec) -> str:
    return spec.function.__name__


@pytest.mark.parametrize(("spec", "before", "after"), RECOGNISED, ids=[of(case[0]) for case in RECOGNISED])
def test_sums_that_are_products(spec, before, after):
    found = program(spec)
    made = {p.into: (p.left, p.right, p.dims) for p in found.before}
    assert made == {name: (Matrix(*left), Matrix(*right), dims) for name, (left, right, dims) in before.items()}
    assert [p.into for p in found.after] == after
    for product in found.after:
        assert product.left.array in found.factors
    # What a product makes alone isn't stored by the kernel, and what it adds to is.
    made_alone = {p.into for p in found.after if not p.adds}
    assert not made_alone & set(found.outputs)
    assert set(after) - made_alone <= set(found.outputs)


@pytest.mark.parametrize("spec", NOT_RECOGNISED, ids=of)
def test_sums_that_are_no_products(spec):
    found = program(spec)
    assert (found.before, found.after, found.factors) == ((), (), {})
    assert found == program(spec, found=False)
    assert not {"value", "value_and_grad"} & set(listed(printed(spec)))


@pytest.mark.parametrize("spec", [grams, grams_of_columns], ids=of)
def test_the_difference_of_two_gram_matrices_is_one_matrix(spec):
    for entry in ("value", "value_and_grad", "hvp"):
        found = [p for p in program(spec, entry).before if p.less]
        assert len(found) == 1
        (made,) = found
        assert {made.left.array, made.less.array} == {"a", "b"}
        assert made.left.transposed == made.less.transposed == (spec is grams_of_columns)
        assert f"{made.left.array}_gram_less_{made.less.array}" == made.into
        alone = {p.into for p in program(spec, entry).before if not p.less} - {"a_by_vector_a"}
        assert alone == ({"a_by_a"} if spec is grams_of_columns else set())


@loss(title="A Gram matrix whose rows are two axes")
def gram_of_pairs(a: Prediction["I", "K", "D"]):
    return Sum(Sum(a[i, k, d] * a[i_2, k_2, d], d) ** 3, i, k, i_2, k_2)


@pytest.mark.parametrize(
    ("spec", "along", "across"),
    [
        (gram, "flat_a_by_a, (sample, i_2)", "a_by_a, (sample, i_2, i)"),
        (grams, "flat_a_gram_less_b, (sample, i_2)", "a_gram_less_b, (sample, i_2, i)"),
        (gram_of_pairs, "flat_a_by_a, (sample, k_2)", "a_by_a, (sample, i_2, k_2, i, k)"),
    ],
)
def test_a_symmetric_matrix_is_read_along_its_rows(spec, along, across):
    source = printed(spec)
    grad, hvp = source[source.index("def grad(") :].split("def grad_and_hess(")
    assert along in grad
    assert across not in grad
    other = f"_by_vector_a, {across.split(', ', 1)[1]}"
    assert other in hvp  # a matrix of two arrays isn't the same the other way round


@pytest.mark.parametrize("spec", [sum_of_grams, unlike_grams, gram_and_product], ids=of)
def test_what_is_no_difference_of_gram_matrices(spec):
    found = program(spec).before
    assert len(found) == 2 and not any(p.less for p in found)


@pytest.mark.parametrize("spec", [case[0] for case in RECOGNISED], ids=of)
def test_products_are_listed_in_the_printed_module(spec):
    source = printed(spec)
    plans = listed(source)
    assert {"value", "value_and_grad"} <= set(plans)
    for entry, plan in plans.items():
        found = program(spec, entry)
        assert [row[0] for row in plan["before"]] == [p.into for p in found.before]
        assert [row[:2] for row in plan["after"]] == [(p.into, p.adds) for p in found.after]
        assert [name for name, _ in plan["factors"]] == list(found.factors)
        assert plan["stored"] == list(found.outputs)
        assert products.Plan(**plan)
    # The sum is nowhere left in the kernel for long rows.
    wide = source[source.index("def value(") : source.index("def grad(")]
    assert "range(D)" not in wide and "range(0, D" not in wide


def test_products_of_short_rows_stay_loops():
    source = printed(gram)
    narrow = source[source.index("def value_narrow(") : source.index("def grad_narrow(")]
    assert "for d in range(D)" in narrow
    assert "a_by_a" not in narrow


# --- what is computed ---------------------------------------------------------------------------------------------


@cache
def compiled(spec):
    made = symloss.compile(spec)
    made._open()
    return made


def runtime_of(made):
    """The modules of the package that a loss is in."""
    package = type(made).__module__.rsplit(".", 1)[0]
    return import_module(f"{package}._runtime"), import_module(f"{package}._products")


SIZES = {"I": 5, "J": 4, "K": 3, "D": 7, "E": 2}


def arrays(spec, n: int = 3, dtype=np.float64, **sizes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    sizes = SIZES | sizes
    shapes = [(n, *(sizes[dim] for dim in entry.dims)) for entry in spec.trace().inputs]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def results(spec, inputs, **keywords):
    """Value and derivatives; those of second order for two specs only, since each kernel takes its time to compile."""
    made = compiled(spec)
    if spec not in (pairwise, two_rows):
        return made.value_and_grad(*inputs, **keywords)
    predictions = [a for a, entry in zip(inputs, made.info.inputs, strict=True) if entry.kind == "prediction"]
    vector = tuple(np.flip(array).copy() for array in predictions)
    vector = vector if len(vector) > 1 else vector[0]
    return (
        made.value_and_grad(*inputs, **keywords),
        made.grad_and_hess(*inputs, **keywords),
        made.hvp(*inputs, vector=vector, **keywords),
    )


def assert_near(found, expected, ulps: float) -> None:
    """Within some ulp of the largest number."""
    for a, b in zip(flat(found), flat(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=ulps * np.finfo(b.dtype).eps * float(np.max(np.abs(b))))


@pytest.fixture
def multiplications(monkeypatch):
    """How often NumPy was asked to multiply matrices, by the packages that are compiled here."""
    calls: list[tuple[int, ...]] = []

    def watched(spec):
        _, module = runtime_of(compiled(spec))
        for name in ("multiplied", "gram_difference"):
            made = getattr(module, name)

            def count(left, *others, made=made):
                calls.append(left.shape)
                return made(left, *others)

            monkeypatch.setattr(module, name, count)
        return calls

    return watched


@pytest.mark.parametrize("spec", [*(case[0] for case in RECOGNISED), grams, grams_of_columns], ids=of)
def test_products_agree_with_loops(monkeypatch, multiplications, spec):
    """Sums of 7 terms, in an order of BLAS's own; the factors have them too."""
    calls = multiplications(spec)
    runtime, _ = runtime_of(compiled(spec))
    monkeypatch.setattr(compiled(spec), "_ways", lambda *call: None)  # it remembers which kernel it takes
    monkeypatch.setattr(compiled(spec), "_short", {})
    inputs = arrays(spec)
    weights = [{"weight": np.array([2.0, 0.0, 0.5])}] if spec in (pairwise, grams) else []  # compiled anew for them
    for keywords in ({}, *weights):
        monkeypatch.setattr(runtime, "NARROW", 10**9)
        expected = results(spec, inputs, **keywords)
        assert not calls
        monkeypatch.setattr(runtime, "NARROW", 0)
        assert_near(results(spec, inputs, **keywords), expected, 64)
        assert calls
        calls.clear()


@pytest.mark.parametrize("spec", [pairwise, two_products, two_rows], ids=of)
def test_values_are_those_of_the_formula(monkeypatch, spec):
    runtime, _ = runtime_of(compiled(spec))
    monkeypatch.setattr(runtime, "NARROW", 0)
    inputs = arrays(spec, n=2, D=5)
    values = compiled(spec).value(*inputs, reduction="none")
    expected = [evaluate(spec.trace(), *(array[row] for array in inputs)) for row in range(2)]
    np.testing.assert_allclose(values, expected, rtol=1e-14)  # rounding of sums of a few dozen terms


def test_a_users_long_rows_are_multiplied_without_being_asked(multiplications):
    calls = multiplications(pairwise)
    inputs = arrays(pairwise, D=200)
    value, grad = compiled(pairwise).value_and_grad(*inputs, reduction="none")
    assert calls == [(5, 200)] * 3
    a, b, t = inputs
    scores = np.einsum("nid,njd->nij", a, b)
    np.testing.assert_allclose(value, np.logaddexp(0, -t * scores).sum((1, 2)), rtol=1e-12)
    slope = -t / (1 + np.exp(t * scores))
    np.testing.assert_allclose(grad.a, np.einsum("nij,njd->nid", slope, b), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(grad.b, np.einsum("nij,nid->njd", slope, a), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spec", [pairwise, two_products], ids=of)
def test_a_sample_of_weight_0_is_left_out_whatever_it_is(spec, dtype):
    inputs = arrays(spec, n=4, dtype=dtype, D=150)
    expected = results(spec, [array[[0, 3]].copy() for array in inputs], weight=np.array([2.0, 0.5]), reduction="none")
    for array in inputs:
        array[1], array[2] = np.nan, np.inf
    found = results(spec, inputs, weight=np.array([2.0, 0.0, 0.0, 0.5]), reduction="none")
    for part, wanted in zip(flat(found), flat(expected), strict=True):
        np.testing.assert_array_equal(part[[0, 3]], wanted)
        np.testing.assert_array_equal(part[[1, 2]], np.zeros_like(part[[1, 2]]))


@pytest.mark.parametrize("shared", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_inputs_that_all_samples_share(shared):
    inputs = arrays(pairwise, n=5, D=150)
    given, full = list(inputs), list(inputs)
    for place in shared:
        given[place] = inputs[place][0].copy()
        full[place] = np.broadcast_to(inputs[place][0], inputs[place].shape).copy()
    weight = np.array([1.0, 0.0, 2.0, 0.25, 1.0]) if len(shared) < 3 else 1.0
    made = compiled(pairwise)
    value, grad = made.value_and_grad(*given, weight=weight, reduction="sum")
    wanted, grads = made.value_and_grad(*full, weight=weight, reduction="sum")
    times = 5 if len(shared) == 3 else 1  # a single sample, where nothing has an axis of samples
    assert value * times == pytest.approx(wanted, rel=1e-14)
    for place, (part, whole) in enumerate(zip(grad, grads, strict=True)):
        assert part.shape == given[place].shape
        if place in shared:
            assert_near(part * times, whole.sum(0), 16)
        else:
            assert_near(part, whole, 4)


def test_results_go_into_the_callers_arrays_and_in_place_of_inputs():
    inputs = arrays(pairwise, n=3, D=150)
    made = compiled(pairwise)
    value, grad = made.value_and_grad(*inputs)
    strided = np.full((3, 5, 300), -7.0)[:, :, ::2]
    outs = (strided, np.full_like(inputs[1], -7.0))
    found = made.value_and_grad(*inputs, out=outs)
    assert found[1].a is strided
    same_bits(found, (value, grad))
    given = [array.copy() for array in inputs]
    same_bits(made.value_and_grad(*given, out=(given[0], given[1])), (value, grad))
    given = [array.copy() for array in inputs]
    first, second = made.grad_and_hess(*inputs)
    other = (given[0], np.empty_like(given[1]))
    same_bits(made.grad_and_hess(*given, out=((np.empty_like(given[0]), given[1]), other)), (first, second))


def test_pieces_of_samples_multiply_what_all_samples_at_once_do():
    """More samples than a piece takes, from an array that is brought into form piece by piece."""
    inputs = arrays(pairwise, n=200, D=150)
    made = compiled(pairwise)
    expected = made.value_and_grad(*inputs, reduction="none")
    alone = [made.value_and_grad(*(array[row] for array in inputs), reduction="none") for row in (0, 87, 88, 199)]
    for row, (value, grad) in zip((0, 87, 88, 199), alone, strict=True):
        assert expected[0][row] == value
        np.testing.assert_array_equal(expected[1].a[row], grad.a)
        np.testing.assert_array_equal(expected[1].b[row], grad.b)
    same_bits(made.value_and_grad(np.asfortranarray(inputs[0]), *inputs[1:], reduction="none"), expected)


# --- names --------------------------------------------------------------------------------------------------------


@loss(title="An input has the name that a matrix would have")
def taken(a: Prediction["I", "D"], b: Target["J", "D"], a_by_b: Target["I", "J"]):
    return Sum((Sum(a[i, d] * b[j, d], d) - a_by_b[i, j]) ** 2, i, j)


@loss(title="An input has the name of another with a number")
def numbered(a: Prediction["I", "D"], b_2: Target["J", "D"], b: Target["D", "K"]):
    first = Sum(Sum(a[i, d] * b_2[j, d], d) ** 2, i, j)
    return first + Sum(Sum(a[i, d] * b[d, k], d) ** 3, i, k)


@loss(title="One input is a matrix in two ways")
def two_ways(a: Prediction["I", "D"], b: Target["D", "D"]):
    return Sum((Sum(a[i, d] * b[d_2, d], d) - 2 * Sum(a[i, d] * b[d, d_2], d)) ** 2, i, d_2)


@pytest.mark.parametrize("spec", [taken, numbered, two_ways], ids=of)
def test_matrices_have_names_of_their_own(monkeypatch, spec):
    for entry in ("value", "value_and_grad", "hvp"):
        found = program(spec, entry)
        names = [p.into for p in found.before] + list(found.factors) + [x.name for x in spec.trace().inputs]
        assert len(set(names)) == len(names)
    runtime, _ = runtime_of(compiled(spec))
    monkeypatch.setattr(runtime, "NARROW", 0)
    inputs = arrays(spec, n=2)
    values = compiled(spec).value(*inputs, reduction="none")
    expected = [evaluate(spec.trace(), *(array[row] for array in inputs)) for row in range(2)]
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-12)  # terms of a few hundred cancel


# --- how exact ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "terms", "columns"), [(3, 10, 4), (64, 4096, 64), (2, 100_003, 2), (600, 600, 600)])
def test_products_of_float32_are_as_good_as_their_factors(rows, terms, columns):
    """Positive terms, so that the sum has no cancellation: what a float64 sum of so many terms may lose."""
    rng = np.random.default_rng(terms)
    left = rng.uniform(0.5, 1.0, (rows, terms)).astype(np.float32)
    right = rng.uniform(0.5, 1.0, (terms, columns)).astype(np.float32)
    exact = left.astype(np.float64) @ right.astype(np.float64)
    made = products.multiplied(left, right)
    assert made.dtype == np.float64
    assert np.max(np.abs(made - exact) / exact) <= terms * 2.0**-53
    same_bits(products.multiplied(left.astype(np.float64), right.astype(np.float64)), exact)


def exact_difference(left, less):
    """left @ left.T - less @ less.T in rational numbers."""
    x, y = (np.vectorize(Fraction, otypes=[object])(matrix.astype(float)) for matrix in (left, less))
    return x @ x.T - y @ y.T


def gram_difference(left, less):
    """What `products.gram_difference` puts into an array, whatever was there before."""
    total = np.full((len(left), len(left)), np.nan)
    products.gram_difference(left, less, total)
    return total


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 24, 100])
def test_a_matrix_is_made_symmetric_in_its_place(size):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    expected = (matrix + matrix.T) / 2
    products.make_symmetric(matrix)
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", [1.0, 1e-3, 1e-6])
def test_gram_matrices_that_are_close_keep_the_digits_of_their_difference(monkeypatch, dtype, distance):
    """Features above their target, so that no term has another sign: a sum of 100 terms, rounded some times each."""
    monkeypatch.setattr(products, "PART", 256)
    monkeypatch.setattr(products, "WIDE", 64)
    rng = np.random.default_rng(3)
    less = rng.uniform(0.5, 1.0, (4, 100)).astype(dtype)
    left = (less * (1 + distance * rng.uniform(0.5, 1.0, less.shape))).astype(dtype)
    exact = exact_difference(left, less)
    made = gram_difference(left, less)
    error = [abs(Fraction(float(a)) - b) / b for a, b in zip(made.ravel(), exact.ravel(), strict=True)]
    assert float(max(error)) <= 16 * np.finfo(dtype).eps


#: Features and targets whose squares leave float32's range, or which vanish in part.
HARD = {
    "large": lambda x, y: (x * 2.0**80, y * 2.0**80),
    "small": lambda x, y: (x * 2.0**-80, y * 2.0**-80),
    "of all sizes": lambda x, y: (x * 2.0 ** np.arange(-40, 40, 10)[:, None], y * 2.0 ** np.arange(40, -40, -10)[:, None]),
    "rows of zeros": lambda x, y: (x * (np.arange(8) % 3 > 0)[:, None], y * (np.arange(8) % 3 > 0)[:, None]),
    "nothing in common": lambda x, y: (x * (np.arange(8)[:, None] == np.arange(64) % 8), 0 * y),
    "the same": lambda x, y: (x, x),
    "infinite": lambda x, y: (np.where(x > 0.99, np.inf, x), y),
}  # fmt: skip


@pytest.mark.parametrize("case", HARD)
def test_float32_features_of_any_size_make_what_float64_makes(monkeypatch, case):
    monkeypatch.setattr(products, "PART", 256)  # smaller matrices are widened anyway
    monkeypatch.setattr(products, "WIDE", 64)  # as are narrower ones
    rng = np.random.default_rng(4)
    left, less = (a.astype(np.float32) for a in HARD[case](*rng.uniform(0.5, 1.0, (2, 8, 64))))
    wide = [array.astype(np.float64) for array in (left, less)]
    with np.errstate(all="ignore"):
        made, expected = gram_difference(left, less), gram_difference(*wide)
        # An entry's error is a part of that of the sum of its terms' sizes.
        size = np.abs(wide[0] - wide[1]) @ np.abs(wide[0] + wide[1]).T
        size = size + size.T
        outputs = []
        for factor in (expected, np.zeros_like(expected)):
            narrow, full = np.empty_like(left), np.empty_like(wide[0])
            products.add_product(factor, left, narrow, False)
            products.add_product(factor, wide[0], full, False)
            outputs.append((narrow, full, np.abs(factor) @ np.abs(wide[0])))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(made[~finite], expected[~finite])
    assert np.all(np.abs(made[finite] - expected[finite]) <= 8 * 2.0**-23 * size[finite])
    for narrow, full, sizes in outputs:
        with np.errstate(all="ignore"):
            rounded = full.astype(np.float32)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(narrow[~finite], rounded[~finite])
        assert np.all(np.abs(narrow[finite] - full[finite]) <= 8 * 2.0**-23 * sizes[finite] + 8 * 2.0**-149)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_may_take_the_place_of_its_matrix_or_be_added(dtype):
    rng = np.random.default_rng(6)
    factor = rng.standard_normal((5, 5))
    matrix = rng.standard_normal((5, 70_000)).astype(dtype)
    apart = np.empty_like(matrix)
    products.add_product(factor, matrix, apart, False)
    added = np.ones_like(matrix)
    products.add_product(factor, matrix, added, True)
    np.testing.assert_allclose(added, 1 + apart, rtol=0, atol=64 * np.finfo(dtype).eps)
    np.testing.assert_allclose(apart, factor @ matrix, rtol=0, atol=64 * np.finfo(dtype).eps)
    products.add_product(factor, matrix, matrix, False)
    np.testing.assert_allclose(matrix, apart, rtol=0, atol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("seed", range(4))
def test_the_gram_matrix_of_float32_features(seed):
    """64 features of 64 x 64 in float32 within 8 ulp of the result in float64, value and gradient."""
    rng = np.random.default_rng(seed)
    features, target = (rng.standard_normal((1, 64, 64, 64)).astype(np.float32) for _ in range(2))
    value, grad = sk.gram_style.value_and_grad(features, target)
    wide = [array.astype(np.float64) for array in (features, target)]
    exact, slope = sk.gram_style.value_and_grad(*wide)
    x, y = (array[0].reshape(64, -1) for array in wide)
    difference = (x @ x.T - y @ y.T) / x.size
    assert exact == pytest.approx((difference**2).sum(), rel=1e-12)
    np.testing.assert_allclose(slope[0].reshape(64, -1), 4 * difference @ x / x.size, rtol=1e-9, atol=1e-15)
    ulp = 2.0**-23
    assert abs(value - exact) <= 8 * ulp * exact
    assert np.max(np.abs(grad - slope)) <= 8 * ulp * np.max(np.abs(slope))


@pytest.mark.parametrize("size", [2.0**64, 2.0**-74])
def test_products_of_float32_neither_overflow_nor_vanish(size):
    """Squares of these numbers are no float32, but they are float64, in which a loss is computed."""
    rng = np.random.default_rng(5)
    features, target = (rng.uniform(0.5, 1.0, (1, 64, 32, 32)).astype(np.float32) for _ in range(2))
    small = sk.gram_style.value(features[:, :8, :4, :2], target[:, :8, :4, :2])
    large = sk.gram_style.value(features, target)
    times = np.float32(size)
    assert sk.gram_style.value(times * features[:, :8, :4, :2], times * target[:, :8, :4, :2]) == small * size**4
    assert sk.gram_style.value(times * features, times * target) == pytest.approx(large * size**4, rel=2.0**-20)
