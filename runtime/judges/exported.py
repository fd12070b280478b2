"""Questions for judges as data that another program can ask: the same words as ours, with places for the text."""

from __future__ import annotations

from typing import Literal

from bylaw.compiler.targets.interface import AskedQuestion, Question, TargetError
from bylaw.runtime.judges.interface import JudgeError
from bylaw.runtime.judges.prompt import render
from bylaw.runtime.judges.rubric import Rubric, concept_rubric, rule_rubric, spoken_name
from bylaw.runtime.judges.verdict import verdict_format

Piece = tuple[Literal["literal", "slot"], str]
_SLOTS = {"nonce": "\0nonce\0", "text": "\0text\0"}
"""What stands in a message where something is to be put; no text of a policy holds the character U+0000."""
_MEANINGS = {"cannot_judge": "the judge cannot tell", "not_applicable": "the question makes no sense for this text"}


def asked(question: Question) -> AskedQuestion:
    """How our judges are asked this. Raises TargetError for a question that cannot be asked."""
    try:
        rubric = _rubric(question)
        system = render("question_system.jinja", rubric=rubric, spoken=spoken_name(rubric.name))
        words = [f'"{word}"' for word in rubric.words]
        user = render("question_user.jinja", rubric=rubric, before=(), words=words, **_SLOTS)
    except JudgeError as error:
        raise TargetError(str(error)) from error
    meanings = {rubric.yes: _yes(rubric, "yes"), rubric.no: _yes(rubric, "no"), **_MEANINGS}
    said = {word: meanings[word] for word in rubric.words}
    return AskedQuestion(rubric.question, rubric.meaning, said, system, tuple(_pieces(user)), verdict_format(rubric))


def _rubric(question: Question) -> Rubric:
    if question.concept is not None:
        return concept_rubric(question.concept, question.others)
    return rule_rubric(
        question.name,
        question.text,
        criteria=question.criteria,
        violates=question.violates,
        complies=question.complies,
    )


def _yes(rubric: Rubric, word: str) -> str:
    if rubric.kind == "rule":
        return "the text breaks the rule" if word == "yes" else "the text keeps the rule"
    return f"the answer to the question is {word}"


def _pieces(message: str) -> list[Piece]:
    """A message cut at its slots."""
    found: list[Piece] = [("literal", message)]
    for name, mark in _SLOTS.items():
        cut: list[Piece] = []
        for kind, text in found:
            if kind == "slot":
                cut.append((kind, text))
                continue
            for place, part in enumerate(text.split(mark)):
                cut += [("slot", name)] if place else []
                cut += [("literal", part)] if part else []
        found = cut
    return found
