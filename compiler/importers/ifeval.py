"""The prompts of IFEval (Zhou et al. 2023, arXiv:2311.07911) with their instructions: one rule a prompt.

A record is `{"key": 1000, "prompt": "...", "instruction_id_list": [...], "kwargs": [{...}, ...]}`. Its rule holds `when
meta.key == 1000`, and has a sentence for each instruction. The sentences say what the words of the instructions say;
the reference checker often does something else. Where they differ:

* keywords:existence, keywords:forbidden_words, keywords:frequency: whole words in any case; there the first and the
  last find parts of words too.
* keywords:letter_frequency: the letter in either case, anywhere; the same there.
* language:response_language: the language of the whole text; there a text that cannot be told passes.
* length_constraints:number_words, number_sentences: as the units `words` and `sentences` count; there a regular
  expression and a trained splitter.
* length_constraints:number_paragraphs: parts between `***` with something in them; there an empty part fails.
* length_constraints:nth_paragraph_first_word: the word alone, quotes before it allowed; there cut at punctuation.
* detectable_content:postscript: a line that begins with the marker, in any case; there anywhere, blanks inside it too.
* detectable_content:number_placeholders: texts in square brackets that are no links; there every pair of brackets.
* detectable_format:number_bullet_lists: lines with `-`, `*` or `+` and a blank; there no blank is asked for.
* detectable_format:constrained_response: the answer is one of the options; there an option stands somewhere in it.
* detectable_format:number_highlighted_sections: texts between `*` or `**` on one line; the same there.
* detectable_format:multiple_sections: so many lines begin with the marker and a number, at least: the prompts say both
  "4 sections" and "at least 4 sections" with the same arguments. There the marker counts anywhere.
* detectable_format:json_format: JSON, bare or in one fence; there only some kinds of fences.
* detectable_format:title: a text between `<<` and `>>` on one line; the same there.
* combination:two_responses: two parts between `******`, not the same; the same there, but for empty parts.
* combination:repeat_prompt: the text begins with the request, unchanged; there in any case and after white space.
  Where the request itself breaks another instruction of its prompt, no answer obeys both: that one says `should`.
* startend:end_checker: the text ends with the phrase, white space may follow; there in any case, quotes may follow.
* startend:quotation: a double quote at both ends, white space around them allowed; the same there.
* change_case:capital_word_frequency: words all of whose letters are capitals; there the tokens of a tokeniser.
* change_case:english_capital, english_lowercase: the case of all letters, and English; the same there.
* punctuation:no_comma: no commas; the same there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from bylaw.compiler.importers import _writing as write
from bylaw.compiler.importers.interface import AccountLine, Imported, Importer, ImportFailure, Naming
from bylaw.spec.expression import Phrase
from bylaw.spec.matching import find_words

_PARAGRAPH_DIVIDER = "***"
_RESPONSE_DIVIDER = "******"
_RELATIONS = MappingProxyType({"at least": "at least", "less than": "fewer than"})
_BULLET = r"^[ \t]*[-*+][ \t]+[^ \t\n]"
_TITLE = r"/<<[^<>\n]+>>/"
_QUOTATION = r'must start with /\s*"/ and end with /"\s*/'
_FENCE = r"/\s*```/"
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


class _Unusable(ValueError):
    """An instruction cannot be written down; the message says why."""


class _Arguments:
    """The arguments of one instruction; remembers which were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}
        self._used: set[str] = set()

    def _of(self, name: str) -> Any:
        if name not in self._values:
            raise _Unusable(f"the argument `{name}` is missing")
        self._used.add(name)
        return self._values[name]

    def text(self, name: str) -> str:
        value = self._of(name)
        if not isinstance(value, str) or not value.strip():
            raise _Unusable(f"the argument `{name}` is not a text")
        return value.strip()

    def texts(self, name: str) -> list[str]:
        value = self._of(name)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
            raise _Unusable(f"the argument `{name}` is not a list of texts")
        return [text.strip() for text in value]

    def count(self, name: str, least: int = 0) -> int:
        value = self._of(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1_000_000:
            raise _Unusable(f"the argument `{name}` is not a whole number from {least} up")
        return value

    def bound(self, relation: str, number: str) -> str:
        """`at least 3` or `fewer than 3`."""
        said = self.text(relation)
        if said not in _RELATIONS:
            raise _Unusable(f"the relation `{said}` is neither `at least` nor `less than`")
        return f"{_RELATIONS[said]} {self.count(number)}"

    def unused(self) -> list[str]:
        return sorted(self._values.keys() - self._used)


_Writer: TypeAlias = Callable[[_Arguments], tuple[str, ...]]


def _letter(arguments: _Arguments) -> tuple[str, ...]:
    letter = arguments.text("letter")
    if len(letter) != 1:
        raise _Unusable(f"`{letter}` is not one letter")
    what = write.pattern(letter, "i") if letter.isalpha() else write.quoted(letter)
    return (f"must contain {what} {arguments.bound('let_relation', 'let_frequency')} times",)


def _first_word(arguments: _Arguments) -> tuple[str, ...]:
    word = arguments.text("first_word")
    start = write.pattern(rf"[\"'“‘*_]*{write.escaped(word)}\b", "i")
    return (
        f"must have exactly {arguments.count('num_paragraphs')} paragraphs",
        f"paragraph {arguments.count('nth_paragraph', 1)} of response must start with {start}",
    )


def _postscript(arguments: _Arguments) -> tuple[str, ...]:
    marker = write.pattern(rf"^[ \t]*{write.escaped(arguments.text('postscript_marker'))}", "im")
    return (f"must contain {marker}",)


def _sections(arguments: _Arguments) -> tuple[str, ...]:
    marker = write.escaped(arguments.text("section_spliter"))
    heading = write.pattern(rf"^[^A-Za-z0-9\n]*{marker}[ \t]*(?:[0-9]+|[IVXLC]+)\b", "m")
    return (f"must contain {heading} at least {arguments.count('num_sections')} times",)


def _paragraphs(arguments: _Arguments) -> tuple[str, ...]:
    parts = f"parts(response, {write.quoted(_PARAGRAPH_DIVIDER)})"
    return (f"{parts} must be exactly {arguments.count('num_paragraphs')}",)


def _two_responses(arguments: _Arguments) -> tuple[str, ...]:
    divider = write.quoted(_RESPONSE_DIVIDER)
    one, other = (f"part(response, {divider}, {number})" for number in (1, 2))
    return (f"parts(response, {divider}) must be exactly 2", f"{one} must not match {other}")


def _end(arguments: _Arguments) -> tuple[str, ...]:
    phrase = write.escaped(arguments.text("end_phrase"))
    return ("must end with " + write.pattern(phrase + r"\s*"),)


_WRITERS: Mapping[str, _Writer] = MappingProxyType(
    {
        "keywords:existence": lambda a: (f"must mention all of {write.listed(a.texts('keywords'))}",),
        "keywords:frequency": lambda a: (
            f"must mention {write.quoted(a.text('keyword'))} {a.bound('relation', 'frequency')} times",
        ),
        "keywords:forbidden_words": lambda a: (f"must not mention any of {write.listed(a.texts('forbidden_words'))}",),
        "keywords:letter_frequency": _letter,
        "language:response_language": lambda a: (f"must be in language {write.quoted(a.text('language'))}",),
        "length_constraints:number_sentences": lambda a: (
            f"must have {a.bound('relation', 'num_sentences')} sentences",
        ),
        "length_constraints:number_paragraphs": _paragraphs,
        "length_constraints:number_words": lambda a: (f"must have {a.bound('relation', 'num_words')} words",),
        "length_constraints:nth_paragraph_first_word": _first_word,
        "detectable_content:number_placeholders": lambda a: (
            f"must have at least {a.count('num_placeholders')} placeholders",
        ),
        "detectable_content:postscript": _postscript,
        "detectable_format:number_bullet_lists": lambda a: (
            f"must contain {write.pattern(_BULLET, 'm')} exactly {a.count('num_bullets')} times",
        ),
        "detectable_format:constrained_response": lambda a: (f"must be in {write.listed(_OPTIONS)}",),
        "detectable_format:number_highlighted_sections": lambda a: (
            f"must have at least {a.count('num_highlights')} highlights",
        ),
        "detectable_format:multiple_sections": _sections,
        "detectable_format:json_format": lambda a: (f"must be json or start with {_FENCE}",),
        "detectable_format:title": lambda a: (f"must contain {_TITLE}",),
        "combination:two_responses": _two_responses,
        "combination:repeat_prompt": lambda a: (f"must start with {write.quoted(a.text('prompt_to_repeat'))}",),
        "startend:end_checker": _end,
        "startend:quotation": lambda a: (_QUOTATION,),
        "change_case:capital_word_frequency": lambda a: (
            f"must have {a.bound('capital_relation', 'capital_frequency')} all_caps_words",
        ),
        "change_case:english_capital": lambda a: ('must be uppercase and be in language "en"',),
        "change_case:english_lowercase": lambda a: ('must be lowercase and be in language "en"',),
        "punctuation:no_comma": lambda a: ("must have no commas",),
    }
)

INSTRUCTIONS = tuple(_WRITERS)
"""The instruction types that can be written down: all 25 of the published set."""


def read(text: str, naming: Naming) -> Imported:
    """The policy of a JSON Lines file of prompts.

    Raises:
        ImportFailure: no line is a record of this form.
    """
    account: list[AccountLine] = []
    rules: list[str] = []
    prompts: list[str] = []
    names: set[str] = set()
    for place, record in _records(text, account):
        name = write.identifier(f"key_{record['key']}", "key")
        if name in names:
            reason = f"another prompt has the key {record['key']}, so no rule can tell them apart"
            account.append(AccountLine(place, f"prompt {record['key']}", "skipped", reason))
            continue
        sentences = list(_sentences(place, record, account))
        if not sentences:
            account.append(AccountLine(place, f"prompt {record['key']}", "skipped", "nothing of it can be checked"))
            continue
        names.add(name)
        rules.append(_rule(name, record, sentences))
        prompts.append(json.dumps({"prompt": record["prompt"], "meta": {"key": record["key"]}}))
    if not rules:
        place, reason = (account[0].place, account[0].reason) if account else ("", "the file has no records")
        raise ImportFailure(place, reason)
    suite = [] if naming.suite is None else [f'suite prompts "the prompts" = file {write.quoted(naming.suite)}']
    opening = [write.comment(f"Imported: {len(rules)} prompts. A transcript says in `meta.key` which one it answers.")]
    whole = "\n\n".join([*opening, write.header(naming.policy), *suite, *rules])
    return Imported(write.laid_out(whole, ".bylaw"), tuple(account), "".join(f"{line}\n" for line in prompts))


def _records(text: str, account: list[AccountLine]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file with their places; the account says which lines are none."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            account.append(AccountLine(place, "line", "unreadable", "it is not JSON"))
            continue
        reason = _malformed(record)
        if reason:
            account.append(AccountLine(place, "record", "unreadable", reason))
        else:
            yield place, record


def _malformed(record: Any) -> str:
    """Why a record is none of IFEval's, or nothing."""
    if not isinstance(record, dict):
        return "it is not an object"
    key, ids, kwargs = record.get("key"), record.get("instruction_id_list"), record.get("kwargs")
    if isinstance(key, bool) or not isinstance(key, (int, str)) or key == "":
        return "`key` is neither a whole number nor a text"
    if not isinstance(record.get("prompt"), str) or not record["prompt"].strip():
        return "`prompt` is not a text"
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        return "`instruction_id_list` is not a list of texts"
    if not isinstance(kwargs, list) or not all(isinstance(values, dict) for values in kwargs):
        return "`kwargs` is not a list of objects"
    return "" if len(ids) == len(kwargs) else "`instruction_id_list` and `kwargs` have different lengths"


def _sentences(place: str, record: dict[str, Any], account: list[AccountLine]) -> Iterator[str]:
    repeated = _repeated(record)
    for name, values in zip(record["instruction_id_list"], record["kwargs"], strict=True):
        what = f"prompt {record['key']}: {name}"
        writer = _WRITERS.get(name)
        if writer is None:
            account.append(AccountLine(place, what, "skipped", "this type of instruction is not known"))
            continue
        arguments = _Arguments(values)
        try:
            written = writer(arguments)
        except (_Unusable, write.PatternError) as error:
            account.append(AccountLine(place, what, "skipped", str(error)))
            continue
        differs = [f"the argument `{argument}` means nothing here" for argument in arguments.unused()]
        if repeated and _is_broken_by(repeated, name, values):
            differs.append("the request that has to be repeated breaks it, so it says `should`")
            written = tuple(sentence.replace("must", "should", 1) for sentence in written)
        account.append(AccountLine(place, what, "changed" if differs else "imported", "; ".join(differs)))
        yield from written


def _repeated(record: dict[str, Any]) -> str:
    """The text that an answer has to begin with, or nothing."""
    for name, values in zip(record["instruction_id_list"], record["kwargs"], strict=True):
        text = values.get("prompt_to_repeat")
        if name == "combination:repeat_prompt" and isinstance(text, str):
            return text.strip()
    return ""


def _is_broken_by(start: str, name: str, values: dict[str, Any]) -> bool:
    """Whether no text that begins like this obeys an instruction, one that could be written down.

    Words at its very end are not counted, since they may go on.
    """
    arguments = _Arguments(values)
    if name == "keywords:forbidden_words":
        return any(_occurrences(start, word) for word in arguments.texts("forbidden_words"))
    if name == "keywords:frequency" and arguments.text("relation") == "less than":
        return _occurrences(start, arguments.text("keyword")) >= arguments.count("frequency")
    if name == "keywords:letter_frequency" and arguments.text("let_relation") == "less than":
        return start.lower().count(arguments.text("letter").lower()) >= arguments.count("let_frequency")
    return name == "punctuation:no_comma" and "," in start


def _occurrences(start: str, word: str) -> int:
    return sum(extent.end < len(start) for extent in find_words(start, Phrase(word)))


def _rule(name: str, record: dict[str, Any], sentences: list[str]) -> str:
    key = record["key"]
    value = write.number(key) if isinstance(key, int) else write.quoted(key)
    cited = write.prose(", ".join(dict.fromkeys(record["instruction_id_list"])))
    lines = [f"when meta.key == {value}", *dict.fromkeys(sentences), f"source {cited}"]
    rules = ["\n".join([f"rule {name} at user {{", *(f"  {line}" for line in lines), "}"])]
    if "detectable_format:json_format" in record["instruction_id_list"]:
        rules.append(_fenced_json(name, value))
    return "\n\n".join(rules)


def _fenced_json(name: str, key: str) -> str:
    """What holds of JSON that stands in a fence: the fence goes to the end, and what is inside is JSON."""
    return (
        f"rule {name}_fenced at user {{\n  when meta.key == {key} and response starts with {_FENCE}\n"
        "  code_block(response, 1) must be json\n  must end with /```\\s*/\n}"
    )


IMPORTER = Importer(
    summary="the prompts of IFEval in JSON Lines: one rule for each prompt, by its instructions",
    suffix=".bylaw",
    read=read,
    has_suite=True,
)
