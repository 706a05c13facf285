"""The vocabulary of a spec: roles of inputs, domains of parameters, indices, the `loss` decorator.

A spec is a function whose parameters are the loss's inputs and whose body is the textbook formula:

    @loss(title="Huber loss", reference="Huber 1964, doi:10.1214/aoms/1177703732")
    def huber(prediction: Prediction, target: Target, delta: Positive = 1):
        r = prediction - target
        return Piecewise((r**2 / 2, Abs(r) <= delta), (delta * (Abs(r) - delta / 2), True))

An annotation that is a role (`Prediction`, `Target`, `Label`) declares an input; one that is a SymPy set
declares a parameter with that domain, which needs a default. `Prediction["K"]` has one core dimension,
`Label["K"]` is an integer that picks an entry along K, `Target.over(Interval(0, 1))` has a domain.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import sympy
from sympy import Expr, Set, Symbol, sympify
from sympy.core.parameters import distribute

from symloss.errors import SpecError
from symloss.index import Entry, Index, Max, Min, Product, Size, Sum
from symloss.roles import (
    Input,
    Label,
    LabelIndex,
    Loss,
    NonNegative,
    Parameter,
    Positive,
    Prediction,
    Real,
    Role,
    Target,
    Words,
    assumptions,
    exact,
)

__all__ = [
    "Index",
    "Label",
    "Max",
    "Min",
    "NonNegative",
    "Positive",
    "Prediction",
    "Product",
    "Real",
    "Sum",
    "Target",
    "Words",
    "index",
    "loss",
    "size",
]


class Array:
    """Something that a formula indexes: an input with core dimensions, or a function of one.

    Args:
        name: what messages call it.
        dims: the names of its dimensions.
        entry: from indices (one a dimension) to the SymPy expression of that entry.
    """

    def __init__(self, name: str, dims: tuple[str, ...], entry: Callable[..., Expr]) -> None:
        self.name = name
        self.dims = dims
        self._entry = entry

    def __getitem__(self, indices: Any) -> Expr:
        indices = indices if isinstance(indices, tuple) else (indices,)
        if len(indices) != len(self.dims):
            raise SpecError(
                f"`{self.name}` has {len(self.dims)} core dimension(s) ({', '.join(self.dims)}) and is "
                f"indexed by {len(indices)}"
            )
        for place, dim in zip(indices, self.dims, strict=True):
            if not isinstance(place, Index):
                raise SpecError(
                    f'`{self.name}` is indexed by {place!r}; write an index such as index("{dim}") '
                    f'or an input annotated Label["{dim}"]'
                )
            if place.dim != dim:
                raise SpecError(
                    f"`{self.name}` has dimension {dim} where it is indexed by `{place}`, which runs over "
                    f'{place.dim}; write index("{dim}")'
                )
        return self._entry(*indices)

    def _sympy_(self) -> Expr:
        letters = ", ".join(dim.lower() for dim in self.dims)
        raise SpecError(
            f"`{self.name}` has core dimensions ({', '.join(self.dims)}), so the formula must index it: "
            f"write {self.name}[{letters}]"
        )

    def _refuse(self, *_: Any) -> Any:
        return self._sympy_()

    def __iter__(self) -> Any:
        raise SpecError(
            f"Python's `sum` and `for` can't run over `{self.name}`: write Sum({self.name}[k], k) with "
            f'k = index("{self.dims[0]}")'
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __abs__ = _refuse


#: While a loss is called inside another spec: from its own dimension names to the caller's.
_dims: ContextVar[Mapping[str, str]] = ContextVar("_dims", default=MappingProxyType({}))


@contextmanager
def dimensions(mapping: Mapping[str, str]):
    """Within the block, `index("D")` means an index over mapping["D"]."""
    token = _dims.set(mapping)
    try:
        yield
    finally:
        _dims.reset(token)


def index(dim: str, name: str | None = None) -> Index:
    """An index over the core dimension `dim`, called by its letter in lower case or by `name`."""
    return Index(name or dim.lower(), _dims.get().get(dim, dim))


def size(of: Index | str) -> Expr:
    """The number of entries along a dimension, given by its name or by an index over it."""
    return of.size if isinstance(of, Index) else Size(_dims.get().get(of, of))


class LossSpec:
    """A decorated spec. Called inside another spec, it is its formula; `.trace()` gives the `Loss`."""

    def __init__(self, function: Callable[..., Expr], facts: dict[str, Any]) -> None:
        self.function = function
        self.facts = facts
        self.name = function.__name__
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.file = inspect.getsourcefile(function) or ""
        self.line = function.__code__.co_firstlineno

    def __repr__(self) -> str:
        return f"<loss spec {self.name}>"

    def _repr_latex_(self) -> str | None:
        from symloss.printers.latex import latex
        from symloss.printers.notation import symbols

        loss = self._valid()
        return None if loss is None else f"$\\displaystyle {latex(loss.formula, symbols(loss))}$"

    def _repr_html_(self) -> str | None:
        from symloss.printers.describe import html

        loss = self._valid()
        try:
            return None if loss is None else html(loss)
        except SpecError:
            return None

    def _valid(self) -> Loss | None:
        """The loss, or nothing where the spec has a mistake: a notebook then shows the name alone."""
        from symloss.catalog import trace

        try:
            return trace(self)
        except SpecError:
            return None

    def roles(self) -> dict[str, tuple[Role | Set, Any]]:
        """From each parameter's name to its annotation and its default."""
        try:
            signature = inspect.signature(self.function, eval_str=True)
        except NameError as error:
            raise SpecError(f"an annotation of `{self.name}` is not defined: {error}") from None
        roles: dict[str, tuple[Role | Set, Any]] = {}
        for name, parameter in signature.parameters.items():
            kind = parameter.annotation
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise SpecError(f"`{self.name}` takes *{name}; name every input")
            if kind is parameter.empty or not isinstance(kind, (Role, Set)):
                raise SpecError(
                    f"`{name}` needs an annotation: Prediction, Target or Label for an input, "
                    f"or a domain such as Positive for a parameter; got {kind!r}"
                    if kind is not parameter.empty
                    else f"`{name}` needs an annotation: Prediction, Target or Label for an input, "
                    "or a domain such as Positive for a parameter"
                )
            roles[name] = (kind, parameter.default)
        return roles

    def __call__(self, *args: Any, **kwargs: Any) -> Expr:
        """The formula at the given inputs, for use inside another spec."""
        roles = self.roles()
        bound = inspect.signature(self.function).bind(*args, **kwargs)
        mapping: dict[str, str] = {}
        values: dict[str, Any] = {}
        for name, (role, default) in roles.items():
            value = bound.arguments.get(name, default)
            if isinstance(role, Role):
                dims = (
                    value.dims
                    if isinstance(value, Array)
                    else (value.dim,)
                    if isinstance(value, LabelIndex)
                    else ()
                )
                if len(dims) != len(role.dims):
                    raise SpecError(
                        f"`{self.name}` takes `{name}` with {len(role.dims)} core dimension(s), "
                        f"and was given {len(dims)}"
                    )
                for inner, outer in zip(role.dims, dims, strict=True):
                    if mapping.setdefault(inner, outer) != outer:
                        raise SpecError(
                            f"`{self.name}` was given {mapping[inner]} and {outer} "
                            f"for its one dimension {inner}"
                        )
            elif not isinstance(value, Expr):
                value = exact(value)
            values[name] = value
        with dimensions(mapping), distribute(False):
            return self.function(**values)

    def trace(self) -> Loss:
        """Run the spec on symbols and validate what it says."""
        from symloss.catalog import validate

        inputs: list[Input] = []
        parameters: list[Parameter] = []
        values: dict[str, Any] = {}
        for name, (role, default) in self.roles().items():
            if isinstance(role, Role):
                if default is not inspect.Parameter.empty:
                    raise SpecError(f"input `{name}` has a default; only parameters have one")
                if role.kind == "label":
                    if not role.dims:
                        raise SpecError(f'label `{name}` must say what it indexes: Label["K"]')
                    symbol: Symbol = LabelIndex(name, role.dims[0])
                else:
                    symbol = Symbol(name, **assumptions(role.domain))
                inputs.append(Input(name, role, symbol))
                values[name] = (
                    Array(name, role.dims, lambda *at, base=symbol: Entry(base, *at))
                    if role.dims and role.kind != "label"
                    else symbol
                )
            else:
                if default is inspect.Parameter.empty:
                    raise SpecError(f"parameter `{name}` needs a default, as in `{name}: Positive = 1`")
                symbol = Symbol(name, **assumptions(role))
                number = exact(default)
                if not number.is_real or number not in role:
                    raise SpecError(f"default {default} of parameter `{name}` is outside its domain {role}")
                parameters.append(Parameter(name, symbol, number, role))
                values[name] = symbol
        formula, names = self._run(values)
        facts = dict(self.facts)
        limits = tuple(
            (name, exact(at), self._limit(limit, values, name, at))
            for name, cases in facts.pop("limits", {}).items()
            for at, limit in cases.items()
        )
        loss = Loss(
            name=self.name,
            formula=formula,
            inputs=tuple(inputs),
            parameters=tuple(parameters),
            names=names,
            limits=limits,
            file=self.file,
            line=self.line,
            source=inspect.getsource(self.function),
            **facts,
        )
        validate(loss)
        return loss

    def _run(self, values: dict[str, Any]) -> tuple[Expr, dict[Expr, str]]:
        """The formula, and the names that the author gave to its parts."""
        local: dict[str, Any] = {}

        def spy(frame: Any, event: str, _: Any) -> None:
            if event == "return" and frame.f_code is self.function.__code__:
                local.update(frame.f_locals)

        previous = sys.getprofile()
        with distribute(False):
            sys.setprofile(spy)
            try:
                formula = self.function(**values)
            finally:
                sys.setprofile(previous)
            if isinstance(formula, Array):
                formula._sympy_()
            if not isinstance(formula, (Expr, int, float)):
                raise SpecError(f"`{self.name}` must return a SymPy expression; it returned {formula!r}")
            names = {
                value: name
                for name, value in local.items()
                if isinstance(value, Expr) and not isinstance(value, Symbol) and name not in values
            }
            return _rational(sympify(formula)), {_rational(k): v for k, v in names.items()}

    def _limit(self, limit: Callable[..., Expr], values: dict[str, Any], name: str, at: Any) -> Expr:
        """The formula that holds where parameter `name` is `at`."""
        if name not in values:
            raise SpecError(f"a limit is given for `{name}`, which is no parameter of `{self.name}`")
        if not exact(at).is_finite:
            raise SpecError(
                f"a limit is given at {name} = {at}, which no call can ask for: parameters are finite numbers"
            )
        function = limit.function if isinstance(limit, LossSpec) else limit
        wanted = inspect.signature(function).parameters
        unknown = [other for other in wanted if other not in values]
        if unknown:
            raise SpecError(
                f"the limit at {name} = {at} takes `{unknown[0]}`, which is no input of `{self.name}`"
            )
        with distribute(False):
            return _rational(sympify(limit(**{key: values[key] for key in wanted})))


