"""What a search came to: its candidates, and how the best of them compares with the settings in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean, stdev

from suite.search import Kept, Notebook, Search, Trial


@dataclass(frozen=True)
class Candidate:
    """One setting: what it scored in the search, and with the seeds of the confirmation (fewer if some failed)."""

    first: Kept
    again: tuple[Kept, ...] = ()

    @property
    def confirmed(self) -> float:
        """Mean score over the seeds of the confirmation, or the search's where there is none."""
        return fmean(kept.score for kept in self.again) if self.again else self.first.score


@dataclass(frozen=True)
class Verdict:
    """What a search came to. `gain` is best minus default over the same seeds, `error` its standard error."""

    default: Candidate | None
    best: Candidate | None
    gain: float | None
    error: float | None  # None for one seed, or where one has no score
    candidates: tuple[Candidate, ...]  # the best first, the default last

    @property
    def better(self) -> bool:
        """Whether the best one beats the settings in use by more than the seeds differ, as far as that is known."""
        if self.best is None:
            return False
        return self.gain is None or self.gain > (self.error or 0.0)


def verdict(search: Search, notebook: Notebook) -> Verdict:
    """Compare what finished: those that were confirmed go by the seeds of the confirmation alone."""
    default, *others = (_candidate(search, notebook, trial) for trial in search.trials)
    done = [each for each in others if each is not None]
    complete = [each for each in done if len(each.again) == search.confirm] or done
    ranked = sorted(complete, key=lambda each: (-each.confirmed, each.first.trial.number))
    best = ranked[0] if ranked else None
    rest = sorted((each for each in done if each not in ranked), key=lambda each: -each.first.score)
    gain = error = None
    if best and default:
        there = {kept.trial.seed: kept.score for kept in (default.again or [default.first])}
        mine = best.again or (best.first,)
        apart = [kept.score - there[kept.trial.seed] for kept in mine if kept.trial.seed in there]
        gain = fmean(apart) if apart else None
        error = stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else None
    return Verdict(default, best, gain, error, (*ranked, *rest, *([default] if default else [])))


def _candidate(search: Search, notebook: Notebook, trial: Trial) -> Candidate | None:
    first = notebook.read(trial)
    if first is None or first.state != "finished":
        return None
    again = (notebook.read(replace(trial, seed=seed)) for seed in search.seeds)
    return Candidate(first, tuple(kept for kept in again if kept and kept.state == "finished"))
