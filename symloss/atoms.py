"""The table of stable primitives: functions that lifting puts in place of textbook spellings.

An atom is opaque to SymPy, so nothing can expand it back into a form that cancels or overflows. Its row
says what it means (`definition`), how it is differentiated (in atoms), what it does at 0, infinity and NaN
(`edges`), and how LaTeX writes it. The kernels' implementation has the atom's name in
`templates/kernels/_math.py.jinja`. Atoms of one or more numbers are `ScalarAtom`s and rows of `SCALARS`;
functions of a whole row (softmax, norms) bind an index and are `RowAtom`s, further below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import sympy
from sympy import Abs, Add, Expr, Function, Integer, Mul, Piecewise, S, exp, log, sqrt, tanh
from sympy import Eq as Equal

from symloss.index import Binder, Max, Reduction, Sum, rewrite


class Row(NamedTuple):
    """One scalar atom: name, arity, meaning, partial derivatives, sign, bound, edges, LaTeX.

    `latex` has `{0}`, `{1}` for the printed arguments. `sign` is "+" where the value can't be negative.
    `bounded` says that the value is finite at every argument, infinite ones included.
    """

    name: str
    arity: int
    definition: Callable[..., Expr]
    partials: tuple[Callable[..., Expr], ...]
    sign: str
    bounded: bool
    edges: str
    latex: str


class ScalarAtom(Function):
    """Base of the atoms in `SCALARS`."""

    row: ClassVar[Row]

    @classmethod
    def definition(cls, *args: Expr) -> Expr:
        """What the atom means, in the spelling of a textbook."""
        return cls.row.definition(*args)

    def fdiff(self, argindex: int = 1) -> Expr:
        """The partial derivative in argument number `argindex`."""
        return self.row.partials[argindex - 1](*self.args)

    def _eval_is_real(self):
        return True

    def _eval_is_extended_real(self):
        return True

    def _eval_is_nonnegative(self):
        return True if self.row.sign == "+" else None

    def _eval_is_positive(self):
        return True if self.row.sign == "++" else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        text = self.row.latex.format(*map(printer._print, self.args))
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def _ratio_eval(x: Expr, y: Expr) -> Expr | None:
    if x == y or x.is_zero:
        return x / y if x == y else S.Zero
    if y.is_positive or y.is_number or x.is_positive:
        return x / y
    number, rest = x.as_coeff_Mul()
    return number * ratio0(rest, y) if number != 1 else None


def _times_eval(x: Expr, factor: Expr) -> Expr | None:
    if x.is_zero or factor.is_zero:
        return S.Zero
    number, rest = x.as_coeff_Mul()
    if x.is_positive or not x.free_symbols:
        return x * factor
    if number != 1:
        return number * times0(rest, factor)
    number, rest = factor.as_coeff_Mul()
    return number * times0(x, rest) if number != 1 else None


def _hazard(x: Expr) -> Expr:
    return 2 * exp(-(x**2)) / (sqrt(sympy.pi) * sympy.erfc(x))


SCALARS = (
    Row(
        "sigmoid",
        1,
        lambda x: 1 / (1 + exp(-x)),
        (lambda x: sigmoid(x) * sigmoid(-x),),
        "++",
        True,
        "0 at -inf, 1 at inf; its complement is sigmoid(-x), exact to the last digit",
        r"\sigma\left({0}\right)",
    ),
    Row(
        "softplus",
        1,
        lambda x: log(1 + exp(x)),
        (lambda x: sigmoid(x),),
        "++",
        False,
        "0 at -inf, inf at inf",
        r"\operatorname{{softplus}}\left({0}\right)",
    ),
    Row(
        "log1p",
        1,
        lambda x: log(1 + x),
        (lambda x: 1 / (1 + x),),
        "",
        False,
        "-inf at -1, NaN below",
        r"\operatorname{{log1p}}\left({0}\right)",
    ),
    Row(
        "expm1",
        1,
        lambda x: exp(x) - 1,
        (lambda x: exp(x),),
        "",
        False,
        "-1 at -inf, inf at inf",
        r"\operatorname{{expm1}}\left({0}\right)",
    ),
    Row(
        "log1mexp",
        1,
        lambda x: log(1 - exp(x)),
        (lambda x: -bose(x),),
        "",
        False,
        "for x < 0; -inf at 0, 0 at -inf",
        r"\log\left(1 - e^{{{0}}}\right)",
    ),
    Row(
        "over_expm1",
        1,
        lambda x: Piecewise((1, Equal(x, 0)), (x / (exp(x) - 1), True)),
        (lambda x: (expm1(x) - x * exp(x)) / expm1(x) ** 2,),
        "++",
        False,
        "x / (e^x - 1); 1 at 0, 0 at inf, -x towards -inf",
        r"\frac{{{0}}}{{e^{{{0}}} - 1}}",
    ),
    Row(
        "times0",
        2,
        lambda x, factor: Piecewise((0, Equal(x, 0)), (x * factor, True)),
        (lambda x, factor: factor, lambda x, factor: x),
        "",
        False,
        "0 where x is 0, even when the factor is infinite there: 0 log 0 = 0",
        r"{0} \cdot {1}",
    ),
    Row(
        "ratio0",
        2,
        lambda x, y: Piecewise((0, Equal(x, 0)), (x / y, True)),
        (lambda x, y: 1 / y, lambda x, y: -ratio0(ratio0(x, y), y)),
        "",
        False,
        "0 where x is 0, even when y is 0 there: the derivative of 0 log 0",
        r"\frac{{{0}}}{{{1}}}",
    ),
    Row(
        "log_ratio",
        4,
        lambda a, b, difference, at_zero: log(a / b),
        (lambda a, b, *_: 1 / a, lambda a, b, *_: -1 / b),
        "",
        False,
        "log(a/b) by log1p((a - b)/b) where a is near b; -inf at a = 0, inf at b = 0",
        r"\log\left(\frac{{{0}}}{{{1}}}\right)",
    ),
    Row(
        "logcosh",
        1,
        lambda x: log((exp(x) + exp(-x)) / 2),
        (lambda x: tanh(x),),
        "+",
        False,
        "|x| - log 2 for large |x|, x^2/2 near 0",
        r"\log\cosh\left({0}\right)",
    ),
    Row(
        "sech2",
        1,
        lambda x: 1 - tanh(x) ** 2,
        (lambda x: -2 * tanh(x) * sech2(x),),
        "+",
        True,
        "0 at both infinities",
        r"\operatorname{{sech}}^2\left({0}\right)",
    ),
    Row(
        "hypot1",
        1,
        lambda x: sqrt(1 + x**2),
        (lambda x: tilt(x),),
        "++",
        False,
        "|x| for large |x|, without squaring it",
        r"\sqrt{{1 + {0}^{{2}}}}",
    ),
    Row(
        "hypot1m1",
        1,
        lambda x: sqrt(1 + x**2) - 1,
        (lambda x: tilt(x),),
        "+",
        False,
        "x (x / (1 + sqrt(1 + x^2)))",
        r"\left(\sqrt{{1 + {0}^{{2}}}} - 1\right)",
    ),
    Row(
        "boxcox1p",
        2,
        lambda t, a: Piecewise((log(1 + t), Equal(a, 0)), (((1 + t) ** a - 1) / a, True)),
        (
            lambda t, a: (1 + t) ** (a - 1),
            lambda t, a: (a * (1 + t) ** a * log1p(t) - (1 + t) ** a + 1) / a**2,
        ),
        "",
        False,
        "((1 + t)^a - 1)/a, and log1p(t) at a = 0",
        r"\frac{{\left(1 + {0}\right)^{{{1}}} - 1}}{{{1}}}",
    ),
    Row(
        "x_minus_log1p",
        1,
        lambda x: x - log(1 + x),
        (lambda x: x / (1 + x),),
        "+",
        False,
        "x^2/2 near 0; inf at -1",
        r"\left({0} - \log\left(1 + {0}\right)\right)",
    ),
    Row(
        "expm1_minus_x",
        1,
        lambda x: exp(x) - 1 - x,
        (lambda x: expm1(x),),
        "+",
        False,
        "x^2/2 near 0",
        r"\left(e^{{{0}}} - 1 - {0}\right)",
    ),
    Row(
        "bose",
        1,
        lambda x: 1 / (exp(-x) - 1),
        (lambda x: bose(x) + bose(x) ** 2,),
        "",
        False,
        "e^x / (1 - e^x) for x < 0; 0 at -inf, inf at 0",
        r"\frac{{1}}{{e^{{-{0}}} - 1}}",
    ),
    Row(
        "logaddexp",
        2,
        lambda x, y: log(exp(x) + exp(y)),
        (lambda x, y: sigmoid(x - y), lambda x, y: sigmoid(y - x)),
        "",
        False,
        "the larger one where the other is -inf",
        r"\log\left(e^{{{0}}} + e^{{{1}}}\right)",
    ),
    Row(
        "tilt",
        1,
        lambda x: x / sqrt(1 + x**2),
        (lambda x: hypot1(x) ** -3,),
        "",
        True,
        "-1 and 1 at the infinities, without squaring x",
        r"\frac{{{0}}}{{\sqrt{{1 + {0}^{{2}}}}}}",
    ),
    Row(
        "log1p_square",
        1,
        lambda x: log(1 + x**2),
        (lambda x: 2 * tilt(x) / hypot1(x),),
        "+",
        False,
        "2 log|x| for large |x|, without squaring it; x^2 near 0",
        r"\log\left(1 + {0}^{{2}}\right)",
    ),
    Row(
        "boxcox1p_square",
        2,
        lambda x, a: Piecewise((log(1 + x**2), Equal(a, 0)), (((1 + x**2) ** a - 1) / a, True)),
        (
            lambda x, a: 2 * tilt(x) * hypot1(x) ** (2 * a - 1),
            lambda x, a: (a * (1 + x**2) ** a * log1p_square(x) - (1 + x**2) ** a + 1) / a**2,
        ),
        "+",
        False,
        "((1 + x^2)^a - 1)/a, and log(1 + x^2) at a = 0",
        r"\frac{{\left(1 + {0}^{{2}}\right)^{{{1}}} - 1}}{{{1}}}",
    ),
    Row(
        "entropy_gap",
        2,
        lambda x, y: x * log(x / y) - x + y,
        (lambda x, y: log_ratio(x, y, x - y, S.NegativeInfinity), lambda x, y: (y - x) / y),
        "+",
        False,
        "x log(x/y) - x + y, which is 0 to second order at x = y; y at x = 0",
        r"\left({0} \log\frac{{{0}}}{{{1}}} - {0} + {1}\right)",
    ),
    Row(
        "log_gap",
        2,
        lambda x, y: x / y - 1 - log(x / y),
        (lambda x, y: (x - y) / y / x, lambda x, y: (y - x) / y / y),
        "+",
        False,
        "x/y - 1 - log(x/y), which is 0 to second order at x = y",
        r"\left(\frac{{{0}}}{{{1}}} - 1 - \log\frac{{{0}}}{{{1}}}\right)",
    ),
    Row(
        "erfc",
        1,
        lambda x: sympy.erfc(x),
        (lambda x: -2 * exp(-(x**2)) / sqrt(sympy.pi),),
        "++",
        True,
        "2 at -inf, 0 at inf; SymPy's own turns erfc(-x) into 2 - erfc(x)",
        r"\operatorname{{erfc}}\left({0}\right)",
    ),
    Row(
        "log_erfc",
        1,
        lambda x: log(sympy.erfc(x)),
        (lambda x: -erfc_hazard(x),),
        "",
        False,
        "log 2 at -inf; -x^2 - log(x sqrt(pi)) for large x",
        r"\log\operatorname{{erfc}}\left({0}\right)",
    ),
    Row(
        "log_half_erfc",
        1,
        lambda x: log(sympy.erfc(x) / 2),
        (lambda x: -erfc_hazard(x),),
        "",
        False,
        "0 at -inf, relatively exact there; log of the normal distribution function at -x sqrt(2)",
        r"\log\left(\frac{{1}}{{2}} \operatorname{{erfc}}\left({0}\right)\right)",
    ),
    Row(
        "erfc_hazard",
        1,
        lambda x: 2 * exp(-(x**2)) / (sqrt(sympy.pi) * sympy.erfc(x)),
        (lambda x: erfc_hazard_slope(x),),
        "++",
        False,
        "0 at -inf, 2x for large x",
        r"\frac{{2 e^{{-{0}^{{2}}}}}}{{\sqrt{{\pi}} \operatorname{{erfc}}\left({0}\right)}}",
    ),
    Row(
        "erfc_hazard_slope",
        1,
        lambda x: _hazard(x) * (_hazard(x) - 2 * x),
        (lambda x: erfc_hazard_slope(x) * (2 * erfc_hazard(x) - 2 * x) - 2 * erfc_hazard(x),),
        "+",
        True,
        "h (h - 2x), where h is the hazard, which is near 2x for large x; 0 at -inf, 2 at inf",
        r"\operatorname{{h}}'\left({0}\right)",
    ),
    Row(
        "log_besseli0",
        1,
        lambda x: log(sympy.besseli(0, x)),
        (lambda x: besseli_ratio(x),),
        "+",
        False,
        "|x| - log(2 pi |x|)/2 for large |x|, x^2/4 near 0",
        r"\log I_{{0}}\left({0}\right)",
    ),
    Row(
        "besseli_ratio",
        1,
        lambda x: sympy.besseli(1, x) / sympy.besseli(0, x),
        (lambda x: besseli_ratio_slope(x),),
        "",
        True,
        "-1 and 1 at the infinities, x/2 near 0",
        r"\frac{{I_{{1}}\left({0}\right)}}{{I_{{0}}\left({0}\right)}}",
    ),
    Row(
        "besseli_ratio_slope",
        1,
        lambda x: (
            (1 + sympy.besseli(2, x) / sympy.besseli(0, x)) / 2
            - (sympy.besseli(1, x) / sympy.besseli(0, x)) ** 2
        ),
        (
            lambda x: (
                (besseli_ratio(x) / x - besseli_ratio_slope(x)) / x
                - 2 * besseli_ratio(x) * besseli_ratio_slope(x)
            ),
        ),
        "+",
        True,
        "1/2 at 0, 1/(2 x^2) for large |x|",
        r"\operatorname{{A}}'\left({0}\right)",
    ),
)

#: Automatic evaluation, for the two atoms that mean a product or a quotient.
_EVALUATION = {"times0": _times_eval, "ratio0": _ratio_eval}


def _make(row: Row) -> type[ScalarAtom]:
    """The SymPy function of a row."""
    members: dict[str, Any] = {"row": row, "nargs": row.arity, "__doc__": row.edges, "__module__": __name__}
    if row.name in _EVALUATION:
        members["eval"] = classmethod(lambda cls, *args, _eval=_EVALUATION[row.name]: _eval(*args))
    return type(row.name, (ScalarAtom,), members)


_classes = {row.name: _make(row) for row in SCALARS}
sigmoid, softplus, log1p, expm1 = (_classes[n] for n in ("sigmoid", "softplus", "log1p", "expm1"))
log1mexp, over_expm1, times0, ratio0 = (_classes[n] for n in ("log1mexp", "over_expm1", "times0", "ratio0"))
log_ratio, logcosh, sech2, hypot1 = (_classes[n] for n in ("log_ratio", "logcosh", "sech2", "hypot1"))
hypot1m1, boxcox1p = _classes["hypot1m1"], _classes["boxcox1p"]
x_minus_log1p, expm1_minus_x = _classes["x_minus_log1p"], _classes["expm1_minus_x"]
bose, logaddexp, tilt = _classes["bose"], _classes["logaddexp"], _classes["tilt"]
log1p_square, boxcox1p_square = _classes["log1p_square"], _classes["boxcox1p_square"]
entropy_gap, log_gap, erfc = _classes["entropy_gap"], _classes["log_gap"], _classes["erfc"]
log_erfc, log_half_erfc, erfc_hazard = (_classes[n] for n in ("log_erfc", "log_half_erfc", "erfc_hazard"))
erfc_hazard_slope, log_besseli0 = _classes["erfc_hazard_slope"], _classes["log_besseli0"]
besseli_ratio, besseli_ratio_slope = _classes["besseli_ratio"], _classes["besseli_ratio_slope"]


class RowAtom(Binder):
    """A function of a whole row: `bodies` are the row's entries over the bound indices.

    Those that have a place (`at`) give one entry of a row that has as many. `expand()` spells the textbook
    formula; `sign` and `bounded` are as in `Row`.
    """

    sign: ClassVar[str] = ""
    bounded: ClassVar[bool] = False
    latex_form: ClassVar[str] = ""

    def expand(self) -> Expr:
        """What the atom means, in the spelling of a textbook."""
        raise NotImplementedError

    def _eval_is_nonnegative(self):
        return True if self.sign else None

    def _eval_is_positive(self):
        return True if self.sign == "++" else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        indices, bodies, places = (
            ", ".join(map(printer._print, part)) for part in (self.indices, self.bodies, self.at)
        )
        text = self.latex_form.format(k=indices, body=bodies, at=places)
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"

    def _sum_exp(self) -> Expr:
        (body, *_), fresh = self.open()
        return Sum(exp(body), *fresh)

    def _sum_squares(self) -> Expr:
        (body, *_), fresh = self.open()
        return Sum(body**2, *fresh)


class LogSumExp(RowAtom):
    """log(sum over k of exp(body)): shifted by the maximum; -inf where every entry is."""

    latex_form = r"\operatorname{{logsumexp}}_{{{k}}}\left({body}\right)"

    def expand(self) -> Expr:
        return log(self._sum_exp())


class Softmax(RowAtom):
    """exp(body at the place) / sum over k of exp(body)."""

    sign, bounded = "++", True
    latex_form = r"\operatorname{{softmax}}_{{{k}}}\left({body}\right)_{{{at}}}"

    def expand(self) -> Expr:
        return exp(self.body_at()) / self._sum_exp()


class LogSoftmax(RowAtom):
    """log of `Softmax`; never positive, and relatively exact near 0."""

    latex_form = r"\log\operatorname{{softmax}}_{{{k}}}\left({body}\right)_{{{at}}}"

    def expand(self) -> Expr:
        return log(exp(self.body_at()) / self._sum_exp())


class SoftmaxComplement(RowAtom):
    """1 - `Softmax`, as the sum of the other entries' shares: exact where the entry's own share is near 1."""

    sign, bounded = "+", True
    latex_form = r"\left(1 - \operatorname{{softmax}}_{{{k}}}\left({body}\right)_{{{at}}}\right)"

    def expand(self) -> Expr:
        return 1 - exp(self.body_at()) / self._sum_exp()


class SoftmaxCentred(RowAtom):
    """second body at the place - its mean under the softmax of the first body."""

    latex_form = r"\operatorname{{centred}}_{{{k}}}\left({body}\right)_{{{at}}}"

    def expand(self) -> Expr:
        (body, other), fresh = self.open()
        return self.body_at(which=1) - Sum(exp(body) * other, *fresh) / Sum(exp(body), *fresh)


class Norm(RowAtom):
    """sqrt(sum over k of body^2), scaled so that no square overflows or vanishes."""

    sign = "+"
    latex_form = r"\left\lVert {body} \right\rVert_{{{k}}}"

    def expand(self) -> Expr:
        return sqrt(self._sum_squares())


class Unit(RowAtom):
    """body at the place / `Norm`; 0 for the zero row (the subgradient of least norm)."""

    bounded = True
    latex_form = r"\operatorname{{unit}}_{{{k}}}\left({body}\right)_{{{at}}}"

    def expand(self) -> Expr:
        return self.body_at() / sqrt(self._sum_squares())


class UnitComplement(RowAtom):
    """1 - `Unit`^2, as the other entries' squares: exact where one entry dominates the row."""

    sign, bounded = "+", True
    latex_form = r"\left(1 - \operatorname{{unit}}^{{2}}_{{{k}}}\left({body}\right)_{{{at}}}\right)"

    def expand(self) -> Expr:
        return 1 - self.body_at() ** 2 / self._sum_squares()


