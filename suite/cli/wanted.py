"""What to run, as `plan` and `run` are told: options, a sweep file, or another project's configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from grace.training.engine import PRECISIONS
from suite.cli.settings import Settings
from suite.cli.verbs import OneOf, Several
from suite.cli.words import assignments, command, program, seed_list
from suite.errors import Exit, SuiteError
from suite.own_presets import with_presets
from suite.seeds import numbers
from suite.spec import RunSpec
from suite.sweep import Sweep, assigned, read_sweep, sweep_of

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
SETTING = "method.NAME.FIELD=VALUE"
OPTIONS = (
    click.argument("file", metavar="[SWEEP.toml]", type=FILE, required=False),
    click.option("-m", "--method", "methods", cls=Several, metavar="NAME...", help="Methods (list methods)."),
    click.option("-p", "--protocol", "streams", cls=Several, metavar="NAME...", help="Protocols (list protocols)."),
    click.option("--orders", cls=Several, metavar="LIST", help="Seeds of the class order (default 1993)."),
    click.option(
        "--seeds", cls=Several, metavar="LIST", help="Seeds of weights and batches: 0,1,2 or 0-4 (default 0)."
    ),
    click.option("--precision", type=OneOf("precision", PRECISIONS), help="Part of what a run is (default fp32)."),
    click.option("--workers", type=click.IntRange(min=1), metavar="K", help="Train each run on K, as one (default 1)."),
    click.option("--set", "changes", cls=Several, metavar=SETTING, help="A setting of a method (show NAME)."),
    click.option(
        "--limit-epochs", type=click.IntRange(min=1), metavar="N", help="Smoke runs: N epochs a phase at most."
    ),
    click.option("--name", metavar="NAME", help="What to call the sweep, for resume."),
    click.option("--config", type=FILE, metavar="FILE.json", help="A configuration of GRACE or PyCIL, as it is."),
    click.option("--lenient", is_flag=True, help="With --config: leave unknown keys out."),
)


def sweep_options(function: F) -> F:
    """Give a verb the options that `wanted` reads."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def wanted(
    settings: Settings,
    /,
    *,
    file: Path | None,
    methods: tuple[str, ...],
    streams: tuple[str, ...],
    orders: tuple[str, ...],
    seeds: tuple[str, ...],
    precision: str | None,
    workers: int | None,
    changes: tuple[str, ...],
    limit_epochs: int | None,
    name: str | None,
    config: Path | None,
    lenient: bool,
) -> Sweep:
    """Return the sweep; options replace what the file says. Raises SuiteError for what cannot be meant."""
    if file and config:
        raise SuiteError(f"give a sweep file or --config, not both ({file}, {config})", Exit.USAGE)
    values: dict[str, Any] = {}
    if file:
        values = read_sweep(file).model_dump(exclude_unset=True)
    elif config:
        values = _imported(settings, config, lenient)
    given: dict[str, Any] = {"methods": split(methods), "protocols": split(streams), "precision": precision}
    given |= {"workers": workers, "limit_epochs": limit_epochs, "name": name}
    values |= {key: value for key, value in given.items() if value}
    for option, texts in (("orders", orders), ("seeds", seeds)):
        if texts:
            values[option] = seeds_of(option, texts)
    for key, option in (("methods", "-m METHOD"), ("protocols", "-p PROTOCOL")):
        if key not in values:
            raise SuiteError(f"which {key}? give {option} (list {key}), or a sweep file", Exit.USAGE)
    sweep = sweep_of(values, str(file or config or "the command line"))
    return assigned(with_own(sweep, settings), changes)


def with_own(sweep: Sweep, settings: Settings) -> Sweep:
    """Return the sweep with the protocols and plugins that were given beside it; a plugin given again is read again."""
    files = [str(path.absolute()) for path in settings.protocols]
    plugins = [str(path.absolute()) for path in settings.plugins]
    again = {Path(file).stem.lower() for file in plugins}
    kept = [file for file in sweep.plugins if Path(file).stem.lower() not in again]
    if settings.presets:  # given again, they are read again
        presets = [str(path.absolute()) for path in settings.presets]
        sweep = with_presets(sweep.model_copy(update={"preset_files": presets, "presets": {}}))
    return sweep.model_copy(
        update={
            "protocol_files": list(dict.fromkeys([*sweep.protocol_files, *files])),
            "plugins": list(dict.fromkeys([*kept, *plugins])),
            "plugin_texts": {name: text for name, text in sweep.plugin_texts.items() if name not in again},
        }
    )


def alone(sweep: Sweep, spec: RunSpec, settings: Settings, *more: str) -> str:
    """Return the command that does one run of a sweep and nothing else."""
    return command(
        program(), "run", "-m", spec.method, "-p", spec.protocol.name, "--orders", str(spec.order_seed), "--seeds",
        str(spec.train_seed), *_settings(sweep, [spec.method]), *_places(sweep, settings), *more
    )  # fmt: skip


def whole(verb: str, sweep: Sweep, settings: Settings, *more: str) -> str:
    """Return the command that does something with the whole sweep."""
    return command(
        program(), verb, "-m", *sweep.methods, "-p", *sweep.protocols, "--orders", seed_list(sweep.orders), "--seeds",
        seed_list(sweep.seeds), *_settings(sweep, sweep.methods), *_places(sweep, settings), *more
    )  # fmt: skip


def same(verb: str, sweep: Sweep, settings: Settings, options: dict[str, Any], *more: str) -> str:
    """Return the command that does something with what `options` asked for: by its file, if that says it all."""
    if options["file"] and not any(value for name, value in options.items() if name != "file"):
        own = [part for path in settings.protocols for part in ("--protocols", str(path))]
        own += [part for path in settings.presets for part in ("--presets", str(path))]
        own += [part for path in settings.plugins for part in ("--plugin", str(path))]
        return command(program(), verb, str(options["file"]), *own, *_root(settings), *more)
    return whole(verb, sweep, settings, *more)


def _settings(sweep: Sweep, methods: Iterable[str]) -> list[str]:
    texts = [text for name in methods for text in assignments(name, sweep.method.get(name, {}))]
    precision = [] if sweep.precision == "fp32" else ["--precision", sweep.precision]
    workers = [] if sweep.workers == 1 else ["--workers", str(sweep.workers)]
    limit = [] if sweep.limit_epochs is None else ["--limit-epochs", str(sweep.limit_epochs)]
    return [*precision, *workers, *(part for text in texts for part in ("--set", text)), *limit]


def _places(sweep: Sweep, settings: Settings) -> list[str]:
    files = [part for file in sweep.protocol_files for part in ("--protocols", file)]
    files += [part for file in sweep.preset_files for part in ("--presets", file)]
    return files + [part for file in sweep.plugins for part in ("--plugin", file)] + _root(settings)


def _root(settings: Settings) -> list[str]:
    return [] if settings.root == Settings.root else ["--root", str(settings.root)]


def split(texts: Iterable[str]) -> list[str]:
    """Return the names in repeated, comma-separated option values."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def seeds_of(option: str, texts: Iterable[str]) -> list[int]:
    """Return the seeds given to an option; raises SuiteError for what are none."""
    try:
        found: list[int] = numbers(",".join(texts))
    except ValueError as error:
        raise SuiteError(f"--{option}: {error}") from None
    return found


def _imported(settings: Settings, path: Path, lenient: bool) -> dict[str, Any]:
    """Return another project's configuration as a sweep's values, and say what each of its keys became."""
    from suite.importing import read

    found = read(path, lenient=lenient)
    for line in found.report:
        settings.note(line)
    return found.sweep
