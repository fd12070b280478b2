"""A policy on many prompts: what cannot be met is told before the first token, the rest becomes decoding tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from bylaw.compiler.automata.merging import Tables, merge
from bylaw.compiler.factors import HARD_STATES, Factors, culprits, reward_of
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.decoders.interface import DecodeTask, PromptLaw, Scorer
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.twist.compiler import Stages, TwistCompiler
from bylaw.runtime.twist.counting import CountedSample, SamplePool
from bylaw.runtime.twist.errors import EnforcementError, TwistError, named
from bylaw.runtime.twist.spelling import has_byte_fallback, missing_character
from bylaw.runtime.twist.store import TwistStore
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:
    from bylaw.runtime.enforcement import PromptPlan

ENOUGH_FOR_OWN_TWIST = 256
"""With fewer base samples of its own, a set of prompts uses the samples of all prompts for its look-ahead."""
RARE = 1e-6
"""Below this base probability of the hard rules a policy deserves a warning."""
_MOST_BLAMED = 16
"""Of more rules than that, all are named instead of being tried one by one."""


def twist_compiler(model: LanguageModel, max_tokens: int, stages: Stages | None = None) -> TwistCompiler:
    """A compiler that keeps its twists in the cache folder of this user."""
    return TwistCompiler(model, max_tokens, TwistStore.default(), stages)


def decode_tasks(
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[CountedSample]],
    model: LanguageModel,
    multipliers: Mapping[str, float],
    max_tokens: int,
    *,
    compiler: TwistCompiler | None = None,
    stages: Stages | None = None,
) -> list[DecodeTask]:
    """One task a prompt, with look-ahead counted on the base samples `base` [X].

    Prompts with the same terms share their law and their twists; prompts with other terms share the twists of groups
    that are equal. A `compiler` for this model and `max_tokens` remembers them from call to call. Raises Infeasible,
    TwistError (it names the rules that are too large).
    """
    compiler = compiler or twist_compiler(model, max_tokens, stages)
    tasks: dict[int, DecodeTask] = {}
    for terms, members, pool in _classes(plans, base, lambda plan: plan.weighed(multipliers)):
        factors = compiler.factors(terms)
        twists = compiler.twists(factors, pool)
        laws: dict[tuple[Message, ...], PromptLaw] = {}
        for index in members:
            before = plans[index].trace
            law = laws.setdefault(before.context if factors.scored else (), law_of(factors, before))
            tasks[index] = DecodeTask(plans[index].tokens, law, twists)
    return [tasks[index] for index in range(len(plans))]


def law_of(factors: Factors, before: Trace) -> PromptLaw:
    """The law of answers to one conversation. What hangs on the score of a concept is a scorer of its own, since it may
    be dear: an answer whose score cannot be told is forbidden by a hard rule, and pays nothing for any other."""
    plain = factors.plain
    scorers = tuple(Scorer(term.id, partial(_paid, term, before)) for term in factors.scored)
    return PromptLaw(factors.groups, partial(reward_of, plain) if plain else None, scorers)


def _paid(term: RewardTerm, before: Trace, text: str) -> float:
    return reward_of((term,), text, before)


def _classes(
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[CountedSample]],
    terms_of: Callable[[PromptPlan], tuple[RewardTerm, ...]],
) -> Iterator[tuple[tuple[RewardTerm, ...], list[int], SamplePool]]:
    """(terms, the prompts that have them, the samples that their look-ahead counts)."""
    classes: dict[tuple[RewardTerm, ...], list[int]] = {}
    for index, plan in enumerate(plans):
        classes.setdefault(terms_of(plan), []).append(index)
    everyone: SamplePool | None = None
    for terms, members in classes.items():
        own = [sample for index in members for sample in base[index]]
        if len(own) >= ENOUGH_FOR_OWN_TWIST:
            yield terms, members, SamplePool.of(own)
            continue
        everyone = everyone or SamplePool.of([sample for samples in base for sample in samples])
        yield terms, members, everyone


def _hard(plan: PromptPlan) -> tuple[RewardTerm, ...]:
    return tuple(term for term in plan.terms if term.kind == "hard")


# ---------------------------------------------------------------------------------------------------- what cannot be
def require_feasible(
    plans: Sequence[PromptPlan],
    model: LanguageModel,
    max_tokens: int,
    *,
    compiler: TwistCompiler | None = None,
) -> tuple[str, ...]:
    """Tells before any sampling that no text, no text of these tokens, or no text of `max_tokens` tokens obeys the hard
    rules of some prompt. Returns remarks: what look-ahead cannot promise for rules that may well be met.

    Raises Infeasible, EnforcementError (with the ids of the rules), TwistError. Hard rules without an automaton are not
    looked at; a remark names them.
    """
    compiler = compiler or twist_compiler(model, max_tokens)
    seen: set[tuple[RewardTerm, ...]] = set()
    remarks: dict[str, None] = {}
    for plan in plans:
        hard = _hard(plan)
        if not hard or hard in seen:
            continue
        seen.add(hard)
        factors = compiler.factors(hard)
        remarks.update(dict.fromkeys(factors.remarks()))
        by_id = {term.id: term for term in hard}
        for group, members in zip(factors.groups, factors.members, strict=True):
            shortest = compiler.shortest(group, members)
            if not _too_long(shortest, model, max_tokens):
                continue
            blamed = _blamed([by_id[name] for name in members], compiler)
            factors = compiler.factors([by_id[name] for name in blamed])
            reason = _reason(factors, blamed, compiler)
            raise EnforcementError(f"prompt {plan.trace.id}: {reason}", terms=blamed)
    return tuple(remarks)


def _too_long(shortest: int | None, model: LanguageModel, max_tokens: int) -> bool:
    return shortest is None or shortest > max_tokens


def _blamed(terms: Sequence[RewardTerm], compiler: TwistCompiler) -> tuple[str, ...]:
    """The ids of those rules without which the others could be met with these tokens."""
    names = tuple(term.id for term in terms)
    if not 1 < len(terms) <= _MOST_BLAMED:
        return names
    parts: list[tuple[str, Tables]] = []
    for term in terms:
        tables = compiler.tables(term)
        if tables is None:
            return names
        parts += [(term.id, part) for part in tables]

    def impossible(rest: Sequence[tuple[str, Tables]]) -> bool:
        return any(
            _too_long(
                compiler.shortest(compiler.stopped(tables.valued()), members), compiler.model, compiler.max_tokens
            )
            for members, tables in merge(rest, HARD_STATES)
        )

    try:
        return culprits(parts, impossible)
    except TwistError:
        return names


def _reason(factors: Factors, blamed: tuple[str, ...], compiler: TwistCompiler) -> str:
    """Why no response obeys these rules, which go into one automaton or several."""
    names, model = named(blamed), compiler.model
    lengths = [compiler.shortest(group, blamed) for group in factors.groups]
    if None not in lengths:
        longest = max(length for length in lengths if length is not None)
        return (
            f"no response of at most {compiler.max_tokens} tokens obeys {names}: the shortest has {longest}; allow as "
            "many, or ask for less"
        )
    group = factors.groups[lengths.index(None)]
    if model.vocabulary.stops:
        stops = ", ".join(f"`{stop}`" for stop in model.vocabulary.stops)
        return (
            f"no text that the tokens of `{model.name}` spell obeys {names} before it stops at {stops}; stop elsewhere"
        )
    lost = missing_character(compiler.automaton(group, blamed), model.vocabulary)
    fallback = "" if has_byte_fallback(model.vocabulary) else ", and its tokenizer has no byte fallback"
    if lost is None:
        return f"the tokens of `{model.name}` spell no text that obeys {names}{fallback}; use another model"
    return (
        f"the tokens of `{model.name}` spell no text that obeys {names}: `{_shown(lost)}` (U+{ord(lost):04X}) is in "
        f"none of them{fallback}; use another model or another wording"
    )


def _shown(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


# ----------------------------------------------------------------------------------------------------- what is rare
@dataclass(frozen=True, slots=True)
class HardMass:
    """How much of the base model's law the hard rules of some prompts leave, by two estimates.

    `log_twist`, nats: log V̂ of the empty response, with the factors of separate groups of rules taken as independent.
    `obeying` of `samples` base samples obey them, so that the share is at most `upper` with 95% confidence. `terms`:
    the ids of the rules; `prompts`: the ids of the prompts.
    """

    terms: tuple[str, ...]
    prompts: tuple[str, ...]
    log_twist: float
    obeying: int
    samples: int
    upper: float

    @property
    def estimate(self) -> float:
        """The share of the base law that obeys: that of the samples, or V̂ where none of them does."""
        return self.obeying / self.samples if self.obeying else exp(self.log_twist)

    @property
    def is_rare(self) -> bool:
        """Whether the estimate is below 1e-6."""
        return self.estimate < RARE

    def message(self) -> str:
        """The estimate and what it rests on, as a sentence."""
        share = f"{self.obeying} of {self.samples} base samples obey" if self.samples else "without base samples"
        bound = f" (at most {self.upper:.2g} with 95% confidence)" if self.samples else ""
        return (
            f"{named(self.terms)}: the base model obeys with probability {self.estimate:.1g}, by the look-ahead's own "
            f"estimate of {exp(self.log_twist):.1g} and {share}{bound}; expect few distinct answers"
        )


def hard_mass(
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[CountedSample]],
    model: LanguageModel,
    max_tokens: int,
    *,
    compiler: TwistCompiler | None = None,
) -> tuple[HardMass, ...]:
    """The base probability of the hard rules, for each set of prompts with the same ones; nothing where there are none.

    Only rules with an automaton count. Share and bound are about the samples that the look-ahead counts: those of the
    prompts themselves where there are enough, else those of all prompts. Raises Infeasible, TwistError.
    """
    from bylaw.runtime.audit.statistics import exact_upper

    compiler = compiler or twist_compiler(model, max_tokens)
    found = []
    for hard, members, pool in _classes(plans, base, _hard):
        factors = compiler.factors(hard)
        if not factors.groups:
            continue
        obeying = np.ones(len(pool), dtype=np.bool_)
        log_twist = 0.0
        for twist in compiler.twists(factors, pool):
            log_twist += twist.log_z()
            obeying &= np.isfinite(twist.automaton.final(pool.states(twist.automaton)))
        count = int(obeying.sum())
        upper = exact_upper(count, len(pool)) if len(pool) else 1.0
        names = tuple(name for group in factors.members for name in group)
        ids = tuple(plans[index].trace.id for index in members)
        found.append(HardMass(names, ids, log_twist, count, len(pool), upper))
    return tuple(found)
