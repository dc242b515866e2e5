"""What a method declares, read off its source: lists and plans must not wait for torch."""

from __future__ import annotations

import ast
import inspect
import io
import sys
import tokenize
from dataclasses import dataclass
from functools import cache
from typing import Any

from grace import _EXPORTS
from grace import __name__ as library
from grace.methods import METHODS, method
from suite.configure import plain
from suite.errors import Exit, SuiteError
from suite.plugin import PluginError, source_of, spec_of
from suite.plugins import checked, digest_of, fault, loaded, plugin_of

# Modules that a Config may draw on without torch being imported; the standard library is free too.
LIGHT = {"grace.checks", "grace.training.phase", "grace.streams.catalogue", "grace.streams.protocol"}


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A method as its file declares it. `config` is the Config dataclass, executed alone where that can be done."""

    name: str
    module: str  # or a plugin's file
    title: str  # as the paper writes it
    family: str  # the group it is shown with in tables
    reference: str  # where it was published
    growth: str  # of its backbones: "fixed", "per-task", or "data" where the images decide
    uses_memory: bool
    shared_stem: bool  # its branches are last stages on one stem
    closed_form: bool  # tasks after the first take no training
    cumulative: bool  # is handed the images of every class seen, as an upper bound is
    about: str  # first line of the module's docstring
    doc: str  # the learner's docstring: what it does and how it departs from its source
    config: type
    comments: dict[str, str]  # per field: where its number comes from


def declared(name: str) -> Declaration:
    """Return the declaration of a method; raises SuiteError for an unknown name, PluginError for a faulty plugin."""
    checked(name)
    return _declared(name, METHODS[name])


@cache
def _declared(name: str, place: str) -> Declaration:
    module, _, learner = place.partition(":")
    source, tree = _parsed(module)
    nodes = _definitions(tree)
    config, class_ = nodes.get("Config"), nodes.get(learner)
    doc = ast.get_docstring(class_) if isinstance(class_, ast.ClassDef) else None
    variables = _class_variables("grace.learner", "Learner") | _class_variables(module, learner)
    plugin = plugin_of(name)
    if plugin and (lacking := [name for name in ("title", "family") if name not in variables]):
        words = f"the class variable {lacking[0]} is missing, or more than plain text"
        raise PluginError(words, plugin.file, class_.lineno if class_ else 1)
    return Declaration(
        name=name,
        module=plugin.file if plugin else module,
        title=variables["title"],
        family=variables["family"],
        reference=variables["reference"],
        growth=variables["growth"],
        uses_memory=variables["uses_memory"],
        shared_stem=variables["shared_stem"],
        closed_form=variables["closed_form"],
        cumulative=variables["cumulative"],
        about=(ast.get_docstring(tree) or "").partition("\n")[0],
        doc=doc or "",
        config=_config(name, module, nodes),
        comments=_comments(source, config) if isinstance(config, ast.ClassDef) else {},
    )


@cache
def _parsed(module: str) -> tuple[str, ast.Module]:
    """Return a module's source and its tree; nothing is imported."""
    spec = spec_of(module)
    if spec is None or spec.origin is None:
        raise SuiteError(f"module {module} is registered as a method but has no source file", Exit.BUG)
    source = source_of(spec)
    return source, ast.parse(source, spec.origin)


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return the module-level statement that defines each name."""
    nodes: dict[str, ast.stmt] = {}
    for node in tree.body:
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                nodes.update({(alias.asname or alias.name).partition(".")[0]: node for alias in names})
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                nodes[name] = node
            case ast.Assign(targets=targets):
                nodes.update({target.id: node for target in targets if isinstance(target, ast.Name)})
    return nodes


def _class_variables(module: str, name: str) -> dict[str, Any]:
    """Return the literal class variables of a class of ours, those of its bases first."""
    nodes = _definitions(_parsed(module)[1])
    node = nodes.get(name)
    if isinstance(node, ast.ImportFrom) and (source := _source_module(node, name)).startswith("grace."):
        return _class_variables(source, name)
    if not isinstance(node, ast.ClassDef):
        return {}
    values: dict[str, Any] = {}
    for base in node.bases:
        values |= _class_variables(module, base.id) if isinstance(base, ast.Name) else {}
    for item in node.body:
        match item:
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Constant(value=value)):
                values[variable] = value
            case ast.AnnAssign(target=ast.Name(id=variable), value=ast.Constant(value=value)):
                values[variable] = value
    return values


def _source_module(node: ast.ImportFrom, name: str) -> str:
    """Return the module that a name is imported from, seen through our re-exports."""
    return _EXPORTS.get(name, library) if node.module == library else node.module or ""


def _config(name: str, module: str, nodes: dict[str, ast.stmt]) -> type:
    """Return a method's Config, for ours as it is, for a plugin with its defaults tried out."""
    plugin = plugin_of(name)
    if plugin is None:
        return _executed(module, nodes) or method(name)[1]
    try:
        config = _executed(module, nodes) or loaded(name, digest_of(name))[1]
        plain(config())
    except PluginError:
        raise
    except Exception as error:
        raise fault(plugin, error, "its Config does not work") from error
    return config


def _executed(module: str, nodes: dict[str, ast.stmt]) -> type | None:
    """Run the module's Config with what it refers to and nothing else; None if that takes more than light imports."""
    imports: list[ast.stmt] = []
    wanted: dict[int, ast.stmt] = {}
    names, seen = ["Config"], set[str]()
    while names:
        name = names.pop()
        node = nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(_one_import(node, name))
        else:
            wanted[node.lineno] = node
            names += [
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
            ]
    if not all(map(_light, imports)):
        return None
    # Annotations are evaluated here (no future import is inherited), so that field types are types.
    tree = ast.Module([*imports, *(wanted[line] for line in sorted(wanted))], type_ignores=[])
    namespace: dict[str, Any] = {"__name__": module}
    try:
        file = str(getattr(spec_of(module), "origin", module))
        exec(compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True), namespace)
    except (NameError, ImportError):
        return None
    config = namespace.get("Config")
    return config if inspect.isclass(config) else None


def _one_import(node: ast.Import | ast.ImportFrom, name: str) -> ast.Import | ast.ImportFrom:
    """Return the import statement reduced to what binds `name`."""
    aliases = [alias for alias in node.names if (alias.asname or alias.name).partition(".")[0] == name]
    return ast.Import(aliases) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, aliases, 0)


def _light(node: ast.stmt) -> bool:
    """Tell whether an import is cheap."""
    if isinstance(node, ast.ImportFrom):
        modules = [_source_module(node, alias.name) for alias in node.names]
    else:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return all(name in LIGHT or name.partition(".")[0] in sys.stdlib_module_names for name in modules)


def _comments(source: str, config: ast.ClassDef) -> dict[str, str]:
    """Return the comment that trails each field of a Config."""
    tokens = [
        token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT
    ]
    about_tools = ("# fmt:", "# noqa", "# type:")
    trailing = {
        token.start[0]: token.string[1:].strip() for token in tokens if not token.string.startswith(about_tools)
    }
    found = {}
    for item in config.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            lines = range(item.lineno, (item.end_lineno or item.lineno) + 1)
            found[item.target.id] = " ".join(trailing[line] for line in lines if line in trailing)
    return {name: comment for name, comment in found.items() if comment}
