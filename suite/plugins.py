"""Methods that live elsewhere: files given with --plugin, and entry points of installed packages.

A plugin is its text: read once, known by its digest, carried to wherever runs are worked on, and imported from there.
Imports neither torch nor a plugin until a method is asked for.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grace.methods import BUILT_IN, GROUP, METHODS, method
from suite.errors import SuiteError, unknown
from suite.plugin import Plugin, PluginError, look_over, source_of, spec_of

if TYPE_CHECKING:
    from grace.learner import Learner

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
REGISTERED: dict[str, Plugin] = {}  # by method name


def load_plugins(files: Iterable[str | Path], texts: Mapping[str, str] | None = None) -> list[Plugin]:
    """Make the methods in these files known, and those of installed packages; return the former.

    `texts` are sources by method name that go before what the files hold now. Raises SuiteError for a file that cannot
    be read and for a name that is taken.
    """
    found: dict[str, Plugin] = {}
    for file in files:
        plugin = read_plugin(Path(file), texts or {})
        other = found.setdefault(plugin.name, plugin)
        if other.digest != plugin.digest:
            raise SuiteError(f"{other.file} and {plugin.file} are both called {plugin.name}; rename one")
    for plugin in found.values():
        adopt(plugin)
    _adopt_installed()
    return list(found.values())


def read_plugin(path: Path, texts: Mapping[str, str]) -> Plugin:
    """Return the plugin in a file, under the file's stem; raises SuiteError when that cannot be."""
    path = path.expanduser().absolute()
    name = path.stem.lower()
    if path.suffix != ".py" or not NAME.fullmatch(name):
        raise SuiteError(f"{path}: a plugin is a Python file that is called as its method, such as my_method.py")
    if name in texts:
        return Plugin(name, str(path), texts[name])
    try:
        return Plugin(name, str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}") from None


def adopt(plugin: Plugin) -> None:
    """Make a plugin's method known in this process; raises SuiteError for a name that is taken."""
    if plugin.name in BUILT_IN:
        raise SuiteError(f"{plugin.file}: {plugin.name} is a method of the suite's own; rename the file")
    installed = installed_plugins().get(plugin.name)
    if installed and installed.digest != plugin.digest:
        raise SuiteError(f"{plugin.file}: {plugin.name} is also a method of {installed.package}; rename the file")
    REGISTERED[plugin.name] = plugin
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    try:
        METHODS[plugin.name] = plugin.place
    except PluginError:
        METHODS[plugin.name] = ""  # known, so that whoever asks for it is told what is wrong


def plugin_of(name: str) -> Plugin | None:
    """Return the plugin that a method's name stands for here, None for one of our own or of nobody's."""
    if name not in METHODS:
        _adopt_installed()
    return REGISTERED.get(name) if name in METHODS else None


def digest_of(name: str) -> str:
    """Return the digest of a method's plugin, empty for one of our own."""
    plugin = plugin_of(name)
    return plugin.digest if plugin else ""


def checked(name: str) -> None:
    """Raise PluginError for a plugin whose text shows that it cannot work, and SuiteError for an unknown name."""
    plugin = plugin_of(name)
    if name not in METHODS:
        raise unknown("method", name, METHODS, see="list methods")
    if plugin is not None:
        look_over(plugin)


def loaded(name: str, digest: str) -> tuple[type[Learner], type]:
    """Return a method's learner class and Config class, if it is what a run was planned with.

    Raises SuiteError for another text than the digest's, and PluginError with file and line for one that fails.
    """
    checked(name)
    plugin = plugin_of(name)
    if digest != digest_of(name):
        place = plugin.file if plugin else "the suite's own"
        raise SuiteError(f"{name} here ({place}) is not the one that the run was planned with; plan it anew")
    if plugin is None:
        return method(name)
    try:
        return method(name)
    except Exception as error:
        raise fault(plugin, error) from error


def fault(plugin: Plugin, error: BaseException, doing: str = "it does not import") -> PluginError:
    """Return the error of a plugin for what went wrong in it, at its innermost line that was being executed."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == plugin.file]
    text = next(iter(str(error).strip().splitlines()), "")
    return PluginError(
        f"{doing}: {type(error).__name__}: {text}".rstrip(": "), plugin.file, (own[-1] if own else 1) or 1
    )


@cache
def installed_plugins() -> dict[str, Plugin]:
    """Return the methods of installed packages by name; one that is called as ours is left out, see `refused`."""
    return {name: plugin for name, plugin in _entry_points().items() if name not in BUILT_IN}


def refused() -> list[str]:
    """Return a line for each entry point whose name is taken."""
    return [
        f"method {name} of {plugin.package} is left out: {name} is a method of the suite's own"
        for name, plugin in _entry_points().items()
        if name in BUILT_IN
    ]


@cache
def _entry_points() -> dict[str, Plugin]:
    from importlib.metadata import entry_points

    found = {}
    for entry in entry_points(group=GROUP):
        spec = spec_of(entry.module)
        file = str(spec.origin) if spec and spec.origin else entry.module
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
        found[entry.name.lower()] = Plugin(entry.name.lower(), file, source_of(spec), entry.module, entry.attr, package)
    return found


def _adopt_installed() -> None:
    for name, plugin in installed_plugins().items():
        if name not in METHODS:
            REGISTERED[name] = plugin
            METHODS[name] = plugin.place


class _Finder(MetaPathFinder):
    """Finds the modules of the plugins that are known here."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        for plugin in REGISTERED.values():
            if not plugin.module and METHODS.get(plugin.name, "").partition(":")[0] == fullname:
                return spec_from_loader(fullname, _Loader(plugin))
        return None


class _Loader(ExecutionLoader):
    """Imports a plugin from its text, whether its file is there, and still the same, or not."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def is_package(self, fullname: str) -> bool:
        return False

    def get_filename(self, fullname: str) -> str:
        return self._plugin.file

    def get_source(self, fullname: str) -> str:
        return self._plugin.source
