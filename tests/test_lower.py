"""Programs: what is hoisted, shared and fused, what is kept, and which outputs are sparse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from shipped import derived, lowered
from sympy import Abs, Eq, Ne, Piecewise, Pow, Symbol, exp, log, preorder_traversal

import symloss
from symloss.catalog import standard
from symloss.derive import derive
from symloss.index import Binder, Entry, Index, is_count, walk
from symloss.lower import lower
from symloss.program import (
    ENTRIES,
    Accumulator,
    Assign,
    If,
    Keep,
    Load,
    Loop,
    Program,
    Reduce,
    Statement,
    Store,
)
from symloss.spec import (
    Label,
    Max,
    Min,
    NonNegative,
    Positive,
    Prediction,
    Product,
    Real,
    Sum,
    Target,
    index,
    loss,
)
from symloss.statements import nested

LOSSES = sorted(standard().names())


def of(spec, entry: str = "value") -> Program:
    return lower(derive(spec.trace()), entry)


def statements(
    body: tuple[Statement, ...], loops: tuple[str, ...] = ()
) -> Iterator[tuple[Statement, tuple[str, ...]]]:
    """Every statement, with the loop variables around it."""
    for statement in body:
        yield statement, loops
        if isinstance(statement, (Reduce, Loop)):
            yield from statements(statement.body, (*loops, *(i.name for i in statement.loops)))
        if isinstance(statement, If):
            for _, branch in statement.branches:
                yield from statements(branch, loops)


def count(found: Program, kind: type) -> int:
    return sum(isinstance(statement, kind) for statement, _ in statements(found.body))


def expressions(statement: Statement) -> list:
    if isinstance(statement, Reduce):
        return [a.term for a in statement.accumulators] + [
            a.unless for a in statement.accumulators if a.unless is not None
        ]
    if isinstance(statement, If):
        return [test for test, _ in statement.branches if test is not None]
    return [statement.value] if isinstance(statement, (Assign, Keep, Store)) else []


ALL = [(name, entry) for name in LOSSES for entry in ENTRIES]


@pytest.mark.parametrize(("name", "entry"), ALL)
def test_names_are_set_before_they_are_used(name, entry):
    """In the order of the statements, and only inside the loop or branch where they are set."""
    found = lowered(name, entry)
    given = set(found.loss.dims) | {p.name for p in found.loss.parameters}

    def check(body: tuple[Statement, ...], known: set[str]) -> None:
        known = set(known)
        for statement in body:
            inner = (
                known | {i.name for i in statement.loops} if isinstance(statement, (Reduce, Loop)) else known
            )
            own: set[str] = set()
            if isinstance(statement, (Reduce, Loop)):
                check(statement.body, inner)
                own = {s.name.name for s, _ in statements(statement.body) if isinstance(s, (Load, Assign))}
                own |= {
                    a.name.name
                    for s, _ in statements(statement.body)
                    if isinstance(s, Reduce)
                    for a in s.accumulators
                }
            for expr in expressions(statement):
                assert not expr.has(Binder)
                arrays = {node.base.name for node in walk(expr) if isinstance(node, Entry)}
                names = {s.name for s in expr.free_symbols} - arrays
                assert names <= inner | own, (statement, names - inner - own)
                assert arrays <= set(found.scratch)
            if isinstance(statement, If):
                for _, branch in statement.branches:
                    check(branch, known)
            if isinstance(statement, (Load, Assign)):
                known.add(statement.name.name)
            if isinstance(statement, Reduce):
                known |= {a.name.name for a in statement.accumulators}
                known |= {a.place.name for a in statement.accumulators if a.place is not None}

    check(found.body, given)
    assert found.entry == entry


@pytest.mark.parametrize(("name", "entry"), ALL)
def test_every_output_is_stored_and_every_array_is_filled(name, entry):
    found = lowered(name, entry)
    predictions = [p.name for p in found.loss.predictions]
    assert list(found.outputs) == [
        f"{kind}_{p}" for kind in ENTRIES[entry] if kind != "value" for p in predictions
    ]
    stored = {s.output for s, _ in statements(found.body) if isinstance(s, Store)}
    assert stored == set(found.outputs)
    kept = [s.array for s, _ in statements(found.body) if isinstance(s, Keep)]
    assert sorted(kept) == sorted(found.scratch)
    valued = {s.name.name for s, _ in statements(found.body) if isinstance(s, Assign)}
    assert ("value" in valued) == found.has_value
    assert set(found.sparse) <= set(found.outputs)


@pytest.mark.parametrize(("name", "entry"), ALL)
def test_a_name_means_one_thing(name, entry):
    """In one scope it is set once; where another loop sets it again, to the same."""
    found, meaning = lowered(name, entry), {}

    def check(body: tuple[Statement, ...]) -> None:
        own = [s.name.name for s in body if isinstance(s, (Assign, Load))]
        assert len(set(own)) == len(own)
        for statement in body:
            if isinstance(statement, Assign) and statement.name.name != "value":
                value = statement.value.xreplace(meaning)
                assert meaning.setdefault(statement.name, value) == value
            for inner in (
                [b for _, b in statement.branches]
                if isinstance(statement, If)
                else [getattr(statement, "body", ())]
            ):
                check(inner)

    check(found.body)


# --- fusion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry", "reductions"),
    [
        # the maximum, then the sum of the others: the gradient needs no pass of its own
        ("softmax_cross_entropy", "value", 2),
        ("softmax_cross_entropy", "value_and_grad", 2),
        ("softmax_cross_entropy", "grad_and_hess", 2),
        ("softmax_cross_entropy", "hvp", 2),
        ("softmax_focal", "grad_and_hess", 2),
        ("kl_divergence", "value_and_grad", 1),
        ("center", "value_and_grad", 1),
        ("center", "grad", 0),
        ("l2_norm", "value_and_grad", 2),  # the largest for the scale, then the squares
        ("l2_norm", "hvp", 2),
        ("mse", "value_and_grad", 0),
        ("softmax_center", "value_and_grad", 3),
    ],
)
def test_passes_over_a_row(name, entry, reductions):
    assert count(lowered(name, entry), Reduce) == reductions


@pytest.mark.parametrize("entry", ["value", "value_and_grad", "grad_and_hess"])
@pytest.mark.parametrize(
    "name", ["softmax_cross_entropy", "softmax_focal", "kl_divergence", "l2_norm", "huber"]
)
def test_an_element_is_stored_once(name, entry):
    found = lowered(name, entry)
    loops = [s for s, _ in statements(found.body) if isinstance(s, Loop)]
    assert len(loops) <= 1  # gradient and curvature share their loop
    if loops:
        assert {s.output for s, _ in statements(loops[0].body) if isinstance(s, Store)} == set(found.outputs)


@loss
def moments(x: Prediction["K"], y: Target["K"]):
    k = index("K")
    return Sum(x[k] * y[k], k) / (Sum(x[k] ** 2, k) + Sum(y[k] ** 2, k))


def test_reductions_that_do_not_need_each_other_share_a_loop():
    (reduce,) = [s for s, _ in statements(of(moments).body) if isinstance(s, Reduce)]
    assert [a.op for a in reduce.accumulators] == ["sum"] * 3
    assert sum(isinstance(s, Load) for s in reduce.body) == 2  # each element is read once


# --- hoisting and sharing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "entry"), ALL)
def test_what_does_not_depend_on_the_index_is_outside_the_loop(name, entry):
    """Every function, power or sum in a loop has something in it that the loop sets."""
    for statement, _ in statements(lowered(name, entry).body):
        if not isinstance(statement, (Loop, Reduce)):
            continue
        own = {index.name for index in statement.loops}
        for inner, _ in statements(statement.body):
            own |= {inner.name.name} if isinstance(inner, (Load, Assign)) else set()
            own |= {a.name.name for a in inner.accumulators} if isinstance(inner, Reduce) else set()
            own |= {index.name for index in inner.loops} if isinstance(inner, (Loop, Reduce)) else set()
        inside = [*statement.body, statement] if isinstance(statement, Reduce) else statement.body
        for expr in (e for part in inside if not isinstance(part, (Loop, If)) for e in expressions(part)):
            for node in walk(expr):
                if node.is_Pow and node.exp.is_negative:
                    continue  # a quotient stays whole: times a reciprocal it would be rounded twice
                if (
                    (node.is_Function or node.is_Add or node.is_Pow)
                    and not node.is_Piecewise
                    and not is_count(node)
                ):
                    assert own & {symbol.name for symbol in node.free_symbols}, node


@loss
def repeats(x: Prediction, y: Target):
    from sympy import exp, log

    r = x - y
    return log(1 + exp(r) ** 2) * (x - y) ** 2 + (x - y) ** 4


@loss
def shares(x: Prediction["K"], y: Target):
    k = index("K")
    total = Sum(x[k] ** 2, k) + 1
    return exp(-y / total) * log(total)


@pytest.mark.parametrize("entry", ["grad", "value_and_grad", "grad_and_hess", "hvp"])
def test_what_occurs_twice_in_front_of_a_loop_is_computed_once(entry):
    found = of(shares, entry)
    values = [s.value for s in found.body if isinstance(s, Assign)]
    calls = [part for value in values for part in preorder_traversal(value) if part.is_Function]
    assert calls and len(calls) == len(set(calls))


def test_what_occurs_twice_has_a_name_the_authors():
    found = of(repeats, "grad_and_hess")
    named = {s.name.name: s.value for s, _ in statements(found.body) if isinstance(s, Assign)}
    x, y = Symbol("x_i", real=True), Symbol("y_i", real=True)
    assert named["r"] == x - y
    assert [value for name, value in named.items() if value == x - y] == [x - y]
    assert not any(value.has(x - y) for name, value in named.items() if name != "r")


def test_branches_are_shared_by_value_and_gradient():
    found = lowered("huber", "value_and_grad")
    (branch,) = [s for s in found.body if isinstance(s, If)]
    assert len(branch.branches) == 2
    for _, body in branch.branches:
        assert {s.name.name for s in body if isinstance(s, Assign)} >= {"value"}
        assert [s.output for s in body if isinstance(s, Store)] == ["grad_prediction"]


def test_inputs_are_read_in_front_of_the_branches():
    for entry in ENTRIES:
        found = lowered("binary_focal", entry)
        inside = [
            s for top in found.body if isinstance(top, If) for _, b in top.branches for s, _ in statements(b)
        ]
        assert not any(isinstance(s, Load) for s in inside)


# --- scratch arrays, updates ------------------------------------------------------------------------------------------


def test_gram_matrices_are_kept():
    found = lowered("gram_style", "grad")
    assert sorted(found.scratch.values()) == [("C", "C"), ("C", "C")]
    assert lowered("gram_style", "value").scratch == {}
    keeps = [(s, around) for s, around in statements(found.body) if isinstance(s, Keep)]
    assert all(len(around) == 2 for _, around in keeps)
    # no product of three loops over C, C and the pixels lies in the loop that stores: 2 (C C P) + C P C in all
    stores = [around for s, around in statements(found.body) if isinstance(s, Store)]
    assert all(len(around) == 3 for around in stores)


@pytest.mark.parametrize("name", [n for n in LOSSES if n not in ("gram_style", "perceptual")])
def test_no_scratch_array_where_none_is_needed(name):
    assert all(lowered(name, entry).scratch == {} for entry in ENTRIES)


@pytest.mark.parametrize(
    ("name", "entry", "sparse"),
    [
        ("center", "grad", ("grad_centers",)),
        ("center", "grad_and_hess", ("grad_centers", "hess_centers")),
        ("center", "hvp", ("hvp_centers",)),
        ("softmax_center", "grad", ("grad_centers",)),
        ("sparse_cross_entropy", "value_and_grad", ("grad_prediction",)),
        ("softmax_cross_entropy", "grad", ()),
        ("mse", "grad", ()),
    ],
)
def test_sparse_outputs(name, entry, sparse):
    found = lowered(name, entry)
    assert found.sparse == sparse
    for statement, around in statements(found.body):
        if isinstance(statement, Store) and statement.output in sparse:
            assert len(around) < len(statement.indices)  # the label's index is no loop


def test_an_update_of_one_entry_leaves_that_entry_out_of_the_loop():
    found = lowered("softmax_cross_entropy", "grad")
    loop, update = [s for s, _ in statements(found.body) if isinstance(s, Store)]
    assert loop.unless is not None and update.unless is None
    (place,) = update.indices
    assert place in loop.unless.args


@loss
def two_labels(x: Prediction["K"], one: Label["K"], other: Label["K"]):
    from sympy import exp

    k = index("K")
    return exp(x[one] - x[other]) / Sum(exp(x[k]), k)


def test_two_labels_make_two_updates():
    found = of(two_labels, "grad")
    stores = [s for s, _ in statements(found.body) if isinstance(s, Store)]
    places = [str(index) for s in stores for index in s.indices]
    assert any("one" in place for place in places) and any("other" in place for place in places)


def test_the_position_of_the_maximum_comes_with_the_maximum():
    found = lowered("softmax_cross_entropy", "value")
    first, second = [s for s, _ in statements(found.body) if isinstance(s, Reduce)]
    (largest,) = first.accumulators
    assert isinstance(largest, Accumulator) and largest.op == "max" and largest.place is not None
    (rest,) = second.accumulators
    assert rest.op == "sum" and rest.unless is not None and largest.place in rest.unless.free_symbols


@pytest.mark.parametrize("name", ["softmax_focal", "gram_style", "contrastive", "standardized_mse"])
def test_lowering_again_gives_the_same(name):
    again = lower(derive(standard().loss(name)), "grad_and_hess")
    assert str(again.body) == str(lowered(name, "grad_and_hess").body)


def test_names_of_indices_do_not_meet_inputs():
    @loss
    def awkward(k: Prediction["K"], i: Target["K"]):
        j = index("K")
        return Sum((k[j] - i[j]) ** 2, j)

    found = of(awkward, "value_and_grad")
    loops = {
        index.name for s, _ in statements(found.body) if isinstance(s, (Loop, Reduce)) for index in s.loops
    }
    assert loops.isdisjoint({"k", "i"})
    assert all(
        isinstance(index, Index)
        for s, _ in statements(found.body)
        if isinstance(s, Loop)
        for index in s.loops
    )


# --- the entry of a label -----------------------------------------------------------------------------------------


@loss(title="Powers, another one at the label")
def powers_at_a_label(x: Prediction["K"], label: Label["K"]):
    k = index("K")
    return Sum(Piecewise((x[k] ** 4, Eq(k, label)), (x[k] ** 3, True)), k)


@pytest.mark.parametrize("size", [3, 200])
def test_a_case_for_the_label_is_computed_at_the_label(size):
    """Its curvature is made of the entry itself, which the loop over the others has under its own index."""
    made = symloss.compile(powers_at_a_label)
    rng = np.random.default_rng(1)
    x, label = rng.uniform(0.5, 1, (4, size)), np.array([0, size - 1, 1, 2])
    at = np.arange(size) == label[:, None]
    np.testing.assert_allclose(made.value(x, label, reduction="none"), np.where(at, x**4, x**3).sum(1), rtol=1e-14)
    grad, hess = made.grad_and_hess(x, label, reduction="sum")
    np.testing.assert_allclose(grad, np.where(at, 4 * x**3, 3 * x**2), rtol=1e-14)
    np.testing.assert_allclose(hess, np.where(at, 12 * x**2, 6 * x), rtol=1e-14)


@loss(title="A distance to a power, whose derivative has the power below")
def powered(x: Prediction, t: Target, p: NonNegative = 0.3):
    return Abs(x - t) ** (p + 1)


def test_a_power_is_a_product_with_a_lower_one_in_every_entry_point():
    """Also where only the other entry points compute the lower one, so that all agree to the last bit."""
    made = derive(powered.trace())
    for entry in ("value", "grad", "value_and_grad"):
        exprs = [expr for s, _ in statements(lower(made, entry).body) for expr in expressions(s)]
        powers = [power for expr in exprs for power in expr.atoms(Pow)]
        assert {str(power.exp) for power in powers} == {"p"}, entry
        assert len(powers) == 1, entry
    made = symloss.compile(powered)
    x, t = np.random.default_rng(3).standard_normal((2, 1000)) * 10.0 ** np.arange(-5, 5).repeat(100)
    value, grad = made.value_and_grad(x, t, reduction="none")
    np.testing.assert_array_equal(made.value(x, t, reduction="none"), value)
    np.testing.assert_array_equal(made.grad(x, t, reduction="none"), grad)
    np.testing.assert_allclose(value, np.abs(x - t) ** 1.3, rtol=1e-15)


@loss(title="A power that may be infinite where the one above isn't")
def falling(x: Prediction, p: Real = -2):
    return Abs(x) ** (p + 1)


def test_a_power_that_may_be_infinite_makes_no_other():
    value = symloss.compile(falling).value_and_grad(np.array([1e-200]), reduction="none")[0]
    np.testing.assert_allclose(value, 1e200, rtol=1e-13)


@loss(title="Softmax with a margin at the label, as papers on faces have it")
def margin_softmax(x: Prediction["K"], label: Label["K"], scale: Positive = 64, margin: Positive = 0.35):
    k = index("K")
    logits = Piecewise((scale * (x[k] - margin), Eq(k, label)), (scale * x[k], True))
    return -log(exp(scale * (x[label] - margin)) / Sum(exp(logits), k))


@pytest.mark.parametrize("size", [3, 200])
def test_a_margin_at_the_label_doesnt_overflow(size):
    rng = np.random.default_rng(2)
    x, label = rng.uniform(-1, 1, (4, size)), np.array([0, size - 1, 1, 2])
    at = np.arange(size) == label[:, None]
    value, grad = symloss.compile(margin_softmax).value_and_grad(x, label, scale=2000.0, reduction="none")
    logits = 2000.0 * (x - np.where(at, 0.35, 0.0))
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    share = shifted / shifted.sum(1, keepdims=True)
    expected = logits.max(1) + np.log(shifted.sum(1)) - logits[at]
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(grad, 2000.0 * (share - at), rtol=1e-9, atol=1e-12)


@loss(title="Crammer and Singer's hinge, with the label's entry as a case")
def largest_violation(x: Prediction["K"], label: Label["K"]):
    k = index("K")
    return Max(Piecewise((0, Eq(k, label)), (1 + x[k] - x[label], True)), k)


@loss(title="The same, with the margin as a case in a sum")
def violation_with_margin(x: Prediction["K"], label: Label["K"]):
    k = index("K")
    return Max(x[k] + Piecewise((1, Ne(k, label)), (0, True)), k) - x[label]


@pytest.mark.parametrize("size", [4, 200])
@pytest.mark.parametrize("spec", [largest_violation, violation_with_margin], ids=lambda spec: spec.function.__name__)
def test_a_largest_entry_may_be_one_of_cases(spec, size):
    """The largest is found again among numbers that are rounded alike."""
    made = symloss.compile(spec)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, size)) * np.array([1e-3, 1.0, 1e3, 1e9])[np.arange(200) % 4, None]
    label = np.arange(200) % size
    at = np.arange(size) == label[:, None]
    terms = np.where(at, 0.0, 1 + x - x[at][:, None])
    value, grad = made.value_and_grad(x, label, reduction="none")
    np.testing.assert_allclose(value, terms.max(1), rtol=0, atol=4e-16 * np.abs(x).max(1).max())
    wanted = (np.arange(size) == terms.argmax(1)[:, None]).astype(float)
    np.testing.assert_array_equal(grad, np.where(at.argmax(1) == terms.argmax(1), 0.0, 1.0)[:, None] * (wanted - at))


@loss(title="The logarithm of a box's overlap")
def overlap(box: Prediction["K"], target: Target["K"]):
    k = index("K")
    return log(1 + Product(Min(box[k], target[k]), k))


def test_a_product_of_cases_has_the_derivative_of_a_product():
    box, target = np.array([1.0, 3.0, 0.5, 2.0]), np.array([2.0, 1.5, 4.0, 2.5])
    value, grad = symloss.compile(overlap).value_and_grad(box, target)
    product = 1.0 * 1.5 * 0.5 * 2.0
    assert value == pytest.approx(np.log1p(product), rel=1e-15)
    np.testing.assert_allclose(grad, np.where(box < target, product / box / (1 + product), 0.0), rtol=1e-15)


@loss
def above_the_smallest(x: Prediction["K"], t: Target["K"]):
    k = index("K")
    return Sum(x[k] * t[k], k) * Min(x[k], k)


def test_the_derivative_of_a_minimum_uses_the_minimum():
    """Not the maximum of what it is the negative of, which would be found beside it."""
    program = lower(derive(above_the_smallest.trace()), "value_and_grad")
    found = [a.op for s in nested(program.body) if isinstance(s, Reduce) for a in s.accumulators]
    assert sorted(found) == ["min", "sum", "sum"]


def test_some_outputs_alone_read_no_more_than_they_need():
    whole = lower(derived("softmax_center"), "grad")
    alone = lower(derived("softmax_center"), "grad", only=("grad_centers",))
    assert whole.outputs == ("grad_logits", "grad_features", "grad_centers")
    assert alone.outputs == alone.sparse == ("grad_centers",)
    read = {s.source for s in nested(alone.body) if isinstance(s, Load)}
    assert read == {"centers", "features", "label"}
    assert not any(isinstance(s, Reduce) for s in nested(alone.body))
