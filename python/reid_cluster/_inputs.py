"""What users pass, converted to what the kernels take: one rule for every function."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[int, int, str], Any]

#: More threads than any machine needs; a typing error must not ask the system for a million.
MAX_JOBS = 1024


def features(x: Any, name: str = "features") -> NDArray[np.float32]:
    """Convert `x` to a C-contiguous float32 array of shape (N, D), without a copy where it is one already.

    Parameters
    ----------
    x : array-like, shape (N, D)
        A numpy array, a torch tensor on any device, or anything with ``__array__`` or ``__dlpack__``. Real
        numbers of any width and byte order are converted; gradients are dropped.
    name : str
        The argument as the caller spells it, for messages.

    Returns
    -------
    numpy.ndarray, shape (N, D), float32

    Raises
    ------
    TypeError
        If `x` is not an array of real numbers (bool, complex, objects and strings are refused, too).
    ValueError
        If `x` is not 2-D, has no row or no column, or is masked.
    MemoryError
        If the converted copy does not fit.
    """
    array = array_of(x, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}: convert it to float32")
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (N, D), got {array.shape}: reshape it, for one sample to (1, D)")
    if array.shape[0] == 0:
        raise ValueError(f"{name} has 0 samples (shape {array.shape}): at least one row is needed")
    if array.shape[1] == 0:
        raise ValueError(f"{name} has 0 features (shape {array.shape}): at least one column is needed")
    return converted(array, np.dtype(np.float32), name)


def on_gpu(x: Any) -> bool:
    """Whether `x` is a torch tensor on a CUDA device; torch is not imported to tell."""
    return getattr(x, "is_cuda", False) is True


def labels(x: Any, n: int, name: str = "labels") -> NDArray[np.int64]:
    """Convert `x` to a C-contiguous int64 array of shape (n,).

    Parameters
    ----------
    x : array-like of int, shape (n,)
        Labels, groups or ids; whole numbers only.
    n : int
        The length wanted: one entry a sample.
    name : str
        The argument as the caller spells it, for messages.

    Returns
    -------
    numpy.ndarray, shape (n,), int64

    Raises
    ------
    TypeError
        If `x` does not hold integers.
    ValueError
        If `x` is not 1-D of length `n`, is masked, or passes int64.
    """
    array = array_of(x, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {array.dtype}: convert it to int64")
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, but there are {n} samples: give shape ({n},)")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} has {int(array.max())}: values must fit int64")
    return converted(array, np.dtype(np.int64), name)


def times(x: Any, name: str) -> NDArray[Any]:
    """Convert `x` to a 1-D array of real numbers of its own type; TypeError or ValueError otherwise."""
    array = array_of(x, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}: convert it to seconds or frames")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}: give shape (N,), a time of each sample, at least one")
    return array


def pairs(x: Any, name: str, kind: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """Convert `x` to integers of type `kind`, shape (M, 2), M may be 0; TypeError or ValueError otherwise.

    What passes the type becomes its limit, which no sample has for its number.
    """
    array = array_of(x, name)
    if array.shape in ((0,), (0, 2)):
        return np.empty((0, 2), kind)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {array.dtype}: convert it to int64")
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name} has shape {array.shape}: must be (M, 2), a pair in each row")
    if not np.can_cast(array.dtype, kind):
        low = 0 if array.dtype.kind == "u" else np.iinfo(kind).min
        array = np.clip(array, low, np.iinfo(kind).max)
    return converted(array, np.dtype(kind), name)


def ints(name: str, value: Any, low: int) -> int:
    """Return `value` as an int of at least `low`; TypeError or ValueError otherwise."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)}: must be an integer of at least {low}")
    try:
        number = operator.index(value)
    except Exception:  # __index__ of anything may raise anything
        raise TypeError(f"{name}={shown(value)}: must be an integer of at least {low}") from None
    if number < low:
        raise ValueError(f"{name}={shown(number)}: must be at least {low}")
    if number > np.iinfo(np.int64).max:
        raise ValueError(f"{name}={shown(number)}: must be below 2**63")
    return number


