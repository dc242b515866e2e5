"""Sweeps: what is wanted, from a TOML file, an imported configuration or the command line, resolved to runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError

import protocols
from grace.nets import BACKBONES
from grace.storage.folders import Folder
from grace.streams.protocol import Protocol
from grace.training.engine import Precision, Way
from protocols.alignment import points
from suite.alignment import Look, unseen
from suite.configure import toml_value
from suite.declared import declared
from suite.errors import SuiteError, unknown
from suite.faults import first_fault
from suite.own_presets import check_presets, with_presets
from suite.packing import no_waste
from suite.plugin import PluginError
from suite.plugins import load_plugins, read_plugin
from suite.resolver import Choice, Resolution, choice, resolved
from suite.seeds import Seeds
from suite.spec import RunSpec
from suite.spending import budget
from suite.tomlfile import read_toml

Names = Annotated[list[str], Field(min_length=1)]


def _spelled(text: str) -> str:
    """Return the text of a budget, or nothing; raises ValueError for what is none."""
    if text:
        budget(text)
    return text


class Launch(BaseModel):
    """Where and how to work on the runs; none of it is part of what a run is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    address: str | None = None  # of Ray; "none" for no Ray, left out for one of our own
    gpus_per_run: Annotated[float, AfterValidator(no_waste)] | None = None
    cpus_per_run: PositiveInt = 1
    max_concurrent: PositiveInt | None = None
    data: str = "data"
    download: bool = True
    engine: Way = "auto"
    checkpoint_seconds: NonNegativeFloat = 60.0  # between checkpoints of a run; 0 for every epoch
    mixed: bool = False
    stall_minutes: NonNegativeFloat = 60.0
    patience_minutes: NonNegativeFloat = 10.0
    grace_seconds: NonNegativeFloat = 25.0  # from SIGTERM to the end of runs that have come to no safe point
    budget: Annotated[str, AfterValidator(_spelled)] = ""  # of each command: 40gpuh, 8cpuh, 12h; empty for none
    priority: list[str] = []  # methods and protocols whose runs go first
    share: bool = True
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = []


class Sweep(BaseModel):
    """Methods x protocols x class orders x seeds, with settings that go before the presets."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")] | None = None
    methods: Names
    protocols: Names
    orders: Seeds = [1993]
    seeds: Seeds = [0]
    precision: Precision = "fp32"  # part of what a run is
    workers: PositiveInt = 1  # that train one run together; part of what it is, too
    method: dict[str, dict[str, Any]] = {}  # per method, fields of its Config; recipes as tables
    limit_epochs: PositiveInt | None = None  # per phase; makes smoke runs
    protocol_files: list[str] = []  # the user's own protocols and datasets
    preset_files: list[str] = []  # the user's own presets
    presets: dict[str, dict[str, dict[str, Any]]] = {}  # what they held when the sweep began, by method and protocol
    plugins: list[str] = []  # files of the user's own methods
    plugin_texts: dict[str, str] = {}  # what they held when the sweep began, by method; goes before what they hold now
    launch: Launch = Launch()


def sweep_of(values: Mapping[str, Any], source: str) -> Sweep:
    """Return the sweep that plain values describe; raises SuiteError naming `source`, the key and what is allowed."""
    try:
        return Sweep.model_validate(dict(values))
    except ValidationError as error:
        raise SuiteError(f"{source}: {first_fault(error, Sweep.model_fields)}") from None


def read_sweep(path: Folder) -> Sweep:
    """Return the sweep in a TOML file; raises SuiteError when it is missing, no TOML or no sweep."""
    values = read_toml(path)
    sweep = sweep_of(values, str(path))
    there = path.parent if isinstance(path, Path) else Path()  # a sweep that was kept names whole paths
    beside = {
        name: [str((there / file).resolve()) for file in getattr(sweep, name)]
        for name in ("protocol_files", "preset_files", "plugins")
    }
    return with_presets(sweep.model_copy(update={name: files for name, files in beside.items() if files}))


def sweep_name(sweep: Sweep) -> str:
    """Return the sweep's own name, or one that says what it is and that the same sweep always gets."""
    if sweep.name:
        return sweep.name
    content = sweep.model_dump(exclude={"name", "launch", "plugins", "plugin_texts", "preset_files"})
    if sweep.plugins:  # what they hold counts, not where they lie
        content["plugins"] = with_texts(sweep).plugin_texts
    if sweep.precision == Sweep.model_fields["precision"].default:  # sweeps had names before they had precisions
        del content["precision"]
    if not sweep.presets:  # and before they had presets
        del content["presets"]
    if sweep.workers == 1:  # nor workers
        del content["workers"]
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=3).hexdigest()
    return f"{re.sub('[^A-Za-z0-9.+-]', '-', sweep.protocols[0])}-{digest}"


