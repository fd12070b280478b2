"""White space, as Unicode's White_Space property has it."""

from bylaw.spec.charset import NEWLINE, CharSet

WHITE_SPACE = CharSet.of(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
INLINE_SPACE = WHITE_SPACE.difference(NEWLINE)
