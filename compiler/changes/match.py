"""Which rule of one version is which rule of the other: by name, by meaning, by title, by its examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from bylaw.compiler.changes.types import RulePair, Version
from bylaw.spec.expression import Compare, Concept, ConceptScore, Node, NumberConstant
from bylaw.spec.logic import meaning
from bylaw.spec.regulator import PolicyExample, Regulator, RegulatorSet

SHARED_EXAMPLES = 0.6
"""Two rules of different names are one rule when at least this share of the examples of each is the same."""

AT_THRESHOLD = NumberConstant(-1.0)


def rules_of(policy: RegulatorSet) -> dict[str, tuple[Regulator, ...]]:
    """The sentences of each rule, in the order of the file."""
    found: dict[str, tuple[Regulator, ...]] = {}
    for each in policy.regulators:
        found[each.rule] = (*found.get(each.rule, ()), each)
    return found


def sentence_key(each: Regulator) -> Hashable:
    """What a sentence means, apart from its rule's name and level."""
    said = (each.condition, each.obligation, each.value, each.event, each.among)
    numbers = (each.weight, each.sense, each.bound, each.confidence, each.suite, each.each_prompt, each.price)
    return (each.modality, tuple(meaning(part) for part in said), numbers)


def rule_key(regulators: Iterable[Regulator]) -> Hashable:
    """What a rule means, apart from its name, its level and the order of its sentences."""
    return frozenset(Counter(map(sentence_key, regulators)).items())


def pairs(old: Version, new: Version) -> tuple[RulePair, ...]:
    """Every rule of both versions once: those of the new version in its order, then those that are gone."""
    before, after = rules_of(old.policy), rules_of(new.policy)
    found: dict[str, tuple[str, str]] = {name: (name, "") for name in after if name in before}
    gone = {name: each for name, each in before.items() if name not in after}
    come = {name: each for name, each in after.items() if name not in before}
    if gone and come:
        for key, why in _keys(old, new):
            _tie(gone, come, key, why, found)
        _tie_by_examples(gone, come, old, new, found)
    matched = [RulePair(before[found[name][0]], after[name], found[name][1]) for name in after if name in found]
    by_name = {pair.name: pair for pair in matched}
    kept = [by_name.get(name) or RulePair((), after[name]) for name in after]
    return (*kept, *(RulePair(each, ()) for each in gone.values()))


_Key = Callable[[tuple[Regulator, ...]], Hashable]


def _keys(old: Version, new: Version) -> tuple[tuple[_Key, str], ...]:
    return (
        (lambda rule: (rule_key(rule), rule[0].rule.rpartition(".")[2]), "the same rule of another file"),
        (lambda rule: (rule_key(rule), rule[0].title), "the same meaning"),
        (rule_key, "the same meaning"),
        (lambda rule: rule[0].title, "the same title"),
        (lambda rule: rule[0].rule.rpartition(".")[2], "the same name in another file"),
    )


def _tie(
    gone: dict[str, tuple[Regulator, ...]],
    come: dict[str, tuple[Regulator, ...]],
    key: _Key,
    why: str,
    found: dict[str, tuple[str, str]],
) -> None:
    """Ties rules together whose key is the same and that no other rule has; what is tied leaves both lists."""
    before, after = _by_key(gone, key), _by_key(come, key)
    for shared, olds in before.items():
        news = after.get(shared, [])
        if shared is not None and len(olds) == len(news) == 1:
            found[news[0]] = (olds[0], why)
            del gone[olds[0]], come[news[0]]


def _by_key(rules: Mapping[str, tuple[Regulator, ...]], key: _Key) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {}
    for name, rule in rules.items():
        found.setdefault(key(rule), []).append(name)
    return found


def _tie_by_examples(
    gone: dict[str, tuple[Regulator, ...]],
    come: dict[str, tuple[Regulator, ...]],
    old: Version,
    new: Version,
    found: dict[str, tuple[str, str]],
) -> None:
    before, after = _examples(old.policy), _examples(new.policy)
    shares = sorted(
        ((_shared(before.get(one, set()), after.get(other, set())), one, other) for one in gone for other in come),
        reverse=True,
    )
    for share, one, other in shares:
        if share >= SHARED_EXAMPLES and one in gone and other in come:
            same = len(before[one] & after[other])
            found[other] = (one, f"{same} of its {len(after[other])} examples are the same")
            del gone[one], come[other]


def _examples(policy: RegulatorSet) -> dict[str, set[Hashable]]:
    found: dict[str, set[Hashable]] = {}
    for example in policy.examples:
        found.setdefault(example.rule, set()).add(example_key(example))
    return found


def example_key(example: PolicyExample) -> Hashable:
    """What an example says, apart from the rule that it belongs to."""
    return (example.verdict, example.messages, example.facts, example.is_text)


def _shared(one: set[Hashable], other: set[Hashable]) -> float:
    return len(one & other) / max(len(one), len(other)) if one and other else 0.0


# -------------------------------------------------------------------------------------------------------- concepts
def without_concepts(value: Any) -> Any:
    """The same expression with all concepts made equal, for telling whether anything else differs."""
    if isinstance(value, tuple):
        return tuple(without_concepts(item) for item in value)
    if isinstance(value, Compare) and _is_at_threshold(value):
        value = replace(value, right=AT_THRESHOLD)
    if isinstance(value, Concept):
        return Concept("", "", value.is_topic)
    if not isinstance(value, Node):
        return value
    names = value.__dataclass_fields__  # type: ignore[attr-defined]
    return replace(value, **{name: without_concepts(getattr(value, name)) for name in names})  # type: ignore[type-var]


def _is_at_threshold(compare: Compare) -> bool:
    """Whether a score is compared with the threshold of its own concept, which is told with the concept."""
    left, right = compare.left, compare.right
    return (
        isinstance(left, ConceptScore) and isinstance(right, NumberConstant) and right.value == left.concept.threshold
    )


def concepts_in(value: Any) -> tuple[Concept, ...]:
    """The concepts that an expression speaks of, in their order."""
    if isinstance(value, Concept):
        return (value,)
    if isinstance(value, tuple):
        return tuple(concept for item in value for concept in concepts_in(item))
    if not isinstance(value, Node):
        return ()
    names = value.__dataclass_fields__  # type: ignore[attr-defined]
    return tuple(concept for name in names for concept in concepts_in(getattr(value, name)))
