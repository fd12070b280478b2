"""Personal data in sentences that nobody here wrote, with the places of it marked: recall and precision of our units.

100 generated sentences of the Presidio project (`presidio/generated_small.json`). They are few, so these are floors and
no estimates; the baseline is a short regular expression of the kind that people write first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bylaw.spec import catalog

DATA = Path(__file__).parents[2] / "shared" / "data" / "presidio" / "generated_small.json"
Spans = list[tuple[int, int]]

pytestmark = pytest.mark.skipif(not DATA.is_file(), reason="the public data lies in shared/data beside the checkout")


def sentences() -> list[tuple[str, dict[str, Spans]]]:
    loaded = []
    for record in json.loads(DATA.read_text(encoding="utf-8")):
        marked: dict[str, Spans] = {}
        for span in record["spans"]:
            marked.setdefault(span["entity_type"], []).append((span["start_position"], span["end_position"]))
        loaded.append((record["full_text"], marked))
    return loaded


def overlaps(span: tuple[int, int], others: Spans) -> bool:
    return any(span[0] < end and start < span[1] for start, end in others)


@pytest.mark.parametrize(
    ("unit", "label", "naive", "number"),
    [
        ("emails", "EMAIL_ADDRESS", r"\S+@\S+", 2),
        ("card_numbers", "CREDIT_CARD", r"(?:[0-9][ -]?){13,16}", 10),
        ("ip_addresses", "IP_ADDRESS", r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", 2),
        ("urls", "DOMAIN_NAME", r"\w+\.\w{2,}", 3),
        ("phone_numbers", "PHONE_NUMBER", r"\+?[0-9][0-9 ().x-]{6,}[0-9]", 10),
        ("social_security_numbers", "US_SSN", r"[0-9]{3}-?[0-9]{2}-?[0-9]{4}", 3),
        ("dates", "DATE_TIME", r"[0-9]+[-/.][0-9]+[-/.][0-9]+", 3),
        ("ibans", "IBAN_CODE", r"[A-Z]{2}[0-9]{2}\w{11,30}", 0),
    ],
)
def test_found_and_falsely_found(unit: str, label: str, naive: str, number: int) -> None:
    figures = {}
    finders = {
        "ours": lambda text: [(extent.start, extent.end) for extent in catalog.unit(unit).find(text)],
        "naive": lambda text: [match.span() for match in re.finditer(naive, text)],
    }
    for who, find in finders.items():
        hit = false = 0
        for text, marked in sentences():
            found, wanted = find(text), marked.get(label, [])
            hit += sum(overlaps(span, found) for span in wanted)
            false += sum(not overlaps(span, wanted) for span in found)
        figures[who] = (hit, false)
    print(f"{unit}: of {number} marked, " + ", ".join(f"{who} {h} found, {f} false" for who, (h, f) in figures.items()))
    assert sum(len(marked.get(label, [])) for _, marked in sentences()) == number
    ours, baseline = figures["ours"], figures["naive"]
    assert ours[0] == number
    # One date stands in a sentence whose date is not marked.
    assert ours[1] <= (unit == "dates")
    assert ours[0] >= baseline[0]
    assert ours[1] <= baseline[1] or unit == "dates"
