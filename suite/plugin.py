"""A plugin: a method's source that lies elsewhere, and what can be told of it without running it."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec

from suite.errors import SuiteError


class PluginError(SuiteError):
    """What is wrong with a plugin, with its file and line."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.file, self.line = file, line


@dataclass(frozen=True)
class Plugin:
    """A method's source; `package` is the distribution that registers it, empty for a file."""

    name: str
    file: str
    source: str
    module: str = ""  # of an installed package
    learner: str = ""  # the class, where an entry point names it
    package: str = ""

    @cached_property
    def digest(self) -> str:
        """Hash of the source: 12 hexadecimal digits."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]

    @property
    def place(self) -> str:
        """What `grace.methods.METHODS` holds: the module and the class."""
        apart = hashlib.sha256(f"{self.file} {self.source}".encode()).hexdigest()[:12]  # one module for each of both
        module = self.module or f"grace_plugin_{re.sub('[^a-z0-9]', '_', self.name)}_{apart}"
        return f"{module}:{self.learner or learner_class(self)}"

    def provenance(self) -> dict[str, str]:
        """Return what a record says of it."""
        return {"file": self.file, "digest": self.digest, "package": self.package}


def look_over(plugin: Plugin) -> None:
    """Raise PluginError where the text shows that the plugin cannot work: no Python, no learner, no Config."""
    tree = parsed(plugin)
    learner = plugin.learner or learner_class(plugin)
    if not any("Config" in bound(node) for node in tree.body):
        lines = [node.lineno for node in tree.body if isinstance(node, ast.ClassDef) and node.name == learner]
        words = "there is no Config: a frozen dataclass of the settings, beside the learner"
        raise PluginError(words, plugin.file, lines[0] if lines else 1)


def parsed(plugin: Plugin) -> ast.Module:
    """Return the syntax tree; raises PluginError for what is no Python."""
    try:
        return ast.parse(plugin.source, plugin.file)
    except SyntaxError as error:
        raise PluginError(f"it is not Python: {error.msg}", plugin.file, error.lineno or 1) from None


def learner_class(plugin: Plugin) -> str:
    """Return the name of the one learner in a file: a class on Learner, or on another learner, that no other is on."""
    tree = parsed(plugin)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    bases = {name: {ast.unparse(base).split(".")[-1] for base in node.bases} for name, node in classes.items()}
    roots = {"Learner"} | {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("grace.methods")
        for alias in node.names
        if alias.name != "Config"
    }

    def learns(name: str) -> bool:
        return any(base in roots or (base in bases and base != name and learns(base)) for base in bases.get(name, ()))

    found = [name for name in classes if learns(name) and not any(name in of for of in bases.values())]
    if len(found) != 1:
        what = f"{len(found)} learners ({', '.join(found)})" if found else "no learner"
        line = classes[found[1]].lineno if found else 1
        raise PluginError(f"there is {what}; a plugin has one class Name(Learner)", plugin.file, line)
    return found[0]


def bound(node: ast.stmt) -> Sequence[str]:
    """Return the names that a module-level statement binds, as far as they can be a Config."""
    match node:
        case ast.ClassDef(name=name):
            return [name]
        case ast.ImportFrom(names=names):
            return [alias.asname or alias.name for alias in names]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
    return []


def spec_of(module: str) -> ModuleSpec | None:
    """Return where a module is, without importing the packages around it; None where there is none."""
    first, *rest = module.split(".")
    try:
        spec = find_spec(first)
        for i in range(len(rest)):
            inside = spec.submodule_search_locations if spec else None
            name = ".".join([first, *rest[: i + 1]])
            spec = None if inside is None else PathFinder.find_spec(name, list(inside))
    except (ImportError, ValueError):
        return None
    return spec


def source_of(spec: ModuleSpec | None) -> str:
    """Return a module's text as its loader has it; empty where it has none."""
    read = getattr(spec.loader, "get_source", None) if spec else None
    return (read(spec.name) or "") if read and spec else ""
