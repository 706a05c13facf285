"""Statements as lines of lanes: what is printed for either schedule, and that the machine computes it in vectors."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import symloss_kernels as sk
from assembly import X86, compiled, function, slow, work
from numba import njit
from symloss_kernels._memory import load, put
from symloss_kernels._numba import FEATURES, LANES
from symloss_kernels._runs import run
from sympy import Abs, Eq, Gt, Integer, Ne, Piecewise, Symbol, exp, sqrt
from test_contract import sample

from symloss.derive import derive
from symloss.index import Entry, Index, Size
from symloss.lower import lower
from symloss.printers.lanes import Body
from symloss.program import Accumulator, Assign, If, Keep, Load, Loop, Program, Reduce, Store
from symloss.spec import Label, Positive, Prediction, Sum, Target, index, loss


@loss(title="Something with a row, a number, a label and a parameter")
def something(x: Prediction["K", "J"], t: Target, label: Label["K"], width: Positive = 1):
    k, j = index("K"), index("J")
    return Sum(x[k, j], k, j) * t * width + Sum(x[label, j], j)


LOSS = something.trace()
K, J, SIZE = Index("k", "K"), Index("j", "J"), Size("K")
WIDTH = next(symbol for symbol in LOSS.formula.free_symbols if symbol.name == "width")
LABEL = Symbol("label_i", integer=True)


def real(name: str) -> Symbol:
    return Symbol(name, real=True)


X_K, X_KJ, T, S, VALUE = map(real, ("x_k", "x_k_j", "t_i", "s", "value"))
LOAD_K, LOAD_KJ, LOAD_T = Load(X_K, "x", (K,)), Load(X_KJ, "x", (K, J)), Load(T, "t", ())


def printed(statements, narrow: bool, sparse: tuple[str, ...] = (), scratch: dict | None = None) -> Body:
    outputs = ("grad_x",)
    body = Body(Program(LOSS, "value_and_grad", tuple(statements), outputs, sparse, scratch or {}), narrow, "load")
    body.text = "\n".join(body.lines())
    return body


#: Derivatives of an entry of a row.
VALUES = (X_K / SIZE, 1 / SIZE, -1 / SIZE, -3 * X_K / SIZE**2, (X_K - 1) * sqrt(SIZE), X_K)
#: What it shows, statements, what is printed with samples across lanes, and with entries of a row.
CASES = [
    (
        "a number of a sample",
        [LOAD_T, Assign(VALUE, exp(T))],
        """
        t_i = load(t, (sample,), None)
        value = exp(t_i)
        """,
        """
        t_i = load(t, (sample,), None)
        value = exp(t_i)
        """,
    ),
    (
        "a loop that writes: rows lie in tiles with samples across lanes",
        [LOAD_T, Loop((K,), (LOAD_K, Store("grad_x", (K,), X_K * T)))],
        """
        t_i = load(t, (sample,), None)
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            put(grad_x, (sample, k), factor * (t_i * x_k), grad_x_tile)
        """,
        """
        t_i = load(t, (sample,), None)
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            put(grad_x, (sample, k), factor * (t_i * x_k), None)
        """,
    ),
    (
        "two indices that are those of all arrays go across lanes as one",
        [Loop((K, J), (LOAD_KJ, Store("grad_x", (K, J), X_KJ)))],
        """
        for k in range(K):
            for j in range(J):
                x_k_j = load(x, (sample, k, j), x_tile)
                put(grad_x, (sample, k, j), factor * x_k_j, grad_x_tile)
        """,
        """
        for j_start in range(0, K * J, LANES):
            j = run(j_start, K * J)
            x_k_j = load(flat_x, (sample, j), None)
            put(flat_grad_x, (sample, j), factor * x_k_j, None)
        """,
    ),
    (
        "of other two indices the last one does",
        [Loop((K, J), (LOAD_KJ, Load(S, "s", (K,)), Store("grad_x", (K, J), X_KJ * S)))],
        """
        for k in range(K):
            for j in range(J):
                x_k_j = load(x, (sample, k, j), x_tile)
                s = load(s, (sample, k), s_tile)
                put(grad_x, (sample, k, j), factor * (s * x_k_j), grad_x_tile)
        """,
        """
        for k in range(K):
            for j_start in range(0, J, LANES):
                j = run(j_start, J)
                x_k_j = load(x, (sample, k, j), None)
                s = load(s, (sample, k), None)
                put(grad_x, (sample, k, j), factor * (s * x_k_j), None)
        """,
    ),
    (
        "an index that isn't an array's last one can't",
        [Loop((J, K), (LOAD_KJ, Store("grad_x", (K, J), X_KJ)))],
        """
        for j in range(J):
            for k in range(K):
                x_k_j = load(x, (sample, k, j), x_tile)
                put(grad_x, (sample, k, j), factor * x_k_j, grad_x_tile)
        """,
        """
        for j in range(J):
            for k in range(K):
                x_k_j = load(x, (sample, k, j), None)
                put(grad_x, (sample, k, j), factor * x_k_j, None)
        """,
    ),
    (
        "reductions: lanes that aren't in use count as nothing, and one number is made of all",
        [
            Reduce(
                (K,),
                (LOAD_K,),
                (
                    Accumulator("sum", S, X_K * X_K),
                    Accumulator("product", real("p"), X_K),
                    Accumulator("min", real("low"), X_K),
                ),
            ),
            Assign(VALUE, S),
        ],
        """
        s, s_carry = 0.0, 0.0
        p = 1.0
        low = inf
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            s, s_carry = tally(s, s_carry, x_k * x_k, x)
            p = p * (x_k)
            low = smaller(x_k, low)
        s = finish(s, s_carry)
        value = s
        """,
        """
        s, s_carry = 0.0, 0.0
        p = 1.0
        low = inf
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            s, s_carry = tally(s, s_carry, folded(within(k, x_k * x_k, 0.0)), x)
            p = p * (within(k, x_k, 1.0))
            low = smaller(within(k, x_k, inf), low)
        s = finish(sum_of(s), sum_of(s_carry))
        p = product_of(p)
        low = min_of(low)
        value = s
        """,
    ),
    (
        "the first place of the largest, and a sum without it",
        [
            Reduce((K,), (LOAD_K,), (Accumulator("max", real("top"), X_K, None, real("at")),)),
            Reduce((K,), (LOAD_K,), (Accumulator("sum", S, X_K, Eq(K, real("at"))),)),
        ],
        """
        top = -inf
        at = 0
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            top_entry = x_k
            top_beaten = (top_entry > top) | (top_entry != top_entry)
            top = select(top_beaten, top_entry, top)
            at = select(top_beaten, block_of(k, top_entry), at)
        at = positions_of(at)
        s, s_carry = 0.0, 0.0
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            s, s_carry = tally(s, s_carry, without(k, at, x_k, 0.0), x)
        s = finish(s, s_carry)
        """,
        """
        top = -inf
        at = 0
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            top_entry = within(k, x_k, -inf)
            top_beaten = (top_entry > top) | (top_entry != top_entry)
            top = select(top_beaten, top_entry, top)
            at = select(top_beaten, block_of(k, top_entry), at)
        top, at = first_in_blocks(top, at)
        s, s_carry = 0.0, 0.0
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            s, s_carry = tally(s, s_carry, folded(within(k, without(k, at, x_k, 0.0), 0.0)), x)
        s = finish(sum_of(s), sum_of(s_carry))
        """,
    ),
    (
        "the place in two dimensions counts through both",
        [Reduce((K, J), (LOAD_KJ,), (Accumulator("max", real("top"), X_KJ, None, real("at")),))],
        """
        top = -inf
        at = 0
        for k in range(K):
            for j in range(J):
                x_k_j = load(x, (sample, k, j), x_tile)
                top_entry = x_k_j
                top_beaten = (top_entry > top) | (top_entry != top_entry)
                top = select(top_beaten, top_entry, top)
                at = select(top_beaten, (k) * J + j, at)
        """,
        """
        top = -inf
        at = 0
        for k in range(K):
            for j_start in range(0, J, LANES):
                j = run(j_start, J)
                x_k_j = load(x, (sample, k, j), None)
                top_entry = within(j, x_k_j, -inf)
                top_beaten = (top_entry > top) | (top_entry != top_entry)
                top = select(top_beaten, top_entry, top)
                at = select(top_beaten, (k) * J + j, at)
        top, at = first_max(top, at)
        """,
    ),
    (
        "what is kept for later has lanes of its own with samples across them",
        [
            Loop((K,), (LOAD_K, Keep("all_s", (K,), X_K))),
            Loop((K,), (Store("grad_x", (K,), Entry(real("all_s"), K)),)),
        ],
        """
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            put(all_s, (k, lane), x_k, None)
        for k in range(K):
            put(grad_x, (sample, k), factor * load_wide(all_s, (k, lane), None), grad_x_tile)
        """,
        """
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            put(all_s, (k,), x_k, None)
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            put(grad_x, (sample, k), factor * load_wide(all_s, (k,), None), None)
        """,
    ),
    (
        "what all entries are divided by, the factor is",
        [
            Loop((K,), (LOAD_K, *(Store("grad_x", (K,), value) for value in VALUES))),
        ],
        """
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            put(grad_x, (sample, k), factor / K * x_k, grad_x_tile)
            put(grad_x, (sample, k), factor / K, grad_x_tile)
            put(grad_x, (sample, k), factor / K * -1.0, grad_x_tile)
            put(grad_x, (sample, k), factor / (K * K) * (-3.0 * x_k), grad_x_tile)
            put(grad_x, (sample, k), factor * sqrt(K) * (x_k - 1.0), grad_x_tile)
            put(grad_x, (sample, k), factor * x_k, grad_x_tile)
        """,
        """
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            put(grad_x, (sample, k), factor / K * x_k, None)
            put(grad_x, (sample, k), factor / K, None)
            put(grad_x, (sample, k), factor / K * -1.0, None)
            put(grad_x, (sample, k), factor / (K * K) * (-3.0 * x_k), None)
            put(grad_x, (sample, k), factor * sqrt(K) * (x_k - 1.0), None)
            put(grad_x, (sample, k), factor * x_k, None)
        """,
    ),
    (
        "a label's entry, and what isn't to be added twice",
        [
            Load(LABEL, "label", ()),
            Loop((K,), (LOAD_K, Store("grad_x", (K,), X_K, Eq(K, LABEL)))),
            Load(S, "x", (LABEL,)),
            Store("grad_x", (LABEL,), S),
        ],
        """
        label_i = load(label, (sample,), None)
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            put_unless(grad_x, (sample, k), factor * x_k, grad_x_tile, k == label_i)
        s = load(x, (sample, label_i), x_tile)
        put(grad_x, (sample, label_i), factor * s, grad_x_tile)
        """,
        """
        label_i = load(label, (sample,), None)
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            put_unless(grad_x, (sample, k), factor * x_k, None, k == label_i)
        s = load(x, (sample, label_i), None)
        put(grad_x, (sample, label_i), factor * s, None)
        """,
    ),
    (
        "a test of the sample is a choice across lanes, where every branch is computed",
        [LOAD_T, If(((Gt(T, 0), (Assign(VALUE, T),)), (None, (Assign(VALUE, exp(-T)),))))],
        """
        t_i = load(t, (sample,), None)
        holds_1 = t_i > 0.0
        value_if_1 = t_i
        value_if_2 = exp(-t_i)
        value = select(holds_1, value_if_1, value_if_2)
        """,
        """
        t_i = load(t, (sample,), None)
        if t_i > 0.0:
            value = t_i
        else:
            value = exp(-t_i)
        """,
    ),
    (
        "a test of parameters is one for all lanes",
        [If(((Gt(WIDTH, 1), (Assign(VALUE, Integer(2)),)), (None, (Assign(VALUE, Integer(3)),))))],
        """
        if width > 1.0:
            value = 2.0
        else:
            value = 3.0
        """,
        """
        if width > 1.0:
            value = 2.0
        else:
            value = 3.0
        """,
    ),
    (
        "branches that write in loops write to their lanes alone",
        [
            LOAD_T,
            If(
                (
                    (Gt(T, 0), (Loop((K,), (LOAD_K, Store("grad_x", (K,), X_K))),)),
                    (Gt(WIDTH, 1), (Loop((K,), (Store("grad_x", (K,), Integer(1)),)),)),
                    (None, (Loop((K,), (Store("grad_x", (K,), Integer(0)),)),)),
                )
            ),
        ],
        """
        t_i = load(t, (sample,), None)
        holds_1 = t_i > 0.0
        sample_if_1 = only(sample, holds_1)
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            put(grad_x, (sample_if_1, k), factor * x_k, grad_x_tile)
        holds_2 = width > 1.0
        sample_if_2 = only(sample, opposite(holds_1) & holds_2)
        for k in range(K):
            put(grad_x, (sample_if_2, k), factor, grad_x_tile)
        sample_if_3 = only(sample, opposite(holds_1) & opposite(holds_2))
        for k in range(K):
            put(grad_x, (sample_if_3, k), 0.0, grad_x_tile)
        """,
        """
        t_i = load(t, (sample,), None)
        if t_i > 0.0:
            for k_start in range(0, K, LANES):
                k = run(k_start, K)
                x_k = load(x, (sample, k), None)
                put(grad_x, (sample, k), factor * x_k, None)
        elif width > 1.0:
            for k_start in range(0, K, LANES):
                k = run(k_start, K)
                put(grad_x, (sample, k), factor, None)
        else:
            for k_start in range(0, K, LANES):
                k = run(k_start, K)
                put(grad_x, (sample, k), 0.0, None)
        """,
    ),
    (
        "a choice in a choice is made among the lanes of the outer one",
        [
            LOAD_T,
            If(
                (
                    (
                        Gt(T, 0),
                        (
                            If(
                                (
                                    (Gt(T, 1), (Assign(VALUE, Integer(1)), Loop((K,), (Store("grad_x", (K,), T),)))),
                                    (None, (Assign(VALUE, T),)),
                                )
                            ),
                        ),
                    ),
                    (None, (Assign(VALUE, Integer(0)),)),
                )
            ),
        ],
        """
        t_i = load(t, (sample,), None)
        holds_1 = t_i > 0.0
        sample_if_1 = only(sample, holds_1)
        holds_2 = t_i > 1.0
        value_if_2 = 1.0
        sample_if_2 = only(sample_if_1, holds_2)
        for k in range(K):
            put(grad_x, (sample_if_2, k), factor * t_i, grad_x_tile)
        value_if_3 = t_i
        value_if_1 = select(holds_2, value_if_2, value_if_3)
        value_if_4 = 0.0
        value = select(holds_1, value_if_1, value_if_4)
        """,
        """
        t_i = load(t, (sample,), None)
        if t_i > 0.0:
            if t_i > 1.0:
                value = 1.0
                for k_start in range(0, K, LANES):
                    k = run(k_start, K)
                    put(grad_x, (sample, k), factor * t_i, None)
            else:
                value = t_i
        else:
            value = 0.0
        """,
    ),
    (
        "a store that all branches make is one store of the chosen number",
        [
            LOAD_T,
            Loop(
                (K,),
                (
                    LOAD_K,
                    If(((Gt(X_K, 0), (Store("grad_x", (K,), X_K),)), (None, (Store("grad_x", (K,), -T),)))),
                ),
            ),
        ],
        """
        t_i = load(t, (sample,), None)
        for k in range(K):
            x_k = load(x, (sample, k), x_tile)
            holds_1 = x_k > 0.0
            grad_x_if_1 = x_k
            grad_x_if_2 = -t_i
            put(grad_x, (sample, k), factor * select(holds_1, grad_x_if_1, grad_x_if_2), grad_x_tile)
        """,
        """
        t_i = load(t, (sample,), None)
        for k_start in range(0, K, LANES):
            k = run(k_start, K)
            x_k = load(x, (sample, k), None)
            holds_1 = x_k > 0.0
            grad_x_if_1 = x_k
            grad_x_if_2 = -t_i
            put(grad_x, (sample, k), factor * select(holds_1, grad_x_if_1, grad_x_if_2), None)
        """,
    ),
]  # fmt: skip


def dedented(text: str) -> str:
    return re.sub(r"^ {8}", "", text.strip("\n"), flags=re.MULTILINE).rstrip()


@pytest.mark.parametrize("narrow", [True, False], ids=["samples", "entries"])
@pytest.mark.parametrize(("statements", "samples", "entries"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_lines(statements, samples, entries, narrow):
    body = printed(statements, narrow)
    assert body.text == dedented(samples if narrow else entries)
    written = set(re.findall(r"[a-z_A-Z]\w*(?=\()", body.text)) - {"range"}
    written |= {"LANES"} & set(re.findall(r"\w+", body.text)) | {"inf"} & set(re.findall(r"\w+", body.text))
    assert written <= body.scalar.used, "something is used that isn't imported"
    assert set(body.tiles) == set(re.findall(r"(\w+)_tile\b", body.text))

# --- the last operations of an element, and how results are written ---------------------------------------


@loss
def squared(prediction: Prediction, target: Target):
    return (prediction - target) ** 2


@loss
def squares(prediction: Prediction["K"], target: Target["K"]):
    k = index("K")
    return Sum((prediction[k] - target[k]) ** 2, k)


@loss
def distance(prediction: Prediction["K"], target: Target["K"]):
    k = index("K")
    return sqrt(Sum((prediction[k] - target[k]) ** 2, k))


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({}, "prediction_i - target_i"),
        ({"wide_ends": True}, "wide(prediction_i - target_i)"),
        ({"wide_ends": True, "wide_sums": True}, "wide(prediction_i) - wide(target_i)"),
    ],
)
def test_an_element_is_computed_in_float64_from_where_it_is_said(options, difference):
    lines = Body(lower(derive(squared.trace()), "value_and_grad"), True, "load", **options).lines()
    name, _, made = next(line for line in lines if "prediction_i - " in line or ") - wide(" in line).partition(" = ")
    assert made == difference
    assert f"put(grad_prediction, (sample,), factor * (2.0 * {name}), None)" in lines
    squared_in = name if options else f"wide({name})"  # a loss is in float64 in any case
    assert f"value = {squared_in} * {squared_in}" in lines


@loss
def near_or_far(prediction: Prediction, target: Target, beta: Positive = 1, slope: Positive = 2):
    r = prediction - target
    return Piecewise((r**2 / (2 * beta), Abs(r) < beta), (slope * Abs(r) / beta, True))


def test_a_loss_alone_is_computed_in_float64_from_its_inputs():
    lines = Body(lower(derive(near_or_far.trace()), "value_and_grad"), True, "load", wide_value=True).lines()
    wide = "wide(prediction_i) - wide(target_i)"
    assert f"holds_1 = beta > abs({wide})" in lines
    (near,) = (line for line in lines if line.startswith("value_if_1"))
    assert near.count(f"({wide})") == 2
    assert "r = prediction_i - target_i" in lines, "its derivatives are made of what is rounded"
    alone = Body(lower(derive(near_or_far.trace()), "value"), True, "load", wide_value=True).lines()
    assert not any(line.startswith("r = ") for line in alone), "nothing reads that"


def test_a_derivative_that_parameters_divide_is_one_quotient():
    """With the factor that all derivatives have; each branch has that for itself then."""
    for entry, outputs in (("grad", ["grad"]), ("hvp", ["hvp"])):
        lines = Body(lower(derive(near_or_far.trace()), entry), True, "load").lines()
        for output in outputs:
            near = {"grad": "prediction_i - target_i", "hvp": "vector_prediction_i"}[output]
            far = {"grad": "times_over(factor, slope * sign(prediction_i - target_i), beta)", "hvp": "0.0"}[output]
            assert f"{output}_prediction_if_1 = times_over(factor, {near}, beta)" in lines
            assert f"{output}_prediction_if_2 = {far}" in lines
            chosen = f"select(holds_1, {output}_prediction_if_1, {output}_prediction_if_2)"
            assert f"put({output}_prediction, (sample,), {chosen}, None)" in lines


@loss
def powers(logits: Prediction, target: Target, gamma: Positive = 2):
    """One power of a sigmoid, and one of something else."""
    s = 1 / (1 + exp(-logits))
    return s**gamma * (1 + target**2) ** gamma + s


def test_a_power_of_a_sigmoid_is_told_what_that_is_of():
    lines = Body(lower(derive(powers.trace()), "value"), True, "load_wide").lines()
    (name,) = (line.partition(" = ")[0] for line in lines if line.endswith(" = sigmoid(logits_i)"))
    text = "\n".join(lines)
    assert f"sigmoid_power(logits_i, {name}, gamma)" in text
    assert text.count("power(") == 2, "the other power is one as usual"


@loss
def of_differing_width(prediction: Prediction, width: Target, scale: Positive = 1):
    return (prediction / width) ** 2 + prediction**2 / scale


@loss
def over_a_square(prediction: Prediction, target: Target, scale: Positive = 1):
    return (prediction - target) ** 2 / scale**2


@pytest.mark.parametrize("of", [of_differing_width, over_a_square], ids=lambda of: of.name)
def test_what_differs_between_samples_or_is_a_power_divides_by_itself(of):
    """The square of a small number vanishes."""
    lines = Body(lower(derive(of.trace()), "grad"), True, "load").lines()
    (store,) = (line for line in lines if line.startswith("put"))
    assert "factor * (" in store and "times_over" not in store


@pytest.mark.parametrize(
    ("of", "narrow", "streams"),
    [(squared, True, True), (squares, False, True), (squares, True, False), (distance, False, False)],
)
def test_a_single_pass_may_stream(of, narrow, streams):
    program = lower(derive(of.trace()), "value_and_grad")
    body = Body(program, narrow, "load", may_stream=True)
    text = "\n".join(body.lines())
    assert body.streams == streams == ("stream(grad_prediction" in text) == ("None, past_caches)" in text)
    plain = Body(program, narrow, "load")
    assert "stream(" not in "\n".join(plain.lines()) and not plain.streams
    value = Body(lower(derive(of.trace()), "value"), narrow, "load", may_stream=True)
    assert "past_caches" not in "\n".join(value.lines()) and not value.streams


@pytest.mark.parametrize("narrow", [True, False])
def test_sparse_outputs_are_added_to_and_zeros_aren_t_written(narrow):
    statements = [Load(LABEL, "label", ()), Store("grad_x", (LABEL,), Integer(5)), Store("grad_x", (LABEL,), Integer(0))]
    lines = printed(statements, narrow, sparse=("grad_x",)).text.splitlines()
    assert lines[1:] == ["add_to(grad_x, (sample, label_i), factor * 5.0, None)"]


@pytest.mark.parametrize("narrow", [True, False])
def test_a_sparse_output_s_only_write_needs_no_addition(narrow):
    load, five = Load(LABEL, "label", ()), Store("grad_x", (LABEL,), Integer(5))
    branches = If(((Gt(LABEL, 1), (five,)), (None, (replace(five, value=Integer(3)),))))
    for statements, how in [
        ((five,), "put"),
        ((Loop((K,), (Store("grad_x", (LABEL, K), Integer(5)),)),), "put"),
        ((Loop((K,), (five,)),), "add_to"),
        ((five, replace(five, indices=(LABEL + 1,))), "add_to"),
        ((branches, five), "add_to"),
    ]:
        text = printed([load, *statements], narrow, sparse=("grad_x",)).text
        assert (f"{how}(grad_x" in text) and ("put(grad_x" in text) + ("add_to(grad_x" in text) == 1


def test_rows_of_which_only_entries_at_labels_are_used_are_not_copied():
    s = Symbol("s", real=True)
    at_label = [Load(LABEL, "label", ()), Load(s, "x", (LABEL,)), Store("grad_x", (LABEL,), s)]
    assert printed(at_label, True, sparse=("grad_x",)).tiles == {}
    # What a loop reads is copied, and then the label's entry comes from there.
    assert printed([*at_label, Loop((K,), (LOAD_K, Store("hess_x", (K,), LOAD_K.name)))], True).tiles == {"x": 1, "hess_x": 1}


H = Index("h", "H")
X_KHJ = real("x_k_h_j")
LOAD_KHJ = Load(X_KHJ, "x", (K, H, J))


@pytest.mark.parametrize(
    ("body", "axes"),
    [
        ((LOAD_KHJ, Store("grad_x", (K, H, J), X_KHJ)), 3),
        ((LOAD_KHJ, Load(S, "s", (K,)), Store("grad_x", (K, H, J), X_KHJ * S)), 2),  # one s for the last two axes
        ((LOAD_KHJ, Load(S, "s", (K, H)), Store("grad_x", (K, H, J), X_KHJ * S)), 1),
        ((LOAD_KHJ, Store("grad_x", (H, K, J), X_KHJ)), 1),  # its rows follow each other in another order
        ((LOAD_KHJ, Store("grad_x", (K, H, J), X_KHJ, Eq(J, LABEL))), 1),
        ((LOAD_KHJ, Store("grad_x", (K, H, J), X_KHJ * Entry(real("all_s"), J))), 1),
        ((LOAD_KHJ, If(((Gt(X_KHJ, 0), (Store("grad_x", (K, H, J), X_KHJ),)), (None, ())))), 3),
    ],
)  # fmt: skip
def test_a_loop_over_neighbouring_axes_of_all_arrays_is_one(body, axes):
    scratch = {"all_s": ("J",)}
    found = printed([Loop((K, H, J), body)], False, scratch=scratch)
    names = ["K", "H", "J"]
    assert f"for j_start in range(0, {' * '.join(names[3 - axes :])}, LANES):" in found.text
    assert found.text.count("for ") == 4 - axes
    suffix = "" if axes == 3 else f"_{axes}"
    assert found.joined == ({f"flat_x{suffix}": ("x", axes), f"flat_grad_x{suffix}": ("grad_x", axes)} if axes > 1 else {})
    narrow = printed([Loop((K, H, J), body)], True, scratch=scratch)
    assert narrow.joined == {} and narrow.text.count("for ") == 3


def test_sums_over_neighbouring_axes_are_one_loop_and_places_are_not():
    def text(**more):
        return printed([Reduce((K, J), (LOAD_KJ,), (Accumulator("max", S, X_KJ, **more),))], False).text

    assert "for j_start in range(0, K * J, LANES):" in text()
    assert "for k in range(K):" in text(place=Symbol("s_at"))
    assert "for k in range(K):" in text(unless=Eq(J, LABEL))


@pytest.mark.parametrize(
    ("reads", "accumulators"),
    [
        ("load", [("max", X_K), ("min", X_K)]),
        ("load", [("max", abs(X_K)), ("max", -X_K)]),
        ("load_wide", [("max", X_K - T)]),
        ("load_wide", [("max", X_K), ("sum", X_K)]),
    ],
)
def test_a_loop_that_only_chooses_numbers_of_the_data_reads_them_as_they_are(reads, accumulators):
    """Also in a kernel that is float64 for float32 data: what a row's lanes have in common is float64 all the same."""
    found = tuple(Accumulator(op, real(f"s_{n}"), term) for n, (op, term) in enumerate(accumulators))
    statements = (LOAD_T, Reduce((K,), (LOAD_K,), found), Assign(VALUE, T * found[0].name))
    text = "\n".join(Body(Program(LOSS, "value", statements, (), (), {}), False, "load_wide").lines())
    assert f"x_k = {reads}(x, " in text and "t_i = load_wide(t, " in text


