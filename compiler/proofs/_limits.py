"""Limits as the analyses see them: where they count, which hard rules count there too, and what is then possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bylaw.compiler.demands import NEVER, Demand, key_of
from bylaw.compiler.evaluate import truth
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.compiler.witnesses import is_true_of
from bylaw.spec.errors import Label
from bylaw.spec.expression import BooleanExpression, ConceptScore, Extent, MessageText
from bylaw.spec.logic import conjuncts, selectors, walk
from bylaw.spec.source import Span
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:  # most policies have no limits that automata are asked about
    from bylaw.compiler.automata.dfa import Dfa

SEARCH_LIMIT = 20_000
LONGEST_SHOWN = 60
"""Characters of a text in a message, before it is cut short."""
MOST_RULES = 8
"""Hard rules that one search takes in."""
LATE = "the time is used up"
TOO_LARGE = "the search grew too large"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit; `keys` are what the parts of its condition mean, `prompts` those of its suite (None: no suite).

    `bound` is exactly what the author wrote: a share from 0 to 1 of an event, else an average.
    """

    term: RewardTerm
    keys: frozenset[str]
    prompts: tuple[str, ...] | None
    bound: Fraction

    @property
    def name(self) -> str:
        return f"`{self.term.id}`"

    @property
    def gives_way(self) -> bool:
        """Whether it has a price, beyond which it gives way: then nothing is impossible because of it."""
        return self.term.price is not None

    @property
    def asks(self) -> str:
        """What it asks for: `at least 5%`, `at most 20 on average`."""
        if self.term.holds is not None:
            return f"{self.term.sense} {percent(self.bound)}"
        return f"{self.term.sense} {decimal(self.bound)} on average"


def limits_of(view: PolicyView) -> tuple[Limit, ...]:
    """The limits that count somewhere, in the order of the file."""
    suites = {suite.name: suite.prompts for suite in view.policy.suites}
    found = []
    for term in view.program.terms:
        if term.kind == "budget" and term.bound is not None:
            keys = frozenset(map(key_of, conjuncts(term.condition)))
            prompts = None if term.suite is None else suites.get(term.suite)
            found.append(Limit(term, keys, prompts, Fraction(repr(term.bound))))
    return tuple(limit for limit in found if NEVER not in limit.keys)


def hard_rules(view: PolicyView) -> tuple[Demand, ...]:
    """The hard rules that proofs can speak of: what they demand depends on the answer alone."""
    demands = (Demand.of(term) for term in view.program.terms if term.kind == "hard")
    return tuple(demand for demand in demands if demand.reads_only_the_answer and not demand.is_dead)


def in_force(rules: Sequence[Demand], limit: Limit) -> tuple[Demand, ...]:
    """The rules that are certain to be in force wherever a limit counts: their condition is among its own, or holds for
    each prompt of its suite."""
    return tuple(rule for rule in rules if rule.keys <= limit.keys or _follows(rule, limit))


def _follows(rule: Demand, limit: Limit) -> bool:
    """Whether a rule is in force for each prompt of the suite of a limit."""
    if not limit.prompts:
        return False
    return all(key_of(part) in limit.keys or _is_true_of_all(part, limit.prompts) for part in rule.context)


def _is_true_of_all(part: BooleanExpression, prompts: tuple[str, ...]) -> bool:
    return reads_only_prompt_and_facts(part) and all(truth(part, asked(prompt)) is True for prompt in prompts)


def reads_only_prompt_and_facts(part: BooleanExpression) -> bool:
    """Whether a conversation of one prompt tells as much about it as a longer one with the same prompt."""
    pieces = tuple(walk(part))
    return not any(selectors(piece) for piece in pieces) and all(
        piece.role in ("prompt", "it") for piece in pieces if isinstance(piece, MessageText)
    )


def asked(prompt: str) -> Trace:
    """A conversation that so far is this prompt. Facts are unknown in it."""
    return Trace((Message("user", prompt),))


# ------------------------------------------------------------------------------------------------ what is possible
@dataclass(frozen=True, slots=True)
class Shown:
    """Some answer is like this: `text` obeys the rules and all that is asked for is true of it."""

    text: str


@dataclass(frozen=True, slots=True)
class RuledOut:
    """No answer is like this that obeys `rules`; any of them left out, there is one."""

    rules: tuple[Demand, ...]
    states: int


@dataclass(frozen=True, slots=True)
class Open:
    """It was not decided whether there is such an answer."""

    why: str


