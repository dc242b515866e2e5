"""The batches of an epoch: their order and views are functions of seeds, whoever makes them and however many share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from grace.nets.arithmetic import laid_out
from grace.streams.samples import Batch, Samples
from grace.training.parallel import Ranks


def batches(
    samples: Samples,
    size: int,
    device: torch.device,
    ranks: Ranks,
    *,
    order: int,
    views: Sequence[int],
    dealt: bool = False,
) -> Iterator[Batch]:
    """Yield the samples shuffled and augmented: this rank's share of each batch, or whole batches that are `dealt` out.

    `order` and `views` are seeds, one for each view of an image.
    """
    shuffle = torch.Generator().manual_seed(order)
    rows = samples.rows[torch.randperm(len(samples), generator=shuffle)]
    labels = samples.source.y[rows]
    # one image alone may leave batch norm with one value per channel: it joins the batch before
    tail = size + 1 if len(rows) > size and len(rows) % size == 1 else 0
    places = torch.arange(len(rows))
    whole = [*torch.split(places[: len(rows) - tail], size), *([places[len(rows) - tail :]] if tail else [])]
    whole = [piece for piece in whole if len(piece)]
    if dealt:
        whole = whole[ranks.rank :: ranks.count]
    shares = whole if dealt else [ranks.share(piece) for piece in whole]
    images = iter([len(piece) for piece in whole])
    for section in _sections(shares):
        own, step = torch.cat(section), len(section[0])
        stream = samples.source.stream(rows[own], step, "train", views[0], views[1:])
        for x, y in zip(stream, torch.split(labels[own].to(device), step), strict=True):
            targets = y.repeat(len(views)) if len(views) > 1 else y
            yield Batch(laid_out(x.to(device)), targets, next(images))


def _sections(shares: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the shares as a dataset streams them in one go: of one size, but for a last one that may be smaller."""
    sections: list[list[Tensor]] = []
    for share in shares:
        if sections and len(share) <= len(sections[-1][-1]) == len(sections[-1][0]):
            sections[-1].append(share)
        else:
            sections.append([share])
    return sections
