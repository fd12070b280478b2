"""Which types of IFEval's instructions contradict each other: decided by proofs and texts, held against the table that
its authors wrote by hand. The report is tests/conformance/ifeval_conflicts.md; `--update-golden` writes it anew."""

import json
import random
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any, Literal

import pytest

from bylaw.compiler.automata.algebra import any_witness, intersect, union
from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.candidates import candidates
from bylaw.compiler.counts import counts_contradiction
from bylaw.compiler.evaluate import truth
from bylaw.compiler.importers import _writing as write
from bylaw.compiler.importers import importer
from bylaw.compiler.importers.ifeval import INSTRUCTIONS
from bylaw.compiler.importers.interface import Naming
from bylaw.compiler.regular import RESPONSE, dfa_of
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    Extent,
    Holds,
    MessageText,
    Not,
    NumberCall,
    NumberConstant,
    Occurrences,
    Or,
    PartOf,
    TextConstant,
    TextExpression,
)
from bylaw.spec.loader import load
from bylaw.spec.logic import conjunction, conjuncts, negate, reads_response
from bylaw.spec.normal import plain
from bylaw.spec.parser import parse
from bylaw.spec.pattern import literal, parse_pattern
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

DATA = Path(__file__).parents[2] / "shared" / "data" / "ifeval"
REPORT = Path(__file__).parent / "conformance" / "ifeval_conflicts.md"
PAIRS_EACH = 5
"""Pairs of instances that are decided for each pair of types."""
LARGEST_AUTOMATON, SEARCH_LIMIT = 3_000, 4_000
LONGEST_SHOWN = 70

pytestmark = pytest.mark.skipif(not (DATA / "conflicts.json").exists(), reason="the published data are not here")

Outcome = Literal["conflict", "witness", "open"]


@dataclass(frozen=True)
class Instance:
    """An instruction with its arguments, and what it asks for."""

    type: str
    arguments: dict[str, Any]
    asked: tuple[BooleanExpression, ...]

    @property
    def shown(self) -> str:
        values = ", ".join(f"{name} {short(str(value), 40)}" for name, value in self.arguments.items())
        return f"{self.type}({values})"


@dataclass(frozen=True)
class Decision:
    """What became of a pair of instances: `why` is a proof in words or a text that obeys both."""

    one: Instance
    other: Instance
    outcome: Outcome
    why: str
    how: str


def short(text: str, longest: int = LONGEST_SHOWN) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


