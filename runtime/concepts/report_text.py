"""The report of a concept as text for a terminal. Texts of files are made visible and stay on one line."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from types import MappingProxyType
from typing import TYPE_CHECKING

from bylaw.runtime.concepts.examples import Candidate, Hard
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.concepts.operation import BEST, Share
from bylaw.runtime.concepts.performance import Estimated
from bylaw.runtime.concepts.report import ConceptReport, Doubles
from bylaw.runtime.report.figures import percent
from bylaw.runtime.report.text import one_line

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration

LONGEST = 100
"""Characters of the argument of a scorer that are shown."""
_LEAST = 30
"""Characters of a text that are shown even where a line has no room for them."""
MOST_PAIRS = 5
"""Near-duplicates of one kind that are listed."""
_WIDTH = 14
LONGEST_MEANING = 200
_HOW = MappingProxyType(
    {
        "midpoint": "is halfway between the examples of both kinds, which are few",
        "out_of_fold": "tells the examples apart best",
    }
)
_REASONS = MappingProxyType(
    {
        "cannot_tell": "the scores cannot tell",
        "uncertain": "near the threshold",
        "unknown": "it has no score",
        "unscored": "its score does not count yet",
        "likely": "looks like one that does, of which examples are missing",
        "unlikely": "looks like one that does not, of which examples are missing",
    }
)


def render(found: ConceptReport, width: int) -> str:
    """The report of one concept, in lines of `width` characters where words are not longer."""
    concept = found.concept
    kind = "topic" if concept.is_topic else "concept"
    lines = [f"{kind} `{concept.name}`: {one_line(concept.meaning, LONGEST_MEANING)}"]
    for name, words in _facts(found):
        lines.append(f"  {name:{_WIDTH}}{words}")
    lines = [part for line in lines for part in _wrapped(line, width)]
    if found.hardest:
        lines.append("  hardest examples, by the scores that they got without their labels (alike: 1 is the same text)")
        lines += [line for each in found.hardest for line in _hard(each, width)]
    if found.to_label:
        lines.append("  label next")
        lines += [_candidate(each, width) for each in found.to_label]
    elif found.looked_at:
        lines.append("  label next: none of the texts is doubtful, or each is nearly one that has a label")
    return "\n".join(lines)


def _wrapped(line: str, width: int) -> list[str]:
    return wrap(
        line, max(width, 40), subsequent_indent=" " * (2 + _WIDTH), break_long_words=False, break_on_hyphens=False
    )


def _facts(found: ConceptReport) -> Iterator[tuple[str, str]]:
    argument = "" if found.concept.scorer_argument is None else f' "{one_line(found.concept.scorer_argument, LONGEST)}"'
    yield "scored by", f"{found.scorer}{argument}"
    rules = ", ".join(f"`{rule}`{' (must)' if is_hard else ''}" for rule, is_hard in found.rules)
    yield "used by", rules or "no rule"
    own = "" if not sum(found.own) else f" ({found.own[0]} and {found.own[1]} of them in the policy)"
    together = "" if found.groups == sum(found.counts) else f", {found.groups:,} independent ones"
    yield "examples", f"{found.counts[0]:,} that do, {found.counts[1]:,} that do not{own}{together}"
    if any(found.missing):
        wanted = [
            f"{count} more that {what}" for count, what in zip(found.missing, ("do", "do not"), strict=True) if count
        ]
        yield "missing", f"{' and '.join(wanted)}: with fewer, no score can be told from chance"
    if found.lacking:
        yield "unscored", found.lacking
    if found.judge:
        yield "judge", found.judge
    yield from _performance(found)
    yield from _sets(found)
    yield from _doubles(found.doubles)
    if found.drift is not None:
        said = "yes, so that scores of these texts do not count: " if found.drift.fired else ""
        yield "drift", f"{said}{found.drift.message}"
    if found.separation:
        yield "error", found.separation


def _performance(found: ConceptReport) -> Iterator[tuple[str, str]]:
    made = found.calibration
    if made is None:
        yield "threshold", f"{found.concept.threshold:g} on the score"
        return
    yield "threshold", _threshold(found.concept.threshold, made)
    weak = "" if found.gate == "ok" else "; weak: below 0.70, and a `must` may not hang on it"
    yield "AUC", f"{_estimated(made.auc)} (chance: 0.50){weak}"
    yield "accuracy", _accuracy(found, made)
    yield "prevalence", f"{percent(made.prevalence)} of the examples express it"
    yield "calibration", f"expected error of the probabilities {made.ece:.3f} (0 is best, up to 0.07 is good)"


def _threshold(threshold: float, made: Calibration) -> str:
    if threshold == BEST:
        return f"0.5 on the score, which {_HOW[made.how]}"
    if made.how == "midpoint":
        return f"{threshold:g} (the policy's); 0.5 {_HOW[made.how]}"
    return f"{threshold:g} (the policy's); 0.5 would tell the examples apart best"


def _accuracy(found: ConceptReport, made: Calibration) -> str:
    """At the threshold of the policy; at 0.5 where nothing is known of that one."""
    used, threshold = found.operation, found.concept.threshold
    at, balanced, plain = BEST, made.balanced_accuracy, made.accuracy
    if used is not None:
        at, balanced, plain = threshold, used.balanced_accuracy, used.accuracy
    beside = "always one answer: 0.50"
    if used is None:
        beside += f"; how good {threshold:g} is, is not known"
    elif threshold != BEST:
        beside += f"; at 0.5 it is {_estimated(made.balanced_accuracy)}{', clearly better' if used.is_worse else ''}"
    whole = f"{percent(plain.value)} [{percent(plain.low)}, {percent(plain.high)}] of all"
    majority = f"{percent(made.majority_accuracy)} have the more frequent label"
    return f"at {at:g}: balanced {_estimated(balanced)} ({beside}); {whole}, where {majority}"


def _sets(found: ConceptReport) -> Iterator[tuple[str, str]]:
    sets, threshold = found.sets, found.concept.threshold
    if sets is None:
        return
    yield "sets", f"hold the truth for {_share(sets.does)} that do, {_share(sets.does_not)} that do not"
    beside = ""
    if sets.against.count:
        beside = f"; at {threshold:g}, {_share(sets.against)} are decided against their set"
    yield "unscored", f"{_share(sets.unscored)} examples, where the set is no single answer{beside}"


def _doubles(found: Doubles) -> Iterator[tuple[str, str]]:
    told = (
        ("conflict", found.contradicting, "nearly the same text has both labels"),
        ("twice", found.same, "nearly the same text counts twice, and may help to judge itself"),
        ("contains", found.contained, "the first text contains the second, so that they are held out together"),
        ("leak", found.leaked, "a text that is looked at is nearly an example"),
    )
    for name, pairs, words in told:
        if pairs:
            shown = "; ".join(f"{one_line(a.place)} and {one_line(b.place)}" for a, b in pairs[:MOST_PAIRS])
            more = f"; and {len(pairs) - MOST_PAIRS:,} more" if len(pairs) > MOST_PAIRS else ""
            yield name, f"{words}: {shown}{more}"


def _estimated(value: Estimated) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _share(share: Share) -> str:
    return f"{percent(share.value)} [{percent(share.low)}, {percent(share.high)}] of {share.total:,}"


def _hard(each: Hard, width: int) -> Iterator[str]:
    yield _quoted(f"    {_said(each.example)}, score {each.score:.2f}", each.example, width)
    if each.nearest is not None:
        yield _quoted(f"      next to it, {_said(each.nearest)}, {each.alike:.2f} alike", each.nearest, width)


def _candidate(each: Candidate, width: int) -> str:
    score = "" if each.score is None else f", score {each.score:.2f}"
    return _quoted(f"    {one_line(each.text.place)}{score}, {_REASONS[each.reason]}", each.text, width)


def _quoted(words: str, each: LabelledText, width: int) -> str:
    """Words, and as much of a text as the line has room for."""
    room = max(_LEAST, width - len(words) - len(': ""'))
    return f'{words}: "{one_line(each.text, room)}"'


def _said(each: LabelledText) -> str:
    return f"{one_line(each.place) or 'an example'} ({'does' if each.expresses else 'does not'})"
