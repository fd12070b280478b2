"""Example conversations between tags, with alternative replies that are marked GOOD, BAD or OK.

    <user>
    ...
    </user>
    <comparison>
    <assistant> <!-- BAD: too long -->
    ...
    </assistant>
    </comparison>

Characters that stand for tags are written as entities there, as in XML.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_TAG = re.compile(r"<(?P<close>/?)(?P<name>user|assistant|developer|system|tool|comparison)\b(?P<attributes>[^<>]*)>")
_ATTRIBUTE = re.compile(r"(?<![\w-])([\w-]+)\s*=\s*\"([^\"]*)\"")
_COMMENT = re.compile(r"\s*<!--(.*?)-->", re.DOTALL)
_MARK = re.compile(r"\s*(GOOD|BAD|OK)(?:\[#([^\]\s]+)\])?\s*:?(.*)", re.DOTALL)
MOST_MESSAGES = 200
"""How many messages may stand before a reply: an example repeats them all."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: who speaks, what is said, and the attributes of its tag. `line` is that of the tag."""

    line: int
    role: str
    text: str
    attributes: tuple[tuple[str, str], ...] = ()

    def attribute(self, name: str) -> str | None:
        """The value of an attribute, or None."""
        return dict(self.attributes).get(name)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to a conversation. `mark` is GOOD, BAD, OK or empty; `target` the anchor of the section that the mark
    names, if it names one; `remark` what is said about it. `gap` says what is not known about the conversation before
    it, empty when all is."""

    message: Message
    context: tuple[Message, ...]
    mark: str
    target: str | None
    remark: str
    gap: str


def replies(lines: tuple[str, ...], first_line: int) -> tuple[Reply, ...]:
    """The replies of a block in a comparison, and those outside one that carry a mark; `first_line` is its line 1.

    Where a conversation goes on after a comparison, its good reply is the one that was given.
    """
    text = "\n".join(lines)
    context: list[Message] = []
    found: list[Reply] = []
    gap = ""
    compared: list[Reply] | None = None
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        name, closes = tag["name"], bool(tag["close"])
        if name == "comparison":
            if closes and compared is not None:
                gap = gap or _go_on(compared, context)
            compared = None if closes else []
        elif not closes and opened is None:
            opened = tag
        elif closes and opened is not None and opened["name"] == name:
            line = first_line + text.count("\n", 0, opened.start())
            is_long = len(context) > MOST_MESSAGES
            before = () if is_long else tuple(context)
            unknown = f"more than {MOST_MESSAGES} messages stand before it" if is_long else gap
            reply = _reply(opened, text[opened.end() : tag.start()], line, before, unknown)
            opened = None
            if compared is not None:
                compared.append(reply)
                found.append(reply)
            elif reply.mark:
                found.append(reply)
            else:
                context.append(reply.message)
    return tuple(found)


def _go_on(compared: list[Reply], context: list[Message]) -> str:
    """Adds the reply that was given to the conversation; what is not known, when none can be told to be it."""
    good = [reply for reply in compared if reply.mark == "GOOD"]
    if not good:
        return "no reply of the comparison before it is marked GOOD"
    context.append(good[0].message)
    return ""


def _reply(opened: re.Match[str], body: str, line: int, context: tuple[Message, ...], gap: str) -> Reply:
    comment = _COMMENT.match(body)
    mark = _MARK.match(comment[1]) if comment else None
    if comment and mark:
        body = body[comment.end() :]
    attributes = tuple((found[1], html.unescape(found[2])) for found in _ATTRIBUTE.finditer(opened["attributes"]))
    message = Message(line, opened["name"], html.unescape(body).strip(), attributes)
    if mark is None:
        return Reply(message, context, "", None, "", gap)
    return Reply(message, context, mark[1], mark[2], html.unescape(mark[3]).strip(), gap)
