"""`tune`: search a method's settings on held-out training images, and write what it finds as a preset."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import click

from grace.training.engine import PRECISIONS
from suite.cli.launching import launch_options
from suite.cli.readying import fetched
from suite.cli.searching import Searching, announced, compared, outcome
from suite.cli.settings import Settings
from suite.cli.signals import Stop
from suite.cli.verbs import OneOf, Several, Verb
from suite.cli.wanted import with_own
from suite.cli.words import command as typed
from suite.cli.words import count, program
from suite.errors import Exit, SuiteError
from suite.launch import HERE, LaunchOptions
from suite.own_presets import check_presets, read_presets
from suite.plugins import read_plugin
from suite.search import Notebook, Search, left, named
from suite.seeds import LARGEST_SEED
from suite.space import SPELLINGS
from suite.stopping import Asked
from suite.sweep import Launch, Sweep, load_protocols, sweep_of
from suite.tuned import tuned_table, write_preset
from suite.tuning import held, search_of, tune
from suite.verdict import Verdict, verdict

PLACES = (
    *("address", "gpus_per_run", "cpus_per_run", "max_concurrent", "checkpoint_seconds", "data", "download", "engine"),
)
SEED = click.IntRange(0, LARGEST_SEED - 100)
PLACE_OPTIONS = [each for each in click.command()(launch_options(lambda: None)).params if each.name in PLACES]
PUBLISHED = Sweep.model_fields["orders"].default


@click.command(cls=Verb, name="tune", params=PLACE_OPTIONS)
@click.argument("method")
@click.argument("protocol")
@click.option("--search", "spaces", cls=Several, metavar="SPACE...", help=f"{SPELLINGS} (default: its numbers).")
@click.option("--trials", type=click.IntRange(min=2), default=24, metavar="N", help="Settings tried (default 24).")
@click.option("--tasks", type=int, metavar="K", help="Tasks that a trial learns (default 3).")
@click.option(
    "--holdout",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.1,
    metavar="PART",
    help="Of each class's training images, to score on (default 0.1).",
)
@click.option("--order", type=SEED, default=0, metavar="SEED", help="Class order (default 0; results have 1993).")
@click.option("--seed", type=SEED, default=0, metavar="SEED", help="Of draws, weights, held-out images (default 0).")
@click.option(
    "--confirm",
    type=click.IntRange(0, 20),
    default=2,
    metavar="N",
    help="Seeds to try the best with again (default 2).",
)
@click.option("--limit-epochs", type=click.IntRange(min=1), metavar="N", help="N epochs a phase at most.")
@click.option("--precision", type=OneOf("precision", PRECISIONS), default="fp32", help="Default fp32.")
@click.option("--name", metavar="NAME", help="What to call the search (default: by what it is).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Presets file to write, or to add to."
)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> Exit:
    """Search the settings of METHOD for PROTOCOL, and write the best as a preset for --presets.

    Trials learn the first tasks of a class order that results do not use, and are scored on training images that
    are held out; test images are not read. The settings in use are the first trial. Those behind after a task are
    stopped early (not with --address none); the best are tried again with other seeds, and written where they beat
    the settings in use by more than the seeds differ. The same command goes on.
    """
    settings = context.ensure_object(Settings)
    root = settings.root
    if not isinstance(root, Path):
        raise SuiteError(f"--root {root}: a search is kept in a folder, on a disk that all nodes see", Exit.USAGE)
    places = {name: given[name] for name in PLACES if given[name] is not None}
    launch = Launch().model_dump(include=set(PLACES)) | places
    wanted = {name: given[name] for name in ("limit_epochs", "precision") if given[name] is not None}
    sweep = sweep_of({"methods": [given["method"]], "protocols": [given["protocol"]], **wanted}, "the command line")
    sweep = with_own(sweep, settings)
    load_protocols(sweep.protocol_files)
    check_presets(sweep.presets)
    numbers = {name: given[name] for name in ("order", "tasks", "holdout", "seed", "trials", "confirm")}
    search = search_of(sweep, given["spaces"], **numbers)
    plugins = [read_plugin(Path(file), {}) for file in sweep.plugins]
    options = LaunchOptions(root=settings.root, **{**launch, "data": Path(launch["data"])}, plugins=plugins)
    if given["output"] is not None and given["output"].exists():
        read_presets([given["output"]])  # what cannot be added to should show now
    name = given["name"] or named(search)
    announced(search, settings)
    if search.order in PUBLISHED:
        settings.note(f"class order {search.order} is the one of results: settings found on it have seen their classes")
    if len(search.trials) < given["trials"]:
        settings.note(f"the space has no more than {count(len(search.trials) - 1, 'setting')} to try")
    asked = Asked(settings.root, name)
    stop = Stop(settings, [lambda: "asked to stop" if asked() else ""])
    with held(root, name, search) as notebook:
        stopped = bool(left(search, notebook)) and _worked(settings, search, notebook, options, stop)
        found = verdict(search, notebook)
        if not stopped:
            file = given["output"] or root / "tuning" / name / "presets.toml"
            written = file if found.better else None
            if written is not None:
                table = tuned_table(search, found, sweep.presets)
                write_preset(written, search.method, search.protocol.name, table)
            code = _concluded(settings, search, notebook, found, written)
            if written is None and len(search.trials) == given["trials"]:
                more = _again(context, settings, trials=2 * given["trials"])
                settings.note(f"next: more trials go on from these: {more}")
            return code
    done = sum(notebook.over(trial) for trial in search.trials)
    if settings.json:
        settings.emit({**_plain(search, notebook, found), "stopped": True, "written": None})
    settings.note(f"stopped: {done} of {len(search.trials)} trials done")
    settings.note(f"next: {_again(context, settings)}")
    return stop.code


def _worked(settings: Settings, search: Search, notebook: Notebook, options: LaunchOptions, stop: Stop) -> bool:
    """Work on what is left, with a line about it; return whether it was stopped early."""
    fetched(settings, [search.protocol.dataset], options)
    if options.address == HERE:
        settings.note("--address none: one trial after the other, none is stopped early")
    view = Searching(search, notebook, settings.err, quiet=settings.quiet or settings.json)
    with stop.listening(), view:
        stop.say = view.say
        return tune(search, notebook, options, view.observe, stop)


def _concluded(settings: Settings, search: Search, notebook: Notebook, found: Verdict, written: Path | None) -> Exit:
    """Say what was found and what to type next; return the exit code."""
    code = Exit.DONE if found.best or found.default else Exit.FAILED
    if settings.json:
        settings.emit({**_plain(search, notebook, found), "stopped": False, "written": written and str(written)})
        return code
    outcome(search, notebook, found, settings)
    settings.note(f"{compared(found)}{'' if written else ': no preset is written'}")
    if written is None:
        return code
    settings.note(f"wrote {written}")
    places = [] if settings.root == Settings.root else ["--root", str(settings.root)]
    used = ["run", "-m", search.method, "-p", search.protocol.name, "--presets", str(written), *places]
    settings.note(f"next: {typed(program(), *used)}")
    return code


def _plain(search: Search, notebook: Notebook, found: Verdict) -> dict[str, Any]:
    """Return a search and what it came to as scripts read it; scores are fractions."""

    def candidate(each: Any) -> dict[str, Any] | None:
        if each is None:
            return None
        return {"trial": each.first.trial.number, "values": each.first.trial.values, "score": each.first.score,
                "confirmed": [kept.score for kept in each.again]}  # fmt: skip

    kept = [one for trial in search.trials if (one := notebook.read(trial))]
    return {
        "folder": str(notebook.folder),
        **{key: value for key, value in search.identity().items() if key not in ("config", "protocol")},
        "protocol": search.protocol.name,
        "trials": [
            {**asdict(one), "trial": one.trial.number, "values": one.trial.values,
             "score": one.score if isfinite(one.score) else None} for one in kept
        ],
        "best": candidate(found.best),
        "default": candidate(found.default),
        "gain": found.gain,
        "gain_error": found.error,
    }  # fmt: skip


def _again(context: click.Context, settings: Settings, **changes: Any) -> str:
    """Return the command as it was typed but for `changes`, for going on."""
    parts: list[str] = []
    for parameter in sorted(context.command.params, key=lambda each: not isinstance(each, click.Argument)):
        name = str(parameter.name)
        typed_in = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if name not in context.params or not (typed_in or name in changes):
            continue
        value = changes.get(name, context.params[name])
        if isinstance(parameter, click.Argument):
            parts.append(str(value))
        elif isinstance(value, tuple):
            parts += [parameter.opts[-1], *map(str, value)]
        elif isinstance(value, bool):
            parts.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            parts += [parameter.opts[-1], str(value)]
    for option, files in (("--protocols", settings.protocols), ("--presets", settings.presets),
                          ("--plugin", settings.plugins)):  # fmt: skip
        parts += [part for file in files for part in (option, str(file))]
    parts += [] if settings.root == Settings.root else ["--root", str(settings.root)]
    return typed(program(), "tune", *parts)
