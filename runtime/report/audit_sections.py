"""Which parts an audit's report has beside its rates, in the order in which people ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bylaw.runtime.power_record import PlantedPower
from bylaw.runtime.record import AuditRecord
from bylaw.runtime.report import audit_stopping
from bylaw.runtime.report.audit_against import against_section
from bylaw.runtime.report.audit_together import score_section, tests_section
from bylaw.runtime.report.sections import Section
from bylaw.runtime.stopping_record import StoppingRecord

NAMES = ("stopping", "against", "score", "chance", "power")
"""The name of every part that there may be, in order."""


def sections_of(record: AuditRecord, *, has_column: bool = False) -> tuple[Section, ...]:
    """The parts that there are: why it stopped, the comparison with other answers, the score, the tests of limits, and
    what was planted.

    With `has_column` the table of rates has the p-values in a column of its own, and the tests have none.
    """
    tests = tests_section(record)
    if tests is not None and has_column:
        tests = replace(tests, rows=())
    found = (
        None if record.stopping is None else _stopping(record.stopping),
        None if record.against is None else against_section(record.against),
        score_section(record),
        tests,
        _power(record.power) if record.power else None,
    )
    return tuple(section for section in found if section is not None)


def _stopping(found: StoppingRecord) -> Section:
    return Section(
        "stopping",
        audit_stopping.STOPPING_TITLE,
        audit_stopping.stopping_sentence(found),
        "Every limit, and after how many prompts it was decided",
        tuple(audit_stopping.STOPPING_HEADINGS),
        tuple(audit_stopping.stopping_rows(found)),
        (audit_stopping.stopping_note(found),),
        is_open=any(each.state == "broken" for each in found.limits),
    )


def _power(found: Sequence[PlantedPower]) -> Section:
    return Section(
        "power",
        audit_stopping.POWER_TITLE,
        audit_stopping.power_sentence(found),
        "What was planted, and how often it was found",
        tuple(audit_stopping.POWER_HEADINGS),
        tuple(audit_stopping.power_rows(found)),
        (audit_stopping.power_note(found),),
    )
