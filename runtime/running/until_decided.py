"""Asks a model for answers until the limits of a policy are decided, and for no more.

Prompts are asked in the random order in which `bylaw audit --stop` reads them, a batch at a time; after each the limits
are looked at, with intervals that hold at every look. An audit of what was asked, with the same seed, decides the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bylaw.compiler.program import RewardProgram, scores_in
from bylaw.runtime.audit.conversation import messages_of
from bylaw.runtime.audit.followed import StoppingError, StoppingSettings
from bylaw.runtime.audit.stopping import Stopper, prompt_order, taken
from bylaw.runtime.running.export import Holding, holding, trace_of
from bylaw.runtime.running.plan import Done, Plan
from bylaw.runtime.running.run import Job, to_ask
from bylaw.runtime.running.store import RunStore
from bylaw.runtime.stopping_record import Ended, StoppingRecord
from bylaw.spec.trace import Trace


def bring_until_decided(
    job: Job, store: RunStore, program: RewardProgram, settings: StoppingSettings, done: Done, *, again: bool = False
) -> tuple[Counter[str], StoppingRecord]:
    """Begins or goes on with a run; how many samples were left out for now, by the reason, and how the limits stand.

    `settings.batch` prompts are asked together. Raises StoppingError where nothing can be followed without scorers, and
    what `bring_missing` raises. Whatever ends this, what was brought until then is in the store.
    """
    require_plain(program)
    plan = job.plan
    prompts = [Trace(messages_of([dict(message) for message in each.messages])) for each in plan.prompts]
    order, digest = prompt_order(prompts, settings.seed)
    stopper = Stopper(program, settings, is_repeated=len(plan.samples) > len(order))
    store.begin(plan)
    left: Counter[str] = Counter()
    brought = read = place = 0
    most = len(order) if settings.budget is None else min(settings.budget, len(order))
    ended: Ended = "budget" if most < len(order) else "read through"
    while place < most and not stopper.is_done and not left:
        batch = order[place : min(most, place + settings.batch)]
        wanted = {prompt for group in batch for prompt in group}
        missing = [sample for sample in to_ask(plan, store, again=again) if sample.prompt in wanted]
        if missing:
            left.update(job.bring(store, missing, _after(brought, done)))
            brought += len(missing)
        if left:
            break
        held = holding(store)
        found = [traces for group in batch if (traces := _traces(held, plan, group))]
        taken(stopper, found)
        read += sum(map(len, found))
        place += len(batch)
    if stopper.is_done:
        ended = "decided"
    elif left:
        ended = "interrupted"
    record = StoppingRecord(
        settings.seed, digest, settings.error, len(order), stopper.read, len(plan.samples), read, settings.batch,
        settings.budget, ended, stopper.results(program),
    )  # fmt: skip
    return left, record


def _after(before: int, done: Done) -> Done:
    return lambda count: done(before + count)


def require_plain(program: RewardProgram) -> None:
    """Raises StoppingError where a limit or hard rule hangs on what texts express."""
    for term in program.terms:
        if term.kind in ("hard", "budget") and scores_in(term):
            raise StoppingError(
                f"`{term.id}` hangs on what a text expresses, which is not scored while answers are asked for: ask for "
                "them all, and stop the audit (`bylaw audit --stop`)"
            )


def _traces(held: Holding, plan: Plan, group: Sequence[int]) -> list[Trace]:
    """What was asked of the prompts of a group, in the order of the plan."""
    own = set(group)
    found = (
        trace_of(held, sample, name)
        for sample, name in zip(plan.samples, plan.names, strict=True)
        if sample.prompt in own
    )
    return [trace for trace in found if trace is not None]
