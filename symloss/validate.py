"""What a traced spec must keep to, one thing at a time; each message names the offender."""

from __future__ import annotations

import ast
import builtins
import keyword
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeGuard

import sympy
from sympy import Expr, FiniteSet, Interval, S, Symbol
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import BooleanAtom

from symloss.errors import SpecError, UnsupportedError
from symloss.hints import line_in, nearest
from symloss.index import Binder, Entry, Index, Size, walk
from symloss.roles import LabelIndex

if TYPE_CHECKING:
    from symloss.roles import Input, Loss, Parameter

#: What the generated kernels, and the objects that call them, have in use. The names of functions are those
#: of `_math.py`, `_lanes.py` and `_memory.py`, except `gamma`: many parameters are called so, and their specs
#: can't call the function.
TAKEN = {
    "acos", "acosh", "add", "add_to", "any_lane", "as_one", "as_row", "asin", "asinh", "atan", "atanh",
    "besseli0", "besseli1", "besseli2", "besseli_ratio", "besseli_ratio_slope", "blank", "block_of", "bose",
    "boxcox1p", "boxcox1p_square", "carry", "clear", "cos", "cosh", "counted", "cpu", "cuda", "data",
    "digamma", "divisor", "dtype", "empty", "entropy_gap", "entry_start", "entry_step", "erf", "erfc",
    "erfc_hazard", "erfc_hazard_slope", "exp", "exp_down", "expm1", "expm1_minus_x", "extended", "factor",
    "fetch", "finish", "first_in_blocks", "first_max", "float64", "flush", "folded", "get_num_threads",
    "grad", "grad_and_hess", "grads", "hand_in", "hess", "hvp", "hypot1", "hypot1m1", "ignore_index", "inf",
    "info", "is_first", "is_outside", "kernel", "label_at", "lane", "lane_start", "lane_step", "LANES",
    "lanes_sum", "larger", "lgamma", "load", "load_wide", "log", "log1mexp", "log1p", "log1p_square",
    "log_besseli0", "log_erfc", "log_gap", "log_half_erfc", "log_ratio", "logaddexp", "logcosh", "losses",
    "make_zero", "MANY", "math", "max_of", "mean_scale", "min_of", "name", "nan", "needs_scales", "nothing",
    "np", "num_threads", "numba", "number_of", "numpy", "occupied", "only", "opposite", "other_than",
    "other_than_at", "out", "outside", "outside_at", "over", "over_expm1", "partials", "past_caches",
    "piece_of", "positions_of", "power", "product_of", "put", "put_unless", "ratio0", "ratio0_over",
    "reduction", "refusal", "refuse", "refused", "ROOM", "row_of", "row_start", "row_step", "run", "sample",
    "sample_weight", "samples", "scale_of", "sech2", "select", "self", "shift", "sigmoid", "sigmoid_power",
    "sign", "sin", "sinh", "smaller", "softplus", "spare_row", "sqrt", "strays", "stream", "sum_of",
    "sum_of_weights", "tally", "tan", "tanh", "team", "tetragamma", "tile_of", "tilt", "times0",
    "times_over", "together", "total", "trigamma", "unlike", "value", "value_and_grad", "values", "vector",
    "weight", "weighted", "whole", "wide", "wide_sigmoid", "wide_softplus", "within", "without",
    "x_minus_log1p", "zero_row",
}  # fmt: skip
_TAKEN_PREFIXES = ("add_", "by_", "either_", "flat_", "grad_", "hess_", "holds_", "hvp_", "vector_")

#: SymPy has its own sums over symbols; a formula with core dimensions needs the ones of symloss.
_INSTEAD: dict[type, str] = {
    sympy.Sum: "write Sum(x[k], k) with Sum and index from symloss.spec",
    sympy.Product: "write Product(x[k], k) with Product and index from symloss.spec",
    sympy.Indexed: 'annotate the input Prediction["K"] and write x[k] with k = index("K")',
    sympy.IndexedBase: 'annotate the input Prediction["K"] and write x[k] with k = index("K")',
    sympy.Idx: 'write k = index("K") with index from symloss.spec',
    sympy.KroneckerDelta: "write Piecewise((a, condition), (b, True))",
    sympy.Derivative: "write the derivative out; symloss differentiates the loss itself",
    sympy.Integral: "write the integral in closed form",
    sympy.Limit: "write the limit in closed form, or name it with limits={parameter: {value: formula}}",
    sympy.MatrixSymbol: 'annotate the input Prediction["M", "N"] and write x[m, n]',
    sympy.Heaviside: "write Piecewise((a, x > 0), (b, True))",
    sympy.DiracDelta: "a loss is a function; it can't contain a delta distribution",
}

#: What holds a formula together; functions beside these come from the oracle's list and the atoms.
_STRUCTURE = (
    sympy.Add, sympy.Mul, sympy.Pow, sympy.Number, sympy.NumberSymbol, Symbol, sympy.Piecewise,
    sympy.functions.elementary.piecewise.ExprCondPair, sympy.core.relational.Relational, sympy.And, sympy.Or,
    sympy.Not, BooleanAtom, sympy.Tuple, sympy.Abs, sympy.sign, sympy.Max, sympy.Min, sympy.exp, sympy.log,
    Binder, Entry, Index,
)  # fmt: skip


