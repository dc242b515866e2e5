"""`resume`: go on with a sweep of the results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from suite.cli.launching import carry_out, launch_options, placed
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.wanted import with_own
from suite.errors import Exit, SuiteError, unknown
from suite.plugins import read_plugin
from suite.store import Store
from suite.sweep import Sweep, read_sweep


@click.command(cls=Verb, name="resume")
@click.argument("name", required=False)
@launch_options
@click.pass_obj
def command(settings: Settings, /, name: str | None, **launch: Any) -> Exit:
    """Go on with the sweep NAME, or the newest: finish what is left, try again what failed.

    It runs as it was run before, unless told otherwise here.
    """
    sweep = kept_sweep(settings, name)
    return carry_out(settings, placed(sweep, launch, kept=True))


def kept_file(settings: Settings, name: str | None) -> Path:
    """Return the file of a sweep of the results folder, or of the newest; raises SuiteError with the nearest name."""
    kept = Store.open(settings.root).sweeps()
    if not kept:
        raise SuiteError(f"no sweep under {settings.root}; run starts one", Exit.NOTHING)
    if name is not None and name not in kept:
        raise unknown("sweep", name, kept)
    return kept[name] if name else max(kept.values(), key=lambda path: path.stat().st_mtime_ns)


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