def test_a_row_loop_in_a_row_loop_has_one_of_them_across_lanes():
    inner = Reduce((J,), (LOAD_KJ,), (Accumulator("sum", S, X_KJ, Ne(K, J)),))
    text = printed([Loop((K,), (inner, Keep("all_s", (K,), S)))], False, scratch={"all_s": ("K",)}).text
    assert "for k in range(K):" in text
    assert "for j_start in range(0, J, LANES):" in text
    assert "put(all_s, (k,), s, None)" in text


# --- machine code -------------------------------------------------------------------------------------------------

#: Losses that read one entry of a row, so that a row has no loop.
WITHOUT_LOOP = {"sparse_cross_entropy"}

needs_x86 = pytest.mark.skipif(
    not X86 or "+sse4.1" not in FEATURES, reason="only machine code of x86 is read, of processors that can round"
)


class Spy:
    """Kernels that note their arguments and do nothing."""

    def __init__(self, module) -> None:
        self.module, self.seen = module, None

    def __getattr__(self, name):
        def kernel(*arguments):
            self.seen = getattr(self.module, name), arguments
            return 0.0

        return kernel


def called(monkeypatch, name: str, dtype, wide: bool):
    """The kernel that a call of `value_and_grad` takes, and its arguments."""
    made = sample(name, dtype=dtype)
    made.loss._open()
    spy = Spy(import_module(f"symloss_kernels.cpu.{name}"))
    monkeypatch.setattr(made.loss, "_kernels", spy)
    monkeypatch.setattr(made.loss, "_found", {})
    monkeypatch.setattr(made.loss, "_ways", lambda *call: None)
    monkeypatch.setattr(made.loss, "_short", {})
    monkeypatch.setattr(made.loss, "_is_flat", False)  # such a loss takes short rows as one long one
    monkeypatch.setattr(import_module("symloss_kernels._runtime"), "NARROW", 0 if wide else 10**9)
    made.call("value_and_grad")
    return spy.seen


