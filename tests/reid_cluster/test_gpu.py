"""Tensors: searched on a GPU by candidates and a proof. The same code runs here on torch's CPU tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reid_cluster import _core, _gpu, _inputs, jaccard, jaccard_graph, knn

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the same code is tested on CPU tensors")
CPU = torch.device("cpu")


def clustered(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Unit rows around n / 10 centres."""
    g = np.random.default_rng(seed)
    x = g.standard_normal((n // 10, d))[g.integers(n // 10, size=n)] + 0.5 * g.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def search(x: np.ndarray, k: int, q: np.ndarray | None = None, **options: Any) -> _gpu.Found:
    tensors = torch.from_numpy(x), None if q is None else torch.from_numpy(q)
    options = {"n_jobs": 2, "progress": None} | options
    return _gpu.knn(*tensors, k, x, q, device=CPU, **options)


def assert_same(found: Any, want: Any) -> None:
    np.testing.assert_array_equal(found[0], want[0])
    assert found[1].tobytes() == want[1].tobytes()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The searches on the host: which, and of how many queries. Candidates are measured however few rows there are."""
    calls: list[tuple[str, int]] = []

    def noted(name: str, rows: Callable[..., int]) -> None:
        kernel = getattr(_core, name)

        def call(*args: Any, **options: Any) -> Any:
            calls.append((name, rows(*args, **options)))
            return kernel(*args, **options)

        monkeypatch.setattr(_core, name, call)

    noted("knn", lambda x, k, queries=None, **_: len(x if queries is None else queries))
    noted("knn_among", lambda x, lists, width, *_, **__: len(lists) // width)
    monkeypatch.setattr(_gpu, "SHARE", 1)
    return calls


@pytest.mark.parametrize("d", [1, 2, 16, 257])
@pytest.mark.parametrize("k", [1, 10, 30])
def test_the_bits_of_the_cpu(searches: list[tuple[str, int]], k: int, d: int) -> None:
    x = clustered(1500, d)
    want, others = knn(x, k), knn(x, k, queries=x[::7] + np.float32(0.01))
    searches.clear()
    assert_same(search(x, k), want)
    assert searches[0] == ("knn_among", 1500)
    assert_same(search(x, k, x[::7] + np.float32(0.01)), others)
    if d >= 16:
        assert [name for name, _ in searches] == ["knn_among", "knn_among"]  # all was proven at once


@given(data=st.data(), n=st.integers(1, 60), d=st.integers(1, 5))
@settings(deadline=None, max_examples=80)
def test_ties_and_copies(data: st.DataObject, n: int, d: int) -> None:
    x = data.draw(arrays(np.float32, (n, d), elements=st.integers(-2, 2).map(float)))
    k = data.draw(st.integers(1, n))
    q = x[: data.draw(st.integers(1, n))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gpu, "SHARE", 1)
        patch.setattr(_gpu, "SPARE", data.draw(st.integers(0, 3)))
        patch.setattr(_gpu, "SCORES", data.draw(st.integers(1, 500)))
        patch.setattr(_gpu, "PORTION", data.draw(st.integers(1, 500)))
        assert_same(search(x, k), knn(x, k))
        assert_same(search(x, k, q), knn(x, k, queries=q))


def hard_cases() -> dict[str, np.ndarray]:
    x, g = clustered(900, 24), np.random.default_rng(5)
    copies = x.copy()
    copies[100:160] = x[7]
    near = x.copy()
    near[100:160] = x[7] + 1e-7 * g.standard_normal((60, 24))
    zeros = x.copy()
    zeros[::2] = 0
    giant = x.copy()
    giant[3] *= 1e6
    return {
        "copies": copies,
        "near copies": near,
        "zero rows": zeros,
        "equal rows": np.ones((900, 24), np.float32),
        "small offset": x + np.float32(3),
        "large offset": x + np.float32(3000),
        "one giant row": giant,
        "norms that vanish": x * np.float32(1e-22),
        "norms of every size": x * np.logspace(-30, 17, 900, dtype=np.float32)[:, None],
    }


@pytest.mark.parametrize("name", hard_cases())
def test_hard_cases(searches: list[tuple[str, int]], name: str) -> None:
    x = hard_cases()[name]
    want, others = knn(x, 20), knn(x, 20, queries=x[50:130])
    searches.clear()
    assert_same(search(x, 20), want)
    again = searches[1:]
    assert_same(search(x, 20, x[50:130]), others)
    if name == "copies":  # 41 more rows tie with the k-th neighbour of each; the second search holds them all
        assert [kernel for kernel, _ in again] == ["knn_among"]
        assert 61 <= again[0][1] < 200
    if name in ("equal rows", "large offset"):  # nothing can be proven, and the CPU searches
        assert again == [("knn_among", 900), ("knn_among", 900), ("knn", 900)]
    if name == "one giant row":  # its norm loosens its own bound, not that of others
        assert all(rows == 1 for _, rows in again)


def test_few_rows_and_all_neighbours_are_left_to_the_cpu() -> None:
    x = clustered(300, 8)
    for k in (1, 299, 300):
        assert_same(search(x, k), knn(x, k))
    one = np.ones((1, 1), np.float32)
    assert_same(search(one, 1), knn(one, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32])
@pytest.mark.parametrize("layout", ["rows", "columns", "gradient"])
def test_types_and_layouts(searches: list[tuple[str, int]], dtype: torch.dtype, layout: str) -> None:
    x = (torch.from_numpy(clustered(600, 12)) * 1000).to(dtype)
    if layout == "columns":
        x = x.T.contiguous().T
    elif layout == "gradient" and dtype.is_floating_point:
        x.requires_grad_()
    host = _inputs.features(x)
    found = _gpu.knn(x, None, 9, host, None, n_jobs=1, progress=None, device=CPU)
    assert searches[0][0] == "knn_among"
    assert_same(found, knn(host, 9))
    assert_same(
        _gpu.knn(host, x[:50], 9, host, host[:50], n_jobs=1, progress=None, device=CPU), knn(x, 9, queries=x[:50])
    )


def test_memory_that_runs_out_halves_the_block(monkeypatch: pytest.MonkeyPatch, searches: list[Any]) -> None:
    x, sizes, smallest = clustered(700, 8), [], _gpu._smallest

    def short_of_memory(seekers: Any, rows: np.ndarray, *others: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 100:
            raise torch.cuda.OutOfMemoryError("none left")
        return smallest(seekers, rows, *others)

    monkeypatch.setattr(_gpu, "_smallest", short_of_memory)
    assert_same(search(x, 5), knn(x, 5))
    assert sizes == [700, 350, 175, *[87] * 8, 4]

    def no_memory(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("none left")

    monkeypatch.setattr(_gpu, "_smallest", no_memory)
    with pytest.raises(MemoryError, match=r"distances of one row to 700 \(none left\).* give features.cpu\(\)"):
        search(x, 5)


def test_progress_and_interruption_between_blocks(monkeypatch: pytest.MonkeyPatch, searches: list[Any]) -> None:
    x, told = clustered(700, 8), []
    monkeypatch.setattr(_gpu, "SCORES", 100 * 700)
    search(x, 5, progress=lambda *state: told.append(state))
    blocks = [state for state in told if state[2] == "candidates"]
    assert blocks == [(done, 700, "candidates") for done in range(0, 701, 100)]
    done, total, stage = told[-1]
    assert done == total
    assert stage == "knn"

    def stop(done: int, total: int, stage: str) -> None:
        if done == 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(x, 5, progress=stop)


def test_settings_of_torch_are_overruled_and_restored(searches: list[Any]) -> None:
    x = clustered(600, 16)
    want = knn(x, 9)
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        for value in (True, False):
            matmul.allow_tf32 = value
            searches.clear()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert_same(search(x, 9), want)
            assert searches == [("knn_among", 600)]
            assert matmul.allow_tf32 is value
        with _gpu._exact_products(CPU):
            assert not matmul.allow_tf32 or matmul.fp32_precision == "ieee"
    finally:
        matmul.allow_tf32 = before


@pytest.mark.parametrize(
    ("x", "k", "q", "words"),
    [
        (np.ones((90, 2)), 91, None, "k=91: must be 1 to 90"),
        (np.ones((90, 2)), 1, np.ones((4, 3)), "queries has 3 columns and features 2"),
        (np.full((90, 2), np.nan), 1, None, "features has NaN or inf in 90 row"),
        (np.full((90, 2), 1e19), 1, None, r"features\[0\] has a squared norm beyond float32"),
        (np.ones((90, 2)), 1, np.full((4, 2), np.inf), "queries has NaN or inf in 4 row"),
    ],
)
def test_bad_arguments_are_refused_as_on_the_cpu(
    searches: list[Any], x: np.ndarray, k: int, q: np.ndarray | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        search(x.astype(np.float32), k, None if q is None else q.astype(np.float32))


@pytest.mark.parametrize("count_self", [True, False])
@pytest.mark.parametrize("k1", [7, 30, 10**6])
def test_jaccard_of_neighbours_found_so(
    monkeypatch: pytest.MonkeyPatch, searches: list[Any], k1: int, count_self: bool
) -> None:
    x = torch.from_numpy(clustered(150, 6))
    options: dict[str, Any] = {"k1": k1, "count_self": count_self}
    near = knn(x, 9)
    dense, graph = jaccard(x, **options), jaccard_graph(x, **options)
    on_cpu = _gpu.knn
    monkeypatch.setattr(_inputs, "on_gpu", lambda given: given is x)
    monkeypatch.setattr(_gpu, "knn", lambda *args, **named: on_cpu(*args, **named, device=CPU))
    searches.clear()
    np.testing.assert_array_equal(jaccard(x, **options), dense)
    found = jaccard_graph(x, **options)
    for part in ("indptr", "indices", "data"):
        assert getattr(found, part).tobytes() == getattr(graph, part).tobytes()
    assert searches[0][0] == ("knn" if k1 == 10**6 else "knn_among")
    searches.clear()
    np.testing.assert_array_equal(jaccard(x, 7, neighbors=near), jaccard(x.numpy(), 7))
    assert searches == []  # what was given is not searched for


@gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_cuda_tensors(searches: list[tuple[str, int]], dtype: torch.dtype) -> None:
    x = torch.from_numpy(clustered(5000, 200)).to(dtype)
    q = x[::3] + 0.01
    want, others = knn(x, 30), knn(x, 30, queries=q)
    searches.clear()
    torch.backends.cuda.matmul.allow_tf32, before = True, torch.backends.cuda.matmul.allow_tf32
    try:
        assert_same(knn(x.cuda(), 30), want)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert searches == [("knn_among", 5000)]
    with torch.cuda.stream(torch.cuda.Stream()):
        late = x.cuda(non_blocking=True) * 1  # made on this stream, on which the search has to wait
        assert_same(knn(late, 30, queries=q), others)
    assert_same(knn(x, 30, queries=q.cuda()), others)


@gpu
@pytest.mark.parametrize("name", hard_cases())
def test_hard_cases_on_cuda(searches: list[tuple[str, int]], name: str) -> None:
    x = hard_cases()[name]
    assert_same(knn(torch.from_numpy(x).cuda(), 20), knn(x, 20))


@gpu
def test_jaccard_of_cuda_tensors(searches: list[tuple[str, int]]) -> None:
    x = torch.from_numpy(clustered(2000, 64))
    np.testing.assert_array_equal(jaccard(x.cuda()), jaccard(x))
    found, want = jaccard_graph(x.cuda(), count_self=False), jaccard_graph(x, count_self=False)
    np.testing.assert_array_equal(found.indices, want.indices)
    np.testing.assert_array_equal(found.data, want.data)
