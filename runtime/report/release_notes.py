"""What changed between two versions of a policy: for the terminal, and as release notes for people who read no code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bylaw.compiler.changes.types import Change, Flip, Kind, Overall, PolicyChanges, TextChange, TranscriptChanges
from bylaw.compiler.program import ProgramError
from bylaw.runtime.report.markdown import escape
from bylaw.runtime.report.text import one_line
from bylaw.spec.trace import FactValue, Message, written

LONGEST_TEXT = 120
MOST_NAMED = 12
MOST_MESSAGES = 6
MOST_SHOWN = 20
"""Witnesses and flips that are written out before they are only counted."""

_RULES: tuple[Kind, ...] = ("rule added", "rule removed", "rule renamed", "rule moved")
_WORDS: tuple[Kind, ...] = ("rule word", "sentence added", "sentence removed", "sentence", "condition")
_STANDING: tuple[Kind, ...] = ("exception", "waivable", "overrides", "lifted", "on violation")
_MADE_OF: tuple[Kind, ...] = ("parameter", "lexicon", "definition", "template", "import", "version")
_READERS: tuple[Kind, ...] = ("title", "because", "source", "examples", "tests")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line with a name, and lines below it."""

    name: str
    words: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    entries: tuple[Entry, ...]


# ------------------------------------------------------------------------------------------------------- one line
def summary(found: PolicyChanges) -> str:
    """All of it in one line."""
    if not _is_anything(found):
        return "no change"
    told = [_overall(each) for each in found.overall] if _touches_hard(found) else []
    told += [_counted(found, kind, one, many) for kind, one, many in _COUNTED]
    content = len({change.about for change in found.changes if change.is_meaning and change.kind in _WORDS})
    told.append(f"{content} rule{_s(content)} reworded in meaning" if content else "")
    same = len(found.same_by_proof)
    told.append(f"{same} rule{_s(same)} reworded, with the same meaning (proved)" if same else "")
    told += [_flipped(found, "example"), _flipped(found, "test")]
    if found.undecided:
        told.append(f"{found.undecided} question{_s(found.undecided)} about texts not decided")
    return "; ".join((*(("no change in meaning",) if found.is_same_meaning else ()), *filter(None, told)))


def _flipped(found: PolicyChanges, kind: str) -> str:
    count = sum(flip.kind == kind and flip.found != "unscored" for flip in found.flips)
    return f"{count} {kind}{_s(count)} flip{'s' if count == 1 else ''}" if count else ""


_COUNTED: tuple[tuple[Kind, str, str], ...] = (
    ("rule added", "1 rule added", "{} rules added"),
    ("rule removed", "1 rule removed", "{} rules removed"),
    ("rule renamed", "1 rule renamed", "{} rules renamed"),
    ("rule moved", "1 rule moved", "{} rules moved"),
    ("level", "1 rule at another level", "{} rules at other levels"),
    ("weight", "1 weight", "{} weights"),
    ("limit", "1 limit", "{} limits"),
    ("exception", "1 change of exceptions", "{} changes of exceptions"),
    ("concept", "1 change of concepts", "{} changes of concepts"),
)


def _counted(found: PolicyChanges, kind: Kind, one: str, many: str) -> str:
    changes = [change for change in found.changes if change.kind == kind]
    if kind in ("weight", "limit") and len(changes) == 1:
        words = changes[0].words
        return words if kind == "weight" or words.startswith("limit ") else f"limit {words}"
    return "" if not changes else one if len(changes) == 1 else many.format(len(changes))


def _touches_hard(found: PolicyChanges) -> bool:
    return any(each.how != "equal" for each in found.overall)


def _overall(each: Overall) -> str:
    verb = "forbids" if each.direction == "forbidden" else "allows"
    return {
        "equal": f"{verb} nothing new (the hard rules are equal)",
        "proved": f"{verb} nothing new (proved)",
        "witness": f"newly {verb} texts",
        "not decided": f"whether it newly {verb} anything is not decided",
    }[each.how]


def _is_anything(found: PolicyChanges) -> bool:
    return bool(found.changes or found.flips or any(each.changed for each in found.transcripts))