def _rational(expr: Expr) -> Expr:
    """Every float in a formula as the fraction that its digits say."""
    return expr.xreplace({number: exact(float(number)) for number in expr.atoms(sympy.Float)})


def loss(
    function: Callable[..., Expr] | None = None,
    /,
    *,
    title: str = "",
    reference: str | tuple[str, ...] = (),
    family: str = "other",
    english: Words | None = None,
    chinese: Words | None = None,
    aliases: Mapping[str, str] | None = None,
    limits: Mapping[str, Mapping[Any, Callable[..., Expr]]] | None = None,
) -> Any:
    """Declare the decorated function to be the spec of a loss.

    Args:
        title: the loss's name in English; by default the function's name with spaces.
        reference: where the formula comes from, with a DOI where there is one; several as a tuple.
        family: the heading under which the documentation lists it.
        english: meaning, strengths, weaknesses, when to use it, differences to other libraries.
        chinese: the same in Chinese, with a title.
        aliases: the names that it has elsewhere: from a library to its name there, and nothing else.
        limits: parameter values at which the formula degenerates, with the formula that holds there:
            `{"beta": {0: mae}}`. The formula is a function of (some of) the inputs, or another spec.

    Raises:
        SpecError: when the spec is loaded and something in it is wrong.
    """

    def decorate(function: Callable[..., Expr]) -> LossSpec:
        references = (reference,) if isinstance(reference, str) else tuple(reference)
        facts = {
            "title": title or function.__name__.replace("_", " ").capitalize(),
            "references": references,
            "family": family,
            "english": english or Words(),
            "chinese": chinese or Words(),
            "aliases": dict(aliases or {}),
            "limits": {name: dict(cases) for name, cases in (limits or {}).items()},
        }
        return LossSpec(function, facts)

    return decorate(function) if function is not None else decorate
