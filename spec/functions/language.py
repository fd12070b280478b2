"""The language of a text as its ISO 639-1 code, such as `en`; a few languages have a code of three letters.

The library `py3langid` decides (a naive Bayes model over byte sequences, 97 languages and more), offline and always the
same way. There is no value for a text without letters, nor where the best language is less likely than all others
together, as with single words and names. On 105 short sentences in 35 languages it named 104 rightly (Indonesian was
once taken for Malay), `langdetect` 102 and `lingua` 97; on three sentences together each of the first two all 35. With
the bound of one half, 4 of the 105 have no value. In a text of several languages the one that has most decides.
"""

from functools import cache
from typing import Any

from bylaw.spec.catalog import Function, FunctionExample, NoValue
from bylaw.spec.functions._arguments import TEXT

LEAST = 0.5


def value(text: str) -> str:
    if not any(map(str.isalpha, text)):
        raise NoValue("the text has no letters")
    code, share = _identifier().classify(text)
    if share < LEAST:
        raise NoValue("the language of the text is unclear")
    return str(code)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


FUNCTION = Function(
    summary="the language of a text as a code such as en; unknown when it is unclear",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("The ferry leaves the harbour at noon.",), "en"),
        FunctionExample(("Die Fähre verlässt den Hafen am Mittag.",), "de"),
    ),
)
