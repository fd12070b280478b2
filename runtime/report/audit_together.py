"""What reports say of all rules together: is it more than chance, how the whole policy scores, how people agree."""

from __future__ import annotations

from bylaw.runtime.record import AuditRecord, TermAudit
from bylaw.runtime.report import figures
from bylaw.runtime.report.sections import Section
from bylaw.runtime.report.text import one_line
from bylaw.runtime.statistics_record import LabellerAgreement, RuleTest, RuleTests, ScoreRecord

METHODS = {
    "benjamini-hochberg": "Benjamini and Hochberg",
    "benjamini-yekutieli": "Benjamini and Yekutieli",
    "holm": "Holm",
}


def p_value(value: float | None) -> str:
    """A p-value as it is written: two figures, and no zero but where there is no chance."""
    if value is None:
        return figures.NOTHING
    if value in (0, 1):
        return f"{value:.0f}"
    if value < 1e-4:
        return "< 0.0001"
    return f"{value:.2g}" if value < 0.995 else "> 0.99"


def test_of(record: AuditRecord, term: str) -> RuleTest | None:
    """The test of a clause, where there is one."""
    tests = () if record.tests is None else record.tests.tests
    return next((test for test in tests if test.term == term), None)


def beside_rate(record: AuditRecord, term: TermAudit) -> str:
    """Whether chance explains what was measured of a clause, with both adjusted p-values, for one cell of a table."""
    test = test_of(record, term.term)
    if test is None or test.p_value is None:
        return figures.NOTHING
    if test.is_certain:
        return "certain" if test.p_value == 0 else figures.NOTHING
    holm = p_value(test.holm)
    is_holm = record.tests is not None and record.tests.method == "holm"
    return holm if is_holm else f"{p_value(test.adjusted)}; {holm}"


def beside_heading(record: AuditRecord) -> str:
    """The heading of such a column; empty where there are no tests of limits."""
    tests = record.tests
    if tests is None or not tests.together:
        return ""
    name = {"benjamini-hochberg": "BH", "benjamini-yekutieli": "BY", "holm": "Holm"}[tests.method]
    return f"chance? adjusted p ({name}; Holm)" if name != "Holm" else "chance? adjusted p (Holm)"


def chance_words(record: AuditRecord, term: TermAudit) -> str:
    """Half a sentence for a limit that was missed: whether that is more than chance. Empty where it was not tested."""
    test = test_of(record, term.term)
    if test is None or test.p_value is None or test.is_certain or term.within is not False:
        return ""
    if test.is_shown:
        return "by more than chance explains"
    return "probably by more than chance" if test.is_found else "though chance could explain it"


# -------------------------------------------------------------------------------------------------------------- tests
def tests_section(record: AuditRecord) -> Section | None:
    """Whether limits are missed by more than chance; None where there is no limit to test."""
    tests = record.tests
    if tests is None or not tests.together:
        return None
    headings = ("limit", "p", f"adjusted ({METHODS[tests.method]})", "adjusted (Holm)", "more than chance?")
    named = [test for test in tests.tests if not test.is_certain]
    return Section(
        "chance",
        "Could it be chance?",
        _tests_sentence(tests) + _uncorrected(record, tests),
        "The tests of the limits",
        headings,
        tuple(_test_row(test) for test in named),
        (_tests_note(tests),),
        marked=4,
    )


def _tests_sentence(tests: RuleTests) -> str:
    shown = [test.term for test in tests.tests if test.is_shown and not test.is_certain]
    likely = [test.term for test in tests.tests if test.is_found and not test.is_shown and not test.is_certain]
    if not shown and not likely:
        return f"Of {figures.plural(tests.together, 'limit')}, none is missed by more than chance explains."
    said = []
    if shown:
        said.append(f"{_named(shown)} {'is' if len(shown) == 1 else 'are'} missed by more than chance explains")
    if likely:
        said.append(f"{_named(likely)} probably {'is' if len(likely) == 1 else 'are'}")
    return f"Of {figures.plural(tests.together, 'limit')}, " + "; ".join(said) + "."


def _uncorrected(record: AuditRecord, tests: RuleTests) -> str:
    """That tests know nothing of labels, where labels corrected the rate of a limit that is tested."""
    tested = {test.term for test in tests.tests if not test.is_certain}
    names = [rate.term for rate in record.corrections if rate.term in tested]
    return f" This tests the verdicts, as if labels had not corrected those of {_named(names)}." if names else ""


