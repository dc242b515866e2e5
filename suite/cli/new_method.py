"""`new method`: a method's file that runs as it is, and what registers it."""

from __future__ import annotations

import re
from keyword import iskeyword
from pathlib import Path

import click

import grace
from grace.methods import METHODS
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import command as typed
from suite.cli.words import program
from suite.errors import Exit, SuiteError

TEMPLATE = '''"""{title}: what it does, in one line (authors, venue year)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F

{imports}


@dataclass(frozen=True)
class Config:
    """Every number that can be set, with its source behind it."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # FILL IN: paper, section
    later: Recipe = Recipe(70, weight_decay=2e-4, milestones=(30, 50))  # FILL IN: paper, section


class {name}(Learner):
    """FILL IN: what it does, and how it departs from its source.

    As it stands it is plain replay: cross-entropy on the new classes and the exemplars.
    """

    title = "{title}"
    family = "single backbone"  # or "floor", "expansion"
    reference = ""  # FILL IN: venue and year
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """FILL IN: the phases of a task; the engine does the loop, exemplars, evaluation and checkpoints."""
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> {losses}:
            return {{"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}}  # named terms; their sum is minimised

        recipe = self.config.later if task.known else self.config.initial
        data = self.replayed(task)  # the new images and the exemplars; task.train has the new ones alone
        trainer.fit(Phase(name="learn", trains=[self.net], data=data, loss=loss, recipe=recipe))
'''
INSIDE = """from grace.learner import Learner
from grace.streams.samples import Batch, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer"""
OUTSIDE = """from torch import Tensor

from grace import Batch, Learner, Phase, Recipe, Task, Trainer"""
LINE = re.compile(r'^    "(\w+)": "grace\.methods\.\w+:\w+",$')


@click.command(cls=Verb, name="method")
@click.argument("name")
@click.option("--path", type=click.Path(path_type=Path), metavar="FILE.py", help="Outside of the suite: a plugin.")
@click.pass_obj
def command(settings: Settings, name: str, path: Path | None) -> None:
    """A method called NAME: its file and its line in the registry, or with --path a file of your own.

    What it writes runs as it is and passes check-method; it says what to fill in.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or iskeyword(name):
        raise SuiteError(f'{name}: a method is called by small letters, digits and _, such as "my_method"', Exit.USAGE)
    if name in METHODS:
        raise SuiteError(f"there is a method {name} (show {name}); choose another name", Exit.USAGE)
    file, registry = (_plugin(path, name), None) if path else _checkout(name)
    if file.exists():
        raise SuiteError(f"{file} exists; choose another name", Exit.USAGE)
    words = name.split("_")
    title = "".join(word[:1].upper() + word[1:] for word in words)
    parts = {"imports": OUTSIDE, "losses": "dict[str, Tensor]"} if path else {"imports": INSIDE, "losses": "Losses"}
    lines = None if registry is None else _registered(registry, name, title)
    with file.open("x", encoding="utf-8") as written:
        written.write(TEMPLATE.format(name=title, title=title, **parts))
    if registry is not None and lines is not None:
        registry.write_text(lines, encoding="utf-8")
    plugin = ["--plugin", str(file)] if path else []
    check = typed(program(), "check-method", str(file) if path else name)
    run = typed(program(), "run", "-m", name, "-p", "digits-b0i2", *plugin)
    if settings.json:
        settings.emit(
            {"file": str(file), "registry": None if registry is None else str(registry), "next": [check, run]}
        )
        return
    out = settings.out
    out.print(f"{file}: {title}, plain replay until you fill in what it says", soft_wrap=True)
    if registry is not None:
        out.print(f"{registry}: one line, which makes it known as {name}", soft_wrap=True)
    settings.note(f"next: {check}\n      {run}\nread: docs/adding_a_method.md")


def _plugin(path: Path, name: str) -> Path:
    """Return the file of a plugin: its stem is its name."""
    if path.suffix != ".py" or path.stem.lower() != name:
        raise SuiteError(f"--path {path}: a plugin is called by its file: {path.with_name(f'{name}.py')}", Exit.USAGE)
    return path


def _checkout(name: str) -> tuple[Path, Path]:
    """Return the file of a method of ours and the registry; raises SuiteError outside of a checkout."""
    top = Path(grace.__path__[0]).parent
    here = Path.cwd()
    if not (top / "run_suite.py").is_file() or not here.is_relative_to(top):
        raise SuiteError(
            f"this is no checkout of the suite, so give the file: new method {name} --path {name}.py", Exit.USAGE
        )
    folder = (top / "grace" / "methods").relative_to(here) if here == top else top / "grace" / "methods"
    return folder / f"{name}.py", folder / "__init__.py"


def _registered(registry: Path, name: str, learner: str) -> str:
    """Return the registry with one more line, in its place by the alphabet."""
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    names = {i: found[1] for i, line in enumerate(lines) if (found := LINE.fullmatch(line.rstrip("\n")))}
    if not names:
        raise SuiteError(f"{registry} has no lines of methods to put {name} among", Exit.BUG)
    place = next((i for i, other in names.items() if other > name), max(names) + 1)
    lines.insert(place, f'    "{name}": "grace.methods.{name}:{learner}",\n')
    return "".join(lines)
