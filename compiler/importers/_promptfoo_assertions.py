"""The assertion types of promptfoo, as verbs of a rule. Reference: promptfoo.dev/docs/configuration/expected-outputs.

An assertion is about the output of a model; `not-` before a type turns it round. A verb is written only where it says
the same; everything else is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from bylaw.compiler.importers import _writing as write


class CannotSay(ValueError):
    """The policy language has no words for an assertion; the message says why."""


@dataclass(frozen=True, slots=True)
class Said:
    """What an assertion says of the response: a verb phrase in the base form, and what it says less exactly.

    `rubric` is a text for a judge: then the verb is `express` and the name of a concept still to be declared, and
    `threshold` the score from which it counts.
    """

    verb: str = ""
    differs: str = ""
    rubric: str = ""
    threshold: float | None = None


Writer: TypeAlias = Callable[[Any, Mapping[str, Any]], Said]


def text_of(value: Any) -> str:
    """A text; a number is written out, as in a template."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise CannotSay("its value is not a text")
    if str(value) == "":
        raise CannotSay("its value is the empty text")
    if isinstance(value, str) and value.startswith(("file://", "package:")):
        raise CannotSay("its value stands in another file")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def texts_of(value: Any) -> list[str]:
    """A list of texts; one text is cut at its commas, as promptfoo does."""
    if isinstance(value, str):
        if '"' in value:
            raise CannotSay("its list is one text with quotes in it: write a list")
        value = [part.strip() for part in text_of(value).split(",") if part.strip()]
    if not isinstance(value, list) or not value:
        raise CannotSay("its value is not a list of texts")
    return [text_of(item) for item in value]


def _any_case(text: str) -> str:
    return write.pattern(write.escaped(text), "i")


def _contains(value: Any, _: Mapping[str, Any]) -> Said:
    return Said(f"contain {write.quoted(text_of(value))}")


def _icontains(value: Any, _: Mapping[str, Any]) -> Said:
    return Said(f"contain {_any_case(text_of(value))}")


def _among(choice: str, any_case: bool) -> Writer:
    def writer(value: Any, _: Mapping[str, Any]) -> Said:
        items = [_any_case(text) if any_case else write.quoted(text) for text in texts_of(value)]
        return Said(f"contain {choice} of [{', '.join(items)}]")

    return writer


def _equals(value: Any, _: Mapping[str, Any]) -> Said:
    return Said(f"be in {write.listed([text_of(value)])}")


def _starts_with(value: Any, _: Mapping[str, Any]) -> Said:
    return Said(f"start with {write.quoted(text_of(value))}")


def _regex(value: Any, _: Mapping[str, Any]) -> Said:
    source = text_of(value)
    differs = "white space in its pattern is that of ASCII" if re.search(r"(?<!\\)(?:\\\\)*\\[sS]", source) else ""
    try:
        return Said(f"contain {write.pattern(source)}", differs)
    except write.PatternError as error:
        raise CannotSay(f"its pattern is not regular, or written in a way we do not read: {error.message}") from error


def _is_json(value: Any, _: Mapping[str, Any]) -> Said:
    if value not in (None, ""):
        raise CannotSay("its value is a JSON schema")
    return Said("be json")


def _word_count(value: Any, _: Mapping[str, Any]) -> Said:
    differs = "words are counted as `words` counts them: `well-known` is two"
    bounds = value if isinstance(value, dict) else {"min": value, "max": value}
    low, high = bounds.get("min"), bounds.get("max")
    if not bounds or bounds.keys() - {"min", "max"} or not all(_is_count(n) for n in bounds.values()):
        raise CannotSay("its value is neither a whole number nor `min` and `max`")
    if low is None or high is None:
        return Said(f"have {f'at most {high}' if low is None else f'at least {low}'} words", differs)
    return Said(f"have {f'exactly {low}' if low == high else f'between {low} and {high}'} words", differs)


def _is_count(value: Any) -> bool:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return True
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rubric(value: Any, assertion: Mapping[str, Any]) -> Said:
    threshold = assertion.get("threshold")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, (int, float))):
        raise CannotSay("its threshold is not a number")
    if threshold is not None and not 0 < threshold <= 1:
        raise CannotSay("its threshold is not above 0 and at most 1")
    return Said("express", rubric=text_of(value), threshold=threshold)


WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        "contains": _contains,
        "icontains": _icontains,
        "contains-any": _among("any", False),
        "contains-all": _among("all", False),
        "icontains-any": _among("any", True),
        "icontains-all": _among("all", True),
        "equals": _equals,
        "starts-with": _starts_with,
        "regex": _regex,
        "is-json": _is_json,
        "word-count": _word_count,
        "llm-rubric": _rubric,
        "model-graded-closedqa": _rubric,
        "g-eval": _rubric,
    }
)
"""The types that a policy can say."""

_PROGRAM = "it is a program, and a policy has none"
_REFERENCE = "it compares with a reference answer by a measure that a policy does not have"
_RUN = "it is about the run, not about the answer"
_JUDGE = "it is a fixed question to another model; write a concept for it"
_FORMAT = "a policy has no such property of a text"
REASONS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("javascript", "python", "ruby", "webhook"), _PROGRAM),
        **dict.fromkeys(
            ("cost", "latency", "perplexity", "perplexity-score", "finish-reason", "trace-span-count"), _RUN
        ),
        **dict.fromkeys(("similar", "rouge-n", "bleu", "gleu", "meteor", "levenshtein", "factuality"), _REFERENCE),
        **dict.fromkeys(
            (
                "answer-relevance",
                "context-faithfulness",
                "context-recall",
                "context-relevance",
                "conversation-relevance",
                "classifier",
                "guardrails",
                "is-refusal",
                "moderation",
                "pi",
                "select-best",
                "max-score",
                "search-rubric",
            ),
            _JUDGE,
        ),
        **dict.fromkeys(("contains-json", "contains-html", "contains-xml", "contains-sql"), _FORMAT),
        **dict.fromkeys(("is-html", "is-xml", "is-sql", "is-valid-openai-tools-call", "tool-call-f1"), _FORMAT),
        **dict.fromkeys(("is-valid-function-call", "is-valid-openai-function-call", "skill-used"), _FORMAT),
    }
)
"""Why the other types that are known cannot be said."""


def said(kind: str, assertion: Mapping[str, Any]) -> tuple[str, Said]:
    """The rule word and what stands behind it. Raises CannotSay."""
    bare = kind.removeprefix("not-")
    if bare not in WRITERS:
        raise CannotSay(REASONS.get(bare, "this type of assertion is not known"))
    return ("must" if bare == kind else "must not"), WRITERS[bare](assertion.get("value"), assertion)