def _named(terms: list[str]) -> str:
    return ", ".join(map(one_line, terms[:5])) + (f" and {len(terms) - 5} more" if len(terms) > 5 else "")


def _test_row(test: RuleTest) -> tuple[str, ...]:
    if test.p_value is None:
        return (one_line(test.term), figures.NOTHING, figures.NOTHING, figures.NOTHING, f"not tested: {test.why_not}")
    answer = "yes" if test.is_shown else "probably" if test.is_found else "not shown"
    return (one_line(test.term), p_value(test.p_value), p_value(test.adjusted), p_value(test.holm), answer)


def _tests_note(tests: RuleTests) -> str:
    listed = (
        f"with {figures.stated_percent(1 - tests.level)} certainty none of the limits called “probably” missed is kept"
        if tests.method == "holm"
        else f"of all limits found missed, about {figures.stated_percent(tests.level)} at most are there by chance"
    )
    return (
        "p is how likely so many violations are where a limit is just kept; testing many limits finds some by chance, "
        f"which the adjusted values allow for. “yes”: Holm's is at most {figures.stated_percent(tests.gate_level)}, so "
        f"that chance hardly explains this very limit. “probably”: {listed}. A hard rule needs no test: one violation "
        "shows that it was broken. The verdict of the audit does not hang on p."
    )


# -------------------------------------------------------------------------------------------------------------- score
def score_section(record: AuditRecord) -> Section | None:
    """The score of the whole policy, beside its worst rule; None where no weights were declared."""
    score = record.score
    if score is None:
        return None
    terms = {term.term: term for term in record.terms}
    declared = dict(score.declared)
    rows = [
        (one_line(name), f"{declared[name]:g}", figures.percent(share), _kept(terms.get(name)))
        for name, share in score.weights
    ]
    rows += [(one_line(name), f"{declared[name]:g}", "not in the score", why) for name, why in score.left_out]
    return Section(
        "score",
        "One figure for the whole policy",
        _score_sentence(score),
        "The weights, as they were declared",
        ("rule", "weight", "share of the score", "kept in"),
        tuple(rows),
        (*_score_notes(score), *score.warnings),
    )


def _kept(term: TermAudit | None) -> str:
    """The share of answers that keep a clause; of a limit to at least a share it is that of the event."""
    if term is None or term.rate is None:
        return figures.NOTHING
    return figures.percent(term.rate if term.sense == "at least" else 1 - term.rate)


def _score_sentence(score: ScoreRecord) -> str:
    said = (
        f"Weighed as declared, {figures.percent(score.score)} of the answers keep the rules (95% sure: "
        f"{figures.percent_interval(score.interval)}). Kept least is {one_line(score.worst)}, in "
        f"{figures.percent(score.worst_kept)}: look at the rules one by one, as a mean hides the worst."
    )
    if score.least < score.most:
        said += (
            f" With what could not be scored it is between {figures.percent(score.least)} and "
            f"{figures.percent(score.most)}."
        )
    return said


def _score_notes(score: ScoreRecord) -> tuple[str, ...]:
    return (f"Weights: {score.source}; {score.digest}.",)


# ------------------------------------------------------------------------------------------------------------- people
def labellers_sentence(found: LabellerAgreement) -> str:
    """How far the people agree whose labels a rule was compared with."""
    if found.alpha is None or found.interval is None or found.raw is None or found.broken is None:
        return f"How far people agree on {found.term} cannot be told: {found.why_not}."
    return (
        f"On {found.term} people agree in {figures.percent(found.raw)} of the pairs of labels of "
        f"{figures.plural(found.items, 'answer')}; Krippendorff's alpha is {figures.quantity(found.alpha)} (95% sure: "
        f"{figures.quantity_interval(found.interval)}), where 1 is always and 0 as often as chance. "
        f"{figures.percent(found.broken)} of the labels say broken."
    )


def kappa_words(kappa: float | None, interval: object) -> str:
    """Kappa with its interval, for a cell."""
    from bylaw.runtime.interval import Interval

    if kappa is None:
        return figures.NOTHING
    assert interval is None or isinstance(interval, Interval)
    return figures.quantity(kappa) + (f" ({figures.quantity_interval(interval)})" if interval is not None else "")
