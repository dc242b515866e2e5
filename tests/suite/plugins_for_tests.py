"""Plugins in files: a sound one, and one for each way to be at fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEAD = '''"""An odd one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from grace import Batch, Learner, Phase, Recipe, Samples, Task, Trainer


@dataclass(frozen=True)
class Config:
    initial: Recipe = Recipe(2, lr=0.05, batch_size=64)
    later: Recipe = Recipe(1, lr=0.05, batch_size=64)


class Odd(Learner):
    """Replay, more or less."""

    title = "Odd"
    family = "single backbone"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)
        first = next(self.net.branches[0].parameters())

'''
SOUND = (
    HEAD
    + """        def loss(batch: Batch) -> dict[str, torch.Tensor]:
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        recipe = self.config.later if task.known else self.config.initial
        trainer.fit(Phase(name="learn", trains=[self.net], data=self.replayed(task), loss=loss, recipe=recipe))
"""
)
LOSS = "        def loss(batch: Batch) -> dict[str, torch.Tensor]:\n"
FIT = "        trainer.fit("
RETURN = "            return {"
LIST = "trains=[self.net]"


@dataclass(frozen=True)
class Fault:
    """How a sound plugin is spoiled, where that shows, and in which words."""

    old: str
    new: str
    at: str  # the line that is to be named: the first that contains this
    words: str

    def source(self) -> str:
        """The plugin's text."""
        assert SOUND.count(self.old) == 1, self.old
        return SOUND.replace(self.old, self.new)

    def line(self) -> int:
        """The number of the line that is to be named."""
        return next(i for i, line in enumerate(self.source().splitlines(), 1) if self.at in line)


FAULTS = {
    "no_python": Fault("class Odd(Learner):", "class Odd(Learner:", "class Odd(Learner:", "it is not Python"),
    "no_import": Fault("import torch\n", "import torch\nimport no_such_thing\n", "import no_such_thing",
                       "it does not import: ModuleNotFoundError: No module named 'no_such_thing'"),
    "no_config": Fault("class Config:", "class Settings:", "class Odd", "there is no Config"),
    "no_learner": Fault("class Odd(Learner):", "class Odd:", '"""', "there is no learner"),
    "two_learners": Fault("class Odd(Learner):", "class Even(Learner):\n    pass\n\n\nclass Odd(Learner):", "class Odd",
                          "there is 2 learners (Even, Odd)"),
    "no_title": Fault('    title = "Odd"\n', "", "class Odd", "the class variable title is missing"),
    "bad_config": Fault("initial: Recipe = Recipe(2,", "initial: Recipe = Recipe(0,", "Recipe(0,",
                        ": ValueError: epochs must be at least 1, not 0"),
    "unlisted": Fault(LIST, "trains=[self.net.newest], after_backward=lambda: self.net.head.bias.mul_(0.9)", FIT,
                      "changed net.head.bias, which is at rest: its trains does not list it"),
    "frozen": Fault(LIST, "trains=[self.net.head], after_backward=lambda: first.mul_(0.99)", FIT,
                    "changed net.branches.0.stem.0.weight, which is at rest"),
    "undeclared": Fault(LOSS, "        self.cache = [1]\n" + LOSS, "self.cache = ", "self.cache is in no checkpoint"),
    "foreign": Fault(FIT, "        every = Samples(task.train.source, torch.arange(len(task.train.source.y)))\n"
                     "        trainer.map(self.embed, every)\n" + FIT, "trainer.map(", "images that it was not handed"),
    "not_a_number": Fault(RETURN, "            return {'nan': first.sum() * float('nan')}\n" + RETURN, "def loss",
                          "step 0, learning rate 0.05: nan is nan"),
    "raises": Fault(FIT, "        trainer.no_such_thing()\n" + FIT, "trainer.no_such_thing", "AttributeError: "),
}  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """Write the plugin with this fault, or `sound`."""
    path = folder / f"{name}.py"
    path.write_text(SOUND if name == "sound" else FAULTS[name].source())
    return path
