"""What is certain of the counts of one text, whatever it says: linear relations between units.

Each holds for every text by the definitions of the units (spec/units), those of `ASCII` for every text of ASCII
characters. Units that are counted by machines are related by proof: the tests decide each of these lines with the
product of the machines (compiler/counts/products.py). The others follow from how they are defined, and are tried on
many texts. Some lines that one would expect are missing because they are not true: only in ASCII has every sentence a
word of its own (three Hebrew letters with full stops between are three sentences and one word), one character can be a
whole phrase (U+FDFA is four words), `5;6` is two numbers and one word, `x.x.x` is one word that mentions `x` three
times, and a capital letter need be no letter (U+1F150).

`plain_characters` is no unit: the characters of the form that matching reads (spec/normal.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

PLAIN = "plain_characters"


def names(text: str) -> frozenset[str]:
    """The names in a text, with blanks between them."""
    return frozenset(text.split())


ALWAYS = """
all_caps_words <= words
all_caps_words <= capital_letters
2 all_caps_words <= plain_characters + 1
all_caps_words <= characters
asterisks <= punctuation_marks
asterisks <= characters
2 at_mentions <= characters
3 at_mentions <= plain_characters + 1
at_mentions <= punctuation_marks
bullets <= lines
bullets <= line_breaks + 1
3 bullets <= characters + 1
3 bullets <= plain_characters + 1
capital_letters <= 4 characters
13 card_numbers <= digits
code_blocks <= lines
code_blocks <= line_breaks + 1
3 code_blocks <= characters
colons <= 2 characters
colons <= punctuation_marks
commas <= characters
commas <= punctuation_marks
consonants <= 3 characters
consonants <= letters
dashes <= characters
dashes <= non_ascii_characters
dashes <= punctuation_marks
5 dates <= digits
8 dates <= plain_characters + 1
digits <= 3 characters
dividers <= lines
dividers <= line_breaks + 1
3 dividers <= punctuation_marks
4 dividers <= characters + 1
4 dividers <= plain_characters + 1
doubled_words <= words
doubled_words + unique_words <= words
emails <= full_stops
2 emails <= punctuation_marks
3 emails <= characters
6 emails <= plain_characters
emoji <= characters
emoji <= non_ascii_characters
exclamation_marks <= 2 characters
exclamation_marks <= punctuation_marks
exclamations <= sentences
exclamations <= exclamation_marks
exclamations <= punctuation_marks
exclamations <= characters
exclamations + questions + statements <= sentences
full_stops <= 3 characters
full_stops <= punctuation_marks
hashtags <= punctuation_marks
2 hashtags <= characters
3 hashtags <= plain_characters + 1
headings <= lines
headings <= line_breaks + 1
headings <= punctuation_marks
3 headings <= characters + 1
3 headings <= plain_characters + 1
headings + bullets + numbered_items + dividers + tables <= lines
2 highlights <= asterisks
2 highlights <= punctuation_marks
3 highlights <= characters
3 highlights <= plain_characters
html_tags <= letters
html_tags <= words
3 html_tags <= characters
3 html_tags <= plain_characters
hyphens <= characters
hyphens <= punctuation_marks
5 images <= plain_characters
images <= punctuation_marks
images <= exclamation_marks
2 inline_codes <= plain_characters
invisible_characters <= non_ascii_characters
invisible_characters <= characters
letters <= 15 characters
4 links <= plain_characters
links <= punctuation_marks
links + images <= punctuation_marks
line_breaks <= characters
lines <= line_breaks + 1
2 lines <= characters + 1
mixed_script_words <= non_ascii_characters
2 mixed_script_words <= characters
non_ascii_characters <= characters
numbered_items <= lines
numbered_items <= line_breaks + 1
numbered_items <= numbers
numbered_items <= digits
numbered_items <= words
numbered_items <= sentences
numbered_items <= punctuation_marks
3 numbered_items <= characters + 1
4 numbered_items <= plain_characters + 1
numbers <= digits
numbers <= 2 characters
2 numbers <= plain_characters + 1
palindromes <= words
3 palindromes <= plain_characters
paragraphs <= lines
2 paragraphs <= line_breaks + 2
3 paragraphs <= characters + 2
2 parentheses <= punctuation_marks
parentheses <= characters
3 parentheses <= plain_characters
2 placeholders <= punctuation_marks
3 placeholders <= characters
3 placeholders <= plain_characters
punctuation_marks <= 4 characters
question_marks <= 2 characters
question_marks <= punctuation_marks
questions <= sentences
questions <= question_marks
questions <= punctuation_marks
questions <= characters
quotation_marks <= characters
quotation_marks <= punctuation_marks
2 quotations <= quotation_marks
2 quotations <= punctuation_marks
3 quotations <= characters
3 quotations <= plain_characters
semicolons <= characters
semicolons <= punctuation_marks
sentences <= characters
2 sentences <= plain_characters + 1
9 social_security_numbers <= digits
statements <= sentences
statements <= full_stops
statements <= punctuation_marks
statements <= characters
stop_words <= words
stop_words <= letters
sub_bullets <= bullets
sub_bullets <= lines
sub_bullets <= line_breaks + 1
4 sub_bullets <= characters + 1
4 sub_bullets <= plain_characters + 1
tables <= lines
2 tables <= line_breaks + 2
3 tables <= characters + 2
3 tables <= plain_characters + 2
unique_words <= words
unique_words <= 4 characters
urls <= punctuation_marks
3 urls <= letters
6 urls <= characters + 1
6 urls <= plain_characters + 1
vowels <= 3 characters
vowels <= letters
vowels + consonants <= letters
words <= 4 characters
words <= plain_characters
words <= letters + digits + non_ascii_characters
plain_characters <= 18 characters
asterisks + colons + commas + dashes + exclamation_marks + full_stops + hyphens + question_marks + quotation_marks \
+ semicolons <= punctuation_marks
digits + letters + line_breaks + punctuation_marks <= plain_characters
capital_letters + digits + line_breaks + punctuation_marks <= plain_characters
asterisks + colons + commas + dashes + digits + exclamation_marks + full_stops + hyphens + letters + line_breaks \
+ question_marks + quotation_marks + semicolons <= plain_characters
digits + line_breaks + punctuation_marks + vowels + consonants <= plain_characters
"""

ASCII = """
plain_characters <= characters
characters <= plain_characters
all_caps_words <= letters
capital_letters <= letters
2 all_caps_words <= characters + 1
3 at_mentions <= characters + 1
emails <= words
2 emails <= letters
6 emails <= characters
3 hashtags <= characters + 1
2 numbers <= characters + 1
3 parentheses <= characters
sentences <= words
exclamations <= words
questions <= words
statements <= words
exclamations + questions + statements <= words
2 sentences <= characters + 1
2 words <= characters + 1
words <= letters + digits
sentences <= letters + digits
2 unique_words <= characters + 1
2 words <= plain_characters + 1
letters <= characters
digits <= characters
punctuation_marks <= characters
non_ascii_characters <= 0
dashes <= 0
emoji <= 0
invisible_characters <= 0
mixed_script_words <= 0
"""

WITHOUT = """
characters: all
lines: all but characters line_breaks invisible_characters non_ascii_characters
paragraphs: all but characters line_breaks invisible_characters non_ascii_characters
words: letters digits vowels consonants capital_letters unique_words doubled_words stop_words palindromes numbers urls
sentences: letters digits vowels consonants capital_letters all_caps_words numbers urls html_tags numbered_items
unique_words: words letters digits vowels consonants capital_letters all_caps_words numbers
letters: stop_words
"""
"""`a: b c`: a text with one of the units b or c has one of the unit a too; so without a it has none of them."""

PARTWISE = names(
    "all_caps_words asterisks at_mentions bullets capital_letters colons commas consonants dashes digits dividers "
    "emails emoji exclamation_marks full_stops hashtags headings highlights hyphens invisible_characters letters lines "
    "numbered_items numbers "
    "parentheses placeholders punctuation_marks question_marks quotation_marks quotations semicolons sentences "
    "sub_bullets urls vowels words"
)
"""A text has as many of these as its lines together; blank lines have none."""

INSIDE = names(
    "asterisks capital_letters characters colons commas consonants dashes digits emoji exclamation_marks full_stops "
    "html_tags hyphens invisible_characters letters line_breaks lines non_ascii_characters paragraphs parentheses "
    "punctuation_marks question_marks quotation_marks semicolons vowels words"
)
"""A text has at least as many of these as any stretch of it."""

SENTENCEWISE = names("digits letters words")
"""A text has no more of these than its sentences together."""

ANY_CASE = names(
    "asterisks characters colons commas consonants dashes digits exclamation_marks full_stops hyphens letters "
    "line_breaks lines numbers paragraphs parentheses punctuation_marks question_marks quotation_marks quotations "
    "semicolons vowels words"
)
"""Capital and small letters of ASCII count alike for these."""


@dataclass(frozen=True, slots=True)
class Relation:
    """The sum of factor * unit of `smaller` is at most that of `larger` plus `more`."""

    smaller: Mapping[str, int]
    larger: Mapping[str, int]
    more: int


@cache
def relations(is_ascii: bool = False) -> tuple[Relation, ...]:
    """The relations of all texts; with `is_ascii`, those that hold for texts of ASCII characters besides."""
    lines = (ASCII if is_ascii else ALWAYS).strip().splitlines()
    return tuple(map(_relation, lines))


@cache
def relations_of(unit: str, is_ascii: bool = False) -> tuple[int, ...]:
    """The numbers of the relations that have this unit on either side."""
    return tuple(
        number for number, each in enumerate(relations(is_ascii)) if unit in each.smaller or unit in each.larger
    )


@cache
def gone_with(unit: str) -> frozenset[str]:
    """The units of which a text has none where it has none of this one; `*` for all units."""
    found = dict(line.split(": ") for line in WITHOUT.strip().splitlines())
    said = found.get(unit, "")
    if not said.startswith("all"):
        return frozenset(said.split())
    from bylaw.spec import catalog

    kept = {unit, *said.partition(" but ")[2].split()}
    return frozenset(catalog.names("units")) - kept


def _relation(line: str) -> Relation:
    smaller, _, larger = line.partition(" <= ")
    terms, more = _terms(larger)
    return Relation(MappingProxyType(_terms(smaller)[0]), MappingProxyType(terms), more)


def _terms(side: str) -> tuple[dict[str, int], int]:
    terms: dict[str, int] = {}
    more = 0
    for factor, unit, constant in re.findall(r"(?:(\d+) )?([a-z_]+)|(\d+)", side):
        if unit:
            terms[unit] = int(factor or 1)
        else:
            more += int(constant)
    return terms, more
