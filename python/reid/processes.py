"""A run in several processes, as `torchrun` starts them: who this process is, and how they exchange tensors.

::

    torchrun --standalone --nproc-per-node 2 -m reid.cli.train --data crops --method cluster-contrast
    torchrun --standalone --nproc-per-node 2 --no-python reid-train --data crops --method cluster-contrast

Each process holds the network, the pictures and the memory. All draw the same batch; each trains on its contiguous
share of it; gradients are averaged, features are extracted in shards, memories are updated by all with the whole batch.
What cannot be shared out (clustering, figures, files) is done by the first process, which tells the others (`once`).
So a run does not depend on the number of its processes, but for the rounding of sums.

Tensors on the CPU travel by gloo, those on a GPU by NCCL. A step's exchanges wait a minute for the others, those beside
work of the first process alone wait as long as the others live: `torchrun` ends a run of which a process has died, and
connections to it break. In one process every function here is an identity, and `torch.distributed` is not loaded.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "add_up", "alone", "average", "check_same", "copy_from_first", "first_only", "first_to_fail", "gather", "is_first",
    "join", "leave", "local_rank", "once", "rank", "share", "size",
]  # fmt: skip

P = ParamSpec("P")
T = TypeVar("T")

STEP_TIMEOUT = timedelta(seconds=60)
"""How long a process waits for the others where all do the same work."""
_PATIENCE = timedelta(days=7)
"""How long it waits for work that others do not have."""


@dataclass(frozen=True)
class _Run:
    rank: int
    size: int
    store: Any
    """Key-value store that all processes reach while the launcher lives."""
    patient: Any
    """Process group (gloo) that waits for work of one process."""


_run: _Run | None = None
_alone = False


def join() -> None:
    """Take part in the run that `torchrun` has started; without it, or in a run of one process, nothing happens.

    Raises
    ------
    ConnectionError
        The processes do not reach each other.
    """
    global _run
    # Left-over variables of another launcher do not make a run.
    if _run is not None or "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    with _exchange():
        store, own, count = next(rendezvous("env://", timeout=STEP_TIMEOUT))
        distributed.init_process_group(backend, store=store, rank=own, world_size=count, timeout=STEP_TIMEOUT)
        patient = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    _run = _Run(own, count, store, patient)


def leave() -> None:
    """End the run's connections; call it when all went well."""
    global _run
    if _run is not None:
        from torch import distributed

        distributed.destroy_process_group()
        _run = None


def size() -> int:
    """Number of processes that work together here."""
    return 1 if _run is None or _alone else _run.size


def rank() -> int:
    """Number of this process among those that work together, from 0."""
    return 0 if _run is None or _alone else _run.rank


def local_rank() -> tuple[int, int]:
    """Number of this process on its machine, and how many there are on it."""
    if _run is None:
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def is_first() -> bool:
    """Is this the process of the run that speaks and writes?"""
    return _run is None or _run.rank == 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside the block this process works for itself, as if it were the only one."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Let the first process alone compute a function's result, and all have it. Nothing in it may need the others.

    The result must be picklable. What the function changes is changed in the first process only.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if size() == 1:
            return function(*args, **kwargs)
        from torch import distributed

        result: list[Any] = [None]
        if is_first():
            with alone():
                result = [function(*args, **kwargs)]
        assert _run is not None
        with _exchange():
            distributed.broadcast_object_list(result, src=0, group=_run.patient)
        return result[0]

    return call


def first_only(function: Callable[P, None]) -> Callable[P, None]:
    """Let the first process alone do something; the others go on at once."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        if is_first():
            with alone():
                function(*args, **kwargs)

    return call


def share(batch: T) -> T:
    """This process' contiguous share of the rows of a whole batch (array or tensor)."""
    if size() == 1:
        return batch
    rows = len(batch) // size()  # type: ignore[arg-type]
    return batch[rank() * rows : (rank() + 1) * rows]  # type: ignore[index]


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, one process after the other; each has equally many. Carries no gradient."""
    if size() == 1:
        return rows
    import torch
    from torch import distributed

    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(size())]
    with _exchange():
        distributed.all_gather(parts, rows)
    return torch.cat(parts)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes; all are on one device and of one type."""
    if size() == 1:
        return
    import torch
    from torch import distributed

    tensors = list(tensors)
    flat = torch.cat([t.reshape(-1) for t in tensors])
    with _exchange():
        distributed.all_reduce(flat)
    flat /= size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))


def add_up(rows: Tensor) -> Tensor:
    """The sum over the processes of a tensor on the CPU, however long the others take to have theirs."""
    if size() > 1:
        from torch import distributed

        assert _run is not None
        with _exchange():
            distributed.all_reduce(rows, group=_run.patient)
    return rows


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite contiguous tensors by those of the first process."""
    if size() == 1:
        return
    from torch import distributed

    assert _run is not None
    with _exchange():
        distributed.barrier(group=_run.patient)
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def check_same(what: str, value: Any) -> None:
    """Raise ValueError if `value` is not the same in all processes."""
    if size() == 1:
        return
    from torch import distributed

    assert _run is not None
    values: list[Any] = [None] * size()
    with _exchange():
        distributed.all_gather_object(values, value, group=_run.patient)
    for other, found in enumerate(values):
        if found != values[0]:
            raise ValueError(f"processes 0 and {other} disagree on the {what}: {values[0]!r} and {found!r}")


def first_to_fail() -> bool:
    """Is this process the first of the run that fails? It says why; the failures of the others are its echo."""
    if _run is None:
        return True
    try:
        return bool(_run.store.add("failed", 1) == 1)
    except RuntimeError:  # the launcher has gone too
        return True


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Name the cause when an exchange breaks off."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0].split("] ", 1)[-1]  # without the place in PyTorch's source
        if _run is None:
            place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            raise ConnectionError(f"the run's processes do not reach each other at {place} ({reason})") from error
        raise ConnectionError(
            f"process {_run.rank} of {_run.size} lost the others: one was killed (out of memory?), hangs or is cut off "
            f"({reason}); finished rounds are saved, go on with --resume"
        ) from error
