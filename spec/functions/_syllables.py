"""Syllables of English words, by rules.

Groups of neighbouring vowels are counted, silent `e`s left out, and vowels that are spoken apart (`create`, `quiet`)
counted twice. On the running words of the 541 IFEval prompts and of 450 answers of a model (XSTest), 99 % get the
number that a pronouncing dictionary gives, and the total is within 1 %; counting vowel groups alone gets 84 %.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

_COMPOUND = re.compile(
    r"^(some|there|where|fore|safe|life|like|home|time|guide|face|wide|white|mile|fire|store|care|hope|live|love"
    r"|house|more|lone|nine|name|type|side|table)(?=[bcdfghjklmnpqstvwxz])(?!st)"
)
_SILENT = re.compile(
    r"[^aeiouy]e$(?<![^aeiouyl]le)|[^aeiouy]es$(?<![sxzcg]es)(?<![cs]hes)(?<![^aeiouyl]les)"
    r"|[^aeiouytd]ed$(?<![^aeiouyl]led)(?<![^aeiouyr]red)|[qg]ues?$|[aeiou]ys?$(?<=eye)"
)
_SILENT_INSIDE = re.compile(
    r"[^aeiouy](?:ely|eless|eness|eful|efully|ement|ements)$|ically$|^every(?=[a-z])(?!one)|^busi"
)
_APART = re.compile(
    r"ia(?!l|n|ge|ti?o)|(?<![cst])ia[ln]|[^cgtsx]iou|(?<![gtscv])io(?!n|u)|iu|ie(?=t)|scien|(?<=[^aeiouyqg])ua(?=[lt])"
    r"|uou|eo(?=[^upn])|(?:id|ar)eas?$|deos?$|[aeiouy]ing(?!r)|[iy]er$|iest$|creat(?!u)|[aeo]ism$|sm$|[^q]uity|nuit|uent|ruel"
    r"|duel|oem|oet|oing|iet|eity|aic$|(?<=[dr])eal(?=i)|^re(?=[aeiu]n)|coop|oyee|ucle|dien|^orien"
)
_CONTRACTION = re.compile(r"[sd]n['\u2019]t$")


@lru_cache(maxsize=8192)
def syllables(word: str) -> int:
    """The syllables of one word; a word without Latin letters has one."""
    plain = unicodedata.normalize("NFD", word.lower())
    letters = "".join(character for character in plain if "a" <= character <= "z")
    spoken = _COMPOUND.sub(lambda match: match[1][:-1], letters)
    count = len(_groups().findall(spoken)) - bool(_SILENT.search(spoken)) - bool(_SILENT_INSIDE.search(spoken))
    return max(count + len(_APART.findall(spoken)) + bool(_CONTRACTION.search(plain)), 1)


@cache
def _groups() -> re.Pattern[str]:
    return re.compile("[aeiouy]+")
