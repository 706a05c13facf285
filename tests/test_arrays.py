"""`_arrays`: samples of arrays that lie in any way."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from symloss_kernels._arrays import is_on_device, stretch


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_stretch_of_samples_is_views_of_them_in_their_order(data):
    axes, core = data.draw(st.integers(0, 4)), data.draw(st.sampled_from([(), (3,), (2, 2)]))
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=axes, max_size=axes)))
    array = np.arange(np.prod(shape + core)).reshape(shape + core)
    kind = data.draw(st.sampled_from(["plain", "backwards", "columns first", "broadcast"]))
    if kind == "backwards" and array.ndim:
        array = array[tuple(slice(None, None, -1) for _ in array.shape)]
    elif kind == "columns first":
        array = np.asfortranarray(array)
    elif kind == "broadcast" and axes > 1:
        array = np.broadcast_to(array[:, :1], array.shape)
    n = int(np.prod(shape))
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    parts = list(stretch(array, axes, start, stop))
    assert all(np.shares_memory(part, array) for part in parts)
    assert len(parts) <= 2 * max(axes, 1)
    found = np.concatenate([part.reshape(-1, *core) for part in parts])
    np.testing.assert_array_equal(found, array.reshape(-1, *core)[start:stop])


def tensor(is_cuda: bool):
    """A stand-in for PyTorch's tensor that needs a gradient, which raises when it is asked for its interface."""

    def refuse(self):
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")

    kind = type("Tensor", (), {"__module__": "torch", "is_cuda": is_cuda, "__cuda_array_interface__": property(refuse)})
    return kind()


def test_a_tensor_that_needs_a_gradient_is_an_array_too():
    assert is_on_device(tensor(True))
    assert not is_on_device(tensor(False))
    assert not is_on_device(np.ones(2)) and not is_on_device(1.0)
