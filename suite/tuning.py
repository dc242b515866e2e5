"""Tuning: a search made ready, carried out on Ray Tune or in this process, and what it found written as a preset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grace.storage.writing import place
from suite import alignment
from suite.declared import declared
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.launch import HERE, LaunchOptions, Observe
from suite.own_presets import folded
from suite.plugins import digest_of
from suite.resolver import choice
from suite.search import Notebook, Search, Trial, carry_out, ended
from suite.space import Space, drawn, nested, parse, usual
from suite.store import NAME, Store
from suite.sweep import Sweep, find_protocol

TASKS = 3  # that a trial learns, where the protocol has so many


def search_of(
    sweep: Sweep,
    texts: Sequence[str],
    *,
    order: int,
    tasks: int | None,
    holdout: float,
    seed: int,
    trials: int,
    confirm: int,
) -> Search:
    """Return the search of the one method of a sweep on its one protocol; raises SuiteError for what cannot be meant.

    `texts` are spaces as they are typed; without any the usual space is searched.
    """
    (method,), protocol = sweep.methods, find_protocol(sweep.protocols[0])
    if protocol.alignment:
        bare = alignment.bare(protocol).name
        raise SuiteError(f"{protocol.name}: memory is shared out run by run there; tune {method} on {bare}, whose "
                         "presets hold here too")  # fmt: skip
    number = len(protocol.increments)
    if number < 2:
        raise SuiteError(f"{protocol.name} has one task: there is no increment to tune for")
    if tasks is not None and not 2 <= tasks <= number:
        raise SuiteError(f"--tasks {tasks}: {protocol.name} has {number} tasks; choose 2 to {number}", Exit.USAGE)
    kind, chosen = declared(method).config, choice(sweep, method, protocol)
    if chosen.broken:
        raise SuiteError(chosen.broken)

    def settled(values: dict[str, Any]) -> dict[str, Any]:
        own = folded(sweep.method.get(method, {}), values)
        return choice(sweep.model_copy(update={"method": {method: own}}), method, protocol).config

    def allowed(path: str, value: Any) -> bool:
        try:
            settled(nested({path: value}))
        except SuiteError:
            return False
        return True

    space: Space = parse(texts, kind) if texts else usual(kind, chosen.config, allowed)
    if not space:
        raise SuiteError(
            f"{method} has no numbers to search unless you name them: --search FIELD=SPACE (show {method})"
        )
    for path, each in space.items():
        for value in each.extremes:
            try:
                settled(nested({path: value}))
            except SuiteError as error:
                raise SuiteError(f"--search {path}={each}: {error}") from None
    others = [each for each in drawn(space, seed, trials - 1) if settled(each) != chosen.config]
    values: list[dict[str, Any]] = [{}, *others]
    return Search(
        method=method,
        protocol=protocol,
        config=chosen.config,
        space={path: str(each) for path, each in space.items()},
        order=order,
        tasks=min(TASKS, number) if tasks is None else tasks,
        holdout=holdout,
        seed=seed,
        confirm=confirm,
        limit_epochs=sweep.limit_epochs,
        precision=sweep.precision,
        plugin=digest_of(method),
        trials=tuple(Trial(i, seed, each, settled(each)) for i, each in enumerate(values)),
    )


@contextmanager
def held(root: Path, name: str, search: Search) -> Iterator[Notebook]:
    """Hold a search's folder under a results root while it is worked on.

    Raises SuiteError where another process holds it, or where another search has that name.
    """
    from filelock import FileLock

    Store.open(root, write=True)
    if not NAME.fullmatch(name):
        raise SuiteError(f'name "{name}": use letters, digits and . _ + - only')
    folder = root.absolute() / "tuning" / name
    folder.mkdir(parents=True, exist_ok=True)
    lock, mark = FileLock(folder / "lock"), folder / "search.json"
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        raise SuiteError(f"{name}: another process works on this search", Exit.ENVIRONMENT) from None
    try:
        now = search.identity()
        if mark.exists():
            before = json.loads(mark.read_text(encoding="utf-8"))
            if key := next((key for key in now if before.get(key) != now[key]), ""):
                words = f"its {key} is {json.dumps(before.get(key))}"[:100]
                raise SuiteError(f"{folder} holds another search, {words}; choose another --name")
        else:
            place(mark, json.dumps(now, indent=1).encode())
        yield Notebook(folder)
    finally:
        lock.release()


def tune(
    search: Search, notebook: Notebook, options: LaunchOptions, observe: Observe, should_stop: Callable[[], bool]
) -> bool:
    """Work on what is left of a search; return whether it was stopped early. Errors are as for `suite.lanes.launch`.

    In this process (address `none`) trials come one after the other and none is stopped for being behind.
    """
    if options.address != HERE:
        from suite import lanes

        return lanes.driven("suite.lanes.tuning", (search, notebook), options, observe, should_stop)
    from suite.trial import work_on

    def work(trials: Sequence[Trial], halving: bool) -> bool:
        for trial in trials:
            if notebook.over(trial):
                continue
            if should_stop():
                return True
            observe(Event("claimed", trial.name))

            def tell(tasks: int, score: float, name: str = trial.name) -> None:
                observe(Event("task", name, {"tasks": tasks, "score": score}))

            kept = work_on(search, trial, notebook, options, tell, should_stop)
            if kept.state == "running":
                return True
            observe(ended(kept))
        return False

    try:
        return carry_out(search, notebook, work)
    except KeyboardInterrupt:
        return True
