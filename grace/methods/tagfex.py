"""TagFex: expansion fed by features that no task has shaped (Zheng et al., CVPR 2025)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch.nn.functional as F
from torch import nn

from grace.checks import require
from grace.learner import Learner
from grace.losses import auxiliary_targets, info_nce, mean_where
from grace.nets.attention import MergeAttention, fitting_heads
from grace.nets.backbone import Backbone
from grace.nets.heads import LinearHead
from grace.streams.samples import Batch, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """TagFex's hyper-parameters; where a size is 0 it follows from the backbone's width."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # authors' code, as DER
    expand: Recipe = Recipe(170, weight_decay=2e-4, milestones=(80, 120, 150))  # authors' code, as DER
    auxiliary: float = 2.0  # authors' code: weight of the auxiliary loss
    contrast: float = 1.0  # authors' code: weight of both contrastive terms
    distil: float = 2.0  # authors' code: weight of the second of them, InfoNCE_kd, against the first
    trans: float = 1.0  # authors' code: weight of the merged features' cross-entropy
    transfer: float = 1.0  # authors' code: weight of their distillation into the new branch
    temperature: float = 0.2  # authors' code: of the contrastive terms
    transfer_temperature: float = 2.0  # authors' code
    share: float = 0.05  # authors' code: of the task-agnostic net in a new branch, whose rest is the branch before
    hidden: int = 0  # authors' code: 2048 for width 512 and 512 for 64, so 0 is 4 widths from 512 on and 8 below
    projected: int = 0  # authors' code: 1024 for width 512 and 128 for 64, so 0 is 2 widths
    heads: int = (
        0  # authors' code: 8 for width 512; 0 is that from 512 on, below the most of 8, 4, 2, 1 with 16 channels
    )
    zero_new_columns: bool = True  # authors' code; False: old rows on new columns are drawn, as in PyCIL

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        for name in ("auxiliary", "contrast", "distil", "trans", "transfer", "hidden", "projected", "heads"):
            require(getattr(self, name) >= 0, f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("temperature", "transfer_temperature"):
            require(getattr(self, name) > 0, f"{name} must be above 0, not {getattr(self, name)}")
        require(0 <= self.share <= 1, f"share must lie in [0, 1], not {self.share}")


class TagFex(Learner):
    """DER whose new branch also learns from a net trained without labels, which is kept aside and never classifies.

    Departs from the authors' code: the head is aligned before exemplars are chosen, not after (they depend on features
    alone, so it is the same); attention without output projection; sizes for widths other than 512 follow a rule, where
    their ResNet-32 configuration lacks the number of heads and fails at the second task.
    """

    title = "TagFex"
    family = "expansion"
    reference = "CVPR 2025"
    growth = "per-task"
    config: Config

    def make_aside(self) -> dict[str, nn.Module]:
        """Return the task-agnostic backbone, its projector, and the predictor of its former embedding."""
        width, config = self.net.width, self.config
        hidden = config.hidden or (4 if width >= 512 else 8) * width
        projector = (LinearHead(width, hidden), nn.ReLU(), LinearHead(hidden, config.projected or 2 * width))
        inner = nn.Sequential(*projector)
        return {"agnostic": self.net.backbone(), "projector": inner, "predictor": LinearHead(width, width)}

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Grow a branch that inherits from both nets, train it with the task-agnostic net, align."""
        net, config, known = self.net, self.config, task.known
        before = net.newest if known else None
        branch = net.add_branch()
        if before is None:
            net.aside.update({name: net.placed(module) for name, module in self.make_aside().items()})
        agnostic, (projector, predictor) = cast(Backbone, net.aside["agnostic"]), list(net.aside.values())[1:]
        if before is not None:
            for own, old, shared in zip(*(m.parameters() for m in (branch, before, agnostic)), strict=True):
                own.copy_((1 - config.share) * old + config.share * shared)
        net.add_classes(task.size)
        if config.zero_new_columns:
            cast(LinearHead, net.head).weight[:known, -net.width :] = 0
        old_agnostic, old_projector = copy.deepcopy((agnostic, projector))
        auxiliary, trans = LinearHead(net.width, task.size + 1), LinearHead(net.width, task.size)
        attention = MergeAttention(net.width, config.heads or fitting_heads(net.width))

        def loss(batch: Batch) -> Losses:
            out, maps = net(batch.x), agnostic(batch.x)
            free, r = Backbone.pool(maps[-1]), known / task.seen
            ce, z = F.cross_entropy(out.logits, batch.y), projector(free)
            terms = {"ce": ce, "contrast": config.contrast * (1 - r) * info_nce(z, z, config.temperature)}
            if known == 0:
                return terms
            then, former = old_projector(predictor(free)), old_projector(old_agnostic.features(batch.x))
            scores = auxiliary(out.features[:, -net.width :])
            merged, new = trans(attention(out.maps[-1], maps[-1])), batch.y >= known
            targets = (batch.y - known).clamp(min=0)
            cross = mean_where(new, F.cross_entropy(merged, targets, reduction="none"))
            own, soft = (z / config.transfer_temperature for z in (out.logits[:, known:], merged.detach()))
            divergence = F.kl_div(own.log_softmax(1), soft.log_softmax(1), reduction="none", log_target=True).sum(1)
            return terms | {
                "aux": config.auxiliary * F.cross_entropy(scores, auxiliary_targets(batch.y, known)),
                "distil": config.contrast * config.distil * r * info_nce(then, former, config.temperature),
                "trans": config.trans * cross,
                "transfer": config.transfer * mean_where(new, divergence) * (cross < ce),  # only from the better one
            }

        name, recipe = ("expand", config.expand) if known else ("initial", config.initial)
        trains = [branch, net.head, agnostic, projector]
        trains += [predictor, auxiliary, attention, trans] if known else []
        trainer.fit(Phase(name=name, trains=trains, data=self.replayed(task), loss=loss, recipe=recipe, views=2))
        if known:
            net.head.align(task.size)
        trainer.note(backbones=len(net.branches))
