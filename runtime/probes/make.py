"""Making the probes of a policy: from its conditions, its examples and templates, from pairs of rules, from a model."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from bylaw.compiler.analysis import Scored, unchanged
from bylaw.compiler.defeat import settle
from bylaw.compiler.evaluate import truth
from bylaw.compiler.lower import lower
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.probes.answers import breaking, keeping
from bylaw.runtime.probes.conditions import Situations, situations_meeting
from bylaw.runtime.probes.conflicts import Pull, conflict_probes, pulls
from bylaw.runtime.probes.lines import plain_facts, unreadable
from bylaw.runtime.probes.parting import merged, parted
from bylaw.runtime.probes.probe import Aim, Checker, Probe, ProbeError, aims_of, before_the_answer, root_of
from bylaw.runtime.probes.search import Searched
from bylaw.runtime.probes.templates import Template, TemplateProblem, built_in, fitting
from bylaw.runtime.probes.variants import variants_of
from bylaw.runtime.scorers.interface import Cost
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.trace import Message, Trace

OPENINGS = (
    "Hello, I have a question.",
    "Can you help me, please?",
    "I would like to know what you can do for me.",
    "What should I do now?",
    "Please look into this for me.",
    "I am not sure whom to ask about this.",
    "Could you tell me a little more about it?",
    "I need an answer before tonight.",
)
"""What a user may say where a condition asks for no words, and the policy holds no prompt."""
MOST_LOOKED_AT = 500
"""Prompts of users and of the policy that are held against one condition."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How many probes are made. `rules`: only of these (empty: all). `per_rule`: most prompts for each condition,
    before templates and variants; `variants`: of each; `pairs`: of rules; `search_share`: of the families (see
    parting.py). All chance comes from `seed`."""

    rules: tuple[str, ...] = ()
    per_rule: int = 8
    variants: int = 2
    pairs: int = 10
    search_share: float = 0.5
    seed: int = 0

    def draw(self, *what: str) -> random.Random:
        """A source of chance for one purpose: what is drawn for another does not change it."""
        name = "\0".join((str(self.seed), *what))
        return random.Random(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


@dataclass(frozen=True, slots=True)
class Material:
    """What probes are made from: the policy, its program, its text by rule, prompts of the user, templates, and what
    scores concepts."""

    policy: RegulatorSet
    program: RewardProgram
    words: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    given: tuple[Trace, ...] = ()
    templates: tuple[Template, ...] = ()
    scored: Scored = unchanged


@dataclass(frozen=True, slots=True)
class Made:
    """The probes, parted; why an aim has none (`left_out`: name and reason); how many were dropped by the check, for
    each reason; what was searched; what a model that wrote prompts cost, and its questions that failed."""

    probes: tuple[Probe, ...]
    left_out: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, int], ...]
    searched: tuple[Searched, ...] = ()
    cost: Cost = field(default_factory=Cost)
    failed: tuple[str, ...] = ()


@dataclass(slots=True)
class Bench:
    """What is known while probes are made. `roots` of an aim are its prompts before templates and variants."""

    material: Material
    settings: Settings
    aims: tuple[Aim, ...]
    check: Checker
    templates: tuple[Template, ...]
    probes: list[Probe] = field(default_factory=list)
    roots: dict[str, list[Probe]] = field(default_factory=dict)
    situations: dict[str, Situations] = field(default_factory=dict)
    pulls: tuple[Pull, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    searched: list[Searched] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    failed: list[str] = field(default_factory=list)

    def add(self, probes: Iterable[Probe], *, is_kept: bool = True) -> list[Probe]:
        """Checks probes and keeps those that are what they claim; the others are counted by their reason."""
        found = []
        for probe in probes:
            checked = self.check(probe)
            if isinstance(checked, str):
                self.dropped[checked] += 1
            else:
                found.append(checked)
        if is_kept:
            self.probes += found
        return found


class Stage(Protocol):
    """One more way to make probes, such as a model (written.py)."""

    def __call__(self, bench: Bench, progress: Callable[[int, int], None]) -> None: ...


Telling = Callable[[str, int], None]


def checker_of(material: Material) -> Checker:
    """The check of the probes of a policy, under the names that its aims and its pairs of sentences have."""
    pair_terms = lower(material.policy, settle(material.policy)).terms
    aims = aims_of(material.program.terms)
    return Checker({each.name: each.term for each in aims}, {each.id: each for each in pair_terms}, material.scored)


def make(
    material: Material, settings: Settings, stages: Sequence[tuple[str, Stage]] = (),
    tell: Telling = lambda name, total: None, progress: Callable[[int, int], None] = lambda done, total: None,
) -> Made:  # fmt: skip
    """All probes of a policy. The same material, settings and answers of models give the same probes.

    `stages` come after what is made without a model, each under the name that `tell` is given. Raises ProbeError for a
    rule that there is not, and where no probe at all can be made.
    """
    aims = aims_of(material.program.terms, settings.rules)
    pair_terms = lower(material.policy, settle(material.policy)).terms
    bench = Bench(material, settings, aims, checker_of(material), material.templates or built_in())
    tell("Rules", len(aims))
    for number, aim in enumerate(aims, 1):
        _of_rule(bench, aim)
        progress(number, len(aims))
    if settings.pairs:
        tell("Pairs of rules", 4 * settings.pairs)
        draw = settings.draw("pairs")
        bench.pulls = pulls(pair_terms, material.policy.levels, draw, settings.pairs, settings.rules, progress)
        for pull in bench.pulls:
            bench.add(conflict_probes(pull, _openings(material), draw))
    for name, stage in stages:
        tell(name, len(aims))
        stage(bench, progress)
    return _finished(bench)


def _finished(bench: Bench) -> Made:
    written = []
    for probe in merged(bench.probes):
        reason = unreadable(probe)
        if reason is None:
            written.append(probe)
        else:
            bench.dropped[reason] += 1
    probes = parted(written, bench.settings.search_share, bench.settings.seed)
    covered = {name for probe in probes for name in probe.aims if not probe.relation}
    left_out = tuple((aim.name, _why_none(bench, aim)) for aim in bench.aims if aim.name not in covered)
    if not probes:
        raise ProbeError("no probe can be made: " + "; ".join(f"`{name}`: {reason}" for name, reason in left_out[:3]))
    return Made(
        tuple(sorted(probes, key=lambda each: (each.aims, each.family, each.id))),
        left_out,
        tuple(bench.dropped.most_common()),
        tuple(bench.searched),
        bench.cost,
        tuple(bench.failed),
    )


def _why_none(bench: Bench, aim: Aim) -> str:
    found = bench.situations[aim.name]
    if found.is_proved_empty:
        return found.reason
    why = f" ({found.reason})" if found.reason else ""
    return f"no prompt that ends with a user message was found to meet its condition{why}"


# --------------------------------------------------------------------------------------------------------- one rule
def _of_rule(bench: Bench, aim: Aim) -> None:
    """The prompts of one condition, then what templates and variants make of them."""
    settings, policy = bench.settings, bench.material.policy
    draw = settings.draw("rule", aim.name)
    parts = before_the_answer(aim.term)
    bench.situations[aim.name] = situations_meeting(parts, draw, settings.per_rule)
    roots = bench.add(_chosen(bench, aim, draw))
    bench.roots[aim.name] = roots
    broken = [text for term in aim.terms for text in breaking(term, policy.examples, draw, settings.per_rule)]
    kept = [text for term in aim.terms for text in keeping(term, policy.examples, draw, settings.per_rule)]
    for number, root in enumerate(roots):
        values = {"text": root.text, "rule": aim.rule, "title": aim.term.title or "", "because": aim.term.because or ""}
        # Each answer goes with one prompt: prompts that share one would all have to be in one set.
        values["breaking"] = broken[number] if number < len(broken) else ""
        values["keeping"] = kept[number] if number < len(kept) else ""
        bench.add(_templated(bench, root, {name: value for name, value in values.items() if value}))
        named = variants_of(root.text, draw, settings.variants)
        bench.add(replace(root.saying(text), variant=name) for name, text in named)


def _templated(bench: Bench, root: Probe, values: Mapping[str, str]) -> Iterator[Probe]:
    for template in fitting(bench.templates, values):
        try:
            text = template.render(values)
        except TemplateProblem as error:
            bench.dropped[str(error)] += 1
            continue
        used = [values[name] for name in ("breaking", "keeping") if name in template.needs]
        yield replace(
            root.saying(text), origin="template", template=template.name, lean=template.lean,
            difficulty=template.difficulty, roots=(*root.roots, *map(root_of, used)),
        )  # fmt: skip


def _chosen(bench: Bench, aim: Aim, draw: random.Random) -> list[Probe]:
    """Up to `per_rule` different prompts that meet the condition: the author's own for this rule first, then prompts
    that were given or found elsewhere and prompts made from the condition, in turn."""
    most = bench.settings.per_rule
    situations = bench.situations[aim.name].found
    own = list(_prompts_of(bench.material.policy, aim))
    others = _elsewhere(bench, aim, situations, draw)
    made = [_made(bench, aim, situation, draw) for situation in situations for _ in range(2)]
    found: dict[object, Probe] = {}
    for probe in (*own, *_in_turn(others, made)):
        if len(found) >= most:
            break
        if not isinstance(bench.check(probe), str):
            found.setdefault((probe.messages, tuple(sorted(probe.facts.items()))), probe)
    return list(found.values())


def _in_turn(one: Sequence[Probe], other: Sequence[Probe]) -> Iterator[Probe]:
    for number in range(max(len(one), len(other))):
        yield from one[number : number + 1]
        yield from other[number : number + 1]


def _prompts_of(policy: RegulatorSet, aim: Aim | None = None) -> Iterator[Probe]:
    """The conversations of examples (of one rule, where `aim` is given), of tests and of suites, up to the last message
    of the user."""
    names = () if aim is None else (aim.name,)
    for example in policy.examples:
        if not example.is_text and (aim is None or example.rule == aim.rule):
            yield from _asked(example.messages, dict(example.facts), names)
    if aim is not None:
        for suite in policy.suites:
            if suite.name == aim.term.suite:
                yield from (_probe((Message("user", text),), names, "policy", text) for text in suite.prompts)
        return
    for test in policy.tests:
        yield from _asked(test.messages, dict(test.facts), names)
    for suite in policy.suites:
        yield from (_probe((Message("user", text),), names, "policy", text) for text in suite.prompts)


def _asked(
    messages: tuple[Message, ...], facts: dict[str, str | float | bool], names: tuple[str, ...]
) -> Iterator[Probe]:
    last = max((place for place, each in enumerate(messages) if each.role == "user"), default=None)
    if last is not None:
        yield replace(_probe(messages[: last + 1], names, "policy", messages[last].content), facts=facts)


def _probe(messages: tuple[Message, ...], names: tuple[str, ...], origin: str, root: str) -> Probe:
    return Probe(messages, names, origin, (root_of(root),))  # type: ignore[arg-type]


def _elsewhere(bench: Bench, aim: Aim, situations: Sequence[Trace], draw: random.Random) -> list[Probe]:
    """Prompts of the user and of the whole policy, in an order of chance: as they are, or with the facts and messages
    of one situation. As many as are wanted, out of the first `MOST_LOOKED_AT`."""
    given = [
        replace(_probe(each.messages, (), "given", each.messages[-1].content), facts=plain_facts(each.facts))
        for each in bench.material.given
    ]
    known = [*given, *_prompts_of(bench.material.policy)]
    draw.shuffle(known)
    parts = before_the_answer(aim.term)
    found: list[Probe] = []
    for number, probe in enumerate(known[:MOST_LOOKED_AT]):
        if len(found) >= bench.settings.per_rule:
            break
        named = replace(probe, aims=(aim.name,))
        tries = [named]
        for situation in situations[number % len(situations) :][:1] if situations else ():
            before = tuple(each for each in situation.messages if each.role in ("system", "developer"))
            facts = {**probe.facts, **situation.facts}
            tries.append(replace(named, messages=(*before, *named.messages), facts=facts))
        found += next(([each] for each in tries if _is_met(bench, parts, each)), [])
    return found


def _is_met(bench: Bench, parts: Sequence[BooleanExpression], probe: Probe) -> bool:
    """Whether a prompt meets the parts of a condition: many do not, and this tells it sooner than the check."""
    trace = bench.material.scored(Trace(probe.messages, dict(probe.facts)))
    return all(truth(part, trace) is True for part in parts) and not isinstance(bench.check(probe), str)


def _openings(material: Material) -> tuple[str, ...]:
    """What users say in the prompts that are known, else something that fits everywhere."""
    known = [each.messages[-1].content for each in material.given]
    known += [each.text for each in _prompts_of(material.policy)]
    return tuple(dict.fromkeys(known)) or OPENINGS


def _made(bench: Bench, aim: Aim, situation: Trace, draw: random.Random) -> Probe:
    """A prompt from a situation alone: its words, in a sentence where they are fewer than a user would write."""
    text = next((each.content for each in situation.messages if each.role == "user"), "")
    before = tuple(each for each in situation.messages if each.role in ("system", "developer"))
    root = text
    if len(text.split()) < 4:
        opening = draw.choice(OPENINGS)
        stop = "" if text.endswith((".", "!", "?")) else "."
        said = f"{opening} {text}".strip() if not text or draw.random() < 0.5 else f"{text}{stop} {opening}"
        probe = Probe(
            (*before, Message("user", said)), (aim.name,), "condition", (root_of(said),), dict(situation.facts)
        )
        if not isinstance(bench.check(probe), str):
            return probe if not text else replace(probe, roots=(root_of(said), root_of(root)))
    return Probe((*before, Message("user", text)), (aim.name,), "condition", (root_of(root),), dict(situation.facts))
