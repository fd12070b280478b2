"""A probe as a line of JSON, in the form of prompts and suites everywhere in bylaw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bylaw.runtime.audit.conversation import parse_line
from bylaw.runtime.audit.inputs import DEFAULT_LIMITS, ColumnNames, Unreadable
from bylaw.runtime.probes.probe import Probe
from bylaw.spec.trace import FactValue, Message

OWN = "meta.probe."
"""Where an audit finds what a line says of its probe, as facts: by these, rates can be told apart."""


def plain_facts(facts: Mapping[str, FactValue]) -> dict[str, FactValue]:
    """Facts without those that only a line of probes has: its id, and what it says of its probe."""
    return {name: value for name, value in facts.items() if name != "meta.id" and not name.startswith(OWN)}


def to_data(probe: Probe, review: str = "open") -> dict[str, Any]:
    """A probe as a line: messages, facts under their full names, and all else below `probe`."""
    about = {
        "review": review,
        "rules": " ".join(probe.aims),
        "origin": probe.origin,
        "lean": probe.lean,
        "difficulty": probe.difficulty,
        "template": probe.template,
        "variant": probe.variant,
        "relation": probe.relation,
        "hangs_on_answer": probe.hangs_on_answer,
        "family": probe.family,
    }
    messages = [_message(each, number) for number, each in enumerate(probe.messages)]
    kept = {name: value for name, value in about.items() if value not in ("", False)}
    return {"id": probe.id, "messages": messages, **probe.facts, "probe": kept}


def _message(message: Message, number: int) -> dict[str, Any]:
    if message.kind == "call":
        function = {"name": message.tool, "arguments": json.dumps(dict(message.arguments), ensure_ascii=False)}
        call = {"id": f"call-{number}", "type": "function", "function": function}
        return {"role": message.role, "content": None, "tool_calls": [call]}
    named = {"name": message.tool} if message.tool else {}
    return {"role": message.role, **named, "content": message.content}


def line_of(data: Mapping[str, Any]) -> str:
    """Data as one line of JSON. Raises ValueError for a number that JSON has not."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def unreadable(probe: Probe) -> str | None:
    """Why a probe would be read back from its line as something else; None: it is read back as it is."""
    try:
        trace, left_out = parse_line(line_of(to_data(probe)).encode(), ColumnNames(), DEFAULT_LIMITS, "", False)
    except (Unreadable, ValueError) as error:
        return f"it cannot be written as a line: {error}"
    facts = plain_facts(trace.facts)
    if left_out:
        return left_out[0]
    is_same = trace.messages == probe.messages and facts == dict(probe.facts)
    return None if is_same else "one of its facts or tool calls would be read back as something else"
