"""The points: the same for a seed, inside the domains, and with the extremes that matter."""

import numpy as np
import pytest
from sympy import FiniteSet, Interval

from symloss import catalog
from symloss.catalog import standard
from symloss.sampler import parameter_sets, points

NAMES = sorted(standard().names())
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def drawn(name, dtype, count=300, seed=0):
    return points(standard().loss(name), dtype, count, seed)


def numbers(found, name):
    return np.concatenate([np.ravel(point.inputs[name]) for point in found])


@BOTH
@pytest.mark.parametrize("domain", ["Interval.open(0, 1)", "Interval.Lopen(0, 1)", "Interval(2, 3)", "Interval.open(-1, 1)"])
def test_rows_stay_inside_any_bounded_domain(domain, dtype):
    text = f"""
from sympy import *
from symloss.spec import *

@loss
def inside(p: Prediction["K"].over({domain}), q: Target["K"].over({domain})):
    k = index("K")
    return Sum((p[k] - q[k])**2, k)
"""
    loss = catalog.trace(catalog.load_text(text)["inside"])
    for point in points(loss, dtype, 60, 0):
        for given in loss.inputs:
            assert all(x in given.domain for x in map(float, point.inputs[given.name].ravel()))


@BOTH
@pytest.mark.parametrize("name", NAMES)
def test_points_have_the_losses_shapes_and_stay_inside_the_domains(name, dtype):
    loss = standard().loss(name)
    found = points(loss, dtype, 60, 3)
    assert len(found) == 60
    for point in found:
        assert list(point.inputs) == [i.name for i in loss.inputs]
        sizes: dict[str, int] = {}
        for given in loss.inputs:
            x = np.asarray(point.inputs[given.name])
            for dim, size in zip(given.dims, x.shape, strict=True):
                assert sizes.setdefault(dim, size) == size
            if given.kind == "label":
                continue
            assert x.dtype == dtype and np.isfinite(x).all()
            if isinstance(given.domain, FiniteSet):
                assert set(map(float, x.ravel())) <= set(map(float, given.domain))
            elif isinstance(given.domain, Interval):
                assert (x >= float(given.domain.start)).all() and (x <= float(given.domain.end)).all()
        for given in loss.inputs:
            if given.kind == "label":
                assert 0 <= point.inputs[given.name] < sizes[given.role.dims[0]]
        for prediction in loss.predictions:
            assert np.shape(point.vectors[prediction.name]) == np.shape(point.inputs[prediction.name])
        for parameter in loss.parameters:
            assert float(point.parameters[parameter.name]) in parameter.domain


@BOTH
@pytest.mark.parametrize("name", ["huber", "softmax_focal", "kl_divergence", "softmax_center"])
def test_points_are_deterministic(name, dtype):
    assert repr(drawn(name, dtype)) == repr(drawn(name, dtype))
    assert repr(drawn(name, dtype)) != repr(drawn(name, dtype, seed=1))


@BOTH
def test_extremes_are_there(dtype):
    found = drawn("binary_cross_entropy_with_logits", dtype, 4000)
    logits = numbers(found, "logits")
    kind = np.dtype(dtype).type
    for x in (36.7, 88.7, 1e3, 1e20, 1e-30):
        for y in (kind(x), -kind(x), np.nextafter(kind(x), kind(0)), np.nextafter(kind(x), kind(INF))):
            assert y in logits
    assert np.finfo(dtype).smallest_subnormal in logits
    assert ((logits == 0) & np.signbit(logits)).any() and ((logits == 0) & ~np.signbit(logits)).any()
    assert (np.abs(logits) > 1e30).any() and (np.abs(logits) < 1e-35).any()
    targets = numbers(found, "target")
    assert {0.0, 1.0} <= set(targets)


INF = float("inf")


def test_pairs_one_ulp_apart_and_ties():
    found = drawn("huber", "float64")
    ties = [p for p in found if p.inputs["prediction"] == p.inputs["target"]]
    near = [p for p in found if np.nextafter(p.inputs["prediction"], INF) == p.inputs["target"]]
    assert ties and near


def test_rows_have_every_size_and_pattern():
    found = drawn("softmax_cross_entropy", "float64")
    rows = [p.inputs["logits"] for p in found]
    assert {1, 2, 3, 10, 33, 1000} == {len(row) for row in rows}
    wide = [row for row in rows if len(row) > 2]
    assert any((row == row[0]).all() for row in wide)
    assert any((np.diff(row) < 0).all() for row in wide)
    assert any((np.diff(row) > 0).all() for row in wide)
    assert any((row == row.max()).sum() > 1 and row.min() < row.max() for row in wide)
    hit = [
        p for p in found if len(p.inputs["logits"]) > 2 and p.inputs["label"] == p.inputs["logits"].argmax()
    ]
    assert 0 < len(hit) < len(wide)


def test_probability_rows():
    found = drawn("kl_divergence", "float64")
    q, p = ([point.inputs[name] for point in found] for name in ("prediction", "target"))
    assert any((row == 0).any() and (row > 0).any() for row in q)
    assert any(sorted(row)[-1] == 1 and len(row) > 1 and sorted(row)[-2] == 0 for row in q)
    assert any((a == b).all() and len(a) > 2 and len(set(a)) > 1 for a, b in zip(q, p, strict=True))
    assert all(abs(row.sum() - 1) < 1e-9 for row in q if (row > 0).all() and len(row) == 10)


def test_given_sizes_are_used():
    found = points(standard().loss("center"), "float64", 4, 0, sizes=[{"D": 5, "M": 7, "K": 7}])
    assert {point.inputs["features"].shape for point in found} == {(5,)}


def test_parameters_take_their_bounds_limits_and_typical_values():
    sets = parameter_sets(standard().loss("binary_focal"))
    assert sets[0] == {"alpha": 0.25, "gamma": 2.0}
    assert {s["gamma"] for s in sets} >= {0.0, 0.5, 2.0, 3.0, 10.0}
    assert {s["alpha"] for s in sets} >= {0.0, 1.0, 0.5}
    assert all(0 <= s["alpha"] <= 1 for s in sets)
    assert 0.0 not in {s["delta"] for s in parameter_sets(standard().loss("huber"))}
