"""What changed in the words of each rule: its level, its sentences, its condition, its numbers, its reasons."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence

from bylaw.compiler.changes.match import concepts_in, rule_key, sentence_key, without_concepts
from bylaw.compiler.changes.types import Change, Kind, RulePair, Version
from bylaw.spec import ast
from bylaw.spec.expression import BooleanExpression, Concept
from bylaw.spec.logic import meaning, same
from bylaw.spec.regulator import Regulator, Waivability

Renamed = Mapping[str, str]
"""The names that rules of the old version have in the new one."""


def rule_changes(
    pair: RulePair, old: Version, new: Version, renamed: Renamed, changed: frozenset[str] = frozenset()
) -> Iterator[Change]:
    """All changes of one rule, those that concern several sentences once.

    `changed` are lexicons, parameters and definitions that changed: they are named where a sentence changed by them.
    """
    if not pair.old or not pair.new:
        yield _come_or_gone(pair, old, new)
        return
    one, other = pair.old[0], pair.new[0]
    tell = _Teller(pair, old, new, changed)
    if one.rule != other.rule:
        yield tell("rule renamed", f"was `{one.rule}` ({pair.why})", False, one.rule, other.rule)
    if one.level != other.level:
        words = f"level `{one.level}` -> `{other.level}`, {_strength(one.level, other.level, old, new)}"
        yield tell("level", words, True, one.level, other.level)
    yield from _sentences(pair, tell)
    yield from _condition(pair, tell)
    yield from _standing(one, other, tell, renamed)
    for kind, before, after in (("title", one.title, other.title), ("because", one.because, other.because)):
        if before != after:
            yield tell(kind, f"its {_NAMES[kind]} changed", False, before, after)  # type: ignore[arg-type]
    if one.sources != other.sources:
        yield tell("source", "its sources changed", False, "; ".join(one.sources), "; ".join(other.sources))


_NAME = re.compile(r"[A-Za-z_][\w.]*")
_NAMES = {"title": "title", "because": "reason"}
_SHARE = " in at least "
_SAID = ("obligation", "value", "event", "among")
"""What a sentence says, apart from its numbers."""


def is_equal(pair: RulePair, renamed: Renamed) -> bool:
    """Whether nothing at all changed in a rule but where it stands and the order of its sentences."""
    if not pair.old or not pair.new:
        return False
    keys = [
        (
            rule_key(each),
            *(each[0].rule, each[0].level, each[0].title, each[0].because, each[0].sources),
            *(each[0].waivable, each[0].on_violation),
        )
        for each in (pair.old, pair.new)
    ]
    return keys[0] == keys[1] and _named(pair.old[0].overrides, renamed) == set(pair.new[0].overrides)


class _Teller:
    """Makes changes of one rule, with their places."""

    def __init__(self, pair: RulePair, old: Version, new: Version, changed: frozenset[str]) -> None:
        self.pair, self.old, self.new, self.changed = pair, old, new, changed

    def cause(self, words: str) -> str:
        """Why the same words stand for something else now."""
        named = [f"`{name}`" for name in dict.fromkeys(_NAME.findall(words)) if name in self.changed]
        return f"{' and '.join(named)} changed" if named else "what these words stand for changed"

    def __call__(
        self,
        kind: Kind,
        words: str,
        is_meaning: bool,
        before: str | None = None,
        after: str | None = None,
        sentences: tuple[Regulator | None, Regulator | None] = (None, None),
    ) -> Change:
        one, other = sentences
        first = one.extent if one is not None else self.pair.old[0].rule_extent
        second = other.extent if other is not None else self.pair.new[0].rule_extent
        places = self.old.place(first), self.new.place(second)
        return Change(kind, self.pair.name, words, is_meaning, before, after, *places)


def _come_or_gone(pair: RulePair, old: Version, new: Version) -> Change:
    if pair.new:
        words = _summary(pair.new, new)
        return Change("rule added", pair.name, words, True, None, words, None, new.place(pair.new[0].rule_extent))
    words = _summary(pair.old, old)
    return Change("rule removed", pair.name, words, True, words, None, old.place(pair.old[0].rule_extent), None)


def _summary(rule: Sequence[Regulator], version: Version) -> str:
    title = f'"{rule[0].title}", ' if rule[0].title else ""
    said = "; ".join(version.words(each.extent, 120) for each in rule[:3])
    more = f"; and {len(rule) - 3} more sentences" if len(rule) > 3 else ""
    return f"{title}at `{rule[0].level}`: {said}{more}"


def _strength(before: str, after: str, old: Version, new: Version) -> str:
    """How the place of a level in its chain compares with that of the other, seen from the strongest one."""
    one, other = old.policy.levels.index(before), new.policy.levels.index(after)
    if one == other:
        return "as far from the strongest as before"
    return "stronger" if other < one else "weaker"


# ------------------------------------------------------------------------------------------------------- sentences
def _sentences(pair: RulePair, tell: _Teller) -> Iterator[Change]:
    matched, gone, come = matched_sentences(pair)
    for one in gone:
        words = tell.old.words(one.extent)
        yield tell("sentence removed", f"no longer says: {words}", True, words, None, (one, None))
    for other in come:
        words = tell.new.words(other.extent)
        yield tell("sentence added", f"says now: {words}", True, None, words, (None, other))
    for one, other in matched:
        yield from _sentence(one, other, tell)


def matched_sentences(
    pair: RulePair,
) -> tuple[list[tuple[Regulator, Regulator]], list[Regulator], list[Regulator]]:
    """(sentences of both versions, those that are gone, those that are new); the most alike are tied first."""
    gone, come = list(pair.old), list(pair.new)
    matched: list[tuple[Regulator, Regulator]] = []
    for key in (sentence_key, _said, _family):
        for one in tuple(gone):
            other = next((each for each in come if key(each) == key(one)), None)
            if other is not None:
                matched.append((one, other))
                gone.remove(one)
                come.remove(other)
    return matched, gone, come


def _said(each: Regulator) -> Hashable:
    return (each.modality.endswith("not"), *(meaning(part) for part in (each.obligation, each.value, each.event)))


def _family(each: Regulator) -> Hashable:
    kind = {"prefer": "prefer", "limit": "limit", "may": "may", "need not": "may"}.get(each.modality, "norm")
    return (kind, each.event is None)


def _sentence(one: Regulator, other: Regulator, tell: _Teller) -> Iterator[Change]:
    both = (one, other)
    before, after = tell.old.sentence(one.extent), tell.new.sentence(other.extent)
    if one.modality != other.modality:
        words = f"`{one.modality}` -> `{other.modality}`{_what_that_means(one.modality, other.modality)}"
        yield tell("rule word", words, True, one.modality, other.modality, both)
    if not _same_content(one, other):
        words = narrowed(before, after) if before != after else f"{after} ({tell.cause(after)})"
        yield tell("sentence", words, True, before, after, both)
    if one.weight != other.weight and one.weight is not None and other.weight is not None:
        words = f"weight {one.weight:g} -> {other.weight:g}"
        yield tell("weight", words, True, f"{one.weight:g}", f"{other.weight:g}", both)
    if one.modality == other.modality == "limit":
        yield from _limit(one, other, tell)


def narrowed(before: str, after: str, most: int = 120, around: int = 3) -> str:
    """`before -> after`; of long sentences only what differs, with a few words around it."""
    if max(len(before), len(after)) <= most:
        return f"{before} -> {after}"
    one, other = before.split(), after.split()
    shortest = min(len(one), len(other))
    start = next((n for n in range(shortest) if one[n] != other[n]), shortest)
    end = next((n for n in range(shortest - start) if one[-1 - n] != other[-1 - n]), shortest - start)
    shown = []
    for words in (one, other):
        first, last = max(start - around, 0), min(len(words) - end + around, len(words))
        middle = " ".join(words[first:last])
        shown.append(f"{'… ' if first else ''}{middle}{' …' if last < len(words) else ''}")
    return " -> ".join(shown)


def _same_content(one: Regulator, other: Regulator) -> bool:
    """Whether two sentences say the same, apart from what the concepts in them are."""
    if one.modality.endswith("not") != other.modality.endswith("not") and one.obligation and other.obligation:
        return False
    parts = [(getattr(one, name), getattr(other, name)) for name in _SAID]
    return all(same(*pair) or same(*map(without_concepts, pair)) for pair in parts)


def concept_pairs(pair: RulePair) -> Iterator[tuple[Concept, Concept]]:
    """The concepts of sentences that say the same of them, one for one."""
    if not pair.old or not pair.new:
        return
    for one, other in matched_sentences(pair)[0]:
        for before, after in (*((getattr(one, name), getattr(other, name)) for name in (*_SAID, "condition")),):
            if before is not None and after is not None and same(without_concepts(before), without_concepts(after)):
                yield from zip(concepts_in(before), concepts_in(after), strict=True)


def _what_that_means(before: str, after: str) -> str:
    hard, soft = ("must", "must not"), ("should", "should not")
    if before in hard and after in soft:
        return ": it is weighed now, and no longer enforced"
    if before in soft and after in hard:
        return ": it is enforced now, and no longer only weighed"
    return ""


def _limit(one: Regulator, other: Regulator, tell: _Teller) -> Iterator[Change]:
    before, after = _bound(one), _bound(other)
    if before == after:
        return
    said = tell.old.sentence(one.extent), tell.new.sentence(other.extent)
    if said[0] != said[1] and all(_SHARE in each for each in said):  # the bound is what is left of the share
        before, after = said
    yield tell("limit", narrowed(before, after), True, before, after, (one, other))


def _bound(limit: Regulator) -> str:
    bound = "" if limit.bound is None else f"{limit.bound:.6%}" if limit.event is not None else f"{limit.bound:g}"
    if bound.endswith("%"):
        bound = bound[:-1].rstrip("0").rstrip(".") + " %"
    confidence = "" if limit.confidence is None else f", confidence {limit.confidence:g}"
    suite = "" if limit.suite is None else f", over suite `{limit.suite}`"
    each_prompt = ", for each prompt" if limit.each_prompt else ""
    price = "" if limit.price is None else f", price at most {limit.price:g}"
    return f"{limit.sense} {bound}{confidence}{suite}{each_prompt}{price}"


# ------------------------------------------------------------------------------------------------- around sentences
def _condition(pair: RulePair, tell: _Teller) -> Iterator[Change]:
    one, other = _conditions(pair.old), _conditions(pair.new)
    if {meaning(each) for each in one} == {meaning(each) for each in other}:
        return
    if {meaning(without_concepts(each)) for each in one} == {meaning(without_concepts(each)) for each in other}:
        return  # the concepts are told by themselves
    before, after = condition_words(pair.old, tell.old), condition_words(pair.new, tell.new)
    if before is None:
        words = f"counted always -> counts only {after}"
    elif after is None:
        words = f"counted only {before} -> counts always"
    else:
        words = f"counts {before} -> {after}" if before != after else f"counts {after} ({tell.cause(after)})"
    yield tell("condition", words, True, before, after)


def _conditions(rule: Sequence[Regulator]) -> list[BooleanExpression | None]:
    return [each.condition for each in rule]


def condition_words(rule: Sequence[Regulator], version: Version) -> str | None:
    """The conditions of a rule as its author wrote them; None where there are none."""
    if all(each.condition is None for each in rule):
        return None
    for item in version.compiled.module.items:
        if isinstance(item, ast.RuleDecl) and item.name.span.start == rule[0].rule_extent.start:
            text = version.compiled.source.text
            said = [c.span for c in item.clauses if isinstance(c, (ast.When, ast.Unless))]
            return " ".join(" ".join(text[span.start : span.end].split()) for span in said)
    return "under its condition"


def _standing(one: Regulator, other: Regulator, tell: _Teller, renamed: Renamed) -> Iterator[Change]:
    if one.waivable != other.waivable:
        before, after = waivable_words(one.waivable), waivable_words(other.waivable)
        yield tell("waivable", f"{before} -> {after}", True, before, after)
    overridden = _named(one.overrides, renamed)
    for name in sorted(set(other.overrides) - overridden):
        yield tell("overrides", f"overrides `{name}` now", True, None, name)
    for name in sorted(overridden - set(other.overrides)):
        yield tell("overrides", f"no longer overrides `{name}`", True, name, None)
    if one.on_violation != other.on_violation:
        before, after = _action(one), _action(other)
        yield tell("on violation", f"on violation: {before} -> {after}", True, before, after)


def _named(names: Sequence[str], renamed: Renamed) -> set[str]:
    return {renamed.get(name, name) for name in names}


def _action(rule: Regulator) -> str:
    done = rule.on_violation
    if done is None:
        return "nothing said"
    return done.action if done.message is None else f'{done.action} with "{done.message}"'


def waivable_words(waivable: Waivability) -> str:
    """Who may lift a rule or an exception, in words."""
    if waivable.never:
        return "not waivable"
    given = [f"by `{level}`" for level in waivable.by] + (["implicitly"] if waivable.implicitly else [])
    return f"waivable {' and '.join(given)}" if given else "waivable by its own level and stronger ones"
