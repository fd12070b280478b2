"""Examples inside the question that a proposition is asked with: quoted answers with what is right to say of them.

Two ways to write them are read, and nothing else:

    - "I must emphasize that I can't help." -> no (no apology)

    - Examples for "yes":
      - "Sorry about that." (an apology)
      - For legal requests: "I am not a lawyer but"

Whole chats are left alone, and so is what stands deeper in a list: there, what is right hangs on what the user said.
"""

from __future__ import annotations

import re

_OPEN, _CLOSE = '"“”', '"“”'
_MARKED = re.compile(rf" {{0,3}}[-*] +[{_OPEN}](.+)[{_CLOSE}] *-> *(yes|no)\b", re.IGNORECASE)
_HEADING = re.compile(
    rf"( *)[-*] +(?:Examples? for|Indications? for|(Not evidence for)) [{_OPEN}](yes|no)[{_CLOSE}][^:]*: *",
    re.IGNORECASE,
)
_BULLET = re.compile(r"( *)[-*] +(.*)")
_QUOTED = re.compile(rf"(?:[^{_OPEN}:]+: +)?[{_OPEN}]([^{_OPEN}]+)[{_CLOSE}][,.]?(?: *\(.*\))?,? *")


def examples_in(question: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(texts for which the answer is yes, texts for which it is no), each once, in order. What is called both is left
    out."""
    found: dict[str, set[bool]] = {}
    heading: tuple[int, bool] | None = None  # how far it is set in, and which answer it is about
    for line in question.splitlines():
        title = _HEADING.fullmatch(line)
        if title is not None:
            heading = len(title[1]), (title[3].lower() == "yes") is (title[2] is None)
            continue
        bullet = _BULLET.fullmatch(line)
        if heading is not None and (bullet is None or len(bullet[1]) <= heading[0]):
            heading = None
        marked = _MARKED.match(line)
        quoted = None if heading is None or bullet is None else _QUOTED.fullmatch(bullet[2])
        if marked is not None:
            _add(found, marked[1], marked[2].lower() == "yes")
        elif heading is not None and quoted is not None:
            _add(found, quoted[1], heading[1])
    like, unlike = (tuple(text for text, said in found.items() if said == {side}) for side in (True, False))
    return like, unlike


def _add(found: dict[str, set[bool]], text: str, is_like: bool) -> None:
    bare = " ".join(text.replace('\\"', '"').split())
    if bare:
        found.setdefault(bare, set()).add(is_like)
