"""What every verb is told in the same words, before or after its name, and where it prints."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from grace.storage.folders import Folder, folder
from suite.errors import Exit, SuiteError

PIPED_WIDTH = 200  # columns where no terminal sets a width: rows should not wrap in files


@dataclass
class Settings:
    """The options that all verbs share."""

    root: Folder = Path("results")
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    protocols: list[Path] = field(default_factory=list)
    presets: list[Path] = field(default_factory=list)
    plugins: list[Path] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)  # the command line, but for the program

    @property
    def out(self) -> Console:
        """The console for what was asked for."""
        return self._console(stderr=False)

    @property
    def err(self) -> Console:
        """The console for remarks, which a pipe should not swallow."""
        return self._console(stderr=True)

    def note(self, text: str) -> None:
        """Print a remark, unless -q or --json was given."""
        if not self.quiet and not self.json:
            self.err.print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print what the user must not miss, as one line."""
        self.err.print(f"warning: {text}", style="yellow", soft_wrap=True)

    def emit(self, value: Any) -> None:
        """Print a value as JSON."""
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def _console(self, stderr: bool) -> Console:
        # Names come from users' files: nothing in them may be taken for markup.
        console = Console(stderr=stderr, no_color=self.no_color or None, markup=False, emoji=False, highlight=False)
        if not console.is_terminal and "COLUMNS" not in console._environ:
            console.width = PIPED_WIDTH
        return console


class Root(click.ParamType[Folder]):
    """A results root: a folder, or a URI of an object store."""

    name = "root"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Folder:
        """Return the place, or raise SuiteError."""
        try:
            return folder(value)
        except ValueError as error:
            raise SuiteError(f"--root {error}", Exit.USAGE) from None


def shared_options() -> list[click.Parameter]:
    """Return the options that the group and every verb take; each sets its field of the context's Settings."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        settings = context.ensure_object(Settings)
        if isinstance(value, tuple):
            getattr(settings, str(parameter.name)).extend(value)
        elif value is not None and value is not False:
            setattr(settings, str(parameter.name), value)

    path = click.Path(path_type=Path)
    kept: dict[str, Any] = {"expose_value": False, "callback": keep}
    flag: dict[str, Any] = {"is_flag": True, **kept}
    return [
        click.Option(
            ["--root"],
            type=Root(),
            metavar="DIR|URI",
            help="Results: a folder or s3://... (default ./results).",
            **kept,
        ),
        click.Option(
            ["--protocols"], type=path, multiple=True, metavar="FILE|DIR", help="Your own protocols (TOML).", **kept
        ),
        click.Option(["--presets"], type=path, multiple=True, metavar="FILE", help="Your own presets (tune).", **kept),
        click.Option(
            ["--plugin", "plugins"], type=path, multiple=True, metavar="FILE", help="Your own method (Python).", **kept
        ),
        click.Option(["--json"], help="Machine-readable output.", **flag),
        click.Option(["--quiet", "-q"], help="Only results and errors.", **flag),
        click.Option(["--verbose", "-v"], help="Tracebacks of errors; all that runs and Ray print.", **flag),
        click.Option(["--no-color"], help="Plain text.", **flag),
    ]
