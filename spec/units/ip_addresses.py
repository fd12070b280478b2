"""An IP address: four numbers from 0 to 255 with dots (RFC 791), or an IPv6 address (RFC 4291).

It does not stand inside a longer run of letters, digits, dots or colons. A version number of four parts reads the same
and counts too. Ports and prefix lengths behind an address do not belong to it.
"""

import ipaddress
import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

VERSION_4 = re.compile(r"(?<![\w.:])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[\w])")
VERSION_6 = re.compile(r"(?<![\w:.])(?>[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)(?![\w])")
LONGEST = 45


def find(text: str) -> tuple[Extent, ...]:
    candidates = [(match.start(), match[0]) for match in VERSION_4.finditer(text)]
    if "::" in text or text.count(":") > 6:
        candidates += [(match.start(), match[0].rstrip(".")) for match in VERSION_6.finditer(text)]
    return tuple(Extent(start, start + len(found)) for start, found in sorted(candidates) if _is_address(found))


def _is_address(candidate: str) -> bool:
    candidate = candidate.removesuffix(":") if not candidate.endswith("::") else candidate
    if len(candidate) > LONGEST or not any(map(str.isalnum, candidate)):
        return False
    try:
        ipaddress.ip_address(candidate)
    except ValueError:
        return False
    return True


UNIT = Unit(
    summary="internet (IP) addresses, version 4 or 6",
    find=find,
    machine=None,
    examples=(
        UnitExample("Ping 192.0.2.7, 2001:db8::1 and ::1.", 3),
        UnitExample("256.1.1.1, 1.2.3, 12:30:45, std::vector and 1.2.3.4.5", 0),
    ),
)
