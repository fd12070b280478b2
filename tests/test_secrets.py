"""Personal data and secrets as units: every format is found where it stands, and its look-alikes are not."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.spec import catalog
from bylaw.spec.units.card_numbers import ISSUERS
from bylaw.spec.units.secrets import FORMATS


def found(unit: str, text: str) -> list[str]:
    return [text[extent.start : extent.end] for extent in catalog.unit(unit).find(text)]


@pytest.mark.parametrize("source", FORMATS, ids=range(len(FORMATS)))
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_key_of_a_known_format_is_found(source: str, data: st.DataObject) -> None:
    key = data.draw(st.from_regex(re.compile(source, re.ASCII), fullmatch=True))
    assert found("secrets", f"the key ({key} ) is")[:1] == [key]
    assert not any(key in each for each in found("secrets", f"the key (x{key} ) is")) or "://" in key


@pytest.mark.parametrize(
    "text",
    [
        *("AKIA" + "Q3EGRIT7PLMXOW2", "ghp_short", "sk-" + "your-api-key-goes-in-this-place", "eyJhbGciOi.notoken.x"),
        *(
            "password = changeme",
            "api_key: YOUR_API_KEY",
            "token = aaaaaaaaaaaaaaaa1",
            "https://shop.example:80/a@b",
        ),
        *("-----BEGIN PUBLIC KEY-----", "secret garden", "the password is correct"),
    ],
)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert found("secrets", text) == []


@pytest.mark.parametrize("name", ["API_KEY", "client-secret", "Password", "auth token", "OPENAI_API_KEY", '"secret"'])
@pytest.mark.parametrize("mark", ["=", " = ", ": ", ":=", '="', " => '"])
def test_a_random_value_is_found_by_its_name(name: str, mark: str) -> None:
    chance = random.Random(name + mark)
    value = "".join(chance.choices(string.ascii_letters, k=20)) + "7"
    assert found("secrets", f"{name}{mark}{value}") == [value]


def _with_check_digit(digits: str) -> str:
    """Luhn's formula the slow way: the digit that makes the sum end in 0."""
    for last in string.digits:
        total = 0
        for place, digit in enumerate(reversed(digits + last)):
            doubled = int(digit) * (1 + place % 2)
            total += doubled // 10 + doubled % 10
        if total % 10 == 0:
            return digits + last
    raise AssertionError


@given(st.sampled_from(ISSUERS), st.data())
def test_card_numbers_of_every_issuer(issuer: tuple[int, int, tuple[int, ...]], data: st.DataObject) -> None:
    first = str(data.draw(st.integers(issuer[0], issuer[1])))
    length = data.draw(st.sampled_from(issuer[2]))
    body = first + data.draw(st.text(string.digits, min_size=length - len(first) - 1, max_size=length - len(first) - 1))
    number = _with_check_digit(body)
    spaced = " ".join(number[start : start + 4] for start in range(0, length, 4))
    assert found("card_numbers", f"card {number}.") == [number]
    assert found("card_numbers", f"card {spaced}, thanks") == [spaced]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert found("card_numbers", f"card {wrong}") == []


@pytest.mark.parametrize(
    "number",
    # Published examples of the registry's format descriptions.
    [
        "DE89370400440532013000",
        "GB82WEST12345698765432",
        "FR1420041010050500013M02606",
        "NO9386011117947",
        "BE68539007547034",
    ],
)
def test_ibans(number: str) -> None:
    spaced = " ".join(number[start : start + 4] for start in range(0, len(number), 4))
    assert found("ibans", f"to {number}, please") == [number]
    assert found("ibans", f"to {spaced} please") == [spaced]
    assert found("ibans", f"to {number[:-1]}{(int(number[-1]) + 1) % 10}") == []
    assert found("ibans", f"to {number}7") == []