# ----------------------------------------------------------------------------------------------------------- instances
@cache
def published() -> dict[str, list[dict[str, Any]]]:
    """The arguments that the data have for each type, without repeats."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in INSTRUCTIONS}
    for line in (DATA / "input_data.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for name, values in zip(record["instruction_id_list"], record["kwargs"], strict=True):
            own = {key: value for key, value in values.items() if value is not None}
            if own not in found[name]:
                found[name].append(own)
    return found


def varied(name: str, generator: random.Random) -> dict[str, Any]:
    """Arguments within the ranges that the data use: whole numbers drawn anew, the rest from any two records."""
    known = published()[name]
    one, other = generator.choice(known), generator.choice(known)
    if generator.random() < 0.4:
        return one
    drawn = {}
    for key, value in one.items():
        numbers = [values[key] for values in known if isinstance(values.get(key), int)]
        if isinstance(value, int) and key not in ("num_paragraphs", "nth_paragraph"):
            drawn[key] = generator.randint(min(numbers), max(numbers))
        else:
            drawn[key] = other.get(key, value) if isinstance(value, str) and "relation" not in key else value
    return drawn


def instance(name: str, arguments: dict[str, Any]) -> Instance:
    return Instance(name, arguments, asked_by(name, json.dumps(arguments)))


@cache
def asked_by(name: str, arguments: str) -> tuple[BooleanExpression, ...]:
    """What an instruction with these arguments, in JSON, asks for; most are drawn several times."""
    record = {"key": 1, "prompt": "Write.", "instruction_id_list": [name], "kwargs": [json.loads(arguments)]}
    imported = importer("ifeval").read(json.dumps(record), Naming("prompts", None))
    assert [line.outcome for line in imported.account] == ["imported"], imported.account
    resolution = resolve(load(parse(Source.of("prompts.bylaw", imported.text)), None))
    assert resolution.ok
    asked = []
    for each in resolution.regulators.regulators:
        assert each.obligation is not None
        where = conjunction(tuple(part for part in conjuncts(each.condition) if reads_response(part)))
        asked.append(each.obligation if where is None else Or((negate(where), each.obligation)))
    return tuple(asked)


# ------------------------------------------------------------------------------------------------------------ deciding
def obeys(text: str, asked: Sequence[BooleanExpression]) -> bool:
    trace = Trace(()).answered(text)
    return all(truth(each, trace) is True for each in asked)


def decide(one: Instance, other: Instance) -> Decision:
    """Texts first, then arithmetic, then automata of what is regular, or of more than what is asked for."""
    asked = (*one.asked, *other.asked)
    for text in attempts(one, other):
        if obeys(text, asked):
            return Decision(one, other, "witness", text, way(text, "a text"))
    proof = counts_contradiction(asked)
    if proof is not None:
        return Decision(one, other, "conflict", proof.text, "arithmetic")
    parts = [part for each in asked for part in conjuncts(each)]
    why = "part of it is no regular language"
    for subject in dict.fromkeys((RESPONSE, *map(subject_of, parts))):
        if subject is None:
            continue
        languages = [found for each in parts if (found := allowed(each, subject)) is not None]
        try:
            text_found = any_witness(languages, SEARCH_LIMIT) if languages else ""
        except StateLimit:
            why = "the search grew too large"
            continue
        if text_found is None:
            where = "" if subject == RESPONSE else f" for part {subject.index} ({subject.unit})"  # type: ignore[union-attr]
            return Decision(one, other, "conflict", f"the automata have no text in common{where}", "automata")
        if subject == RESPONSE and obeys(text_found, asked):
            return Decision(one, other, "witness", text_found, way(text_found, "automata"))
    return Decision(one, other, "open", why, "")


# JSON is no regular language, but its tokens are; strings hold no line breaks.
TOKENS = r"(?:[ \t\r\n]|\"(?:[^\"\\\x00-\x1f]|\\.)*\"|[\[\]{}:,]|-?[0-9][0-9.eE+-]*|true|false|null|NaN|-?Infinity)*"


@cache
def allowed(asked: BooleanExpression, subject: TextExpression) -> Dfa | None:
    """An automaton of at least the texts of `subject` for which a statement holds; None for all texts.

    Where something is asked of a part of the response and nothing else, it is asked of that text.
    """
    match asked:
        case Or(items) | And(items):
            found = [allowed(item, subject) for item in items]
            known = [each for each in found if each is not None]
            if isinstance(asked, And):
                return intersect(known) if known else None
            return union(known) if len(known) == len(found) else None
        case Holds("json") if asked.subject == subject:
            return language(parse_pattern(TOKENS), "full")
        case Compare("==", NumberCall("parts", (part, TextConstant(divider))), NumberConstant(count)):
            return language(literal(divider), "search") if part == subject and count >= 2 else None
        case Compare(">=", Occurrences(name, text, matchers), NumberConstant(count)) if count >= 1 and text == subject:
            counted = dfa_of(replace(asked, left=replace(asked.left, subject=RESPONSE)), LARGEST_AUTOMATON)  # type: ignore[type-var]
            return counted or dfa_of(Holds(name, RESPONSE, matchers), LARGEST_AUTOMATON)
        case Holds() | Not(Holds()) if subject_of(asked) == subject:
            held = asked.item if isinstance(asked, Not) else asked
            assert isinstance(held, Holds)
            about = replace(held, subject=RESPONSE)
            return dfa_of(Not(about) if isinstance(asked, Not) else about, LARGEST_AUTOMATON)
    return dfa_of(asked, LARGEST_AUTOMATON) if subject == RESPONSE else None


def subject_of(asked: BooleanExpression) -> TextExpression | None:
    """The text that a statement is about, where that is the response or a part of it."""
    match asked:
        case Holds(_, subject) | Not(Holds(_, subject)) if isinstance(subject, MessageText | PartOf):
            return subject
    return None


# ------------------------------------------------------------------------------------------- texts that obey on purpose
ENGLISH = "the boats go out to the harbour and the people of the town wait there"
SENTENCES = {
    "en": ENGLISH,
    "de": "die Boote fahren am Morgen aus dem Hafen und die Leute warten dort auf den Fisch",
    "it": "le barche escono dal porto al mattino e la gente della valle aspetta il pesce",
    "pt": "os barcos saem do porto de manhã e as pessoas da cidade esperam pelo peixe",
    "fi": "veneet lähtevät satamasta aamulla ja kaupungin ihmiset odottavat kalaa rannalla",
    "sw": "mashua huondoka bandarini asubuhi na watu wa mji wanasubiri samaki sokoni",
    "vi": "những chiếc thuyền rời cảng vào buổi sáng và người dân chờ cá",
    "ru": "лодки уходят из гавани утром, и люди ждут рыбу",
    "bg": "лодките излизат от пристанището сутрин и хората чакат рибата",
    "ar": "تخرج القوارب من الميناء في الصباح وينتظر الناس السمك",
    "fa": "قایق\u200cها صبح از بندر می\u200cروند و مردم منتظر ماهی هستند",
    "ur": "کشتیاں صبح بندرگاہ سے نکلتی ہیں اور لوگ مچھلی کا انتظار کرتے ہیں",
    "hi": "नावें सुबह बंदरगाह से निकलती हैं और लोग मछली का इंतज़ार करते हैं",
    "mr": "होड्या सकाळी बंदरातून निघतात आणि लोक माशांची वाट पाहतात",
    "ne": "डुङ्गाहरू बिहान बन्दरगाहबाट निस्कन्छन् र मानिसहरू माछा पर्खन्छन्",
    "bn": "নৌকাগুলো সকালে বন্দর থেকে যায় এবং মানুষ মাছের জন্য অপেক্ষা করে",
    "gu": "બોટો સવારે બંદરમાંથી નીકળે છે અને લોકો માછલીની રાહ જુએ છે",
    "pa": "ਕਿਸ਼ਤੀਆਂ ਸਵੇਰੇ ਬੰਦਰਗਾਹ ਤੋਂ ਨਿਕਲਦੀਆਂ ਹਨ ਅਤੇ ਲੋਕ ਮੱਛੀ ਦੀ ਉਡੀਕ ਕਰਦੇ ਹਨ",
    "ta": "படகுகள் காலையில் துறைமுகத்திலிருந்து செல்கின்றன",
    "te": "పడవలు ఉదయం ఓడరేవు నుండి బయలుదేరుతాయి",
    "kn": "ದೋಣಿಗಳು ಬೆಳಿಗ್ಗೆ ಬಂದರಿನಿಂದ ಹೋಗುತ್ತವೆ",
    "ko": "배는 아침에 항구를 떠나고 사람들은 물고기를 기다립니다",
    "th": "เรือออกจากท่าในตอนเช้าและผู้คนรอปลา",
}


def find_paragraphs(text: str) -> tuple[Extent, ...]:
    return catalog.unit("paragraphs").find(text)


FENCED = "```a`\n"
"""The first line of a text that starts with a fence and has none there, since it has another backtick."""
RAISED_LETTERS = str.maketrans(
    "ABDEGHIJKLMNOPRTUVW",
    "\u1d2c\u1d2e\u1d30\u1d31\u1d33\u1d34\u1d35\u1d36\u1d37\u1d38\u1d39"
    "\u1d3a\u1d3c\u1d3e\u1d3f\u1d40\u1d41\u2c7d\u1d42",
)
"""Raised capital letters: small letters to Unicode (Other_Lowercase), capital ones in the form that matching reads."""
LOOPHOLE = "a loophole"


def is_raised(char: str) -> bool:
    return not char.isascii() and char.islower() and any(map(str.isupper, plain(char)))


def way(text: str, how: str) -> str:
    """How a text was found, unless it obeys through a loophole only."""
    return LOOPHOLE if FENCED in text or any(map(is_raised, text)) else how


@dataclass(frozen=True)
class Plan:
    """What a text is put together from: what stands in it anywhere (`pieces`), in paragraphs, as lines at the end."""

    filler: str = ""
    pieces: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    paragraphs: tuple[str, ...] = ()
    start: str = ""
    end: str = ""
    words: int = 0
    sentences: int = 0
    parts: int = 0
    wholes: tuple[str, ...] = ()
    is_quoted: bool = False
    is_json: bool = False
    is_double: bool = False
    language: str = ""
    case: str = ""


def plan(each: Instance) -> dict[str, Any]:
    """What one instruction puts into a plan."""
    own, name = each.arguments, each.type.partition(":")[2]
    is_least = "at least" in (own.get("relation"), own.get("let_relation"), own.get("capital_relation"))
    match name:
        case "existence":
            return {"pieces": tuple(own["keywords"])}
        case "frequency" if is_least:
            return {"pieces": (own["keyword"],) * own["frequency"]}
        case "letter_frequency" if is_least:
            return {"pieces": (own["letter"] * own["let_frequency"],)}
        case "capital_word_frequency" if is_least:
            return {"pieces": ("OAR",) * own["capital_frequency"]}
        case "response_language":
            return {"language": own["language"]}
        case "number_sentences" if is_least:
            return {"sentences": own["num_sentences"]}
        case "number_words" if is_least:
            return {"words": own["num_words"]}
        case "number_paragraphs":
            return {"parts": own["num_paragraphs"]}
        case "nth_paragraph_first_word":
            place, count = own["nth_paragraph"], own["num_paragraphs"]
            return {"paragraphs": tuple(own["first_word"] if n + 1 == place else "so" for n in range(count))}
        case "number_placeholders":
            return {
                "pieces": tuple(f"[{letter}]" for letter in "nopqrstuvwxyzabcdefghijklm"[: own["num_placeholders"]])
            }
        case "postscript":
            return {"lines": (f"{own['postscript_marker']} so",)}
        case "number_bullet_lists":
            return {"lines": ("* so",) * own["num_bullets"]}
        case "constrained_response":
            return {"wholes": tuple(f"My answer is {said}." for said in ("yes", "no", "maybe"))}
        case "number_highlighted_sections":
            return {"pieces": ("*so*",) * own["num_highlights"]}
        case "multiple_sections":
            marker = own["section_spliter"]
            return {"lines": tuple(f"{marker} {number + 1}" for number in range(own["num_sections"]))}
        case "json_format":
            return {"is_json": True}
        case "title":
            return {"pieces": ("<<so>>",)}
        case "two_responses":
            return {"is_double": True}
        case "repeat_prompt":
            return {"start": own["prompt_to_repeat"]}
        case "end_checker":
            return {"end": own["end_phrase"]}
        case "quotation":
            return {"is_quoted": True}
        case "english_capital":
            return {"language": "en", "case": "upper"}
        case "english_lowercase":
            return {"language": "en", "case": "lower"}
    return {}


def joined(one: dict[str, Any], other: dict[str, Any]) -> Plan:
    both = dict(one)
    for key, value in other.items():
        both[key] = both[key] + value if isinstance(value, tuple) and key in both else value
    return Plan(**both)


def same_lines(one: Instance, other: Instance) -> bool:
    return one.type == other.type and one.arguments == other.arguments


def attempts(one: Instance, other: Instance) -> Iterator[str]:
    """Texts that probably obey both; whether they do is for the evaluator to say."""
    planned = Plan(**plan(one)) if same_lines(one, other) else joined(plan(one), plan(other))
    yield from planned.wholes
    own = SENTENCES.get(planned.language, "")
    fillers = [own, own.replace(" ", "."), *(" ".join([own] * times) for times in (4, 16, 64))]
    fillers = fillers if own else ["", "so", "1", "so so", ENGLISH]
    for filler, is_tight in product(fillers, (False, True)):
        for text in built(planned, filler, is_tight):
            cased = text.upper() if planned.case == "upper" else text.lower() if planned.case == "lower" else text
            yield from dict.fromkeys((cased, cased.replace(",", "")))
            if planned.case == "lower":
                yield text.translate(RAISED_LETTERS)
    if planned.case == "lower":
        yield from (text.translate(RAISED_LETTERS) for text in planned.wholes)
    yield from candidates((*one.asked, *other.asked))


def built(planned: Plan, filler: str, is_tight: bool) -> Iterator[str]:
    words = " ".join([filler or "so"] * -(-planned.words // max(len(filler.split()), 1))) if planned.words else filler
    sentences = " ".join(["Go!"] * planned.sentences)
    body = (" " if not is_tight else "\n").join(filter(None, (words, *planned.pieces, sentences)))
    end = planned.end
    if planned.paragraphs:
        begun = len(find_paragraphs(planned.start)) if planned.start else 0
        first, *rest = ["", *planned.paragraphs[begun:]] if begun else planned.paragraphs
        tail = "\n".join(filter(None, (body, *planned.lines)))
        blocks = ["\n".join(filter(None, (first, tail))), *rest]
        last = [f"{blocks[-1]} {end}".strip()] if end else blocks[-1:]
        text = "\n\n".join([*blocks[:-1], *last])
    else:
        text = "\n".join(filter(None, (body, *planned.lines, end)))
    if planned.start:
        text = f"{planned.start}\n{text}" if text else planned.start
    if planned.parts:
        count = planned.parts - 1 - planned.is_double
        more = [filler or "so"] * count if planned.language else [f"so {number}" for number in range(count)]
        text = "\n***\n".join([*more, text] if end else [text if text.strip() else "so", *more])
    if planned.is_double:
        other = f"{filler} {filler}".strip() or "2"
        before = bool(end) and not planned.start
        text = "\n******\n".join((other, text) if before else (text if text.strip() else "1", other))
    if planned.is_json:
        yield json.dumps(text, ensure_ascii=False)
        yield json.dumps({"so": text}, ensure_ascii=False)
        yield "```\n" + json.dumps([text], ensure_ascii=False) + "\n```"
        yield '"' + text.replace("\n", " ") + '"'
        yield json.dumps(text, ensure_ascii=False).replace("\\n", " ")
        if planned.paragraphs:
            yield "[" + ",\n\n".join(json.dumps(each, ensure_ascii=False) for each in text.split("\n\n")) + "]"
        yield f"{FENCED}{text}\n```\n[1]\n```"
        return
    if planned.is_quoted:
        text = f'"{text}"'
    yield text
    yield text.strip()


# ---------------------------------------------------------------------------------------------------------- the report
Pair = tuple[str, str]


@cache
def decisions() -> dict[Pair, tuple[Decision, ...]]:
    """What became of the instances that were drawn for each pair of types."""
    found: dict[Pair, tuple[Decision, ...]] = {}
    for one, other in combinations_with_replacement(INSTRUCTIONS, 2):
        generator = random.Random(f"{one} {other}")
        drawn = [
            (instance(one, varied(one, generator)), instance(other, varied(other, generator)))
            for _ in range(PAIRS_EACH)
        ]
        found[one, other] = tuple(decide(*each) for each in drawn)
    return found


@cache
def listed() -> frozenset[frozenset[str]]:
    """The pairs of the authors' table."""
    table = json.loads((DATA / "conflicts.json").read_text(encoding="utf-8"))["conflicts"]
    return frozenset(frozenset((one, other)) for one, others in table.items() for other in others)


