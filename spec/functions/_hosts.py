"""The hosts of the web addresses in a text, read as a browser reads them.

WHATWG URL Standard, for the tricks that it allows: a name and password before `@` are no host, `\\` is `/`, slashes
behind `http:` may be missing or too many, characters may be percent-encoded or of another width or script.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from urllib.parse import unquote

from bylaw.spec.charset import CharSet
from bylaw.spec.spaces import WHITE_SPACE
from bylaw.spec.units._scan import inside

LONGEST = 400
"""The most characters looked at behind a scheme: a host has at most 253."""

_START = re.compile(
    r"(?:(?:https?|ftp|wss?):(?P<slashes>[/\\]*))|(?<![\w.@/\\-])(?P<www>(?=www\.))"
    r"|(?:\]\([ \t]{0,8}<?|(?:href|src)[ \t]{0,8}=[ \t]{0,8}[\"']?)(?P<relative>[/\\]{2,})",
    re.IGNORECASE | re.ASCII,
)
_HOST_END = re.compile(r"[^\w.\-:%\[\]\u3002\uff0e\uff61]")


def hosts(text: str) -> list[str]:
    """One host an address, in the order of the text, in ASCII; the empty text for one that cannot be read."""
    found: list[str] = []
    start = _START.search(text)
    while start:
        host = _host_at(text, start.end())
        # `http:` in a sentence about it has neither slashes nor a name behind it; a browser takes `http:name` too.
        if host != "" or len(start["slashes"] or "") > 1:
            found.append(host or "")
        start = _START.search(text, start.end() + len("www" if start["www"] is not None else ""))
    return found


def _host_at(text: str, place: int) -> str | None:
    """The host that begins at a place; empty when nothing stands there, None when it cannot be read."""
    match = _authority().match(text, place, place + LONGEST)
    authority = match[0] if match else ""
    if len(authority) == LONGEST:
        return None
    bare = _HOST_END.split(unquote(authority.rpartition("@")[2]), maxsplit=1)[0]
    return normal_host(bare.partition("]")[0] + "]" if bare.startswith("[") else bare.partition(":")[0])


@cache
def _authority() -> re.Pattern[str]:
    return re.compile(f'[^{inside(WHITE_SPACE.union(CharSet.of("/?#<>`")))}"\\\\]*')


def normal_host(host: str) -> str | None:
    """A host in the form that can be compared: lower case, other scripts in punycode, no dot at the end.

    None when it is no host name.
    """
    plain = unicodedata.normalize("NFKC", host).lower().replace("\u3002", ".").strip(".")
    if plain.isascii():
        return plain
    try:
        return plain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
