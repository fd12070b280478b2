"""Credit for single tokens: sums, places, the token from which a rule is broken for good, and what hangs on what."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import numpy as np
import pytest

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.credit import CreditError, Outlooks, TermCredit, credit, rewards_to_go, shaped, token_rewards
from bylaw.runtime.credit.spelling import first_characters, spell
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

EXACT = 1e-12
ASKED = Trace((Message("user", "Is the ferry late?"),))
HEAD = 'policy ferry version "1"\nlevels root > user\n'
RULES = """
rule rude at root { must not mention "damn" }
rule short at root { must have at most 6 words }
rule no_ab at root { should not contain "ab" weight 2 }
rule thanks at root { should mention "thanks" weight 3 }
rule brief at root { should have at most 3 words weight 1 }
rule calm at root { prefer lower number of exclamation_marks in response weight 0.7 }
rule longer at root { prefer higher number of words in response weight 0.25 }
rule near at root { prefer number of words in response near 4 weight 0.5 }
rule sentences at root { every sentence of response should have at most 2 words weight 4 }
rule sorry at root { limit response mentions "sorry" to at most 10% of responses }
rule greets at root { limit response mentions "hello" to at least 20% of responses }
rule words at root { limit average number of words in response to at most 4 }
"""


@cache
def program(rules: str, **multipliers: float) -> RewardProgram:
    compiled = compile_source(Source.of("ferry.bylaw", HEAD + rules)).require()
    return compiled.with_multipliers(multipliers) if multipliers else compiled


def all_rules() -> RewardProgram:
    return program(RULES).with_multipliers({"sorry": 1.5, "greets": -0.8, "words": 0.3})


def cut_at_random(text: str, chance: random.Random) -> list[bytes | None]:
    """Tokens of one to four bytes, so that characters are split, and the end token in most cases."""
    data, found = text.encode(), []
    while data:
        size = chance.randint(1, 4)
        found.append(data[:size])
        data = data[size:]
    ends: list[bytes | None] = [None] if not found or chance.random() < 0.7 else []
    return [*found, *ends]


# --------------------------------------------------------------------------------------------------------------- sums
@pytest.mark.parametrize("placement", ["prefixes", "spans"])
def test_the_rewards_of_tokens_sum_to_the_reward_of_the_response(placement: str) -> None:
    chance, policy, outlooks, seen = random.Random(5), all_rules(), Outlooks(), set()
    words = ["damn", "ab", "thanks", "sorry", "hello", "ä!", "€ 3.", "so it goes. ", "😀!", "\n"]
    for _ in range(50):
        text = " ".join(chance.choices(words, k=chance.randint(0, 7)))
        truth = evaluate(policy, ASKED.answered(text))
        tokens = cut_at_random(text, chance)
        found = credit(policy, ASKED, tokens, placement=placement, outlooks=outlooks)  # type: ignore[arg-type]
        assert found.forbidden is not truth.allowed
        seen.add(found.forbidden)
        for term, score in zip(found.terms, truth.terms, strict=True):
            assert term.score == score
            if term.paid == -math.inf:
                assert list(np.isinf(term.rewards)).count(True) == 1
            else:
                assert math.fsum(term.rewards) == pytest.approx(score.contribution, abs=EXACT)
        if truth.allowed:
            assert math.fsum(found.rewards) == pytest.approx(truth.reward, abs=EXACT)
        else:
            assert 1 <= list(np.isinf(found.rewards)).count(True) <= 2  # one for each hard rule at most
            priced = credit(policy, ASKED, tokens, placement=placement, hard_penalty=7.0, outlooks=outlooks)  # type: ignore[arg-type]
            assert math.fsum(priced.rewards) == pytest.approx(-7.0, abs=EXACT)
            assert priced.reward == -7.0
    assert seen == {True, False}


def test_multipliers_that_move_need_no_new_automata() -> None:
    outlooks, rules = Outlooks(), 'rule sorry at root { limit response mentions "sorry" to at most 10% of responses }'
    for multiplier in (0.5, 1.0, 4.0):
        policy = program(rules).with_multipliers({"sorry": multiplier})
        found = token_rewards(policy, ASKED, [b"so", b"rry", b".", None], outlooks=outlooks)
        assert found.tolist() == [0.0, 0.0, -multiplier, 0.0]
    assert len(outlooks.machines) == 1


# ------------------------------------------------------------------------------------------------------------- places
def one(rules: str, tokens: Sequence[bytes | None], placement: str = "spans", **given: object) -> TermCredit:
    (found,) = credit(program(rules), ASKED, tokens, placement=placement, **given).terms  # type: ignore[arg-type]
    return found


NO_AB = 'rule no_ab at root { should not contain "ab" weight 2 }'


def test_tokens_pay_for_a_span_by_their_bytes_in_it() -> None:
    found = one('rule r at root { should not contain "äbcd" weight 5 }', [b"x\xc3", b"\xa4b", b"cdx", None])
    assert found.tokens == (0, 1, 2)
    assert found.rewards.tolist() == pytest.approx([-1.0, -2.0, -2.0, 0.0], abs=EXACT)


def test_places_share_a_reward_equally() -> None:
    found = one(NO_AB, [b"ab ", b"a", b"b", None])
    assert found.rewards.tolist() == pytest.approx([-1.0, -0.5, -0.5, 0.0], abs=EXACT)
    assert found.settled == 0


@pytest.mark.parametrize("tokens", [[b"no", b"thing", None], [b"no", b"thing"], [None]])
def test_what_is_missing_is_paid_for_by_the_last_token(tokens: list[bytes | None]) -> None:
    found = one('rule r at root { should mention "thanks" weight 3 }', tokens)
    last = len(tokens) - 1
    assert (found.tokens, found.settled) == ((last,), last)
    assert found.rewards.tolist() == [*[0.0] * last, -3.0]


def test_a_breach_by_the_whole_text_is_paid_for_by_the_token_that_settled_it() -> None:
    rule = "rule r at root { should match /[a-z]+/ weight 1 }"
    assert one(rule, [b"ab", b"C", b"d", None]).tokens == (1,)
    # with a word behind it, it is another word: only the end settles it
    assert one('rule r at root { should not mention "damn" weight 1 }', [b"da", b"mn", None]).settled == 2


def test_a_hard_rule_forbids_at_the_token_that_settled_it() -> None:
    rule = 'rule r at root { must not mention "damn" }'
    found = one(rule, [b"oh ", b"da", b"mn", b" it", None])
    assert found.tokens == (1, 2)
    assert found.settled == 3  # until then it could have become another word
    assert found.rewards.tolist() == [0.0, 0.0, 0.0, -math.inf, 0.0]
    kept = one(rule, [b"oh ", b"da", b"mn", b"s", None])
    assert (kept.tokens, kept.settled) == ((), None)


def test_a_penalty_takes_back_what_the_beginning_got() -> None:
    policy = program(NO_AB + '\nrule r at root { must not contain "!" }')
    tokens = [b"ab", b" ", b"!", b"ab", None]
    assert token_rewards(policy, ASKED, tokens).tolist() == [-2.0, 0.0, -math.inf, 0.0, 0.0]
    assert token_rewards(policy, ASKED, tokens, hard_penalty=5.0).tolist() == [-2.0, 0.0, -3.0, 0.0, 0.0]


def test_a_rule_without_an_automaton_is_paid_for_where_prefixes_begin_to_break_it() -> None:
    rule = "rule r at root { every sentence of response should have at most 2 words weight 4 }"
    tokens = [b"one ", b"two ", b"three", b" four.", None]
    found = one(rule, tokens, "prefixes")
    assert found.settled is None
    assert found.rewards.tolist() == [0.0, 0.0, -4.0, 0.0, 0.0]
    assert one(rule, tokens, "prefixes", evaluate_prefixes=False).rewards.tolist() == [0.0, 0.0, 0.0, 0.0, -4.0]


def test_a_budget_counts_where_its_event_cannot_be_avoided() -> None:
    limit = 'rule r at root { limit response mentions "sorry" to at most 10% of responses }'
    found = one(limit, [b"sorry ", b"all", None])  # not calibrated yet
    assert (found.tokens, found.settled, found.paid) == ((0,), 0, 0.0)
    floor = 'rule r at root { limit response mentions "hello" to at least 10% of responses }'
    assert one(floor, [b"sorry ", b"all", None]).settled == 2


def test_quantities_are_paid_for_where_they_grow_or_cannot_be_mended() -> None:
    words: list[bytes | None] = [b"one ", b"two ", b"three ", b"four", None]
    more = one("rule r at root { prefer higher number of words in response weight 0.25 }", words, "prefixes")
    assert more.rewards.tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]  # no bound to what may come: as it comes
    near = "rule r at root { prefer number of words in response near 3 weight 0.5 }"
    assert one(near, words, "prefixes").rewards.tolist() == [0.0, 0.0, 0.0, -0.5, 0.0]
    assert one(near, [*words[:1], None], "prefixes").rewards.tolist() == [0.0, -1.0]


def test_a_list_that_is_built_in_parts_is_settled_by_any_of_them() -> None:
    words = ", ".join(f'"zq{number:03}"' for number in range(140))
    for verb, paid in (("must", -math.inf), ("should", -1.0)):
        weight = " weight 1" if verb == "should" else ""
        found = one(
            f"rule r at root {{ {verb} not contain any of [{words}]{weight} }}", [b"a zq", b"1", b"1", b"9", None]
        )
        assert (found.tokens, found.settled, found.paid) == ((0, 1, 2, 3), 3, paid)


def test_rules_that_wait_for_the_prompt_have_automata_too() -> None:
    rule = 'rule r at root { when prompt contains "ferry" must not contain "ab" }'
    assert one(rule, [b"ab", b"c", None]).settled == 0
    other = Trace((Message("user", "Hello"),))
    (found,) = credit(program(rule), other, [b"ab", b"c", None]).terms
    assert found.score is not None
    assert found.score.verdict is Verdict.NOT_APPLICABLE


# ----------------------------------------------------------------------------------------------------- broken for good
LETTERS = "ab é×"  # the last two begin with the same byte, and one of them is no letter
GOOD_RULES = (
    'must not contain "ab"',
    'must not mention "ab"',
    'must contain "é"',
    'must not contain "é"',
    "must have at most 1 words",
    "must have at least 1 words",
    'must end with "a"',
    "must match /[ab]+/",
    'must not start with "éa"',
)


@pytest.mark.parametrize("rule", GOOD_RULES)
def test_a_rule_is_settled_at_the_first_token_all_of_whose_continuations_break_it(rule: str) -> None:
    """By enumeration of all texts of up to five letters, with tokens of one byte: characters are split."""
    policy = program(f"rule r at root {{ {rule} }}")
    texts = ["".join(letters) for size in range(6) for letters in product(LETTERS, repeat=size)]
    saved: set[bytes] = set()
    for text in texts:
        if evaluate(policy, ASKED.answered(text)).allowed:
            saved |= {text.encode()[:size] for size in range(len(text.encode()) + 1)}
    outlooks, settled = Outlooks(), set()
    for text in (each for each in texts if len(each) <= 3):
        data = text.encode()
        tokens = [data[place : place + 1] for place in range(len(data))]
        (found,) = credit(policy, ASKED, [*tokens, None], outlooks=outlooks).terms
        assert found.score is not None
        if found.score.verdict is Verdict.SATISFIED:
            assert found.settled is None
            continue
        lost = (place for place in range(len(data)) if data[: place + 1] not in saved)
        assert found.settled == next(lost, len(data)), text
        settled.add(found.settled)
    assert settled


def responses(pieces: Sequence[bytes], cap: int) -> Iterator[list[bytes | None]]:
    for size in range(cap + 1):
        for tokens in product(pieces, repeat=size):
            yield [*tokens, None] if size < cap else list(tokens)


def test_what_a_token_gets_hangs_on_nothing_behind_it() -> None:
    """Over all responses, tokens that spell no text included; spans are the counter-example."""
    rules = (
        NO_AB
        + """
