"""Examples that contradict each other (P506), and rules that no example and no test shows (P507)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

from bylaw.compiler.analysis import example_verdict, expected_verdicts, terms_by_rule
from bylaw.compiler.demands import Demand
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.proofs._limits import LONGEST_SHOWN, listed, mark, shortest
from bylaw.compiler.proofs.interface import Finding, PolicyView
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import BooleanExpression, Extent, Holds, MessageText
from bylaw.spec.logic import negate
from bylaw.spec.printer_terms import quoted
from bylaw.spec.regulator import ExampleVerdict, PolicyExample
from bylaw.spec.source import Span
from bylaw.spec.trace import Message

CODES = ("P506", "P507")

MOST_NAMED = 3
_RESPONSE = MessageText("response")
_SAID: Mapping[str, str] = MappingProxyType(
    {"complies": "obeyed", "violates": "broken", "skips": "not asked for", "waived": "lifted"}
)


def find(view: PolicyView) -> Iterator[Finding]:
    """P506 for each example that says something else of the same conversation than one before it, and for each text
    that two distinct concepts are like; one P507 for all rules that nothing shows."""
    yield from _contradictions(view)
    yield from _shared_texts(view)
    yield from _never_shown(view)


# --------------------------------------------------------------------------------------------------- contradictions
@dataclass(frozen=True, slots=True)
class _Said:
    """What an example, or an expectation of a test, says of a rule."""

    verdict: ExampleVerdict
    extent: Extent
    what: str


def _contradictions(view: PolicyView) -> Iterator[Diagnostic]:
    """Only what is the same to the last character: rules may count characters that matching looks through."""
    said: dict[Hashable, _Said] = {}
    for example in view.policy.examples:
        key = (example.rule, example.is_text, example.messages, frozenset(example.facts))
        now = _Said(example.verdict, example.extent, "text" if example.is_text else "conversation")
        before = said.setdefault(key, now)
        if before.verdict != now.verdict:
            yield _contradiction(view, example, before, now)
    for test in view.policy.tests:
        for expectation in test.expectations:
            for rule in expectation.rules:
                messages = test.messages[: expectation.steps]
                key = (rule, False, messages, frozenset(test.facts))
                now = _Said(expectation.verdict, expectation.extent, "conversation")
                before = said.setdefault(key, now)
                if before.verdict != now.verdict:
                    stated = PolicyExample(rule, now.verdict, messages, now.extent, test.facts)
                    yield _contradiction(view, stated, before, now)


def _contradiction(view: PolicyView, example: PolicyExample, before: _Said, now: _Said) -> Diagnostic:
    found = example_verdict(example, terms_by_rule(view.program).get(example.rule, ()))
    wrong = [each.verdict for each in (before, now) if each.verdict != found.verdict]
    notes = () if found.verdict == "unscored" else (f"as it stands, `{example.rule}` is {_SAID[found.verdict]} there",)
    both = f"`{before.verdict}` and `{now.verdict}`"
    fix = f"delete the one that says `{wrong[0]}`, or change the rule" if len(wrong) == 1 else "delete one, or both"
    return Diagnostic(
        "P506",
        Severity.ERROR,
        f"examples of `{example.rule}` contradict each other: the same {now.what} {both}",
        mark(now.extent, f"... and here that it is {_SAID[now.verdict]}"),
        (mark(before.extent, f"here it is said that the rule is {_SAID[before.verdict]} ..."),),
        notes,
        Fix(fix),
    )


# --------------------------------------------------------------------------------------------------------- concepts
def _shared_texts(view: PolicyView) -> Iterator[Diagnostic]:
    """A text that is like two concepts which are said to be distinct. That a text is like and unlike one is P121."""
    declared = [item for item in view.module.items if isinstance(item, ast.ConceptDecl)]
    liked = {item.name.text: _liked(item) for item in declared}
    distinct = {item.name.text: _distinct(item) for item in declared}
    for one, other in combinations(declared, 2):
        first, second = one.name.text, other.name.text
        if second not in distinct[first] and first not in distinct[second]:
            continue
        for text, place in liked[second].items():
            if text in liked[first]:
                yield Diagnostic(
                    "P506",
                    Severity.WARNING,
                    f"the same text is like `{first}` and like `{second}`, which are distinct",
                    Label(place, f"... and here of `{second}`"),
                    (Label(liked[first][text], f"here it is an example of `{first}` ..."),),
                    ("a text that is written like an example always expresses the concept, so it expresses both",),
                    Fix("keep it where it belongs, and make it an `unlike` of the other; or delete `distinct from`"),
                )


def _liked(item: ast.ConceptDecl) -> dict[str, Span]:
    return {each.text.value.strip(): each.text.span for each in item.clauses if isinstance(each, ast.Like)}


def _distinct(item: ast.ConceptDecl) -> frozenset[str]:
    clauses = [each for each in item.clauses if isinstance(each, ast.DistinctFrom)]
    return frozenset(name.text for clause in clauses for name in clause.concepts)


# ------------------------------------------------------------------------------------------------------ never shown
def _never_shown(view: PolicyView) -> Iterator[Diagnostic]:
    """P507, where the author writes examples or tests at all."""
    if not any(_shows(item) for item in view.module.items):
        return
    rules = {name: terms for name, terms in terms_by_rule(view.program).items() if any(map(_decides, terms))}
    shown = _shown(view)
    own = [name for name in _own_rules(view.module) if name in rules and name not in shown]
    if not own:
        return
    extents = {each.rule: each.rule_extent for each in view.policy.regulators}
    names = [f"`{name}`" for name in own]
    more = len(names) - MOST_NAMED
    listing = f"{', '.join(names[:MOST_NAMED])} and {more} more" if more > 0 else listed(names)
    text = _breaking(view, own[0], rules[own[0]])
    advice = f"write examples in {'it' if len(own) == 1 else 'each'}, as `complies` and `violates`"
    if text is not None:
        advice = f"an example for {names[0]} is `violates {quoted(ast.Text(text, Span(0, 0)))}`"
    yield Diagnostic(
        "P507",
        Severity.NOTE,
        f"no example and no test shows {listing}",
        mark(extents[own[0]]),
        tuple(mark(extents[name]) for name in own[1:MOST_NAMED]),
        ("an example is the quickest way to see that a rule says what was meant; `bylaw test --coverage` lists more",),
        Fix(advice),
    )


def _shows(item: ast.Item) -> bool:
    """Whether an item of the file is, or has, an example or a test."""
    if isinstance(item, ast.RuleDecl):
        return any(isinstance(clause, ast.Example) for clause in item.clauses)
    return isinstance(item, ast.ExamplesDecl | ast.TestDecl)


def _decides(term: RewardTerm) -> bool:
    """Whether a sentence is true or false of an answer somewhere. Limits are met or not by many answers."""
    return term.kind in ("hard", "soft") and not Demand.of(term).is_dead


def _own_rules(module: ast.Module) -> Iterator[str]:
    """The rules that the author of the file wrote, without those made of a rule with parameters that has examples, or
    that another file has."""
    shown = {item.rule.text for item in module.items if isinstance(item, ast.ExamplesDecl)}
    templates = [item for item in module.items if isinstance(item, ast.RuleDecl) and item.parameters is not None]
    bare = {item.name.text for item in templates if not _shows(item) and item.name.text not in shown}
    for item in module.items:
        if isinstance(item, ast.RuleDecl) and item.parameters is None:
            yield item.name.text
        elif isinstance(item, ast.ApplyDecl) and item.template.text in bare:
            yield (item.alias or item.template).text


def _shown(view: PolicyView) -> frozenset[str]:
    """The rules that an example or a test names, and those that a test without names catches in the act."""
    found = {example.rule for example in view.policy.examples}
    rules = terms_by_rule(view.program)
    for test in view.policy.tests:
        for expectation in test.expectations:
            found |= set(expectation.rules)
            if not expectation.rules and expectation.verdict != "complies":
                verdicts = expected_verdicts(test, expectation, rules)
                found |= {name for name, each in verdicts.items() if each.verdict == expectation.verdict}
    return frozenset(found)


def _breaking(view: PolicyView, rule: str, terms: Sequence[RewardTerm]) -> str | None:
    """A short text that breaks the rule, checked as an example is; one with something in it where there is one."""
    something: BooleanExpression = negate(Holds("empty", _RESPONSE))
    for term in terms:
        if not _decides(term):
            continue
        broken = negate(Demand.of(term).obeyed)
        for wanted in ([broken, something], [broken]):
            for text in _texts(view, wanted):
                example = PolicyExample(rule, "violates", (Message("assistant", text),), term.extent, is_text=True)
                is_short = len(text) <= LONGEST_SHOWN and text.isprintable()
                if is_short and example_verdict(example, tuple(terms)).verdict == "violates":
                    return text
    return None


def _texts(view: PolicyView, wanted: Sequence[BooleanExpression]) -> Iterator[str]:
    """The shortest text of which all are true, or else one that is known."""
    text = shortest(view, wanted)
    if text is None:
        text = view.witnesses.obeying(wanted)
    if text is not None:
        yield text