@needs_x86
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sk.__all__)
def test_hot_loops_are_vectors(monkeypatch, name, dtype):
    """No loop that runs over numbers computes them one by one.

    The kernel is compiled as for a call, and its machine code is taken apart into loops (a jump back to a block
    through which every way leads). All of them are hot but one: where entries of rows lie across lanes, the loop over
    the samples also computes what a row has in common, which is a single number. In each hot loop, without the loops
    in it, at most one arithmetic instruction in ten may be a scalar one, and nothing may be called but what
    copies or clears memory: a call of a function of the C library is a call for each number.
    """
    schedules = {"narrow": False, "wide": True} if any(e.core for e in getattr(sk, name).info.inputs) else {"narrow": False}
    for schedule, wide in schedules.items():
        kernel, arguments = called(monkeypatch, name, dtype, wide)
        assert kernel.py_func.__name__.endswith("_narrow") == (len(schedules) == 2 and not wide)
        found = work(compiled(kernel, arguments))
        is_one_row = wide and getattr(import_module(f"symloss_kernels.cpu.{name}"), "IS_FLAT", False)
        hot = [loop for loop in found if not wide or loop.depth > 0 or is_one_row]
        assert slow(hot) == [], schedule
        assert sum(loop.packed for loop in hot) > 0 or (wide and name in WITHOUT_LOOP)