rule brief at root { should have at most 1 words weight 1 }
rule far at root { prefer lower number of words in response weight 0.3 }
rule close at root { must not end with "b" }
rule shout at root { must not contain "a " }
rule sentences at root { every sentence of response should have at most 1 words weight 4 }
"""
    )
    policy, outlooks = program(rules), Outlooks()
    for placement, is_causal in (("prefixes", True), ("spans", False)):
        known: dict[tuple[bytes, ...], float] = {}
        clashes = 0
        for tokens in responses([b"a", b"b ", b"\xc3", b"\xa9 b"], 4):
            found = credit(policy, ASKED, tokens, placement=placement, hard_penalty=3.0, outlooks=outlooks)  # type: ignore[arg-type]
            assert math.fsum(found.rewards) == pytest.approx(found.reward, abs=EXACT)
            begun: tuple[bytes, ...] = ()
            for token, reward in zip(tokens[:-1], found.rewards, strict=False):
                begun = (*begun, token or b"")
                clashes += abs(known.setdefault(begun, float(reward)) - reward) > EXACT
        assert bool(clashes == 0) is is_causal


# ------------------------------------------------------------------------------------------------------------ spelling
def test_a_stop_string_is_no_part_of_the_text_and_held_back_until_it_is_known() -> None:
    found = spell([b"hi\n", b"\nYou", b": x"], stops=("\n\nYou:",))
    assert found.text == "hi"
    assert [prefix.text for prefix in found.prefixes] == ["", "hi", "hi"]
    assert found.ranges == ((0, 2), (2, 2), (2, 2))


def test_a_leading_space_that_the_tokenizer_adds_is_dropped() -> None:
    found = spell([b" ab", b"c", None], drops_leading_space=True)
    assert (found.text, found.ranges) == ("abc", ((0, 2), (2, 3), (3, 3)))
    assert spell([b" ab", None]).text == " ab"


def test_bytes_that_are_no_text_have_no_weight() -> None:
    found = credit(program(NO_AB), ASKED, [b"ab", b"\xc3", b"a", None])
    assert found.spelling.text is None
    assert found.rewards.tolist() == [-2.0, 0.0, -math.inf, 0.0]
    unfinished = token_rewards(program(NO_AB), ASKED, [b"a", b"\xc3", None], hard_penalty=4.0)
    assert unfinished.tolist() == [0.0, 0.0, -4.0]


def test_every_beginning_of_a_character_knows_what_it_can_become() -> None:
    ranges: dict[bytes, set[int]] = {}
    for point in [*range(0x80, 0x3000), *range(0xD000, 0xD800), *range(0xE000, 0x11000), *range(0x3F000, 0x41000)]:
        data = chr(point).encode()
        for size in range(1, len(data)):
            ranges.setdefault(data[:size], set()).add(point)
    for data, points in ranges.items():
        first, last = first_characters(data)
        assert points <= set(range(first, last + 1))
        for end in (first, last):
            assert chr(end).encode().startswith(data)
        for beyond in (first - 1, last + 1):  # the range is no wider than that
            is_character = beyond <= 0x10FFFF and not 0xD800 <= beyond <= 0xDFFF
            assert not is_character or not chr(beyond).encode().startswith(data)


@pytest.mark.parametrize(
    ("tokens", "given", "message"),
    [
        ([], {}, "none was given"),
        ([b"a", None, b"b"], {}, "token 2 of 3 has no bytes"),
        ([b"a", None], {"hard_penalty": -1.0}, "`hard_penalty` is -1"),
        ([b"a", None], {"hard_penalty": math.inf}, "`hard_penalty` is inf"),
    ],
)
def test_what_cannot_be_credited_is_said(tokens: list[bytes | None], given: dict[str, float], message: str) -> None:
    with pytest.raises(CreditError, match=message):
        token_rewards(program(NO_AB), ASKED, tokens, **given)  # type: ignore[arg-type]


def test_what_cannot_be_scored_is_as_in_the_law() -> None:
    unknown = program('concept rude means "is rude"\nrule r at root { must not express rude }')
    found = credit(unknown, ASKED, [b"a", None])
    assert found.rewards.tolist() == [0.0, -math.inf]
    assert found.terms[0].score is not None
    assert found.terms[0].score.verdict is Verdict.UNSCORED
    limited = program(
        'concept rude means "is rude"\nrule r at root { limit response expresses rude to at most 9% of responses }'
    )
    with pytest.raises(CreditError, match="`r` cannot be scored"):
        token_rewards(limited, ASKED, [b"a", None])


# -------------------------------------------------------------------------------------------------------- what is next
def test_rewards_to_go_and_shaping_by_hand() -> None:
    assert rewards_to_go(np.array([[1.0, 2.0, 4.0]]), 0.5).tolist() == [[3.0, 4.0, 4.0]]
    assert shaped(np.array([1.0, 2.0]), np.array([0.5, 3.0]), 0.5).tolist() == [2.0, -1.0]
    with pytest.raises(CreditError, match="hard_penalty"):
        rewards_to_go(np.array([0.0, -math.inf]))
    with pytest.raises(CreditError, match="do not go together"):
        shaped(np.zeros(2), np.zeros(3))


Path = tuple[int, ...]


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_potentials_leave_the_best_policies_and_every_gap_between_policies(discount: float) -> None:
    """All 2^7 deterministic policies over the responses of three tokens from two, from every prefix: their returns all
    move by the same −Φ. A bonus that is no difference of potentials is the control."""
    chance = np.random.default_rng(3)
    prefixes: list[Path] = [path for size in range(3) for path in product((0, 1), repeat=size)]
    paths: list[Path] = list(product((0, 1), repeat=3))
    gain = {path[:size]: chance.normal() for path in paths for size in (1, 2, 3)}
    potential = {prefix: chance.normal() for prefix in prefixes}
    plain = {path: np.array([gain[path[:size]] for size in (1, 2, 3)]) for path in paths}
    moved = {
        path: shaped(each, np.array([potential[path[:place]] for place in range(3)]), discount)
        for path, each in plain.items()
    }
    control = {path: each + 9.0 * np.array(path) for path, each in plain.items()}
    policies = [dict(zip(prefixes, chosen, strict=True)) for chosen in product((0, 1), repeat=len(prefixes))]

    def returns(rewards: dict[Path, np.ndarray], begun: Path) -> np.ndarray:
        found = []
        for policy in policies:
            path = begun
            while len(path) < 3:
                path = (*path, policy[path])
            found.append(rewards_to_go(rewards[path], discount)[len(begun)])
        return np.array(found)

    for begun in prefixes:
        gap = returns(moved, begun) - returns(plain, begun)
        assert gap == pytest.approx(-potential[begun], abs=EXACT)
    best = [np.flatnonzero(each >= each.max() - EXACT).tolist() for each in (returns(r, ()) for r in (plain, moved))]
    assert best[0] == best[1]
    other = returns(control, ())
    assert int(other.argmax()) not in best[0]
