from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reid_cluster import _inputs


def test_float32_in_c_order_is_not_copied() -> None:
    x = np.ones((4, 3), np.float32)
    assert np.shares_memory(_inputs.features(x), x)
    assert np.shares_memory(_inputs.features(torch.from_numpy(x)), x)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8", "g", "i1", "u1", "i4", ">i4", "i8", "u8"])
def test_real_types_are_converted(dtype: str) -> None:
    x = np.arange(12).reshape(4, 3).astype(dtype)
    y = _inputs.features(x)
    assert y.dtype == np.float32
    assert y.dtype.isnative
    np.testing.assert_array_equal(y, np.arange(12).reshape(4, 3))


def test_layouts_are_copied_to_c_order() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(4, 6)
    for y in (np.asfortranarray(x), x[::-1, ::-1], x[:, ::2], x.T, np.broadcast_to(x[0], (5, 6)), odd):
        z = _inputs.features(y)
        assert z.flags.c_contiguous
        assert z.flags.aligned
        np.testing.assert_array_equal(z, y)


def test_read_only_and_mapped(tmp_path: Path) -> None:
    x = np.ones((4, 3), np.float32)
    x.flags.writeable = False
    assert _inputs.features(x) is x
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(_inputs.features(np.load(tmp_path / "x.npy", mmap_mode="r")), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_tensors(dtype: torch.dtype) -> None:
    x = torch.arange(6).reshape(2, 3).to(dtype)
    np.testing.assert_array_equal(_inputs.features(x), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(_inputs.features(x.T), [[0, 3], [1, 4], [2, 5]])


def test_gradients_are_dropped_and_sparse_tensors_refused() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    np.testing.assert_array_equal(_inputs.features(x), np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"features is a sparse tensor .*to_dense"):
        _inputs.features(torch.eye(3).to_sparse())


def test_tensors_on_the_meta_device_are_refused() -> None:
    with pytest.raises(TypeError, match="queries is a tensor on the meta device, without values"):
        _inputs.features(torch.empty(3, 2, device="meta"), "queries")


def test_tensors_share_their_memory() -> None:
    x = torch.rand(4, 6)
    for tensor in (x, x.detach().requires_grad_(), torch.nn.Parameter(x), x[1:3], x.T.T):
        assert _inputs.features(tensor).ctypes.data == tensor.data_ptr()
    for tensor in (x[:, ::2], x.T, x[::2, 1:]):
        y = _inputs.features(tensor)
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y, tensor.numpy())


def test_lists_matrices_and_protocols() -> None:
    class Dlpack:
        def __init__(self, x: np.ndarray) -> None:
            self.__dlpack__ = x.__dlpack__
            self.__dlpack_device__ = x.__dlpack_device__

    class Array:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.eye(2)

    for x in ([[1, 0], [0, 1]], np.ma.masked_array(np.eye(2)), Array(), Dlpack(np.eye(2))):
        y = _inputs.features(x)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, np.eye(2))


def test_labels() -> None:
    for x in ([0, 1, -1], np.array([0, 1, -1], np.int8), torch.tensor([0, 1, -1])):
        y = _inputs.labels(x, 3)
        assert y.dtype == np.int64
        assert y.tolist() == [0, 1, -1]
    with pytest.raises(ValueError, match=r"labels has shape \(3,\), but there are 4 samples"):
        _inputs.labels([0, 1, 2], 4)
    with pytest.raises(TypeError, match="camids must hold integers, got dtype bool"):
        _inputs.labels(np.ones(3, bool), 3, "camids")


def test_numbers() -> None:
    assert _inputs.ints("k", np.int32(3), low=1) == 3
    assert _inputs.real("eps", np.float32(0.5), low=0.0) == 0.5
    assert _inputs.real("eps", 1, low=0.0) == 1.0
    for value in (0, -4):
        with pytest.raises(ValueError, match=f"k={value}: must be at least 1"):
            _inputs.ints("k", value, low=1)
    for value in (2.0, "2", None, True):
        with pytest.raises(TypeError, match="k="):
            _inputs.ints("k", value, low=1)
    for value in (-0.1, np.nan, np.inf, True):
        with pytest.raises(ValueError, match="eps="):
            _inputs.real("eps", value, low=0.0)


def test_jobs() -> None:
    assert _inputs.jobs(None) >= 1
    assert _inputs.jobs(np.int64(3)) == 3
