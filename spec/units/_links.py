"""Links and images of Markdown: a text in square brackets with an address in round ones behind it."""

from __future__ import annotations

import re

LINK = re.compile(
    r"(!?)\[([^\[\]\n]*)\]\([ \t]*(<[^<>\n]*>|[^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)([ \t]+[^()\n]*)?\)"
)
"""Groups: `!` of an image, text, address, title."""
