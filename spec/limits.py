"""Resolving limits: how often something may happen over many responses, or how large an average may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix
from bylaw.spec.expression import BooleanExpression, Compare, NumberConstant, NumberExpression, Operator
from bylaw.spec.logic import OPPOSITE, reads_response
from bylaw.spec.regulator import Regulator, Sense
from bylaw.spec.resolving import extent
from bylaw.spec.scope import Messages, Scope
from bylaw.spec.sentences import Sentences
from bylaw.spec.standing import price_of

_SENSES: Mapping[type, Sense] = MappingProxyType(
    {ast.AtMost: "at most", ast.AtLeast: "at least", ast.Exactly: "exactly"}
)
_KEPT: Mapping[Sense, Operator] = MappingProxyType({"at most": "<=", "at least": ">=", "exactly": "=="})
"""How a quantity stands to its bound where a response keeps to it."""
_DIGITS = 12
"""To so many digits what is left of a share is as the author would write it: 5% of 95%."""


def resolve_limit(
    clause: ast.LimitRate | ast.LimitAverage, frame: Regulator, scope: Scope, sentences: Sentences
) -> Regulator:
    """A limit as a regulator; `frame` is all that its rule says. Raises Unresolved, with a diagnostic."""
    messages = sentences.messages
    _check_words(clause, messages)
    suite = _suite(clause.suite, scope, messages)
    sense, bound = _bound(clause.bound, sentences)
    event: BooleanExpression | None = None
    value: NumberExpression | None = None
    if isinstance(clause, ast.LimitAverage):
        value = sentences.number(clause.value)
    elif clause.share is not None:
        event = _shortfall(clause, sense, bound, sentences)
        sense, bound = "at most", _rest(clause.share, sentences)
    else:
        event = sentences.truth(clause.condition)
        _check_share(clause.bound, sense, bound, messages)
    measured = event if event is not None else value
    assert measured is not None
    if not reads_response(measured):
        raise messages.failure(
            "P206", "this limits nothing about the response", clause.span, "no answer can change this"
        )
    if frame.condition is not None and reads_response(frame.condition):
        note = "say it in the limit itself: `limit A to at most 5% of responses where B`"
        raise messages.failure("P208", "a limit cannot depend on the answer that it counts", clause.span, notes=(note,))
    made = replace(
        frame,
        modality="limit",
        event=event,
        value=value,
        sense=sense,
        bound=bound,
        confidence=_confidence(clause.confidence, messages),
        suite=suite,
        among=None if clause.among is None else _among(clause.among, sentences),
        each_prompt=clause.each_prompt is not None,
    )
    return made if clause.price is None else replace(made, price=_price(clause.price, made, messages))


def _check_words(clause: ast.LimitRate | ast.LimitAverage, messages: Messages) -> None:
    """Raises Unresolved (P208) for a population of anything but responses, and for a share of an average."""
    if clause.population is not None and clause.population.text != "responses":
        name = clause.population
        raise messages.failure("P208", f"a limit is about responses, not about `{name.text}`", name.span)
    if isinstance(clause, ast.LimitAverage) and clause.share is not None:
        note = "leave out `average` to limit the quantity of each response: `limit VALUE to at most 40 in at least 95%`"
        message = "an average is one number for all responses, so no share of them keeps to it"
        raise messages.failure("P208", message, clause.share.span, notes=(note,))


def _suite(suite: ast.Text | ast.Name | None, scope: Scope, messages: Messages) -> str | None:
    """The name of the suite that a limit is measured over. Raises Unresolved (P101)."""
    if suite is None:
        return None
    name = suite.value if isinstance(suite, ast.Text) else suite.text
    if scope.suite(name) is not None:
        return name
    nearest = catalog.nearest(name, tuple(scope.suites))
    raise messages.failure(
        "P101",
        f"there is no suite called `{name}`",
        suite.span,
        notes=('declare it: `suite NAME = file "prompts.jsonl"`, or with a list of prompts',),
        fix=None if nearest is None else Fix(f"write `{nearest}`", suite.span, nearest),
    )


def _bound(bound: ast.Bound, sentences: Sentences) -> tuple[Sense, float]:
    if isinstance(bound, ast.Between) or type(bound) not in _SENSES:
        raise sentences.messages.failure("P208", "a limit is `at most`, `at least` or `exactly` something", bound.span)
    amount = sentences.number(bound.value)
    if not isinstance(amount, NumberConstant):
        raise sentences.messages.failure(
            "P208", "the bound of a limit is a number that is known beforehand", bound.span
        )
    return _SENSES[type(bound)], amount.value


def _check_share(at: ast.Bound, sense: Sense, bound: float, messages: Messages) -> None:
    if not 0 <= bound <= 1:
        note = "write a share with `%`, as in `at most 2% of responses`"
        raise messages.failure("P208", "a share lies between 0% and 100%", at.span, notes=(note,))
    if (sense, bound) in (("at most", 1.0), ("at least", 0.0)):
        raise messages.failure("P208", "every share lies within this, so nothing is limited", at.span)


# ------------------------------------------------------------------------------------- a quantity in most responses
def _shortfall(clause: ast.LimitRate, sense: Sense, bound: float, sentences: Sentences) -> BooleanExpression:
    """That a response does not keep to the bound of a quantity: what may happen in the rest of the responses."""
    measured = sentences.number(clause.condition)
    where = extent(clause.condition.span.to(clause.bound.span))
    return Compare(OPPOSITE[_KEPT[sense]], measured, NumberConstant(bound), where)


def _rest(share: ast.Share, sentences: Sentences) -> float:
    """The share of responses that need not keep to the bound."""
    sense, least = _bound(share.bound, sentences)
    if sense != "at least":
        note = "as in `limit number of words in response to at most 40 in at least 95% of responses`"
        message = "a quantity is limited in `at least` a share of the responses"
        raise sentences.messages.failure("P208", message, share.span, notes=(note,))
    _check_share(share.bound, sense, least, sentences.messages)
    return round(1.0 - least, _DIGITS)


# ------------------------------------------------------------------------------------------------------------ parts
def _among(among: ast.AmongResponses, sentences: Sentences) -> BooleanExpression:
    """The responses that a limit is about. Raises Unresolved (P210) where no response has a part in that."""
    condition = sentences.truth(among.condition)
    if not reads_response(condition):
        note = "say where a limit counts with `when`: `when prompt mentions ...`"
        message = "`where` picks out responses, but no answer can change this"
        raise sentences.messages.failure("P210", message, among.span, notes=(note,))
    return condition


def _confidence(confidence: ast.Number | None, messages: Messages) -> float | None:
    if confidence is None:
        return None
    if not 0.5 <= confidence.amount < 1:
        raise messages.failure("P208", "a confidence lies between 0.5 and 1", confidence.span)
    return float(confidence.amount)


def _price(price: ast.Price, limit: Regulator, messages: Messages) -> float:
    """What a limit may cost at most. Raises Unresolved (P209), also where nothing can be paid for."""
    if limit.is_hard_limit:
        note = "a limit that leaves no room is a hard rule, which is not traded off; allow a little, or no price"
        raise messages.failure("P209", "a hard rule has no price", price.span, notes=(note,))
    return price_of(price, messages)