@njit(error_model="numpy")
def calling(x, out):
    for i in range(len(x)):
        out[i] = math.exp(x[i])


@njit(error_model="numpy")
def one_by_one(x, out):
    total = 0.0
    for i in range(len(x)):
        total += x[i] * total
    out[0] = total


@njit(error_model="numpy")
def in_lanes(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        put(out, (place,), load(x, (place,), None) * 3.0 + 1.0, None)


@njit(error_model="numpy")
def nested(x, out):
    for i in range(x.shape[0]):
        total = 0.0
        for k in range(x.shape[1]):
            total = total * x[i, k] + 1.0
        out[i, 0] = math.exp(total)


@needs_x86
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slow_loops_are_found(dtype):
    x, square = np.ones(100, dtype), np.ones((10, 10), dtype)
    complaints = slow(work(compiled(calling, (x, x))))
    assert any("calls" in line and "exp" in line for line in complaints)
    assert any("scalar" in line for line in slow(work(compiled(one_by_one, (x, x)))))
    assert slow(work(compiled(in_lanes, (x, x)))) == []
    loops = work(compiled(nested, (square, square)))
    assert {loop.depth for loop in loops} == {0, 1}
    assert slow([loop for loop in loops if loop.depth == 1]) != []


TEXT = """
start:
	movabsq	$exp, %rax
	movq	%rax, 8(%rsp)
	testq	%rdi, %rdi
	je	.LBB0_9
.LBB0_1:
	vaddpd	%ymm0, %ymm1, %ymm1
.LBB0_2:                                # Child Loop
	vmulsd	%xmm0, %xmm1, %xmm1
	vmovsd	%xmm0, (%rsi)
	movq	8(%rsp), %r12
	callq	*%r12
	decq	%rcx
	jne	.LBB0_2
	vfmadd213pd	%ymm0, %ymm1, %ymm1
	jmp	.LBB0_3
.LBB0_9:
	retq
.LBB0_3:
	callq	memcpy
	decq	%rdx
	jne	.LBB0_1
	vdivsd	%xmm0, %xmm1, %xmm1
	jmp	.LBB0_9
.Lfunc_end0:
"""


def test_loops_are_found_in_machine_code():
    """Two loops, one in the other; the outer one goes on behind a block that isn't in it."""
    loops = work(function(TEXT, "start"))
    assert [tuple(loop) for loop in loops] == [(0, 2, 0, ["memcpy"]), (1, 0, 1, ["exp"])]
    assert len(slow(loops)) == 2
    with pytest.raises(ValueError, match="no function other"):
        function(TEXT, "other")
