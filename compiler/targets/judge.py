"""Questions for a judge, one about each rule and each concept, as our own judges are asked them.

Files: `judge.jsonl`, one question a line: `question`, `meaning`, `words` (the answers), `system` (a message), `user` (a
message in pieces: texts, and slots for the answer that is judged and a random mark), `response_format`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bylaw.compiler.program import RewardTerm, scores_in
from bylaw.compiler.targets._files import json_lines
from bylaw.compiler.targets._law import facts_read, said_in
from bylaw.compiler.targets._sentences import kept, where_words
from bylaw.compiler.targets.interface import Data, Inputs, LeftOut, Made, Question, TargetError
from bylaw.spec.expression import Concept, MessageText
from bylaw.spec.logic import selectors

DATA: Data = "none"
OPTIONS: frozenset[str] = frozenset()


def build(inputs: Inputs) -> Made:
    """The questions. Rules that measure a quantity have none: a judge says yes or no. Raises TargetError where no rule
    has one."""
    rules: dict[str, list[RewardTerm]] = {}
    for term in inputs.program.terms:
        rules.setdefault(term.rule, []).append(term)
    rows: list[dict[str, Any]] = []
    left_out: list[LeftOut] = []
    for rule, terms in rules.items():
        judged = [term for term in terms if term.holds is not None]
        left_out += [
            LeftOut(f"`{term.id}`", "it measures a quantity, and a judge is asked a yes-or-no question")
            for term in terms
            if term.holds is None
        ]
        if judged:
            rows.append(_rule(rule, judged, inputs))
    rows += _concepts(inputs)
    if not rows:
        raise TargetError("no rule of this policy is a yes-or-no question: " + "; ".join(e.words for e in left_out))
    facts = ", ".join(f"`{fact}`" for fact in facts_read(inputs.program.terms))
    notes = [f"rules read {facts}, which a judge is not shown"] if facts else []
    before = ", ".join(f"`{rule}`" for rule, terms in rules.items() if any(map(_reads_before, terms)))
    if before:
        notes.append(f"what {before} says depends on what was said before: put that before the text that is judged")
    return Made({"judge.jsonl": json_lines(rows)}, tuple(left_out), tuple(notes))


def _reads_before(term: RewardTerm) -> bool:
    """Whether a term is about more than the answer's own text."""
    return term.holds is not None and any(
        bool(selectors(part)) or (isinstance(part, MessageText) and part.role not in ("response", "it"))
        for part in said_in(term)
    )


def _rule(rule: str, terms: list[RewardTerm], inputs: Inputs) -> dict[str, Any]:
    first = terms[0]
    examples = () if inputs.compiled.regulators is None else inputs.compiled.regulators.examples
    shown: dict[str, list[str]] = {"violates": [], "complies": []}
    for example in examples:
        last = example.messages[-1]
        # an example without its conversation shows nothing where the rule is about what was said before
        if example.rule == rule and example.verdict in shown and last.role == "assistant" and not last.tool:
            shown[example.verdict].append(last.content)
    criteria = [text for text in (first.title, first.because) if text]
    question = Question(
        rule,
        " ".join(dict.fromkeys(_said(term) for term in terms)),
        "\n".join(" ".join(text.split()) for text in criteria),
        tuple(shown["violates"]),
        tuple(shown["complies"]),
    )
    return _row("rule", rule, question, inputs, level=first.level, kinds=[term.kind for term in terms])


def _said(term: RewardTerm) -> str:
    """What a judge holds an answer against; of a limit, what it counts."""
    where = where_words(term)
    said = kept(term) or ""
    sentence = f"{where}: {said}" if where else said
    return f"{sentence[0].upper()}{sentence[1:]}."


def _concepts(inputs: Inputs) -> Iterator[dict[str, Any]]:
    found: dict[str, Concept] = {}
    for term in inputs.program.terms:
        found |= {score.concept.name: score.concept for score in scores_in(term)}
    others = () if inputs.compiled.regulators is None else inputs.compiled.regulators.concepts
    for name, concept in found.items():
        rules = [term.rule for term in inputs.program.terms if name in (s.concept.name for s in scores_in(term))]
        question = Question(name, concept=concept, others=tuple(others))
        yield _row("concept", name, question, inputs, rules=list(dict.fromkeys(rules)), threshold=concept.threshold)


def _row(about: str, name: str, question: Question, inputs: Inputs, **more: Any) -> dict[str, Any]:
    asked = inputs.ask(question)
    return {
        "about": about,
        "name": name,
        **more,
        "question": asked.question,
        "meaning": asked.meaning,
        "words": dict(asked.words),
        "system": asked.system,
        "user": [{kind: text} for kind, text in asked.user],
        "response_format": dict(asked.response_format),
        "rules_digest": inputs.program.digest,
        "bylaw": inputs.bylaw,
    }