def real(name: str, value: Any, low: float) -> float:
    """Return `value` as a finite float of at least `low`; TypeError or ValueError otherwise."""
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except Exception:  # __float__ of anything may raise anything
        raise TypeError(f"{name}={shown(value)}: must be a finite number of at least {low}") from None
    if not math.isfinite(number) or number < low:
        raise ValueError(f"{name}={shown(value)}: must be a finite number of at least {low}")
    return number


def finite(name: str, value: Any) -> float:
    """Return `value` as a finite float of either sign; TypeError or ValueError otherwise."""
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except Exception:  # __float__ of anything may raise anything
        raise TypeError(f"{name}={shown(value)}: must be a finite number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}={shown(value)}: must be a finite number")
    return number


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False; TypeError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)}: must be True or False")
    return bool(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`; ValueError otherwise."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}={shown(value)}: must be one of {', '.join(map(repr, allowed))}")
    return value


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator given, or one seeded by an int of at least 0, or for None by the system."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is not None:
        random_state = ints("random_state", random_state, low=0)
    return np.random.default_rng(random_state)


def jobs(n_jobs: Any) -> int:
    """Return the number of threads: `n_jobs`, or for None the cores this process may use."""
    if n_jobs is None:
        try:
            return min(len(os.sched_getaffinity(0)), MAX_JOBS)
        except AttributeError:  # not Linux
            return min(os.cpu_count() or 1, MAX_JOBS)
    try:
        number = -1 if isinstance(n_jobs, (bool, np.bool_)) else operator.index(n_jobs)
    except Exception:
        number = -1
    if not 1 <= number <= MAX_JOBS:
        raise ValueError(f"n_jobs={shown(n_jobs)}: must be an integer from 1 to {MAX_JOBS}, or None for all cores")
    return number


def callback(progress: Any) -> Progress | None:
    """Return `progress` if it can be called, or None; TypeError otherwise."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress={shown(progress)}: must be callable as progress(done, total, stage), or None")
    return progress


def shown(value: Any) -> str:
    """`value` as a message shows it: one line, not too long."""
    try:
        line = " ".join(repr(value).split())
    except Exception:
        line = f"<{type(value).__name__}>"
    return line if len(line) <= 200 else f"{line[:120]} ... {line[-40:]}"


def array_of(x: Any, name: str) -> NDArray[Any]:
    """`x` as a numpy array of its own type, nothing converted; TypeError or ValueError for what is none or masked."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(f"{name} is a masked array with masked values: fill or drop them first")
        return np.asarray(x.data)
    if hasattr(x, "detach") and hasattr(x, "cpu"):
        return _from_torch(x, name)
    try:
        if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            return np.from_dlpack(x)
        return np.asarray(x)
    except MemoryError as error:
        raise MemoryError(f"{name} ({type(x).__name__}) does not fit as an array: give fewer rows") from error
    except Exception as error:  # __array__ of anything may raise anything
        why = " ".join(str(error).split())
        raise TypeError(f"{name} is no array ({type(x).__name__}: {why}): give a numpy array") from error


def _from_torch(x: Any, name: str) -> NDArray[Any]:
    """A torch tensor as numpy; torch itself is not imported."""
    if "strided" not in str(x.layout):
        raise TypeError(f"{name} is a sparse tensor ({x.layout}): give x.to_dense()")
    if x.is_meta:
        raise TypeError(f"{name} is a tensor on the meta device, without values: load it on cpu or cuda")
    x = x.detach().cpu()
    if "float16" in str(x.dtype) or "float8" in str(x.dtype):  # numpy has no bfloat16
        x = x.float()
    return np.asarray(x.resolve_conj().resolve_neg().numpy())


def converted(array: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """`array` in `dtype`, C order, aligned; copied only if it is not so already. MemoryError with the size."""
    try:
        with np.errstate(over="ignore"):  # what passes float32 becomes inf, and the kernel names its row
            return np.require(array, dtype, ["C", "A"])
    except (MemoryError, ValueError) as error:
        size = math.prod(array.shape) * dtype.itemsize / 1e9
        raise MemoryError(f"{name} of shape {array.shape} needs {size:.1f} GB as {dtype}: give fewer rows") from error
