"""What reports say of an audit held against other transcripts under the same rules."""

from __future__ import annotations

from bylaw.runtime.report import figures
from bylaw.runtime.report.audit_baseline import difference_words, value_words
from bylaw.runtime.report.audit_together import METHODS, p_value
from bylaw.runtime.report.sections import Section
from bylaw.runtime.report.text import one_line
from bylaw.runtime.statistics_record import Against, RuleDifference

HEADINGS = ("rule", "what is shown", "here", "there", "difference (here minus there)", "adjusted p", "compared on")
_ORDER = ("worse here", "different", "better here", "no difference shown", "not compared")
_NAMED = 5


def shown(rule: RuleDifference) -> str:
    """What the comparison of a clause shows."""
    if rule.p_value is None or rule.difference is None:
        return "not compared"
    if not rule.is_found or rule.difference == 0:
        return "no difference shown"
    if rule.worse == 0:
        return "different"
    return "worse here" if rule.difference * rule.worse > 0 else "better here"


def against_sentence(against: Against) -> str:
    """What the comparison comes to."""
    found = {words: [rule.term for rule in against.rules if shown(rule) == words] for words in _ORDER}
    parts = []
    for words in _ORDER[:3]:
        names = found[words]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            named = ", ".join(map(one_line, names[:_NAMED])) + more
            parts.append(f"{figures.plural(len(names), 'rule')} {'is' if len(names) == 1 else 'are'} {words} ({named})")
    how = (
        f"on {figures.plural(against.common, 'prompt')} that both answered"
        if against.is_paired
        else "as independent samples, as no prompt is in both"
    )
    start = f"Compared with {one_line(against.source)} {how}, "
    if not parts:
        return f"{start}no rule is shown to differ. That is no proof that none does: the intervals say by how much."
    return start + "; ".join(parts) + "."


def against_section(against: Against) -> Section:
    """The comparison, clause by clause, what differs first."""
    rules = sorted(against.rules, key=lambda rule: _ORDER.index(shown(rule)))
    return Section(
        "against",
        "Compared with other answers",
        against_sentence(against),
        "Rule by rule",
        HEADINGS,
        tuple(_row(rule) for rule in rules),
        (_note(against), *against.notes),
        marked=1,
    )


def _row(rule: RuleDifference) -> tuple[str, ...]:
    return (
        one_line(rule.term),
        shown(rule),
        value_words(rule.here, rule.is_share),
        value_words(rule.there, rule.is_share),
        difference_words(rule.interval, rule.is_share),
        p_value(rule.adjusted),
        _compared_on(rule),
    )


def _compared_on(rule: RuleDifference) -> str:
    if rule.why_not and not rule.here_count and not rule.there_count:
        return rule.why_not
    if rule.pairs is None:
        words = f"{figures.plural(rule.here_count, 'answer')} here, {figures.whole(rule.there_count)} there"
    else:
        words = f"{figures.plural(rule.pairs, 'pair')}"
        left = rule.left_out_here + rule.left_out_there
        words += f", {figures.plural(left, 'answer')} without a partner left out" if left else ""
    return f"{words}; {rule.why_not}" if rule.why_not else words


def _note(against: Against) -> str:
    said = []
    if against.only_here or against.only_there:
        said.append(
            f"Left out are {figures.plural(against.only_here, 'prompt')} that were answered only here, and "
            f"{figures.whole(against.only_there)} only there."
            if against.is_paired
            else f"{figures.plural(against.only_here, 'prompt')} here, {figures.whole(against.only_there)} there."
        )
    method = (
        "an exact test of the pairs that differ (McNemar, by prompt)" if against.is_paired else "Newcombe's intervals"
    )
    said.append(
        f"Intervals are 95%; p comes from {method}, adjusted for {figures.plural(len(against.rules), 'rule')} by the "
        f"method of {METHODS[against.method]} (found at {figures.stated_percent(against.level)}). "
        "Each interval is for its rule alone and is not adjusted: what is found hangs on the adjusted p."
    )
    return " ".join(said)