def kind(each: Decision) -> str:
    return LOOPHOLE if each.how == LOOPHOLE else each.outcome


def shares(pair: Pair) -> dict[str, int]:
    return {name: sum(kind(each) == name for each in decisions()[pair]) for name in KINDS}


def verdict(pair: Pair) -> str:
    """`all`, `some` or `none` of what was decided conflicts; texts that obey through a loophole only count apart."""
    own = shares(pair)
    if own["conflict"]:
        return "some" if own["witness"] else "all"
    return "none" if own["witness"] else "loophole" if own[LOOPHOLE] else "open"


KINDS = ("conflict", "witness", LOOPHOLE, "open")
SIGNS = {"all": "#", "some": "+", "none": ".", "loophole": "o", "open": "?"}

# Why the table lists what texts obey; the first entry whose types are all in the pair counts.
WHY_LISTED: list[tuple[str, str]] = [
    (
        "language constrained_response",
        "Which language a program sees in such a short sentence is nothing to be proved:"
        " characters that show nothing may be added to it.",
    ),
    (
        "number_paragraphs nth_paragraph_first_word",
        "Parts between `***` in one, blocks between blank lines in the other:"
        " two notions of a paragraph, which confuse but do not exclude each other.",
    ),
    ("number_paragraphs number_sentences", "Both counts can be met at once; difficult to write, not impossible."),
    ("number_highlighted_sections multiple_sections", "Texts between asterisks and lines with a marker do not touch."),
    ("title quotation", "The title can stand inside the quotation marks."),
    (
        "capital_word_frequency english_capital",
        "A text in capitals has capital words: `at least` is met by a longer one,"
        " `less than` by a short one, or by one that full stops make one word.",
    ),
    (
        "capital_word_frequency english_lowercase",
        "`less than` is met by every text in small letters. `at least` is met"
        " through raised capitals only, small letters to Unicode and capitals to matching: to people, a contradiction.",
    ),
    (
        "constrained_response english_lowercase",
        "Only with a raised `M` (U+1D39), a small letter to Unicode and `M` to matching: to people, a contradiction.",
    ),
    (
        "constrained_response",
        "The three sentences obey what asks for little, such as fewer words, no comma or no certain"
        " word; what asks for more contradicts them.",
    ),
    (
        "repeat_prompt",
        "It depends on the words of the request. What follows the request can obey nearly everything;"
        " only what holds of every character, as the case of letters does, is lost with the first line.",
    ),
    (
        "postscript json_format",
        "No JSON has such a line. Only a text whose first line looks like a fence and is none"
        " obeys both: a gap in how we read `json_format`, and a contradiction otherwise.",
    ),
    (
        "number_bullet_lists json_format",
        "No JSON has such a line. Only a text whose first line looks like a fence and is"
        " none obeys both: a gap in how we read `json_format`, and a contradiction otherwise.",
    ),
    (
        "multiple_sections json_format",
        "No JSON has such a line. Only a text whose first line looks like a fence and is"
        " none obeys both: a gap in how we read `json_format`, and a contradiction otherwise.",
    ),
    (
        "json_format",
        "What is asked for can stand inside a string of the JSON, or the JSON is one string: awkward to"
        " write and easy to spoil, not impossible.",
    ),
    (
        "two_responses",
        "One of the two answers, or both, can obey it. Which of them is meant would be unclear, and a"
        " checker looks at both at once.",
    ),
    (
        "language",
        "Single words, markers and closing phrases of another language can stand in a text that is mostly in"
        " the language that is asked for; the table wants the whole answer in it.",
    ),
]
WHY_NOT_LISTED: list[tuple[str, str]] = [
    (
        "end_checker quotation",
        "The text ends with the phrase, and no phrase of the data ends with a quotation mark."
        " Their checker takes quotation marks off before it looks for the phrase.",
    ),
    (
        "end_checker english_capital",
        "The phrases have small letters, and ours is exact about them; their checker ignores case.",
    ),
    (
        "end_checker english_lowercase",
        "The phrases have capitals, and ours is exact about them; their checker ignores"
        " case. Raised capitals are the loophole.",
    ),
    (
        "multiple_sections english_capital",
        "Markers such as `Day` have small letters, and ours is exact about case; `SECTION` has none.",
    ),
    (
        "multiple_sections english_lowercase",
        "All markers have capitals, and ours is exact about case. Raised capitals are the loophole where they exist.",
    ),
    (
        "repeat_prompt no_comma",
        "Requests with a comma cannot be repeated without one. The data have such prompts; the"
        " importer makes the instruction that is broken a `should`.",
    ),
    ("end_checker no_comma", "A phrase with a comma cannot stand at the end of a text without one."),
    ("letter_frequency postscript", "The marker itself has the letter that is to be rare."),
]
SAME = "The same demand twice, or two that can both be met: the table rules out repetition, not contradictions."
PROVED = "The proofs agree with the table."


