"""Why a conversation has no answer, where its transcript says so."""

from __future__ import annotations

from bylaw.spec.trace import Trace

STOPPED = "meta.inspect.stop_reason"
"""The fact that a log of Inspect gives a sample whose answer the filter of an endpoint withheld."""
FILTER = "content_filter"
"""How Inspect, and the endpoints themselves, write that."""
FILTERED = "filtered"
_WHY = "meta.sample.why"


def why_withheld(trace: Trace) -> str | None:
    """The class of reasons why nobody answered (`filtered`, `transport`, `timeout`, `parse`, ...), as `bylaw sample`
    and logs of Inspect tell it; None where there is an answer, or nothing is told."""
    if trace.response is not None:
        return None
    if trace.facts.get(STOPPED) == FILTER:
        return FILTERED
    why = trace.facts.get(_WHY)
    return why if isinstance(why, str) and why else None
