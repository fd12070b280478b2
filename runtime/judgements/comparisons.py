"""Judgements as pairs of answers: what each line says of which two, and which orders of classes rank labelled answers.

Pairs are about one prompt. Labelled answers to different prompts may be compared too, where the user says among which
(`across`): they are dealt at random into blocks, and only answers of one block are compared. So blocks are independent
of each other, as prompts are, and resampling them gives honest intervals; all pairs of all answers would not.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING

from bylaw.compiler.expressions import number_in, truth_in
from bylaw.compiler.situation import Situation
from bylaw.compiler.values import Unknown
from bylaw.runtime.audit.inputs import quote, quote_all, suggestion
from bylaw.runtime.judgements.reader import Judgement, JudgementError, LabelledAnswer
from bylaw.spec import ast
from bylaw.spec.expression import Rank
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardTerm

BLOCK = 8
"""Answers to different prompts that are compared with each other."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`better` is at least `margin` nats better than `worse` (None: not said), or as good where it is a `tie`.

    Both are places in `Comparisons.answers`. `weight` is how many judgements it stands for, `group` the prompt.
    """

    better: int
    worse: int
    tie: bool
    margin: float | None
    weight: float
    group: int
    place: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One line that was read, but says nothing about weights, and why."""

    place: str
    reason: str


@dataclass(slots=True)
class Comparisons:
    """All answers, the pairs among them, and what was left out. Answers that are the same trace stand once."""

    answers: list[Trace] = field(default_factory=list)
    pairs: list[Comparison] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    groups: dict[Hashable, int] = field(default_factory=dict)
    _places: dict[int, int] = field(default_factory=dict)

    def add(self, judgement: Judgement, group: Hashable | None = None) -> None:
        """The pairs of one judgement: of any two tiers, and within each tier as ties."""
        number = self.groups.setdefault(("prompt", judgement.context) if group is None else group, len(self.groups))
        tiers = [[self._answer(trace) for trace in tier] for tier in judgement.tiers]
        found = [(pair, True) for tier in tiers for pair in combinations(tier, 2)]
        for upper, lower in combinations(tiers, 2):
            found += [((better, worse), False) for better in upper for worse in lower]
        for (better, worse), tie in found:
            margin, weight = judgement.margin, judgement.weight
            self.pairs.append(Comparison(better, worse, tie, margin, weight, number, judgement.place))

    def with_margin(self, margin: float) -> Comparisons:
        """The same comparisons; where no margin was said, this one (nats), and none for ties."""
        pairs = [replace(each, margin=margin) if each.margin is None and not each.tie else each for each in self.pairs]
        return replace(self, pairs=pairs)

    def _answer(self, trace: Trace) -> int:
        place = self._places.setdefault(id(trace), len(self.answers))  # `answers` holds it, so its id stays its own
        if place == len(self.answers):
            self.answers.append(trace)
        return place


# ------------------------------------------------------------------------------------------------ orders of classes
@dataclass(frozen=True, slots=True)
class ClassOrder:
    """Names of classes, best first. `term` is the preference of the policy that they come from, and works out the
    class of an answer that nobody gave one."""

    names: tuple[str, ...]
    term: RewardTerm | None = None

    def place(self, labelled: LabelledAnswer) -> int | str:
        """Which class an answer is in, from 0, the best; `len(names)` in none of them. Or why that cannot be told."""
        if labelled.kind is not None:
            if labelled.kind in self.names:
                return self.names.index(labelled.kind)
            near = suggestion(labelled.kind, self.names)
            return f"there is no class {quote(labelled.kind)} among {quote_all(self.names)}{near}"
        if self.term is None or self.term.value is None:
            return "it has no `class`, and the order gives only names"
        here = Situation(labelled.answer)
        applies = True if self.term.condition is None else truth_in(self.term.condition, here)
        if isinstance(applies, Unknown):
            return f"its class cannot be told: {applies.reason}"
        if not applies:
            return f"{quote(self.term.rule)} does not apply to it, and it has no `class`"
        value = number_in(self.term.value, here)
        return f"its class cannot be told: {value.reason}" if isinstance(value, Unknown) else round(-value)


def class_order(compiled: Compiled, wanted: str | None) -> ClassOrder:
    """The order of classes: `best>next>...`, the name of a rule, or where nothing is said the only one of the policy.

    Raises JudgementError where there is no such order, or more than one.
    """
    if wanted is not None and ">" in wanted:
        names = tuple(part.strip() for part in wanted.split(">"))
        if not all(names) or len(set(names)) < len(names):
            raise JudgementError(f"{quote(wanted)} is no order of classes; write it as in `ideal>acceptable>bad`")
        return ClassOrder(names)
    terms = [term for term in compiled.require().terms if isinstance(term.value, Rank)]
    chosen = terms if wanted is None else [term for term in terms if wanted in (term.rule, term.id)]
    if len(chosen) == 1:
        return ClassOrder(_names(compiled, chosen[0]), chosen[0])
    known = quote_all(term.id for term in terms) if terms else "none"
    if wanted is not None and not chosen:
        near = suggestion(wanted, {term.id for term in terms})
        raise JudgementError(f"{quote(wanted)} is no rule that says `prefer ... over ...`; there is {known}{near}")
    if not chosen:
        raise JudgementError(
            "labelled answers need an order of classes, and no rule says `prefer ... over ...`; "
            "give one with --order, as in `--order 'ideal>acceptable>bad'`"
        )
    raise JudgementError(f"several rules say which class is better: {known}; choose one with --order")