# ------------------------------------------------------------------------------------------------------- sections
def sections(found: PolicyChanges, quote: Callable[[str], str]) -> Iterator[Section]:
    """Everything, what a user must know first at the top; `quote` makes a text of authors or answers safe to show."""
    if not _is_anything(found):
        return
    for overall in found.overall:
        yield _hard(found, overall, quote)
    yield _section("Not decided", _undecided(found))
    yield _section("Rules", (*_by_kind(found, _RULES), *_levels(found)))
    yield _section("What rules say", _by_kind(found, _WORDS))
    weighed = [each for each in found.texts if each.strength != "hard" and each.answer.result == "witness"]
    yield _section("What is weighed or counted", [_witness(each, quote) for each in weighed[:MOST_SHOWN]])
    yield _section("What gives way, and what happens then", _by_kind(found, _STANDING))
    yield _section("Weights", _by_kind(found, ("weight",)))
    yield _section("Limits", _by_kind(found, ("limit", "suite")))
    yield _section("Concepts", _concepts(found))
    yield _section("Examples and tests that come out differently", _flips(found, quote))
    for transcripts in found.transcripts:
        yield _section(f"Transcripts of {transcripts.source}", _transcripts(transcripts))
    yield _section("Declarations", _by_kind(found, _MADE_OF))
    yield _section("For readers only", _readers(found))


def _section(title: str, entries: Iterable[Entry]) -> Section:
    return Section(title, tuple(entries))


def _hard(found: PolicyChanges, overall: Overall, quote: Callable[[str], str]) -> Section:
    is_forbidden = overall.direction == "forbidden"
    mine = [each for each in found.texts if each.direction == overall.direction and each.strength == "hard"]
    shown = [_witness(each, quote) for each in mine if each.scope == "policy" and each.answer.result == "witness"]
    entries = [*shown[:MOST_SHOWN], *_more(len(shown))]
    if not shown:
        words = {
            "equal": "nothing: the hard rules are equal",
            "proved": "nothing (proved)",
            "not decided": "not decided: see below",
        }[overall.how]
        entries = [Entry("", words)]
    open_rules = {each.rule for each in mine if each.answer.result == "not decided"}
    for each in mine:
        if each.scope == "rule" and each.answer.trace is not None:
            entries.append(_alone(each, each.rule in open_rules, quote))
        elif each.answer.result == "nothing":
            by = (
                "forbids nothing that was allowed"
                if is_forbidden
                else "is gone, and what it forbade is forbidden still"
            )
            entries.append(Entry(each.rule, f"{by} (proved)"))
    return Section("Newly forbidden" if is_forbidden else "Newly allowed", tuple(entries))


def _alone(change: TextChange, is_open: bool, quote: Callable[[str], str]) -> Entry:
    """What a rule newly forbids or allows where other rules settle it anyway, as far as is known."""
    words = f"taken alone, newly {_done(change)} {_last(change, quote)}"
    if change.others:
        anyway = "forbade" if change.direction == "forbidden" else "still forbids"
        words = f"{words}, which {_and([f'`{name}`' for name in change.others])} {anyway}"
    end = "; whether other answers come to it is not decided" if is_open else ", so nothing comes of it"
    return Entry(change.rule, f"{words}{end}", tuple(_situation(change, quote)))


def _last(change: TextChange, quote: Callable[[str], str]) -> str:
    trace = change.answer.trace
    if trace is None:
        raise ProgramError("a change without a witness has none to show")
    last = trace.messages[-1]
    return f"that {_message(last, quote)}" if last.kind == "call" else quote(last.content)


def _done(change: TextChange) -> str:
    return "forbids" if change.direction == "forbidden" else "allows"


def _witness(change: TextChange, quote: Callable[[str], str]) -> Entry:
    answer = change.answer
    version, other = ("new", "old") if change.direction == "forbidden" else ("old", "new")
    below = [*_situation(change, quote)]
    shortest = "the shortest such answer; it " if answer.is_shortest else "it "
    if change.strength == "hard":
        below.append(f"{shortest}obeys every hard rule of the {other} version, and breaks in the {version} one:")
    elif change.strength == "soft":
        below.append(f"{shortest}is {'newly' if version == 'new' else 'no longer'} weighed by:")
    else:
        below.append(f"{shortest}{'newly counts' if version == 'new' else 'counts no longer'} for:")
    below.append(f"{one_line(change.sentence, LONGEST_TEXT)}{_at(change)}")
    return Entry(change.rule, _last(change, quote), tuple(below))


