"""BEEF: modules trained apart with prototypes for what they do not know, then fused (Wang et al., ICLR 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.checks import require
from grace.learner import Learner
from grace.nets.heads import LinearHead
from grace.nets.langevin import climbed
from grace.streams.samples import Batch, Samples, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """BEEF's hyper-parameters; the defaults are those for CIFAR-100, a preset holds ImageNet's."""

    initial: Recipe = Recipe(200, weight_decay=5e-4)  # PyCIL, beef: cosine
    expand: Recipe = Recipe(170, weight_decay=5e-4)  # PyCIL, beef: cosine
    fuse: Recipe = Recipe(60, lr=0.05, weight_decay=5e-4)  # PyCIL, beef: cosine; the decay derived, as elsewhere
    temperature: float = 1.7  # PyCIL, beef: divides the logits of old tasks while a module is trained
    energy: float = 0.01  # PyCIL, beef: weight of the energy term
    steps: int = 3  # PyCIL, beef: gradient steps on the inputs that become negatives
    rate: float = 1e-2  # PyCIL, beef: of these steps
    noise: float = 1e-3  # PyCIL, beef: standard deviation, added at each of them
    old_bias: Literal["added", "overwritten"] = "added"  # overwritten: fusion without the old biases (PyCIL's typo)

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")
        for name in ("energy", "steps", "rate", "noise"):
            require(getattr(self, name) >= 0, f"{name} must not be negative, not {getattr(self, name)}")


def fused(old: LinearHead, own: LinearHead, owner: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the merged classifier over old and new features.

    `own` has a row per old task (backward prototypes), then one per new class; `owner` int64 [old classes] says whose
    task each is. An old class's score is that of `old` plus alpha * its task's row + beta; a new class's is its row's.
    """
    spread = owner[:, None] == torch.arange(len(alpha), device=owner.device)  # [old classes, old tasks]
    scale, shift = (spread * alpha).sum(1), (spread * beta).sum(1)  # a sum has one order of its gradient's terms
    backward, ahead = own.weight[owner], own.weight[len(alpha) :]
    bias = old.bias + scale * own.bias[owner] + shift
    weight = torch.cat([torch.cat([old.weight, scale[:, None] * backward], 1), F.pad(ahead, (old.in_features, 0))])
    return weight, torch.cat([bias, own.bias[len(alpha) :]])


class BEEF(Learner):
    """Every task trains a module alone, with a logit per old task and one per class for what is none; then fusion.

    Departs from PyCIL: the merged bias is added to the old one in fusion, too (`old_bias`). Derived from the idea where
    no source was at hand: negatives climb log sum exp of the forward logits with batch norms at rest, and go to the
    slot of their image's class among all slots; fusion is balanced by exemplars herded for the new classes as for the
    old, and maps backward logits undivided, from the identity.
    """

    title = "BEEF"
    family = "expansion"
    reference = "ICLR 2023"
    growth = "per-task"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Grow a module from the first one, train it alone, and fuse it with the others."""
        net, tasks = self.net, len(self.net.increments)
        net.add_branch(like=net.branches[0] if tasks else None)
        owner = torch.arange(tasks).repeat_interleave(torch.tensor(net.increments, dtype=torch.long)).to(net.device)
        old = cast(LinearHead, net.head)
        net.add_classes(task.size)
        own = LinearHead(net.width, tasks + task.size)
        self._expand(own, owner, task, trainer)
        alpha, beta = (nn.Parameter(make(tasks, device=net.device)) for make in (torch.ones, torch.zeros))

        def loss(batch: Batch) -> Losses:
            weight, bias = fused(old, own, owner, alpha, beta)
            if self.config.old_bias == "overwritten":
                bias = bias - F.pad(old.bias, (0, task.size))
            return {"ce": F.cross_entropy(F.linear(self.embed(batch.x), weight, bias), batch.y)}

        if len(self.memory):  # balanced: the exemplars, and as many of each new class
            new = self.herded(task, trainer, len(self.memory) // task.known)
            data = Samples(task.train.source, torch.cat(list(new.values()))) + self.memory.samples(task.train.source)
            trainer.fit(Phase(name="fuse", trains=[alpha, beta], data=data, loss=loss, recipe=self.config.fuse))
        weight, bias = fused(old, own, owner, alpha, beta)
        net.head.load_state_dict({"weight": weight, "bias": bias})
        trainer.note(backbones=len(net.branches), alphas=alpha.tolist(), betas=beta.tolist())

    def _expand(self, own: LinearHead, owner: Tensor, task: Task, trainer: Trainer) -> None:
        """Train the newest branch and `own` on old tasks and new classes; forward prototypes live only here."""
        config, branch, tasks = self.config, self.net.newest, own.out_features - task.size
        forward = LinearHead(branch.width, task.seen)
        targets = torch.cat([owner, torch.arange(tasks, own.out_features, device=owner.device)])  # per class

        def scores(x: Tensor) -> Tensor:
            features = branch.features(x)
            before, new = own(features).split([tasks, task.size], dim=1)
            return torch.cat([before / config.temperature, new, forward(features)], dim=1)

        def mass(x: Tensor) -> Tensor:
            return scores(x)[:, own.out_features :].logsumexp(dim=1)

        def loss(batch: Batch) -> Losses:
            turned = batch.x.flip(2, 3)  # by 180 degrees
            negatives = climbed(mass, turned, branch, config.steps, config.rate, config.noise)
            energy = config.energy * F.cross_entropy(scores(negatives), own.out_features + batch.y)
            return {"ce": F.cross_entropy(scores(batch.x)[:, : own.out_features], targets[batch.y]), "energy": energy}

        name, recipe = ("expand", config.expand) if tasks else ("initial", config.initial)
        trains, data = [branch, own, forward], self.replayed(task)
        trainer.fit(Phase(name=name, trains=trains, data=data, loss=loss, recipe=recipe))