def _names(compiled: Compiled, term: RewardTerm) -> tuple[str, ...]:
    """The alternatives as they are written."""
    for item in ast.walk(compiled.module):
        if isinstance(item, ast.PreferOrder) and (item.span.start, item.span.end) == (
            term.extent.start,
            term.extent.end,
        ):
            return tuple(" ".join(compiled.source.slice(each.span).split()) for each in item.alternatives)
    assert isinstance(term.value, Rank)
    return tuple(str(number + 1) for number in range(len(term.value.alternatives)))  # it stands in another file


def add_labelled(
    made: Comparisons, labelled: Iterable[LabelledAnswer], order: ClassOrder, across: str | None, seed: int
) -> tuple[int, ...]:
    """Compares labelled answers by the order; those of one class are not compared.

    Without `across`, answers to one prompt are compared; with it, answers for which the fact of this name has the same
    value, in blocks of `BLOCK`. Returns how many answers each class has, and last those in none.
    """
    counts = [0] * (len(order.names) + 1)
    boxes: dict[Hashable, dict[Hashable, _Members]] = {}
    for each in labelled:
        rank = order.place(each)
        if isinstance(rank, str):
            made.left_out.append(LeftOut(each.place, rank))
            continue
        counts[rank] += 1
        key: Hashable = each.context
        if across is not None:
            if across not in each.answer.facts:
                made.left_out.append(LeftOut(each.place, f"the fact {quote(across)} is not given"))
                continue
            key = each.answer.facts[across]
        boxes.setdefault(key, {}).setdefault(each.context, []).append((rank, each))
    shuffled = random.Random(seed)
    for key, prompts in boxes.items():
        for number, members in enumerate(_blocks(list(prompts.values()), shuffled)):
            group = None if across is None else ("block", key, number)
            for compared in _dealt(members, shuffled):
                _compare(made, compared, group)
    return tuple(counts)


_Members = list[tuple[int, LabelledAnswer]]


def _blocks(prompts: list[_Members], shuffled: random.Random) -> Iterator[_Members]:
    """The answers in blocks of `BLOCK` or more. All answers to one prompt are in one block: otherwise blocks would
    not be independent, and what is said of unseen ones would be of prompts that were fitted."""
    shuffled.shuffle(prompts)
    block: _Members = []
    for members in prompts:
        block = [*block, *members]
        if len(block) >= BLOCK:
            yield block
            block = []
    if block:
        yield block


def _dealt(members: _Members, shuffled: random.Random) -> Iterator[_Members]:
    """The answers that are compared with each other: all of them, or so many that the pairs do not become too many."""
    if len(members) <= BLOCK**2:
        yield members
        return
    shuffled.shuffle(members)
    for start in range(0, len(members), BLOCK):
        yield members[start : start + BLOCK]


def _compare(made: Comparisons, members: Sequence[tuple[int, LabelledAnswer]], group: Hashable | None) -> None:
    for (first, one), (second, other) in combinations(members, 2):
        if first != second:
            better, worse = (one, other) if first < second else (other, one)
            place = f"{better.place} > {worse.place}"
            tiers = ((better.answer,), (worse.answer,))
            made.add(Judgement(place, one.context, tiers, None, better.weight * worse.weight), group)


# ------------------------------------------------------------------------------------------------------- examples
def add_examples(made: Comparisons, compiled: Compiled, path: str) -> None:
    """Compares the examples of each rule: what complies is better than what violates, in one conversation.

    An example that is only a text answers an empty prompt.
    """
    assert compiled.regulators is not None
    for better in compiled.regulators.examples:
        for worse in compiled.regulators.examples:
            if (better.verdict, worse.verdict) != ("complies", "violates") or better.rule != worse.rule:
                continue
            one, other = (
                each.messages if not each.is_text else (Message("user", ""), *each.messages) for each in (better, worse)
            )
            if one[:-1] != other[:-1] or better.facts != worse.facts or one == other:
                continue
            if not (one[-1].role == other[-1].role == "assistant") or one[-1].tool or other[-1].tool:
                continue
            facts = dict(better.facts)
            traces = [Trace(messages, facts) for messages in (one, other)]
            line = compiled.source.position(better.extent.start)[0]
            other_line = compiled.source.position(worse.extent.start)[0]
            tiers = ((traces[0],), (traces[1],))
            made.add(Judgement(f"{path}:{line} > {path}:{other_line}", one[:-1], tiers))