def ask(view: PolicyView, wanted: Sequence[BooleanExpression], rules: Sequence[Demand]) -> Shown | RuledOut | Open:
    """Whether some answer that obeys the rules is like this. Rules are taken in only as answers break them."""
    statements = [*wanted, *(rule.obeyed for rule in rules)]
    known = view.witnesses.obeying(statements, [*map(key_of, wanted), *(rule.key for rule in rules)])
    if known is not None:
        return Shown(known)
    from bylaw.compiler.automata.algebra import any_witness
    from bylaw.compiler.automata.partition import StateLimit

    languages = [view.witnesses.language(each) for each in wanted]
    if any(language is None for language in languages):
        return Open(_why_open(wanted))
    found = [language for language in languages if language is not None]
    used: list[Demand] = []
    while True:
        try:
            text = any_witness(found, SEARCH_LIMIT)
        except StateLimit:
            return Open(TOO_LARGE)
        if text is None:
            return _minimal(view, wanted, used)
        check(wanted, text)
        view.witnesses.add(text)
        broken = [rule for rule in rules if not is_true_of(rule.obeyed, text)]
        if not broken:
            return Shown(text)
        rule = _promising(view, wanted, broken)
        if rule is None:
            from bylaw.compiler.regular import why_not_regular

            return Open(why_not_regular(broken[0].term))
        language = view.witnesses.language(rule.obeyed, rule.key)
        if len(used) == MOST_RULES or view.is_late or language is None:
            return Open(LATE if view.is_late else TOO_LARGE)
        used.append(rule)
        found.append(language)


def _promising(view: PolicyView, wanted: Sequence[BooleanExpression], broken: Sequence[Demand]) -> Demand | None:
    """The rule to take in next, rather one that no known text as wanted obeys; None where none has a language."""
    bits = (1 << len(view.witnesses.texts)) - 1
    for statement in wanted:
        bits &= view.witnesses.true_of(statement)
    against = [rule for rule in broken if not bits & view.witnesses.true_of(rule.obeyed, rule.key)]
    known = (rule for rule in (*against, *broken) if view.witnesses.language(rule.obeyed, rule.key) is not None)
    return next(known, None)


def _minimal(view: PolicyView, wanted: Sequence[BooleanExpression], used: Sequence[Demand]) -> RuledOut:
    """The same without rules that are not needed for it; one whose part is too large to tell stays."""
    from bylaw.compiler.automata.algebra import any_witness
    from bylaw.compiler.automata.partition import StateLimit

    def languages(rules: Sequence[Demand]) -> list[Dfa]:
        statements = [*wanted, *(rule.obeyed for rule in rules)]
        built = [view.witnesses.language(statement) for statement in statements]
        return [language for language in built if language is not None]

    kept = list(used)
    for rule in used:
        rest = [other for other in kept if other is not rule]
        try:
            if any_witness(languages(rest), SEARCH_LIMIT) is None:
                kept = rest
        except StateLimit:
            continue
    return RuledOut(tuple(kept), sum(language.size for language in languages(kept)))


def _why_open(wanted: Sequence[BooleanExpression]) -> str:
    pieces = [piece for each in wanted for piece in walk(each)]
    if any(isinstance(piece, ConceptScore) for piece in pieces):
        return "concepts are scored, so no proof about texts speaks of them"
    return "no automaton of a reasonable size describes it"


def check(wanted: Sequence[BooleanExpression], text: str) -> None:
    """Raises AssertionError where the reference evaluator does not find a text to be what an automaton says."""
    wrong = [each for each in wanted if not is_true_of(each, text)]
    if wrong:
        raise AssertionError(f"an automaton and the evaluator disagree about {text!r}: {wrong[0]}")


def shortest(view: PolicyView, wanted: Sequence[BooleanExpression]) -> str | None:
    """A shortest answer of which all are true, checked; None where there is none or it was not found."""
    from bylaw.compiler.automata.algebra import shortest_witness
    from bylaw.compiler.automata.partition import StateLimit

    built = [view.witnesses.language(each) for each in wanted]
    languages = [each for each in built if each is not None]
    if len(languages) < len(built):
        return None
    try:
        text = shortest_witness(languages, SEARCH_LIMIT)
    except StateLimit:
        return None
    if text is not None:
        check(wanted, text)
    return text


# ----------------------------------------------------------------------------------------------------------- words
def percent(share: Fraction) -> str:
    """`5%`, `0.25%`."""
    return f"{decimal(share * 100)}%"


def decimal(number: Fraction) -> str:
    """A number with as many places as it needs, at most six."""
    return f"{float(number):.6f}".rstrip("0").rstrip(".")


def quoted(text: str) -> str:
    """A text as messages show it."""
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "...")


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def mark(extent: Extent, message: str = "") -> Label:
    """A mark under a place of the policy."""
    return Label(Span(extent.start, extent.end), message)


def reach(limit: Limit, rules: Sequence[Demand]) -> Iterator[str]:
    """That rules with a condition of their own count for every prompt of the suite of a limit."""
    names = [f"`{rule.term.id}`" for rule in rules if not rule.keys <= limit.keys]
    if names and limit.prompts is not None:
        verb = "counts" if len(names) == 1 else "count"
        count = len(limit.prompts)
        which = "the only prompt" if count == 1 else f"each of the {count} prompts"
        yield f"{listed(names)} {verb} for {which} of suite `{limit.term.suite}`"


def proved(states: int) -> str:
    """What a proof by automata rests on."""
    return f"proved by the emptiness of a regular language, {states} state{'' if states == 1 else 's'}"