def validate(loss: Loss) -> None:
    """Check a traced spec.

    Raises:
        SpecError: with the first mistake that is found, its file and line.
        UnsupportedError: when a function in the formula is one that symloss can't compute.
    """
    _refuse_comparisons(loss)
    for check in (_names, _domains, _dimensions, _nodes, _symbols, _used, _words):
        for message, *words in check(loss):
            kind = UnsupportedError if check is _nodes else SpecError
            raise kind(message, loss.file or None, _line(loss, words))


def _line(loss: Loss, words: Iterable[str]) -> int:
    try:
        tree = ast.parse(textwrap.dedent(loss.source))
    except SyntaxError:  # a lambda or a fragment of a longer statement
        return loss.line
    return line_in(tree, loss.line, *words)


def _refuse_comparisons(loss: Loss) -> None:
    """`==` and `!=` have an answer at once, whatever an input will be: a formula has nothing of them left."""
    try:
        tree = ast.parse(textwrap.dedent(loss.source))
    except SyntaxError:
        return
    names = {item.name for item in _items(loss)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "index(" in ast.unparse(node.value):
            names |= {name.id for target in node.targets for name in ast.walk(target) if _is_name(name)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            continue
        if names & {part.id for part in ast.walk(node) if _is_name(part)}:
            left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
            equal = isinstance(node.ops[0], ast.Eq)
            sign, instead = ("==", "Eq") if equal else ("!=", "Ne")
            raise SpecError(
                f"`{left} {sign} {right}` is always {not equal}, as Python compares symbols: "
                f"write {instead}({left}, {right}) from sympy",
                loss.file or None,
                loss.line - 1 + node.lineno,
            )


def _is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def _names(loss: Loss) -> Iterator[tuple[str, ...]]:
    """Names are identifiers that mean nothing else where they will be used."""
    given = [("the loss", loss.name)]
    given += [("the input", item.name) for item in loss.inputs]
    given += [("the parameter", item.name) for item in loss.parameters]
    for what, name in given:
        other = f"{name}_loss" if what == "the loss" else f"{loss.name}_{name}"
        mistake = _mistake(what, name, other)
        if mistake:
            yield mistake, name
    for dim in loss.dims:
        if any(name == dim for _, name in given):
            yield f"`{dim}` is the name of a dimension and of an input; rename one", dim
        if keyword.iskeyword(dim.lower()) or dim.startswith("_"):
            yield f"the dimension `{dim}` can't be written in lower case; choose another letter", dim
    small = [dim.lower() for dim in loss.dims]
    for dim in loss.dims:
        if small.count(dim.lower()) > 1:
            yield f"the dimension `{dim}` differs from another one in case only; rename one", dim


def _words(loss: Loss) -> Iterator[tuple[str, ...]]:
    """Differences are to libraries that have the loss."""
    for words in (loss.english, loss.chinese):
        for library in words.differences:
            if library not in loss.aliases:
                near = nearest(library, loss.aliases)
                yield f"a difference to `{library}` is told, which is not among the aliases{near}", library


def _mistake(what: str, name: str, other: str) -> str:
    """What is wrong with a name; `other` is one to propose."""
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        return f"the name of {what}, `{name}`, must be an identifier of plain letters, such as `my_loss`"
    if name.startswith("_"):
        return f"the name of {what}, `{name}`, must not start with an underscore"
    if keyword.issoftkeyword(name) or hasattr(builtins, name):
        return f"the name of {what}, `{name}`, is Python's own; choose another, such as `{other}`"
    if name in TAKEN or name.startswith(_TAKEN_PREFIXES):
        return f"the name of {what}, `{name}`, is one that the kernels use; choose another, such as `{other}`"
    return ""


def check_name(what: str, name: str) -> None:
    """Refuse a name that a loss, an input or a parameter can't have.

    Raises:
        SpecError: naming it, and saying why.
    """
    mistake = _mistake(what, name, f"my_{name}")
    if mistake:
        raise SpecError(mistake)


def _domains(loss: Loss) -> Iterator[tuple[str, ...]]:
    """Domains are sets of reals that a kernel can check; something is differentiated."""
    if not loss.inputs:
        yield "the loss has no input; annotate at least one as Prediction", loss.name
    elif not loss.predictions:
        yield "the loss has no prediction to differentiate by; annotate an input as Prediction", loss.name
    for item in _items(loss):
        domain = item.domain
        if domain.is_empty:
            yield f"the domain of `{item.name}` is empty", item.name
        elif domain.is_subset(S.Reals) is not True:
            yield f"the domain of `{item.name}` is {domain}, which isn't a set of real numbers", item.name
        elif not isinstance(domain, (Interval, FiniteSet)) and domain != S.Reals:
            advice = "write an Interval or a FiniteSet, such as Positive or Interval(0, 1)"
            yield (
                f"the domain of `{item.name}` is {domain}, which the kernels can't check; {advice}",
                item.name,
            )
        elif isinstance(domain, FiniteSet) and item in loss.predictions:
            yield (
                f"the prediction `{item.name}` takes single values only, so nothing can be differentiated",
                item.name,
            )


def _dimensions(loss: Loss) -> Iterator[tuple[str, ...]]:
    """Every dimension is that of an input with entries."""
    known = {dim for item in loss.inputs for dim in item.dims}
    for item in loss.inputs:
        if item.kind == "label" and not known.issuperset(item.role.dims):
            dim = item.role.dims[0]
            yield (
                f"the label `{item.name}` indexes {dim}, which no input has; they have {_listed(known)}",
                item.name,
            )
    used = {node.dim for _, formula in _formulas(loss) for node in walk(formula) if isinstance(node, Index)}
    used |= {
        node.name for _, formula in _formulas(loss) for node in formula.free_symbols if isinstance(node, Size)
    }
    for dim in sorted(used - known):
        if dim not in {label.role.dims[0] for label in loss.inputs if label.kind == "label"}:
            yield (
                f"no input has the dimension `{dim}`{nearest(dim, known)}; there are {_listed(known)}",
                dim,
            )


def _items(loss: Loss) -> tuple[Input | Parameter, ...]:
    return (*loss.inputs, *loss.parameters)


def _formulas(loss: Loss) -> list[tuple[str, Expr]]:
    """The formula and those of its limits, with what a message calls them."""
    limits = [(f"the limit at {name} = {value}", formula) for name, value, formula in loss.limits]
    return [("the formula", loss.formula), *limits]


def _nodes(loss: Loss) -> Iterator[tuple[str, ...]]:
    """Formulas are real, finite, and made of functions that symloss can compute."""
    supported = supported_functions()
    for where, formula in _formulas(loss):
        for node in walk(formula):
            if node in (S.ImaginaryUnit, S.NaN, S.ComplexInfinity, S.Infinity, S.NegativeInfinity):
                name = {"I": "I", "nan": "nan", "zoo": "zoo"}.get(str(node), "oo")
                why = "a loss is a real number" if name == "I" else "a formula is made of finite numbers"
                yield f"{where} contains {node}: {why}", name
            for kind, advice in _INSTEAD.items():
                if isinstance(node, kind):
                    yield (
                        f"{where} contains SymPy's `{kind.__name__}`: {advice}",
                        kind.__name__,
                        f"{kind.__name__}Base",
                    )
            if isinstance(node, AppliedUndef):
                yield f"{where} calls `{node.func}`, which is not defined; write its formula", str(node.func)
            if not isinstance(node, _STRUCTURE) and not isinstance(node, supported):
                name = type(node).__name__
                names = sorted({kind.__name__ for kind in supported})
                yield (
                    (
                        f"{where} uses `{name}`, which symloss can't compute{nearest(name, names)}; "
                        f"it knows {', '.join(names)}"
                    ),
                    name,
                    name.lower(),
                )


def supported_functions() -> tuple[type, ...]:
    """The SymPy functions that the oracle, the derivation and the kernels all have."""
    from symloss.evaluate import SUPPORTED

    functions = [kind for kind in SUPPORTED if issubclass(kind, sympy.Function)]
    return tuple(sorted(functions, key=lambda kind: (kind.__name__, kind.__module__)))


def _symbols(loss: Loss) -> Iterator[tuple[str, ...]]:
    """Every free symbol of a formula is an input, a parameter or the size of a dimension."""
    known = {item.symbol for item in _items(loss)}
    names = [item.name for item in _items(loss)]
    for where, formula in _formulas(loss):
        for symbol in sorted(formula.free_symbols - known, key=lambda s: (s.name, type(s).__name__)):
            if isinstance(symbol, LabelIndex):
                yield f"{where} uses the label `{symbol}`, which is no input", symbol.name
            elif isinstance(symbol, Index):
                letter = word = symbol.name
                advice = f"write Sum(..., {letter}), or Max or Min over it"
                for kind in (sympy.Max, sympy.Min):
                    if any(symbol in extreme.args for extreme in formula.atoms(kind)):
                        word = kind.__name__
                        advice = f"`{word}` is SymPy's, which has no indices: import {word} from symloss.spec"
                yield f"{where} uses the index `{letter}` outside of a reduction; {advice}", word
            elif not isinstance(symbol, Size):
                advice = f"; the inputs are {_listed(names)}"
                word, close = symbol.name, nearest(symbol.name, names)
                if symbol.name in names:
                    word, close = f'"{symbol.name}"', ""
                    advice = "; use the function's argument, not a symbol of the same name"
                yield f"{where} uses `{symbol}`, which is no input{close}{advice}", word


def _used(loss: Loss) -> Iterator[tuple[str, ...]]:
    """No input and no parameter is there for nothing."""
    free = loss.formula.free_symbols
    for item in _items(loss):
        if item.symbol not in free:
            what = "input" if item in loss.inputs else "parameter"
            yield f"the {what} `{item.name}` isn't used in the formula; use it or remove it", item.name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(set(names))) or "none"