def explanation(pair: Pair) -> str:
    is_listed, found = frozenset(pair) in listed(), verdict(pair)
    if is_listed and found == "all":
        return PROVED
    if pair[0] == pair[1]:
        return SAME if found == "none" else "It depends on the arguments: two bounds that meet, or two that do not."
    for types, why in WHY_LISTED if is_listed else WHY_NOT_LISTED:
        if all(any(own in name.split(":")[1] for name in pair) for own in types.split()):
            return why
    raise AssertionError(f"nothing explains {pair}: {found}")


def code(text: str) -> str:
    """A text as inline code in a cell of a table."""
    shown = short(repr(text).replace("|", "\\u007c"))
    return f"`` {shown} ``"


def example(pair: Pair, *kinds: str) -> str:
    """The shortest proof or text of these kinds, with the instances that it is about where that matters."""
    known = [each for each in decisions()[pair] if kind(each) in kinds]
    if not known:
        return ""
    best = min(known, key=lambda each: (kinds.index(kind(each)), len(each.why), each.why))
    if best.outcome != "conflict":
        return code(without_theirs(best))
    return f"{instances(best)}{short(without_theirs(best), 120)}".replace("|", "\\|")


def instances(each: Decision) -> str:
    own = "; ".join(
        ", ".join(f"{name} = {json.dumps(value)}" for name, value in one.arguments.items() if name not in TEXTS)
        for one in (each.one, each.other)
    ).strip("; ")
    return f"({own}) " if own else ""


