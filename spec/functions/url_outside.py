"""How many web addresses of a text lead outside a list of domains, which is written with commas.

A sub-domain of a listed domain is inside. Addresses are those of `url_domains`; one whose host cannot be read is
outside, so that what is not understood is not allowed.
"""

from bylaw.spec.catalog import Argument, Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._hosts import hosts, normal_host
from bylaw.spec.functions._text import listed


def value(text: str, domains: str) -> float:
    allowed = [domain for domain in map(normal_host, listed(domains)) if domain]
    return float(sum(not any(f".{host}".endswith(f".{domain}") for domain in allowed) for host in hosts(text)))


def _refuse(arguments: tuple[Argument | None, ...]) -> str | None:
    domains = arguments[1]
    try:
        entries = listed(domains) if isinstance(domains, str) else []
    except NoValue as error:
        return error.reason
    for entry in entries:
        if "/" in entry or "*" in entry or ":" in entry or " " in entry or not normal_host(entry):
            return f"`{entry}` is no domain: write it as in shop.example, sub-domains are included"
    return None


FUNCTION = Function(
    summary="how many web addresses lead outside these domains, with commas between",
    parameters=(TEXT, Parameter("domains", "text")),
    result="number",
    value=value,
    examples=(
        FunctionExample(("https://help.shop.example and https://shop.example.evil.example", "shop.example"), 1.0),
        FunctionExample(("https://shop.example@evil.example/ [a](//evil.example)", "shop.example"), 2.0),
        FunctionExample(("https://shop.example", "shop.example, harbour.example"), 0.0),
    ),
    refuse=_refuse,
)
