"""The command that does one run again: what a shell is to be told, the settings that are not usual among it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from suite.cli.words import assignments, command
from suite.grouping import Row
from suite.sweep import usual_settings
from suite.tables.choice import tried


@dataclass(frozen=True)
class Again:
    """The command for the runs of one line on one stream, which differ in order and seed alone."""

    before: str
    after: str

    @classmethod
    def of(cls, row: Row, program: str, root: str = "") -> Again:
        """Return it by one of the runs; of a plugin's method it says where its file belongs."""
        method, smoke = row["method"], bool(row["smoke"])
        usual = usual_settings(method, row["protocol"])
        changes = {} if usual is None or smoke else _changes(row["config"], usual)
        parts = _arithmetic(row)
        parts += [part for text in assignments(method, changes) for part in ("--set", text)]
        parts += ["--limit-epochs", str(max(_epochs(row["config"]), default=1))] if smoke else []
        parts += ["--plugin", f"{method}.py"] if row.get("plugin") else []
        parts += ["--root", root] if root else []
        return cls(command(program, "run", "-m", method, "-p", row["protocol"]), command("", *parts))

    def command(self, row: Row) -> str:
        """Return the command that makes a run of the same key."""
        return f"{self.before} --orders {row['order_seed']} --seeds {row['train_seed']}{self.after}"


def again(label: str, program: str, root: str = "") -> str:
    """Return the command that tries a failed run again, by its label (`widen toy-b0i2 o1993 s0 bf16`)."""
    facts = tried(label)
    if facts is None:
        return ""
    parts = ["-m", facts["method"], "-p", facts["protocol"]]
    parts += ["--orders", str(facts["order_seed"]), "--seeds", str(facts["train_seed"])]
    return command(program, "run", *parts, *_arithmetic(facts), *(["--root", root] if root else []))


def _arithmetic(facts: Mapping[str, Any]) -> list[str]:
    precision = [] if facts["precision"] == "fp32" else ["--precision", facts["precision"]]
    return precision + ([] if facts["workers"] == 1 else ["--workers", str(facts["workers"])])


def _changes(ours: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not as usual, nested as they are."""
    found: dict[str, Any] = {}
    for name, value in ours.items():
        there = usual.get(name)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            if inner := _changes(value, there):
                found[name] = inner
        elif name in usual and value != there:
            found[name] = value
    return found


def _epochs(config: Mapping[str, Any]) -> Iterator[int]:
    for value in config.values():
        if isinstance(value, Mapping) and "epochs" in value:
            yield int(value["epochs"])