def _at(change: TextChange) -> str:
    return "" if change.place is None else f" ({change.place.path}:{change.place.line})"


def _situation(change: TextChange, quote: Callable[[str], str]) -> Iterator[str]:
    """What comes before the answer, as far as a conversation was needed."""
    trace = change.answer.trace
    assert trace is not None
    before = trace.messages[:-1]
    if len(before) > MOST_MESSAGES:
        yield f"after {len(before) - MOST_MESSAGES} earlier messages"
    yield from (f"when {_message(each, quote)}" for each in before[-MOST_MESSAGES:])
    facts = ", ".join(f"{name} = {_fact(value, quote)}" for name, value in trace.facts.items())
    if facts:
        yield f"with {facts}"
    for score in sorted(set(trace.scores.values())):
        names = [f"`{name}`" for (name, _), given in trace.scores.items() if given == score]
        if names:
            yield f"where a scorer gives {score:g} for {_and(names, most=3)}"


def _message(message: Message, quote: Callable[[str], str]) -> str:
    if message.kind == "call":
        given = ", ".join(f"{name}: {_fact(value, quote)}" for name, value in message.arguments)
        return f"the assistant calls {message.tool}({given})"
    if message.kind == "output":
        return f"{message.tool or 'a tool'} gives back {quote(message.content)}"
    if message.role == "system":
        return f"the system message is {quote(message.content)}"
    return f"the {message.role} says {quote(message.content)}"


def _fact(value: FactValue, quote: Callable[[str], str]) -> str:
    return quote(value) if isinstance(value, str) else written(value)


def _undecided(found: PolicyChanges) -> Iterator[Entry]:
    """Open questions by their reason, with the rules that they are about."""
    reasons: dict[str, dict[str, None]] = {}
    for each in found.texts:
        if each.answer.result == "not decided":
            reasons.setdefault(each.answer.reason, {})[each.rule] = None
    for reason, names in reasons.items():
        yield Entry("", f"for {_and([f'`{name}`' for name in names])}: {reason}")


def _by_kind(found: PolicyChanges, kinds: Sequence[Kind]) -> list[Entry]:
    named = {"rule added": "added", "rule removed": "removed"}
    entries = []
    for change in found.changes:
        if change.kind in kinds:
            head = f"{named[change.kind]}: " if change.kind in named else ""
            proved = " (the same meaning, proved)" if _is_proved(found, change) else ""
            kind = f"{change.kind} " if change.kind in _MADE_OF and change.kind != "version" else ""
            entries.append(Entry(f"{kind}{change.about}", f"{head}{change.words}{proved}"))
    return entries


def _is_proved(found: PolicyChanges, change: Change) -> bool:
    return change.about in found.same_by_proof and change.kind in _WORDS


def _levels(found: PolicyChanges) -> Iterator[Entry]:
    """The chain, and rules at other levels: those that went the same way together."""
    ways: dict[str, list[str]] = {}
    for change in found.changes:
        if change.kind == "levels":
            yield Entry(change.about, change.words)
        elif change.kind == "level":
            ways.setdefault(change.words, []).append(change.about)
    for words, names in ways.items():
        if len(names) == 1:
            yield Entry(names[0], words)
        else:
            yield Entry("", f"{words}: {len(names)} rules", (_and([f"`{n}`" for n in names], most=len(names)),))


def _concepts(found: PolicyChanges) -> Iterator[Entry]:
    by_name: dict[str, list[str]] = {}
    for change in found.changes:
        if change.kind == "concept":
            by_name.setdefault(change.about, []).append(change.words)
    for name, words in by_name.items():
        yield Entry(name, "; ".join(words))