class UnitCentred(RowAtom):
    """second body at the place, less its projection on the direction of the first."""

    latex_form = r"\operatorname{{perpendicular}}_{{{k}}}\left({body}\right)_{{{at}}}"

    def expand(self) -> Expr:
        (body, other), fresh = self.open()
        return self.body_at(which=1) - self.body_at() * Sum(body * other, *fresh) / Sum(body**2, *fresh)


class MaxShare(RowAtom):
    """The derivative of the row's maximum in the entry at the place: ties share 1 equally, others have 0."""

    sign, bounded = "+", True
    latex_form = r"\operatorname{{argmax}}_{{{k}}}\left({body}\right)_{{{at}}}"

    def expand(self) -> Expr:
        (body, *_), fresh = self.open()
        top = Max(body, *fresh)
        count = Sum(Piecewise((Integer(1), Equal(body, top)), (Integer(0), True)), *fresh)
        return Piecewise((1 / count, Equal(self.body_at(), top)), (Integer(0), True))


def textbook(expr: Expr) -> Expr:
    """`expr` with every atom replaced by what it means."""

    def expand(node: Expr) -> Expr:
        if isinstance(node, ScalarAtom):
            return node.definition(*node.args)
        return node.expand() if isinstance(node, RowAtom) else node

    return rewrite(expr, expand)