TEXTS = ("keywords", "forbidden_words", "keyword", "prompt_to_repeat", "end_phrase", "first_word")
"""Arguments whose values are the authors' own; the report has their names instead."""


def without_theirs(each: Decision) -> str:
    """The text or proof with names in the place of the words of the data, however these are written."""
    has_theirs = any(name in TEXTS for one in (each.one, each.other) for name in one.arguments)
    shown = plain(each.why) if has_theirs and any(map(is_raised, each.why)) else each.why
    for one in (each.one, each.other):
        for name in TEXTS:
            value = one.arguments.get(name, ())
            for theirs in sorted([value] if isinstance(value, str) else value, key=len, reverse=True):
                cut = f"{theirs[:40]}..."
                for spelt in (theirs, cut, write.escaped(theirs), theirs.strip()):
                    shown = re.sub(re.escape(spelt), lambda _: f"[{name}]", shown, flags=re.IGNORECASE)  # noqa: B023
    return shown


def in_words(pair: Pair) -> str:
    return " and ".join(f"`{name.partition(':')[2]}`" for name in dict.fromkeys(pair)) + (
        " twice" if pair[0] == pair[1] else ""
    )


def section(title: str, pairs: list[Pair], *kinds: str) -> Iterator[str]:
    yield from (f"## {title}", "")
    if not pairs:
        yield from ("None.", "")
        return
    by_reason: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_reason.setdefault(explanation(pair), []).append(pair)
    for reason, members in by_reason.items():
        yield from (reason, "", "| pair | conflict | text | loophole | open | example |", "|---|--:|--:|--:|--:|---|")
        for pair in members:
            numbers = " | ".join(map(str, shares(pair).values()))
            yield f"| {in_words(pair)} | {numbers} | {example(pair, *kinds)} |"
        yield ""


