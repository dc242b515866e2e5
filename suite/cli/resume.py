"""`resume`: go on with a sweep of the results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from grace.storage.folders import Folder
from suite.again import KINDS
from suite.cli.detaching import leave
from suite.cli.launching import carry_out, launch_options, placed
from suite.cli.settings import Settings
from suite.cli.verbs import OneOf, Several, Verb
from suite.cli.wanted import split, with_own
from suite.errors import Exit, SuiteError, unknown
from suite.plugins import read_plugin
from suite.store import Store
from suite.sweep import Sweep, read_sweep


def kinds(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    """Return the kinds of failures named, `none` for no kind, and None where nothing was said; raises SuiteError."""
    one = OneOf("kind of failure", [*KINDS, "none"])
    names = [one.convert(name, parameter, context) for name in split(value)]
    return [name for name in names if name != "none"] if names else None


@click.command(cls=Verb, name="resume")
@click.argument("name", required=False)
@click.option(
    "--retry",
    cls=Several,
    metavar="KIND...",
    callback=kinds,
    help=f"Try only such failures again: {', '.join(KINDS)}, none (default: all).",
)
@launch_options
@click.pass_obj
def command(settings: Settings, /, name: str | None, retry: list[str] | None, detach: bool, **launch: Any) -> Exit:
    """Go on with the sweep NAME, or the newest: finish what is left, try again what failed.

    It runs as it was run before, unless told otherwise here. Runs that were out of memory get twice the room.
    """
    sweep = kept_sweep(settings, name)
    return (leave if detach else carry_out)(settings, placed(sweep, launch, kept=True), retry)


def kept_file(settings: Settings, name: str | None) -> Folder:
    """Return the file of a sweep of the results folder, or of the newest; raises SuiteError with the nearest name."""
    store = Store.open(settings.root)
    kept, newest = store.sweeps(), store.newest()
    if newest is None:
        raise SuiteError(f"no sweep under {settings.root}; run starts one", Exit.NOTHING)
    if name is not None and name not in kept:
        raise unknown("sweep", name, kept)
    return kept[name] if name else newest


def kept_sweep(settings: Settings, name: str | None) -> Sweep:
    """Return a sweep of the results folder by its name, or the newest; raises SuiteError with the nearest name."""
    path = kept_file(settings, name)
    if name is None:
        settings.note(f"sweep {path.stem}")
    sweep = with_own(read_sweep(path), settings)
    for plugin in (read_plugin(Path(file), sweep.plugin_texts) for file in sweep.plugins):
        file = Path(plugin.file)
        if file.is_file() and read_plugin(file, {}).digest != plugin.digest:
            settings.note(f"{file} has changed: the sweep goes on with what it held; --plugin {file} takes it anew")
    return sweep
