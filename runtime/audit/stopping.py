"""Reads the answers of an audit in a random order and stops as soon as every limit is decided.

The order of the prompts comes from a seed and from what the prompts say, never from the answers. Each prompt gives one
value a rule: the mean of its answers, or for a hard rule whether any breaks it. Intervals hold at every look
(`bylaw.runtime.audit.sequential`), for prompts such as these.

* A limit on a share is kept when the upper end lies below it, broken when the lower end lies above. With one answer to
  each prompt the interval is Robbins' mixture, else the betting interval for means in [0, 1].
* A hard rule is broken at the first answer that breaks it. It is kept when its rate is shown to be below a rate that
  counts as none, `hard_limit`. Its mixture has the mass `SPIKE` at 0: "no answer breaks it" is shown after nearly as
  few clean answers as a test for that alone takes.
* An answer that could not be scored counts as broken where a limit might be kept, and as none where it might be broken.

The error is shared by Holm's steps (1979), apart for what is said to be kept and what is said to be broken: of m rules,
a decision on one side takes evidence of m/error, the next one on that side of (m − 1)/error, and so on. The evidence is
a supermartingale where the decision would be wrong, so that Ville's inequality bounds each and Holm's argument all:
with at most `error` any of the m is wrongly said to be kept, however often one looks; and likewise broken. Evidence and
thresholds are in nats.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bylaw.compiler.evaluate import TermScore
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit.audit import score
from bylaw.runtime.audit.columns import is_asked, key_of
from bylaw.runtime.audit.followed import Followed, StoppingError, StoppingSettings, follow
from bylaw.runtime.audit.prompts import asked_in
from bylaw.runtime.record import AuditRecord, TermAudit
from bylaw.runtime.stopping_record import Ended, LimitState, LimitStopping, StoppingRecord
from bylaw.spec.trace import Trace

Ask = Callable[[Sequence[Trace]], Sequence[Trace]]
"""Traces with what scorers say of them."""


# ------------------------------------------------------------------------------------------------------------- order
def prompt_order(traces: Sequence[Trace], seed: int) -> tuple[list[list[int]], str]:
    """(the places of the answers to each prompt, in the random order of the prompts; the digest of that order).

    Prompts are sorted by the BLAKE2b digest of the seed and their key, so that the order depends on no answer, nor on
    the order in the file.
    """
    groups: dict[bytes, list[int]] = {}
    for place, trace in enumerate(traces):
        asked = asked_in(trace.messages)
        groups.setdefault(key_of(asked) if asked else bytes(8) + place.to_bytes(8, "big"), []).append(place)
    begin = f"{seed}\n".encode()
    keys = sorted(groups, key=lambda key: hashlib.blake2b(begin + key, digest_size=16).digest())
    whole = hashlib.sha256(b"".join(key if is_asked(key) else key[8:] for key in keys)).hexdigest()
    return [groups[key] for key in keys], whole[:16]


class Stopper:
    """Follows the limits and hard rules of a program; `add` takes the answers to one prompt after the other.

    `is_repeated` says whether prompts have several answers. Raises StoppingError where nothing can be followed, or a
    range is for no quantity with a limit.
    """

    def __init__(self, program: RewardProgram, settings: StoppingSettings, *, is_repeated: bool) -> None:
        self._settings, self._is_repeated = settings, is_repeated
        self._aside: dict[str, LimitStopping] = {}
        self.read = 0
        ranges = {term: (low, high) for term, low, high in settings.ranges}
        limited = [term for term in program.terms if term.kind in ("hard", "budget")]
        measured = [term.id for term in limited if term.kind == "budget" and term.holds is None]
        for name in ranges:
            if name not in measured:
                known = ", ".join(measured) or "none"
                raise StoppingError(f"a range is for a limit on a quantity, and `{name}` is none; here: {known}")
        self._followed: list[Followed] = []
        for term in limited:
            found = follow(term, settings, ranges, is_repeated)
            if isinstance(found, Followed):
                self._followed.append(found)
            elif found is not None:
                self._aside[term.id] = found
        if not self._followed:
            why = next((each.why for each in self._aside.values()), "the policy has neither hard rules nor limits")
            raise StoppingError(f"there is nothing to decide: {why}")
        for each in self._followed:
            each.open(min(self._error("undecided"), each.cap))

    def fresh(self, program: RewardProgram) -> Stopper:
        """One of the same program and settings that has seen nothing."""
        return Stopper(program, self._settings, is_repeated=self._is_repeated)

    @property
    def terms(self) -> tuple[RewardTerm, ...]:
        """The terms that are followed."""
        return tuple(each.term for each in self._followed)

    @property
    def is_done(self) -> bool:
        """Whether every limit that is followed is decided."""
        return all(each.state != "undecided" for each in self._followed)

    def add(self, scores: Sequence[Sequence[TermScore]]) -> None:
        """The answers to the next prompt: for each term of `terms`, what it says of each answer."""
        self.read += 1
        open_ones = []
        for each, own in zip(self._followed, scores, strict=True):
            if each.state == "undecided":
                each.add(own)
                open_ones.append(each)
        evidence = {id(each): each.evidence() for each in open_ones}
        sides: tuple[tuple[int, LimitState], ...] = ((0, "kept"), (1, "broken"))
        for side, state in sides:
            for each in sorted(open_ones, key=lambda one: -evidence[id(one)][side]):
                error = min(self._error(state), each.cap)
                if each.state == "undecided" and evidence[id(each)][side] >= -math.log(error):
                    each.state, each.decided_at, each.error = state, self.read, error

    def _error(self, state: LimitState) -> float:
        """What one more decision of this kind may use of the error."""
        decided = sum(each.state == state for each in self._followed) if state != "undecided" else 0
        return self._settings.error / (len(self._followed) - decided)

    def results(self, program: RewardProgram) -> tuple[LimitStopping, ...]:
        """How every limit and hard rule stands, in the order of the program."""
        found = dict(self._aside)
        for each in self._followed:
            if each.state == "undecided":
                each.error = min(self._error("undecided"), each.cap)
            found[each.term.id] = each.result()
        return tuple(found[term.id] for term in program.terms if term.id in found)


# ------------------------------------------------------------------------------------------------------------ running
@dataclass(frozen=True, slots=True)
class Stopped:
    """The traces that were read, with what scorers say of them, in the order in which they were given; their places
    there; and how it ended."""

    traces: tuple[Trace, ...]
    places: tuple[int, ...]
    record: StoppingRecord


def stop_early(
    program: RewardProgram,
    traces: Sequence[Trace],
    settings: StoppingSettings,
    ask: Ask | None = None,
    settle: Ask | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Stopped:
    """Reads prompts until every limit is decided, or the budget or the prompts end.

    `ask` has the traces of a batch scored, and is asked for no more than that; `settle` says in the end what the scores
    of all traces read come to (texts may turn out to be unlike those of a calibration), and decides then: where a limit
    is undecided by that, reading goes on. `progress` is told (prompts read, prompts at most). Ctrl-C ends the reading
    after the last whole batch. Raises StoppingError.
    """
    order, digest = prompt_order(traces, settings.seed)
    most = len(order) if settings.budget is None else min(settings.budget, len(order))
    prompts = len(order)
    is_repeated = prompts < len(traces)
    stopper = Stopper(program, settings, is_repeated=is_repeated)
    read: dict[int, Trace] = {}
    done = 0
    ended: Ended = "budget" if most < len(order) else "read through"

    try:
        while done < most and not stopper.is_done:
            batch = order[done : min(most, done + settings.batch)]
            places = [place for group in batch for place in group]
            own = [traces[place] for place in places]
            scored = dict(zip(places, own if ask is None else ask(own), strict=True))
            _take(stopper, batch, scored)
            read.update(scored)
            done += len(batch)
            if progress is not None:
                progress(done, most)
            if settle is not None and (stopper.is_done or done == most):
                # what is undecided once more goes on
                stopper, read = _again(stopper, program, traces, order[:done], read, settle)
    except KeyboardInterrupt:
        ended = "interrupted"
        # it may have come in the middle of a batch, whose answers count for nothing then
        stopper, read = _again(stopper, program, traces, order[:done], read, settle)
    if stopper.is_done and ended != "interrupted":
        ended = "decided"
    kept = tuple(sorted(read))
    record = StoppingRecord(
        settings.seed, digest, settings.error, prompts, stopper.read, len(traces), len(kept), settings.batch,
        settings.budget, ended, stopper.results(program),
    )  # fmt: skip
    return Stopped(tuple(read[place] for place in kept), kept, record)


def _again(
    before: Stopper,
    program: RewardProgram,
    traces: Sequence[Trace],
    order: Sequence[Sequence[int]],
    read: dict[int, Trace],
    settle: Ask | None,
) -> tuple[Stopper, dict[int, Trace]]:
    """(a stopper that has seen just the batches of `order`, as they are settled; these traces by their places)."""
    places = sorted(place for group in order for place in group)
    found: Sequence[Trace] = [read[place] for place in places]
    if settle is not None and places:
        found = settle([traces[place] for place in places])
    settled = dict(zip(places, found, strict=True))
    stopper = before.fresh(program)
    _take(stopper, order, settled)
    return stopper, settled


def _take(stopper: Stopper, groups: Sequence[Sequence[int]], traces: dict[int, Trace]) -> None:
    taken(stopper, [[traces[place] for place in group] for group in groups])


def taken(stopper: Stopper, groups: Sequence[Sequence[Trace]]) -> None:
    """Gives the stopper the verdicts on the answers to each prompt, one prompt after the other."""
    scores = [[[score(term, trace) for trace in group] for term in stopper.terms] for group in groups]
    for own in scores:
        stopper.add(own)


def with_stopping(record: AuditRecord, stopping: StoppingRecord) -> AuditRecord:
    """The record of the audit over what was read, in which limits are met as far as stopping decided them, and what it
    did not decide is marked."""
    by_term = {each.term: each for each in stopping.limits}

    def decided(term: TermAudit) -> TermAudit:
        found = by_term.get(term.term)
        if found is None:
            return term
        answer = {"kept": True, "broken": False}.get(found.state)
        within = term.within if term.bound is None else answer
        return replace(term, within=within, is_decided=answer is not None)

    return replace(
        record,
        terms=tuple(map(decided, record.terms)),
        stopping=stopping,
        complete=record.complete and stopping.ended != "interrupted",
    )
