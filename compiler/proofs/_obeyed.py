"""Rules that every answer obeys: they look like a rule and change nothing (P418)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.candidates import candidates
from bylaw.compiler.conversations import LIMIT, PROOF, Conversations
from bylaw.compiler.demands import key_of
from bylaw.compiler.evaluate import truth
from bylaw.compiler.outrank_messages import span_of
from bylaw.compiler.proofs._conditions import refuted
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.compiler.satisfy import NotDecided, Refutation
from bylaw.compiler.satisfy.automata import BY_AUTOMATA
from bylaw.compiler.satisfy.branch import Branch, variables_of
from bylaw.compiler.witnesses import LIKELY_TEXTS, MOST_CANDIDATES, is_false_of
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import conjuncts, negate, reads_context, reads_events, reads_response
from bylaw.spec.regulator import Regulator

OBLIGATIONS = ("must", "must not", "should", "should not")


def obeyed_by_all(view: PolicyView, never: set[str]) -> Iterator[Finding]:
    """P418 for each sentence that no answer can break; those of rules in `never` apply nowhere."""
    for sentence in view.policy.regulators:
        asked = sentence.obligation if sentence.modality in OBLIGATIONS else None
        if asked is None or sentence.rule in never:
            continue
        if view.is_late:
            yield Undecided(f"whether an answer can break `{sentence.id}`", "the time is used up")
            continue
        try:
            found = _found(view, sentence, asked)
        except (NotDecided, StateLimit):
            yield Undecided(f"whether an answer can break `{sentence.id}`", "no automaton of a reasonable size tells")
            continue
        if found is not None:
            yield found


def _found(view: PolicyView, sentence: Regulator, asked: BooleanExpression) -> Diagnostic | None:
    """Raises NotDecided and StateLimit."""
    proof = _proof(view, asked)
    if proof is not None:
        return _finding(sentence, proof)
    answered = [part for part in conjuncts(sentence.condition) if reads_response(part)]
    if not answered:
        return None
    why = refuted([*answered, negate(asked)])
    if why is None or refuted(answered) is not None:
        return None
    return _finding(sentence, _told(why, "meets its condition and breaks it"), "where it applies")


def _proof(view: PolicyView, asked: BooleanExpression) -> str | None:
    """Why no answer breaks this; None where one does. Raises NotDecided and StateLimit."""
    if reads_events(asked):
        return _proof_by_monitors(view, asked)
    if reads_context(asked):
        why = refuted([negate(asked)])
        return None if why is None else _told(why, "breaks it")
    opposite = negate(asked)
    if view.witnesses.known(key_of(asked))[1] or _is_broken_by_a_likely_text(asked, opposite):
        return None
    from bylaw.compiler.automata.algebra import any_witness  # most policies are checked without automata

    language = view.witnesses.language(asked)
    if language is None:
        why = Branch((opposite,)).conflict() if variables_of(opposite) else None
        if why is None:
            raise NotDecided("no automaton of a reasonable size tells")
    elif any_witness([language.complement()]) is not None:
        return None
    else:
        why = refuted([opposite])
    return None if why is None else _told(why, "breaks it")


def _is_broken_by_a_likely_text(asked: BooleanExpression, opposite: BooleanExpression) -> bool:
    """Whether one of a few texts breaks this: most sentences are broken by one, at no cost."""
    texts = (*LIKELY_TEXTS, *islice(candidates([opposite]), MOST_CANDIDATES))
    return any(is_false_of(asked, text) for text in texts)


def _proof_by_monitors(view: PolicyView, asked: BooleanExpression) -> str | None:
    """The same for what is said of events. Raises NotDecided."""
    from bylaw.compiler.monitors import NotDecided as Unanswered
    from bylaw.compiler.monitors import conversation_obeying

    broken = negate(asked)
    if any(truth(broken, trace) is True for trace in Conversations.of(view.policy).tried):
        return None
    try:
        return None if conversation_obeying([broken], LIMIT) is not None else f"no conversation breaks it: {PROOF}"
    except Unanswered as error:
        raise NotDecided(error.reason) from None


def _told(why: Refutation, what: str) -> str:
    is_by_automata = why.reason.endswith(BY_AUTOMATA)
    return f"proved by automata: no text {what}" if is_by_automata else why.reason


def _finding(sentence: Regulator, proof: str, where: str = "") -> Diagnostic:
    return Diagnostic(
        "P418",
        Severity.WARNING,
        f"every answer obeys `{sentence.rule}`{where and ' ' + where}",
        Label(span_of(sentence.extent), "no answer breaks this"),
        (),
        (proof,),
        Fix("correct what it asks for, or remove it"),
    )
