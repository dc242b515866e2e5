"""How a method behaves: it learns, keeps to what it was handed and declared, and does the same twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from grace.conformance.stream import PROTOCOL, UNEVEN, Spy, data
from grace.conformance.subject import Subject, difference, lasting, run
from grace.contract import thorough
from grace.learner import Learner
from grace.streams.protocol import Budget
from grace.training.trainer import Observer, Progress

BUDGETS = (Budget(18), Budget(4, "class"), Budget(0))


def learns(subject: Subject) -> None:
    """Learns above chance, old classes and new."""
    records = run(subject.build(epochs=12))
    first, last = records[0], records[-1]
    subject.demand(len(records) == 3, f"three tasks gave {len(records)} records")
    subject.demand(first.accuracy > 0.75, f"it knows {first.accuracy:.0%} of the first two classes; chance is 50%")
    # chance is 1/6, and 1/3 for a learner that knows only the last task
    subject.demand(last.accuracy > 0.3, f"in the end it knows {last.accuracy:.0%} of six classes; chance is 17%")
    newest = last.labels >= last.known
    # by any readout: a head that is balanced for few old images may take longer than this to give new classes theirs
    known = max(float((p[:, 0] == last.labels)[newest].double().mean()) for p in last.predictions.values())
    subject.demand(known > 0.4, f"in the end it knows {known:.0%} of the two newest classes")


def holds(subject: Subject) -> None:
    """Holds only what it declares, trains only what it lists, and rests frozen."""
    with thorough():  # the engine's own contract, by value
        run(subject.build())


def reads(subject: Subject) -> None:
    """Reads the images it was handed, all of them and no others, and stays within its memory."""
    for budget in BUDGETS:
        learner, (train, test) = subject.build(epochs=1, budget=budget), data()
        spy = Spy(train)
        run(learner, replace(PROTOCOL, budget=budget), splits=(spy, test), observe=_looker(subject, learner, spy))


def _looker(subject: Subject, learner: Learner, spy: Spy) -> Observer:
    """Return an observer that looks, after every task, at what was read and kept; foreign images the engine refuses."""
    budget = learner.memory.budget

    def look(progress: Progress) -> bool:
        if progress.phase != "evaluate":
            return False
        known, seen = 2 * progress.task, 2 * progress.task + 2
        handed = ((spy.y >= known) & (spy.y < seen)).nonzero()[:, 0].tolist()
        unread = len(set(handed) - spy.read)
        subject.demand(not unread, f"task {progress.task}: it never reads {unread} of the task's images")
        spy.read.clear()
        if subject.learner.remember is Learner.remember:
            share = budget.share(seen)
            held = {label: len(rows) for label, rows in learner.memory.by_class.items()}
            due = dict.fromkeys(range(seen), share) if share else {}
            subject.demand(held == due, f"memory {budget}: it keeps {held} per class, {share} of each are its share")
        return False

    return look


def repeats(subject: Subject) -> None:
    """Does the same twice, and something else with another seed."""
    first, second = subject.build(), subject.build()
    one, two = ([lasting(record) for record in run(learner)] for learner in (first, second))
    same = difference(one, two, "records") or difference(first.state_dict(), second.state_dict())
    subject.demand(not same, f"the same run twice differs in {same}: draw from trainer.generator(purpose) only")
    other = [lasting(record) for record in run(subject.build(), seed=1)]
    subject.demand(bool(difference(one, other)), "another seed gives the very same run")


def unequal(subject: Subject) -> None:
    """Learns tasks of unequal sizes."""
    increments = UNEVEN.increments
    assert increments == (3, 2, 1)
    records = run(subject.build(epochs=1, budget=UNEVEN.budget), UNEVEN)
    sizes = [after - before for before, after in pairwise([0, *(record.seen for record in records)])]
    subject.demand(tuple(sizes) == increments, f"tasks of {increments} classes were taken for {sizes}")
    for record in records:
        scored = next(iter(record.predictions.values()))
        subject.demand(len(scored) == len(record.labels), f"task {record.task}: not every test image has a score")
