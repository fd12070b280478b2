"""Writes `segments.json`: texts and how two packages that are not ours divide them.

    pip install uniseg==0.10.1 unicode-segmentation-rs==1.0.0
    python tests/conformance/make_segments.py

Words come from `uniseg`, sentences from `unicode-segmentation-rs` (`uniseg` 0.10.1 leaves the class Other out of the
look-ahead of rule SB8; the other one has newer tables, so it is given characters only that have not changed).
"""

import json
import random
from pathlib import Path

import unicode_segmentation_rs
from uniseg.wordbreak import words

# One or more characters for each class of Word_Break and Sentence_Break, plain ones more often than others.
PIECES = (
    *"aabBzZ019    ..,,:;'\"!?()-_\n\r\t",
    *("\u00e9", "\u0301", "\u200d", "\u00ad", "\u2028", "\u0085", "\u000b", "\u2029", "\u00a0", "\u3000", "\u2019"),
    *("\u05d0", "\u05e6", "\u30a2", "\u30ab", "\u4e2d", "\u3042", "\u0e01", "\u0661", "\u066b", "\u203f", "\u00b7"),
    *("\u2026", "\u3002", "\uff01", "\u061f", "\u201c", "\u201d", "\u00ab", "\u2013", "\u0903", "\u0915", "\u094d"),
    *("\U0001f1e6", "\U0001f1e7", "\U0001f600", "\U0001f469", "\U0001f4bb", "\u2764", "\ufe0f", "\u00bd", "\u01c5"),
    *("\r\n", "e.g. ", "Dr. ", "3.5", "can't", "U.S.A. ", "etc.) ", "...", '."', "1,000", "well-known", "a.b"),
)
WRITTEN = (
    "Mr. Ode paid 3.50 for a well-known \u201cElm\u201d book, e.g. at noon. Was it worth it? \u201cYes!\u201d said he.",
    "Visit elm.example or write to a.b@elm.example... then wait. OK?",
    "L'\u00e9t\u00e9 s'ach\u00e8ve\u00a0! Qu'en penses-tu\u00a0? Rien.",
    "\u4f60\u597d\u3002\u4eca\u5929\u5f88\u597d\uff01\u6771\u4eac\u30bf\u30ef\u30fc\u306f\u9ad8\u3044",
    "\u05e6\u05d4\"\u05dc \u05d5-\u05d2'\u05d5\u05e8\u05d2'",
    "\u0645\u0631\u062d\u0628\u0627\u061f \u0661\u0662\u066b\u0665",
    "One\r\nTwo\n\nThree\rfour\u2029five",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 \U0001f469\u200d\U0001f4bb 1\ufe0f\u20e3",
    "Section 2.3.1. Part A. (see p. 4) Next. item",
    "",
)


def main() -> None:
    """Write the cases beside this file."""
    chance = random.Random(29)
    drawn = ["".join(chance.choices(PIECES, k=chance.randint(1, 16))) for _ in range(600)]
    cases = [
        {
            "text": text,
            "words": list(words(text)) if text else [],
            "sentences": unicode_segmentation_rs.unicode_sentences(text),
        }
        for text in (*WRITTEN, *drawn)
    ]
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    Path(__file__).with_name("segments.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
