"""One run on several processes, its ranks: what they share out, sum up, and hold each other to.

Every rank does all of a run but for the images: of each batch, of the test images and of what is mapped it takes a
share. Gradients are summed by one collective after the backward pass, which may be compiled or replayed; nothing wraps
a net, so that phases may train whatever they like.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from grace.storage.folders import Folder
from grace.training import checkpoint
from grace.training.digest import digest

if TYPE_CHECKING:
    from grace.training.trainer import Observer, Progress

T = TypeVar("T")
LEAST = 2  # images of a share: one alone may leave batch norm with one value per channel
SETTLING = 60.0  # seconds in which the ranks must come to the end of a run one after the other


class RanksDiffer(Exception):
    """What should be one and the same is not the same on every rank; names what, and which ranks."""


class RankFailed(Exception):
    """What rank 0 was to decide it could not; says why."""


class RankLost(Exception):
    """The ranks can no longer work together: one has failed where the others have not, or is gone."""


@dataclass(frozen=True)
class Ranks:
    """The processes that work on one run; by default this one alone, for which everything here does nothing.

    With several, all of them call the same methods in the same order, in torch's default process group.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes, and decides when to stop."""
        return self.rank == 0

    @property
    def address(self) -> tuple[object, ...]:
        """What is added to an address of randomness where images of one batch should not get the same draws."""
        return () if self.leads else ("rank", self.rank)

    def share(self, rows: Tensor, least: int = LEAST) -> Tensor:
        """Return this rank's share of a batch [B]: a contiguous one; all of a batch too small for `least` each."""
        if self.count == 1 or len(rows) < least * self.count:
            return rows
        return torch.tensor_split(rows, self.count)[self.rank]

    def reduce(self, params: Sequence[nn.Parameter], terms: Tensor, own: int, images: int) -> Tensor:
        """Turn gradients of `own` images into those of the batch of `images`, and return its loss terms [terms].

        Each rank counts by its share, or all alike where the whole batch was too small to share. A parameter without a
        gradient on any rank has none afterwards either. A term that is not finite on one rank is not on all.
        """
        if self.count == 1:
            return terms
        missing = [parameter.grad is None for parameter in params]
        for parameter in params:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in params if parameter.grad is not None]
        flat = torch.cat([*(g.flatten() for g in gradients), terms.float(), _given(tuple(missing), terms.device)])
        flat *= own / images if own < images else 1 / self.count
        _group().all_reduce(flat)
        sizes = [*(g.numel() for g in gradients), len(terms), len(missing)]
        *pieces, found, given = torch.split(flat, sizes)
        torch._foreach_copy_(gradients, [p.view(g.shape) for p, g in zip(pieces, gradients, strict=True)])
        if any(missing):  # only then is the device waited for
            for parameter, somewhere in zip(params, given.tolist(), strict=True):
                if not somewhere:
                    parameter.grad = None
        return found

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their sums over the ranks."""
        if self.count > 1:
            for tensor in tensors:
                _group().all_reduce(tensor)

    def average(self, modules: Iterable[object]) -> None:
        """Replace the floating-point buffers of modules, which are batch norms' statistics, by means over the ranks."""
        if self.count > 1:
            inside = (buffer for module in modules if isinstance(module, nn.Module) for buffer in module.buffers())
            for buffer in inside:
                if buffer.is_floating_point():
                    _group().all_reduce(buffer)
                    buffer /= self.count

    def gathered(self, part: Tensor, rows: Tensor) -> Tensor:
        """Return [n, ...] for `rows` [n] of what each rank has for its share of them with `least` 1: in order."""
        if self.count == 1 or len(rows) < self.count:
            return part
        pieces = []
        for rank, share in enumerate(torch.tensor_split(rows, self.count)):
            piece = part.contiguous() if rank == self.rank else part.new_empty(len(share), *part.shape[1:])
            _group().broadcast(piece.view(-1).view(torch.uint8), src=rank)  # not every type can be sent
            pieces.append(piece)
        return torch.cat(pieces)

    def decided(self, ask: Callable[[], T]) -> T:
        """Return what `ask` answers rank 0; where it raises there, so do the others."""
        if self.count == 1:
            return ask()
        answer: list[Any] = [None, ""]
        try:
            if self.leads:
                answer = [ask(), ""]
        except BaseException as error:
            answer = [None, line(error)]
            raise
        finally:
            _group().broadcast_object_list(answer, src=0)
        if answer[1]:
            raise RankFailed(f"rank 0: {answer[1]}")
        decision: T = answer[0]
        return decision

    def observer(self, observe: Observer) -> Observer:
        """Return an observer that is rank 0's alone, and whose answer holds for all: they stop at the same point."""

        def observed(progress: Progress) -> bool:
            return self.decided(lambda: observe(progress))

        return observed if self.count > 1 else observe

    def agree(self, what: str, state: object) -> None:
        """Raise RanksDiffer, naming `what`, unless every rank comes with the same state; it is compared by its hash."""
        if self.count == 1:
            return
        found = self._all(digest(state))
        others = [str(rank) for rank, each in enumerate(found) if each != found[0]]
        if others:
            ranks = f"rank {others[0]} differs" if len(others) == 1 else f"ranks {', '.join(others)} differ"
            raise RanksDiffer(f"{what}: {ranks} from rank 0; all ranks need machines, code and data of one kind")

    def load(self, path: Folder | None) -> dict[str, Any] | None:
        """Return what a checkpoint holds, the same on every rank; raises RanksDiffer naming one that does not see it.

        Rank 0 goes first: it removes what cannot be read.
        """
        saved = checkpoint.load(path) if path is not None and self.leads else None
        if self.count == 1 or path is None:
            return saved
        if self.decided(lambda: saved is not None) and not self.leads:
            saved = checkpoint.load(path)
        found = self._all((socket.gethostname(), saved is not None))
        for rank, (host, seen) in enumerate(found):
            if seen != found[0][1]:
                raise RanksDiffer(f"rank {rank} on {host} does not see {path}, which rank 0 on {found[0][0]} has read; "
                                  "all ranks need the same results folder")  # fmt: skip
        self.agree(str(path), saved)
        return saved

    def settle(self, reason: str = "") -> None:
        """Meet at the end of a run, `reason` being why it failed here; raises RankLost where only some have failed.

        Raises RankLost, too, where a rank does not come: it may be waiting for those that have failed.
        """
        if self.count == 1:
            return
        try:
            reasons: list[str] = [""] * self.count
            _group().all_gather_object(reasons, reason, group=_apart())
        except RuntimeError as error:  # torch's, for a process that is gone or late
            raise RankLost(f"rank {self.rank}: {reason or line(error)}") from error
        if any(reasons) and not all(reasons):
            raise RankLost("; ".join(f"rank {rank}: {each}" for rank, each in enumerate(reasons) if each))

    @contextmanager
    def meeting(self, call: str = "") -> Iterator[None]:
        """Do a run's work inside, and `settle` at its end, however it comes; `call` is told those who await it."""
        if call:
            self.decided(lambda: call)
        try:
            yield
        except Exception as error:
            self.settle(line(error))
            raise
        self.settle()

    def _all(self, value: object) -> list[Any]:
        """Return every rank's value."""
        found: list[Any] = [None] * self.count
        _group().all_gather_object(found, value)
        return found


ALONE = Ranks()


def joined() -> Ranks:
    """Return the ranks of the process group that this process is in; itself alone where there is none."""
    group = _group()
    if not group.is_available() or not group.is_initialized() or group.get_world_size() == 1:
        return ALONE
    _apart()  # made by all at the same time
    return Ranks(group.get_rank(), group.get_world_size())


def line(error: BaseException) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}".rstrip(": ")


def _group() -> Any:
    """Return torch's collectives, which are imported only where a run has ranks."""
    import torch.distributed

    return torch.distributed


@cache
def _given(missing: tuple[bool, ...], device: torch.device) -> Tensor:
    """Return 1 for each parameter that has a gradient, float [params]: kept, since a copy to a GPU would stall it."""
    return torch.tensor([0.0 if none else 1.0 for none in missing], device=device)


@cache
def _apart() -> Any:
    """Return a group of the same processes with a patience of its own, on which nothing else waits."""
    return _group().new_group(backend="gloo", timeout=timedelta(seconds=SETTLING))
