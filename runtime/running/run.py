"""What one call of a run has to do: which samples are still to be had, and bringing them until it ends, however."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bylaw.runtime.running.plan import Done, Plan, Sample
from bylaw.runtime.running.store import SETTLED, RunStore

Bring = Callable[[RunStore, Sequence[Sample], Done], Iterator[str]]
"""Brings samples into a store; yields, for each that is left out for now (a budget, an endpoint that cannot be used),
why."""


@dataclass(frozen=True)
class Job:
    """A plan and the way to its samples. `require` raises, before anything is created, where none can be had."""

    plan: Plan
    bring: Bring
    require: Callable[[], None] = lambda: None


def to_ask(plan: Plan, store: RunStore | None, *, again: bool = False) -> list[Sample]:
    """The samples that have no answer yet, in order; without those that came to an end that lies in what was asked and
    answered (see `SETTLED`), unless `again`. `store` None: nothing is there."""
    if store is None:
        return list(plan.samples)
    there = store.answers([sample.key for sample in plan.samples])
    settled = set() if again else {key for key, failure in store.failures().items() if failure.why in SETTLED}
    return [sample for sample in plan.samples if sample.key not in there and sample.key not in settled]


def bring_missing(job: Job, store: RunStore, done: Done, *, again: bool = False) -> Counter[str]:
    """Begins or goes on with a run; how many samples were left out for now, by the reason.

    Raises RunningError where the store is for something else, and what `job.bring` raises. Whatever ends this, what was
    brought until then is in the store.
    """
    store.begin(job.plan)
    missing = to_ask(job.plan, store, again=again)
    left: Counter[str] = Counter()
    if missing:
        left.update(job.bring(store, missing, done))
    return left
