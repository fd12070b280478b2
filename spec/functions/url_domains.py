"""The hosts of the web addresses of a text, each once, in the order of the text, with a blank between them.

Addresses begin with http, https, ftp, ws or wss and a colon, with `www.`, or with `//` in a Markdown link or an HTML
attribute. Hosts are in lower case, those of other scripts in punycode (`xn--`).
"""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._hosts import hosts


def value(text: str) -> str:
    return " ".join(dict.fromkeys(filter(None, hosts(text))))


FUNCTION = Function(
    summary="the domains of the web addresses, each once, with blanks between",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(
            ("https://Shop.example/a, www.harbour.example, http://shop.example:80",),
            "shop.example www.harbour.example",
        ),
        FunctionExample(("none",), ""),
    ),
)
