"""What is said after the last run of a sweep: what is there, what failed, and what to type next."""

from __future__ import annotations

from dataclasses import dataclass

from suite.again import Again
from suite.cli.settings import Settings
from suite.cli.signals import Stop
from suite.cli.wanted import alone
from suite.cli.words import command, count, program, three_figures
from suite.errors import Exit
from suite.launch import Outcome
from suite.plan import Plan, Planned
from suite.resolver import Wish
from suite.spending import Spending
from suite.sweep import Sweep, sweep_name


@dataclass(frozen=True)
class Ended:
    """How a sweep was carried out."""

    first: Plan  # before
    found: Plan  # after
    outcome: Outcome
    stop: Stop
    spending: Spending
    again: Again

    @property
    def kept(self) -> list[Planned]:
        """The runs that failed before and were left as they are."""
        tried = {*self.outcome.failed, *self.outcome.finished}
        return [run for run in self.found.left if run.spec.key not in tried and not self.again.takes(run)]

    @property
    def spent(self) -> str:
        """What was spent of the budget, or nothing where there is none."""
        wanted = self.spending.wanted
        return f"{three_figures(self.spending.hours(wanted.unit))} of {wanted} spent" if wanted else ""


def concluded(settings: Settings, sweep: Sweep, ended: Ended) -> Exit:
    """Say what is there, what failed and what to type next; return the exit code."""
    first, found, outcome, kept = ended.first, ended.found, ended.outcome, ended.kept
    places = [] if settings.root == Settings.root else ["--root", str(settings.root)]
    smoke = [] if sweep.limit_epochs is None else ["--smoke"]
    failed = [
        {
            "key": failure.key,
            "label": failure.label,
            "kind": failure.kind,
            "reason": failure.reason,
            "where": failure.where,
            "traceback": str(settings.root / "failed" / f"{failure.key}.json"),
            "alone": alone(sweep, run.spec, settings),
        }
        for run in {run.spec.key: run for run in [*first.left, *found.left]}.values()
        if (failure := outcome.failed.get(run.spec.key))
    ]
    done = len(first.runs) - len(first.left)
    planned = {run.spec.key for run in [*first.runs, *found.runs]}
    left = len(planned) - done - len(outcome.finished) - len(failed) - len(kept) + len(found.waiting)
    code = ended.stop.code if outcome.stopped and left else Exit.FAILED if failed or kept else Exit.DONE
    if settings.json:
        settings.emit(
            {
                "sweep": sweep_name(sweep),
                "total": len(planned) + len(found.waiting),
                "done_before": done,
                "finished": outcome.finished,
                "failed": failed,
                "left_failed": [run.spec.key for run in kept],
                "left": left,
                "stopped": outcome.stopped,
                "spent": {unit: ended.spending.hours(unit) for unit in ("gpuh", "cpuh", "h")},
                "unmet": [{"run": wish.label, "reason": wish.reason} for wish in found.unmet],
            }
        )
        return code
    for each in failed:
        settings.err.print(
            f"failed: {each['label']}: {each['reason']} (in full: {each['traceback']}); alone: {each['alone']}",
            style="red",
            soft_wrap=True,
        )
    parts = [
        f"{count(len(outcome.finished), 'run')} finished"
        if first.left
        else f"nothing to do: all {len(first.runs)} runs are done",
        f"{done} done before" if done and first.left else "",
        f"{len(failed)} failed" if failed else "",
        f"{len(kept)} failed before, left as {'it is' if len(kept) == 1 else 'they are'}" if kept else "",
        f"{left} left" if left else "",
        ended.spent,
    ]
    settings.note(", ".join(part for part in parts if part))
    for reason, wishes in _reasons(found.unmet).items():
        settings.note(f"not run: {wishes}: {reason}")
    lead = "next: "
    if left or failed or kept:
        settings.note(f"{lead}{command(program(), 'resume', sweep_name(sweep), *places)}")
        lead = " " * len(lead)
    if done or outcome.finished:
        settings.note(
            f"{'      ' if left or failed or kept else 'next: '}{command(program(), 'table', *smoke, *places)}"
        )
    return code


def _reasons(unmet: list[Wish]) -> dict[str, str]:
    """Return the runs that cannot be, by why."""
    found: dict[str, list[str]] = {}
    for wish in unmet:
        found.setdefault(wish.reason, []).append(f"{wish.method} {wish.protocol}")
    return {reason: ", ".join(dict.fromkeys(names)) for reason, names in found.items()}
