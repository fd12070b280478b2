"""All automata of a policy for one model, each met with the vocabulary once and solved once, however many prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bylaw.compiler.automata.counts import Valued
from bylaw.compiler.automata.merging import Tables
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.stops import until_stop
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.compiler.factors import FactorMemory, Factors, factorise
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.twist.build import build_twist, shortest_response
from bylaw.runtime.twist.counting import SamplePool
from bylaw.runtime.twist.errors import TwistError, named
from bylaw.runtime.twist.store import TwistKey, TwistStore, automaton_digest, vocabulary_digest
from bylaw.runtime.twist.table import Twist


class Stages(Protocol):
    """Is told how long work gets on."""

    def stage(self, name: str, total: int) -> None: ...
    def progress(self, done: int, total: int) -> None: ...


@dataclass(eq=False)
class TwistCompiler:
    """Builds twists of at most `max_tokens` tokens for `model`, and keeps what it built.

    Groups of rules with equal automata share one token automaton, whichever prompts they belong to, and one twist for
    each pool of base samples. With a `store`, twists also come from the disk. `stages` is told how far a build is.
    """

    model: LanguageModel
    max_tokens: int
    store: TwistStore | None = None
    stages: Stages | None = None
    smoothing: float | None = None
    built: int = 0
    loaded: int = 0
    _memory: FactorMemory = field(default_factory=FactorMemory)
    _digests: dict[Valued, str] = field(default_factory=dict)
    _stopped: dict[Valued, Valued] = field(default_factory=dict)
    _automata: dict[str, TokenAutomaton] = field(default_factory=dict)
    _twists: dict[tuple[str, str], Twist] = field(default_factory=dict)
    _shortest: dict[str, int | None] = field(default_factory=dict)
    _vocabulary: str = ""

    def factors(self, terms: Sequence[RewardTerm]) -> Factors:
        """The factors of specialised terms over what the model writes, up to its stop strings.

        Raises Infeasible; TwistError, which names the rules that are too large with the stop strings.
        """
        found = factorise(terms, self._memory)
        if not self.model.vocabulary.stops:
            return found
        groups = tuple(map(self.stopped, found.groups, found.members))
        return replace(found, groups=groups)

    def stopped(self, group: Valued, members: tuple[str, ...] = ()) -> Valued:
        """The group over what the model writes: what follows a stop string does not count. Raises TwistError."""
        if group not in self._stopped:
            try:
                self._stopped[group] = until_stop(group, self.model.vocabulary.stops)
            except StateLimit as error:
                raise TwistError(f"{named(members)}: too large with these stop strings ({error})", members) from error
        return self._stopped[group]

    def tables(self, term: RewardTerm) -> tuple[Tables, ...] | None:
        """Automata that add up to what one specialised term says, None where there are none."""
        return self._memory.tables(term)

    def automaton(self, group: Valued, members: tuple[str, ...] = ()) -> TokenAutomaton:
        """The group over the tokens of the model. Raises TwistError, naming `members`, where it is too large."""
        digest = self._digest(group)
        if digest not in self._automata:
            vocabulary = self.model.vocabulary
            try:
                self._automata[digest] = TokenAutomaton(group, vocabulary.token_bytes, vocabulary.drops_leading_space)
            except StateLimit as error:
                raise TwistError(f"{named(members)}: too large for this vocabulary ({error})", members) from error
        return self._automata[digest]

    def shortest(self, group: Valued, members: tuple[str, ...] = ()) -> int | None:
        """The fewest tokens of a response that the group allows; None where no tokens spell one. Raises TwistError."""
        digest = self._digest(group)
        if digest not in self._shortest:
            try:
                found = shortest_response(self.automaton(group, members), self.model.vocabulary, self.max_tokens)
            except TwistError as error:
                raise error.about(members) from error
            self._shortest[digest] = found
        return self._shortest[digest]

    def twists(self, factors: Factors, samples: SamplePool) -> tuple[Twist, ...]:
        """One twist for each group, from these base samples. Raises TwistError, which names the rules of the group."""
        members = factors.members or ((),) * len(factors.groups)
        return tuple(self._twist(group, names, samples) for group, names in zip(factors.groups, members, strict=True))

    def _twist(self, group: Valued, members: tuple[str, ...], samples: SamplePool) -> Twist:
        place = self._digest(group), samples.digest
        if place not in self._twists:
            automaton = self.automaton(group, members)
            key = self._key(*place)
            found = None if self.store is None else self.store.get(key, automaton)
            if found is None:
                found = self._build(automaton, members, samples)
                self.built += 1
                if self.store is not None:
                    self.store.put(key, found)
            else:
                self.loaded += 1
            self._twists[place] = found
        return self._twists[place]

    def _build(self, automaton: TokenAutomaton, members: tuple[str, ...], samples: SamplePool) -> Twist:
        progress = None
        if self.stages is not None:
            self.stages.stage(f"looking ahead for {named(members, 2) or 'the rules'}", self.max_tokens)
            progress = self.stages.progress
        try:
            return build_twist(
                automaton, self.model.vocabulary, samples, self.max_tokens, smoothing=self.smoothing, progress=progress
            )
        except TwistError as error:
            raise error.about(members) from error

    def _digest(self, group: Valued) -> str:
        if group not in self._digests:
            self._digests[group] = automaton_digest(group)
        return self._digests[group]

    def _key(self, automaton: str, samples: str) -> TwistKey:
        if not self._vocabulary:
            self._vocabulary = vocabulary_digest(self.model.vocabulary)
        temperature = float(getattr(self.model, "temperature", 1.0))
        return TwistKey(
            automaton, self._vocabulary, self.model.digest, temperature, samples, self.max_tokens, self.smoothing
        )