def matrix() -> Iterator[str]:
    """One line a type; a cell is the verdict, with `*` where the table lists the pair."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXY"
    yield "```text"
    yield " " * 45 + "  ".join(letters)
    for row, one in enumerate(INSTRUCTIONS):
        cells = []
        for column, other in enumerate(INSTRUCTIONS):
            pair = (one, other) if row <= column else (other, one)
            cells.append(SIGNS[verdict(pair)] + ("*" if frozenset(pair) in listed() else " "))
        yield f"{letters[row]} {one:<42} {' '.join(cells)}".rstrip()
    yield "```"


def paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(text, 118, break_on_hyphens=False), ""]


def report() -> str:
    cross = [pair for pair in decisions() if pair[0] != pair[1]]
    same = [pair for pair in decisions() if pair[0] == pair[1]]
    everything = [each for found in decisions().values() for each in found]
    total = {name: sum(kind(each) == name for each in everything) for name in KINDS}
    ways = [
        sum(each.outcome == "conflict" and each.how == how for each in everything) for how in ("arithmetic", "automata")
    ]

    def group(is_listed: bool, *verdicts: str) -> list[Pair]:
        return [pair for pair in cross if (frozenset(pair) in listed()) is is_listed and verdict(pair) in verdicts]

    counted = [
        f"| {'in the table' if is_listed else 'not in it'} | "
        + " | ".join(str(len(group(is_listed, name))) for name in SIGNS)
        + " |"
        for is_listed in (True, False)
    ]
    lines = [
        "# IFEval: which instructions contradict each other",
        "",
        *paragraph(
            "The authors of IFEval (Zhou et al. 2023, arXiv:2311.07911) wrote a table by hand of instruction types that"
            " they never put into one prompt. Here the same question is decided automatically, for the instructions as"
            " `bylaw import ifeval` reads them. `tests/test_ifeval_conflicts.py` draws arguments for each of the 325"
            f" pairs of types ({PAIRS_EACH} each, seeded, numbers within the ranges that the data use), and looks for a"
            " text that obeys both, which the evaluator checks; for a proof by linear arithmetic that there is none;"
            " and for one by automata. It compares this file with what it finds; `--update-golden` writes it anew. The"
            " words of the data are not shown: `[keyword]` and the like stand for them."
        ),
        *paragraph(
            f"Of {len(everything)} pairs of instances, {total['conflict']} contradict each other ({ways[0]} by"
            f" arithmetic, {ways[1]} by automata), {total['witness']} are obeyed by a text, {total[LOOPHOLE]} only by a"
            f" text that uses a loophole (below), and {total['open']} were not decided."
        ),
        "Pairs of different types, by what was decided of their instances:",
        "",
        "| | all conflict (`#`) | some (`+`) | none (`.`) | loopholes only (`o`) | not decided (`?`) |",
        "|---|--:|--:|--:|--:|--:|",
        *counted,
        "",
        *paragraph(
            "Loopholes are texts that obey to the letter what no person would accept: raised capitals such as U+1D39,"
            " which Unicode calls small letters and matching reads as capitals, and a first line that begins like a"
            " fence and is none. They are kept apart, and are no conflict, since nothing would prove one."
        ),
        *paragraph(
            "So the table is mostly not about contradictions: it keeps combinations out of the prompts that are hard"
            " to meet, hard to check or unclear. And it lacks some that depend on the arguments. Why the authors listed"
            " a pair is our reading; they do not say."
        ),
        "## The matrix",
        "",
        "`*` marks the pairs of the table.",
        "",
        *matrix(),
        "",
        *section("In the table, and every instance conflicts", group(True, "all"), "conflict"),
        *section("In the table, and some instances conflict", group(True, "some"), "conflict"),
        *section("In the table, and no instance conflicts", group(True, "none"), "witness"),
        *section("In the table: loopholes only, or not decided", group(True, "loophole", "open"), LOOPHOLE),
        *section("Not in the table, and instances conflict", group(False, "all", "some"), "conflict"),
        *section("Not in the table: loopholes only, or not decided", group(False, "loophole", "open"), LOOPHOLE),
        *section("A type with itself", same, "conflict", "witness"),
    ]
    return "\n".join(lines).rstrip() + "\n"


# --------------------------------------------------------------------------------------------------------------- tests
def test_every_text_obeys_both() -> None:
    for found in decisions().values():
        for each in found:
            if each.outcome == "witness":
                assert obeys(each.why, (*each.one.asked, *each.other.asked)), each


def test_no_text_obeys_what_was_proved_to_conflict() -> None:
    """The texts that were found for other pairs are tried on all pairs that were proved to conflict."""
    texts = list(
        dict.fromkeys(each.why for found in decisions().values() for each in found if each.outcome == "witness")
    )
    generator = random.Random(5)
    for found in decisions().values():
        for each in found:
            if each.outcome == "conflict":
                for text in generator.sample(texts, 12):
                    assert not obeys(text, (*each.one.asked, *each.other.asked)), (each, text)


def test_the_shares_are_what_they_should_be() -> None:
    assert len(decisions()) == 325
    assert sum(len(pair) == 2 for pair in listed()) == 94
    undecided = sum(each.outcome == "open" for found in decisions().values() for each in found)
    assert undecided < 0.03 * 325 * PAIRS_EACH
    assert verdict(("change_case:english_capital", "change_case:english_lowercase")) == "all"
    assert verdict(("length_constraints:number_words", "punctuation:no_comma")) == "none"


def test_the_report(request: pytest.FixtureRequest) -> None:
    text = report()
    if request.config.getoption("--update-golden"):
        REPORT.write_text(text, encoding="utf-8")
    assert REPORT.read_text(encoding="utf-8") == text
