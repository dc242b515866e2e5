"""What a search found as a table of a presets file, with its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grace.storage.writing import place
from suite import alignment
from suite.own_presets import Presets, folded, own_preset, read_presets, settings_in
from suite.provenance import code, now
from suite.search import METRIC, Search
from suite.verdict import Verdict


def tuned_table(search: Search, found: Verdict, presets: Presets) -> dict[str, Any]:
    """Return the table of the best settings: those of the user's own preset that was searched around stay."""
    assert found.best is not None
    under = own_preset(presets, search.method, alignment.bare(search.protocol))
    values = folded(settings_in(under[1]) if under else {}, found.best.first.trial.values)
    return {"source": source(search), **values, "tuned_on": _tuned_on(search, found)}


def source(search: Search) -> str:
    """Return in words how the settings were found."""
    limit = "" if search.limit_epochs is None else f", at most {search.limit_epochs} epochs a phase"
    return (
        f"tuned on {search.protocol.name}: first {search.tasks} tasks of class order {search.order}, "
        f"{100 * search.holdout:g} % of their training images held out; {len(search.trials)} trials{limit}"
    )


def _tuned_on(search: Search, found: Verdict) -> dict[str, Any]:
    """Return the provenance as TOML holds it: fractions, and nothing that is not known."""
    assert found.best is not None
    provenance = code()
    values = {
        "protocol": search.protocol.name,
        "order": search.order,
        "tasks": search.tasks,
        "holdout": search.holdout,
        "seed": search.seed,
        "confirmed_with": [kept.trial.seed for kept in found.best.again],
        "trials": len(search.trials),
        "metric": METRIC,
        "score": round(found.best.confirmed, 6),
        "default_score": round(found.default.confirmed, 6) if found.default else None,
        "gain": None if found.gain is None else round(found.gain, 6),
        "gain_error": None if found.error is None else round(found.error, 6),
        "limit_epochs": search.limit_epochs,
        "precision": search.precision,
        "date": now(),
        "version": provenance["version"],
        "commit": provenance["commit"],
        "dirty": provenance["dirty"] or None,
        "space": search.space,
    }
    return {name: value for name, value in values.items() if value is not None}


def write_preset(path: Path, method: str, protocol: str, table: dict[str, Any]) -> None:
    """Put a table into a presets file, in place of an earlier one for the same; what else it holds stays.

    Raises SuiteError where the file holds no presets, and OSError.
    """
    import tomlkit

    text = ""
    if path.exists():
        read_presets([path])
        text = path.read_text(encoding="utf-8")
    document: Any = tomlkit.parse(text) if text else tomlkit.document()
    if method not in document:
        document[method] = tomlkit.table(is_super_table=True)
    own = tomlkit.table()
    for name, value in table.items():
        if name == "tuned_on":
            inner = tomlkit.table()
            for key, each in value.items():
                inner[key] = _inline(each) if isinstance(each, dict) else each
            own[name] = inner
        else:
            own[name] = _inline(value) if isinstance(value, dict) else value
    document[method][protocol] = own
    place(path, tomlkit.dumps(document).encode())


def _inline(values: dict[str, Any]) -> Any:
    import tomlkit

    table = tomlkit.inline_table()
    table.update(values)
    return table
