"""From what the command line says of a judge to a judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bylaw.runtime.judges.interface import JudgeError, JudgeParameters
from bylaw.runtime.judges.judge import Judge

_VARIED = 0.7
"""The temperature of a judge that is asked more than once, unless another is given."""
_KNOWN = frozenset(
    {
        *("url", "model", "key_variable", "requests", "tokens", "seconds", "repeats", "temperature", "max_tokens"),
        *("seed", "model_under_test", "is_same_model_allowed", "reads_conversation", "timeout", "answers"),
    }
)


def judge_of(option: object) -> Judge:
    """The judge that `Making.options["judge"]` means: a `Judge` as it is, or a mapping of

    `url`, `model`; `key_variable`; `requests`, `tokens`, `seconds` (the budget); `repeats`; `temperature` (0 for one
    answer, 0.7 for several, unless given); `max_tokens`; `seed`; `model_under_test`, `is_same_model_allowed`;
    `reads_conversation`; `timeout` (seconds for one answer); `answers` (the file that keeps them; None: the usual one).

    Sends nothing. Raises JudgeError for what is missing, unknown or not possible.
    """
    if isinstance(option, Judge):
        return option
    if not isinstance(option, Mapping) or not option.get("url") or not option.get("model"):
        raise JudgeError("a judge needs the address of an endpoint (`url`) and the name of its `model`")
    unknown = sorted(set(option) - _KNOWN)
    if unknown:
        raise JudgeError(f"a judge has no option `{unknown[0]}`; there are: {', '.join(sorted(_KNOWN))}")
    repeats = int(_given(option, "repeats", 1))
    parameters = JudgeParameters(
        str(option["model"]),
        float(_given(option, "temperature", 0.0 if repeats == 1 else _VARIED)),
        int(_given(option, "max_tokens", 512)),
        option.get("seed"),
    )
    return Judge(
        _asker(option),
        parameters,
        repeats,
        model_under_test=option.get("model_under_test"),
        is_same_model_allowed=bool(option.get("is_same_model_allowed")),
        reads_conversation=bool(option.get("reads_conversation")),
    )


def _asker(option: Mapping[str, Any]) -> Any:
    from bylaw.runtime.judges.budget import Budget, Meter
    from bylaw.runtime.judges.client import EndpointAsker
    from bylaw.runtime.judges.store import AnswerStore, default_place
    from bylaw.runtime.judges.wire import Endpoint

    endpoint = Endpoint(str(option["url"]), option.get("key_variable"), timeout=float(_given(option, "timeout", 120.0)))
    budget = Budget(option.get("requests"), option.get("tokens"), option.get("seconds"))
    return EndpointAsker(endpoint, AnswerStore(Path(_given(option, "answers", default_place()))), Meter(budget))


def _given(option: Mapping[str, Any], name: str, usual: Any) -> Any:
    found = option.get(name)
    return usual if found is None else found
