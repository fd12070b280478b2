"""A decode report in a terminal: the response word by word, the most changed positions, the rules.

It answers which rule changed a word, and what the model wanted to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from bylaw.runtime.decode_report.record import Candidate, DecodeReport, DecodeReportError, Effect, Measured, Position
from bylaw.runtime.decode_report.words import Word, piece, rule_words, words_of
from bylaw.runtime.report.text import one_line

SMALL = 0.005
"""Nats that are shown as a dot."""
MOST_CHANGED, MOST_RULES = 5, 12


def render_text(report: DecodeReport, width: int = 100) -> str:
    """The whole report as text, at most about `width` columns wide."""
    parts = [
        "\n".join(_head(report)),
        "\n".join(_strip(words_of(report), width)),
        "\n".join(_changed(report)),
        "\n".join(_rules(report)),
    ]
    if report.remarks:
        parts.append("\n".join(["remarks", *(f"  {one_line(remark)}" for remark in report.remarks)]))
    return "\n\n".join(parts)


def render_position(report: DecodeReport, number: int) -> str:
    """One position in full, numbered from 1. Raises DecodeReportError where there is no such position."""
    if not 1 <= number <= len(report.positions):
        raise DecodeReportError(f"there is no position {number}: this response has {len(report.positions)}")
    position = report.positions[number - 1]
    said = "".join(each.text for each in report.positions[max(0, number - 9) : number - 1])
    lines = [
        f"position {number} of {len(report.positions)}, after {_quoted(said)}" if said else f"position {number}",
        f"  said {_token(position.text, position.is_end)}: probability {_percent(math.exp(position.log_p0))} in the "
        f"model, {_percent(math.exp(position.log_q))} in what the decoder proposed from",
        f"  paid {_nats(position.kl)} nats; legal answers rule out {_percent(position.removed)} of what the model "
        "would say here",
        f"  the model wanted (share in the model → under the law): {_candidates(position.wanted)}",
        f"  the law wants: {_candidates(position.lawful)}",
    ]
    lines += [f"  {_effect(report, effect, position)}" for effect in position.effects]
    if not position.effects:
        lines.append("  no rule makes a difference here")
    if position.interaction is not None and position.effects:
        lines.append(f"  together beyond the sum of the rules: {_signed(position.interaction)} nats on what was said")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------------- head
def _head(report: DecodeReport) -> Iterator[str]:
    outcome = report.outcome
    yield (
        f"policy `{one_line(report.policy)}` {one_line(report.policy_version)} on model `{one_line(report.model)}`, "
        f"decoder `{report.decoder}`, seed {report.seed}"
    )
    last = next((turn.content for turn in reversed(report.prompt)), "")
    yield f"prompt {one_line(report.prompt_id)}: {_quoted(last)}"
    count = len(report.positions)
    paid = f"{_nats(report.total_kl)} nats paid over {count} position{'' if count == 1 else 's'}"
    yield f"log Ẑ {_nats(outcome.log_z)} nats, ESS {outcome.ess:.1f} of {outcome.particles} particles, {paid}"
    told = [
        f"acceptance {_measured(outcome.acceptance)}" if outcome.acceptance else "",
        f"β {_nats(outcome.beta)} nats" if outcome.beta is not None else "",
        f"estimated TV from the law {_measured(outcome.total_variation)}" if outcome.total_variation else "",
        f"estimated KL {_measured(outcome.divergence)} nats" if outcome.divergence else "",
        f"{outcome.passes} passes",
        f"stopped by the {outcome.stopped} limit" if outcome.stopped else "",
    ]
    yield ", ".join(part for part in told if part)
    weight = f"this response: log p0 {_nats(outcome.log_p0)}, reward {_nats(outcome.log_reward)}"
    yield f"{weight}, log weight {_nats(outcome.log_weight)} nats" + (
        "; the decoder is biased: its responses do not follow the law" if outcome.biased else ""
    )


# --------------------------------------------------------------------------------------------------------------- strip
def _strip(words: Sequence[Word], width: int) -> Iterator[str]:
    """Lines of words, each with a line of nats below it; a dot stands for less than `SMALL`."""
    yield "the response, word by word, with the nats paid for each word below it"
    upper, lower = "", ""
    for word in words:
        number = "·" if word.kl < SMALL else f"{word.kl:.2f}"
        size = max(len(word.text), len(number)) + 1
        if upper and (word.breaks_before or len(upper) + size > width - 2):
            yield from _lines(upper, lower)
            upper, lower = "", ""
        upper, lower = upper + word.text.ljust(size), lower + number.ljust(size)
        if word.breaks_after:
            yield from _lines(upper, lower)
            upper, lower = "", ""
    if upper:
        yield from _lines(upper, lower)


def _lines(upper: str, lower: str) -> Iterator[str]:
    yield f"  {upper.rstrip()}"
    yield f"  {lower.rstrip()}"


# ------------------------------------------------------------------------------------------------------------- changed
def _changed(report: DecodeReport) -> Iterator[str]:
    most = sorted((each for each in report.positions if each.kl >= SMALL), key=lambda each: -each.kl)[:MOST_CHANGED]
    if not most:
        yield "no position was changed by 0.005 nats or more: the model would have said as much by itself"
        return
    yield "the most changed positions"
    for position in most:
        yield f"  position {position.index + 1}, {_token(position.text, position.is_end)}: {_nats(position.kl)} nats"
        yield f"    {_sentence(report, position)}"


def _sentence(report: DecodeReport, position: Position) -> str:
    """Which rule changed this word, and what did the model want to say."""
    wanted, lost = position.wanted[0], position.lost
    said = f"the model most wanted {_token(wanted.text, wanted.is_end)} ({_percent(wanted.probability)})"
    if lost is not None:
        falls = f"from {_percent(lost.probability)} to {_percent(lost.law)}"
        same = lost.token == wanted.token
        said += f", which falls {falls}" if same else f"; {_token(lost.text, lost.is_end)} falls most, {falls}"
    named = {effect.term: effect for effect in position.effects}
    forbidding = (effect.term for effect in position.effects if effect.on_lost == -math.inf and lost is not None)
    acted = [named[term] for term in position.acted or forbidding if term in named]
    if not acted:
        return f"{said}; no rule alone moves much here, the rules do it together"
    parts = [_does(report, effect, lost is not None) for effect in acted[:3]]
    more = f" and {len(acted) - 3} more rules act" if len(acted) > 3 else ""
    return f"{said}: {', '.join(parts)}{more}"


def _does(report: DecodeReport, effect: Effect, has_lost: bool) -> str:
    """What one rule does to the token that lost most, or else to the one that was said."""
    rule = rule_words(report, effect.term)
    if has_lost and effect.on_lost == -math.inf:
        return f"{rule} forbids it"
    if effect.on_wanted == -math.inf:
        return f"{rule} forbids what the model most wanted"
    if has_lost and effect.on_lost < 0:
        return f"{rule} makes it {_factor(effect.on_lost)} as likely"
    return f"{rule} makes what was said {_factor(effect.on_chosen)} as likely"


# --------------------------------------------------------------------------------------------------------------- rules
def _rules(report: DecodeReport) -> Iterator[str]:
    in_force = [row for row in report.rows if row.how != "not in force"]
    without = len(report.rows) - len(in_force)
    if not in_force:
        yield "no rule is in force for this prompt"
        return
    yield "rules in force, those first that moved the distribution most, each measured alone"
    head = ("rule", "kind", "nats", "log ratio", "forbade", "acted", "reward")
    shown = [row for row in in_force if row.how != "among the rest"][:MOST_RULES]
    table = [
        (
            one_line(row.term, 40),
            row.kind if row.how != "finished text" else f"{row.kind}, on the finished text",
            "" if row.kl is None else _nats(row.kl),
            "" if row.on_response is None else _signed(row.on_response),
            "" if row.forbade is None else str(row.forbade),
            "" if row.acted is None else str(row.acted),
            "" if row.reward is None else _nats(row.reward),
        )
        for row in shown
    ]
    yield from _aligned(head, table)
    if len(in_force) > len(shown):
        yield f"  {len(in_force) - len(shown)} more rules are in the file"
    if without:
        yield f"  {without} {'rule is' if without == 1 else 'rules are'} not in force for this prompt"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {'  '.join(cells).rstrip()}"


# ------------------------------------------------------------------------------------------------------------- writing
def _effect(report: DecodeReport, effect: Effect, position: Position) -> str:
    wanted = position.wanted[0]
    on_wanted = "forbids it" if effect.on_wanted == -math.inf else f"{_signed(effect.on_wanted)} nats"
    chosen = f"{_signed(effect.on_chosen)} nats on what was said"
    both = chosen if wanted.token == position.token else f"{chosen}, on what the model most wanted: {on_wanted}"
    lost = "" if position.lost is None or effect.on_lost != -math.inf else f"; forbids {_lost(position.lost)}"
    return f"{rule_words(report, effect.term)}: {_nats(effect.kl)} nats alone; {both}{lost}"


def _lost(lost: Candidate) -> str:
    return f"{_token(lost.text, lost.is_end)}, which loses most"


def _candidates(found: Iterable[Candidate]) -> str:
    return ", ".join(
        f"{_token(each.text, each.is_end)} {_percent(each.probability)} → {_percent(each.law)}" for each in found
    )


def _token(text: str, is_end: bool) -> str:
    return f"“{piece(text, is_end)}”" if not is_end else "the end of the answer"


def _quoted(text: str) -> str:
    return f"“{one_line(text, 90)}”"


def _nats(value: float) -> str:
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.2g}"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.1 else f"{value:+.2g}"


def _percent(share: float) -> str:
    if share == 0 or share >= 0.0995:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.2g} %"


def _factor(log_factor: float) -> str:
    """A factor in words: nats say little to most people."""
    return "beyond 10^8 times" if log_factor > 18 else f"{math.exp(log_factor):.2g} times"


def _measured(found: Measured) -> str:
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"