def write_sweep(sweep: Sweep) -> str:
    """Return the TOML text from which `read_sweep` gets the same sweep."""
    import tomlkit

    values = sweep.model_dump(exclude_defaults=True)
    for name, text in sweep.plugin_texts.items():
        values["plugin_texts"][name] = tomlkit.string(text, multiline=True)
    return tomlkit.dumps(values)


def with_texts(sweep: Sweep) -> Sweep:
    """Return the sweep with the texts of its plugins, as they are from now on, whatever becomes of the files."""
    found = (read_plugin(Path(file), sweep.plugin_texts) for file in sweep.plugins)
    return sweep.model_copy(update={"plugin_texts": {plugin.name: plugin.source for plugin in found}})


def assigned(sweep: Sweep, assignments: Iterable[str]) -> Sweep:
    """Return the sweep with `method.NAME.FIELD=VALUE` settings put over its own."""
    method = {name: dict(table) for name, table in sweep.method.items()}
    for text in assignments:
        path, equals, value = text.partition("=")
        parts = path.strip().split(".")
        if not equals or len(parts) not in (3, 4) or parts[0] != "method" or not all(parts):
            raise SuiteError(f"--set {text}: settings are written method.NAME.FIELD=VALUE")
        *outer, last = parts[1:]
        table: dict[str, Any] = method
        for part in outer:
            inner = table.get(part)
            table[part] = dict(inner) if isinstance(inner, dict) else {}
            table = table[part]
        table[last] = toml_value(value.strip())
    return sweep.model_copy(update={"method": method})


def find_protocol(name: str) -> Protocol:
    """Return a protocol by any of its spellings; raises SuiteError for unknown names, also of its backbone."""
    try:
        protocol = protocols.get(name)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    if protocol.backbone not in BACKBONES:
        raise unknown("backbone", protocol.backbone, BACKBONES, see="list backbones")
    by, _, method = protocol.alignment.partition("=")
    if by == "align":
        with suppress(PluginError):
            declared(method)
    smallest, size = BACKBONES[protocol.backbone].smallest, protocol.dataset.size
    if size < smallest:
        fitting = ", ".join(name for name, entry in BACKBONES.items() if entry.smallest <= size)
        raise SuiteError(
            f"{protocol.name}: {protocol.backbone} takes images from {smallest} pixels, {protocol.dataset.name} has "
            f"{size}; add one of these as +net=...: {fitting}"
        )
    return protocol


def find_protocols(name: str) -> list[Protocol]:
    """Return the protocols that a sweep means by a name: one, or with a bare `+auc` all points of the ladder."""
    try:
        names = points(name)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    return [find_protocol(each) for each in names]


def load_protocols(files: Iterable[str | Path]) -> None:
    """Register the protocols and datasets in the user's own files; raises SuiteError for what cannot be read."""
    for file in files:
        try:
            protocols.load(Path(file))
        except ValueError as error:
            raise SuiteError(str(error)) from None
        except OSError as error:
            raise SuiteError(f"{file}: {error.strerror}") from None


def resolve(sweep: Sweep) -> list[RunSpec]:
    """Return the runs that can be named beforehand, each once; protocol by protocol, so that tables fill evenly."""
    return [spec for spec, _ in chosen(sweep)]


def chosen(sweep: Sweep) -> list[tuple[RunSpec, Choice]]:
    """Return these runs with the choice of settings behind each; raises SuiteError for whatever does not fit."""
    return resolution(sweep).runs


def resolution(sweep: Sweep, look: Look = unseen) -> Resolution:
    """Return the runs of a sweep as far as finished ones, which `look` knows, tell what the others may hold.

    Raises SuiteError for whatever does not fit.
    """
    load_protocols(sweep.protocol_files)
    load_plugins(sweep.plugins, sweep.plugin_texts)
    methods = list(dict.fromkeys(sweep.methods))
    for name in [*methods, *sweep.method]:
        with suppress(PluginError):  # its runs fail, and are recorded; the others go on
            declared(name)
    for name in sweep.method:
        if name not in methods:
            raise SuiteError(f"method.{name} has settings, but the sweep runs {', '.join(methods)} only")
    check_presets(sweep.presets)
    streams = {protocol.name: protocol for name in sweep.protocols for protocol in find_protocols(name)}
    return resolved(sweep, methods, list(streams.values()), look)


@cache
def usual_settings(method: str, protocol: str) -> Mapping[str, Any] | None:
    """Return the settings that a method has on a protocol unless told otherwise; None for what is not known here."""
    try:
        return choice(_UNTOLD, method, find_protocol(protocol)).config
    except SuiteError:
        return None


_UNTOLD = Sweep(methods=["any"], protocols=["any"])