def _flips(found: PolicyChanges, quote: Callable[[str], str]) -> Iterator[Entry]:
    decided = [flip for flip in found.flips if flip.found != "unscored"]
    for flip in decided[:MOST_SHOWN]:
        other = "new" if flip.version == "old" else "old"
        words = f"{_expected(flip)} in the {flip.version} version; under the {other} one: {_now(flip.found)}"
        yield Entry(flip.name, words, (f"{quote(flip.text)} ({flip.place.path}:{flip.place.line})",))
    yield from _more(len(decided))
    for version, other in (("old", "new"), ("new", "old")):
        count = sum(flip.version == version and flip.found == "unscored" for flip in found.flips)
        if count:
            words = f"{count} case{_s(count)} of the {version} version cannot be decided under the {other} one"
            yield Entry("", words)


def _expected(flip: Flip) -> str:
    return _now(flip.expected)


def _now(verdict: str) -> str:
    shown = {"violates": "breaks it", "complies": "keeps it", "skips": "is not concerned", "waived": "is let off"}
    return shown.get(verdict, verdict)


def _transcripts(found: TranscriptChanges) -> Iterator[Entry]:
    yield Entry(
        "",
        f"{found.changed} of {found.total} conversations get another verdict; {found.newly_forbidden} newly break a "
        f"hard rule, {found.newly_allowed} no longer do",
    )
    for rule in found.rules:
        for old, new, count in rule.counts:
            places = [place for place, one, other in rule.places if (one, other) == (old, new)]
            shown = f": {', '.join(places)}" if places else ""
            yield Entry(rule.rule, f"{old} -> {new}: {count}{shown}")


def _readers(found: PolicyChanges) -> Iterator[Entry]:
    for kind, words in (("title", "titles"), ("because", "reasons"), ("source", "sources"), ("examples", "examples")):
        names = [f"`{change.about}`" for change in found.changes if change.kind == kind]
        if names:
            yield Entry("", f"{words} of {_and(names)}")
    yield from (Entry("", change.words) for change in found.changes if change.kind == "tests")


def _more(count: int) -> list[Entry]:
    return [Entry("", f"and {count - MOST_SHOWN} more")] if count > MOST_SHOWN else []


def _and(names: Sequence[str], most: int = MOST_NAMED) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


# -------------------------------------------------------------------------------------------------- text, Markdown
def as_text(found: PolicyChanges) -> str:
    """For the terminal."""
    lines = [f"{found.old} -> {found.new}: {summary(found)}"]
    for section in sections(found, _quoted):
        if not section.entries:
            continue
        lines += ["", section.title.lower()]
        for entry in section.entries:
            lines.append(f"  {entry.name}: {entry.words}" if entry.name else f"  {entry.words}")
            lines += [f"      {line}" for line in entry.below]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    more = f" ({len(text):,} characters)" if len(text) > LONGEST_TEXT else ""
    return f'"{one_line(text, LONGEST_TEXT)}"{more}'


def release_notes(found: PolicyChanges) -> str:
    """As Markdown, for people who read no code."""
    lines = ["# What changed", "", f"From {_plain(found.old)} to {_plain(found.new)}: {_plain(summary(found))}.", ""]
    for section in sections(found, _quoted):
        if not section.entries:
            continue
        lines += [f"## {section.title}", ""]
        for entry in section.entries:
            name = f"{_named(entry.name, found)}: " if entry.name else ""
            below = "".join(f"  \n  {_plain(line)}" for line in entry.below)
            lines.append(f"- {name}{_plain(entry.words)}{below}")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _named(name: str, found: PolicyChanges) -> str:
    """A rule by its title, where it has one, with the name that the policy gives it behind."""
    title = found.titles.get(name)
    return f"**{escape(name)}**" if title is None else f"**{escape(title)}** ({escape(name)})"


def _plain(words: str) -> str:
    """Text in which nothing of authors or answers has a meaning in Markdown; names in backticks stay so."""
    parts = re.split(r"(`[A-Za-z_][\w.]*`)", words)
    return "".join(part if number % 2 else escape_line(part) for number, part in enumerate(parts))


def escape_line(words: str) -> str:
    """`escape` that keeps the blanks at both ends."""
    inner = words.strip()
    if not inner:
        return words
    before, after = words[: words.index(inner)], words[words.index(inner) + len(inner) :]
    return f"{before}{escape(inner)}{after}"