def is_finite(expr: Expr) -> bool:
    """Whether `expr` is surely finite at finite inputs: nothing in it can blow up."""
    if isinstance(expr, (ScalarAtom, RowAtom)):
        bounded = expr.row.bounded if isinstance(expr, ScalarAtom) else expr.bounded
        return bounded
    if isinstance(expr, Reduction):
        return is_finite(expr.body)
    if expr.is_Pow:
        return expr.exp.is_nonnegative is True and is_finite(expr.base)
    if isinstance(expr, (log, exp)):
        return False
    if expr.is_Function and not isinstance(expr, (Abs, tanh)):
        return False
    compound = expr.is_Add or expr.is_Mul or expr.is_Function
    return all(is_finite(arg) for arg in expr.args) if compound else True


def zero_product(zero: Expr, factor: Expr) -> Expr:
    """times0(zero, factor) in its best form: quotients as `ratio0`, finite products as products."""
    if factor.is_Add:
        return Add(*(zero_product(zero, term) for term in factor.args))
    bottoms = [f for f in Mul.make_args(factor) if f.is_Pow and f.exp.is_Integer and f.exp < 0]
    tops = [f for f in Mul.make_args(factor) if f not in bottoms]
    if all(is_finite(top) for top in tops):
        quotient = zero
        for bottom in bottoms:
            for _ in range(-int(bottom.exp)):  # one after the other: the square of a small number vanishes
                quotient = ratio0(quotient, bottom.base)
        return Mul(quotient, *tops)
    return times0(zero, factor)
