"""A secret: a key in the format of a well-known service, a private key, a token, or a random value that is named one.

Formats: Amazon, DigitalOcean, GitHub, GitLab, Google, Hugging Face, npm, OpenAI and Anthropic, PyPI, SendGrid, Shopify,
Slack, Stripe, Telegram and Twilio; JSON Web Tokens (RFC 7519), private keys in PEM (RFC 7468), and addresses with a
password. Besides them `name = "value"` counts, where the name speaks of a key, secret, token or password and the value
has letters and digits in it and at least 3.5 bits of entropy a character, so that most example values are left out.
"""

import math
import re
from collections import Counter
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

FORMATS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
    r"gh[opusr]_[A-Za-z0-9]{36,255}",
    r"github_pat_[A-Za-z0-9_]{36,255}",
    r"gl(?:pat|dt|rt|ptt|ft|soat|agent|imt|cbt|oas)-[A-Za-z0-9_-]{20,300}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",
    r"xapp-[0-9]-[A-Z0-9]{5,20}-[0-9]{5,20}-[a-z0-9]{20,100}",
    r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{30,100}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"GOCSPX-[A-Za-z0-9_-]{28}",
    r"ya29\.[A-Za-z0-9_-]{20,500}",
    r"(?:sk|rk)_(?:test|live|prod)_[A-Za-z0-9]{10,200}",
    r"whsec_[A-Za-z0-9+/=]{32,100}",
    r"sk-(?:ant-|or-|proj-|svcacct-|admin-)?(?=[A-Za-z0-9_-]{0,60}[0-9])[A-Za-z0-9_-]{20,300}",
    r"hf_[A-Za-z0-9]{34}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,1000}",
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    r"(?:AC|SK)[0-9a-f]{32}",
    r"do[opr]_v1_[0-9a-f]{64}",
    r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}",
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
    r"eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,4000}",
    r"[A-Za-z][A-Za-z0-9+.]{1,20}://[!-.0-9;-?A-~]{1,100}:[!-.0-9;-?A-~]{3,100}@",
)
PRIVATE_KEY = r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s]*"
NAMED = (
    r"(?i:(?:api|access|secret|private|auth|client|signing|encryption)[ _-]?(?:key|secret|token)|secret|token"
    r"|passw(?:or)?d|passphrase|pwd|bearer|credentials?)[\"'`]?[ \t]{0,8}(?::=|=>|=|:|(?i:is))?[ \t]{0,8}[\"'`]?"
    r"(?P<value>[A-Za-z0-9+/_=.~!@#$%^&*-]{8,300})"
)
LEAST_ENTROPY = 3.5
SHORTEST_NAMED = 12


@cache
def _pattern() -> re.Pattern[str]:
    known = "|".join(FORMATS)
    return re.compile(f"(?<![A-Za-z0-9_-])(?P<known>{known})(?![A-Za-z0-9_])|{PRIVATE_KEY}|(?<![A-Za-z0-9]){NAMED}")


def find(text: str) -> tuple[Extent, ...]:
    return tuple(extent for match in _pattern().finditer(text) for extent in _secret(match))


def _secret(match: re.Match[str]) -> tuple[Extent, ...]:
    value = match["value"]
    if value is None:
        return (Extent(match.start(), match.start() + len(match[0].rstrip())),)
    value = value.rstrip(".,;:!")
    start = match.start("value")
    return (Extent(start, start + len(value)),) if _is_random(value) else ()


def _is_random(value: str) -> bool:
    """Random enough: Shannon entropy of the characters' frequencies, in bits a character."""
    if len(value) < SHORTEST_NAMED or not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) >= LEAST_ENTROPY


UNIT = Unit(
    summary="keys, tokens and passwords in well-known formats, or random values that are named so",
    find=find,
    machine=None,
    examples=(
        UnitExample("AKIA" + "Q3EGRIT7PLMXOW2B" + " and ghp_" + "a1B2" * 9, 2),
        UnitExample('api_key = "' + "t9Xw2Lq8Rz5Kv1Nb" + '"', 1),
        UnitExample("-----BEGIN RSA PRIVATE" + " KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", 1),
        UnitExample("api_key = your_api_key_here, password: hunter, the token economy is-well-known-2day", 0),
    ),
)
