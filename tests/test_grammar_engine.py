"""The grammar engine against our automata: the same masks on every token, the same texts, and its failures told."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from decoding_models import CAP, Tiny, counting, hard

from bylaw.compiler.automata.algebra import intersect
from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, PromptLaw
from bylaw.runtime.decoders.sir import Sir, proposal_log_prob
from bylaw.runtime.look_ahead import grammar as grammar_module
from bylaw.runtime.look_ahead.compiled import Compiled
from bylaw.runtime.look_ahead.grammar import Grammar, GrammarState, require_start
from bylaw.runtime.models import Vocabulary
from bylaw.runtime.twist import uniform_twist
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel

llguidance = pytest.importorskip("llguidance", reason="the optional engine llguidance is not installed")

SPELLING = "aba bab é世🙂x"


def split_vocabulary(drops: bool, seed: int = 0) -> Vocabulary:
    """Letters, pieces of words, halves of characters, ill-formed bytes, tokens with equal bytes, a special one."""
    maker = random.Random(seed)
    pieces: list[bytes | None] = [None, None, b" ", b" ", b" a", b"a", b"b", b"\xff", b"\x80", b"\xed\xa0"]
    pieces += [bytes([byte]) for byte in "é世🙂".encode()]
    while len(pieces) < 110:
        data = "".join(maker.choices(SPELLING, k=maker.randint(1, 4))).encode()
        first, last = sorted((maker.randint(0, len(data)), maker.randint(0, len(data))))
        if first < last:
            pieces.append(data[first:last] if maker.random() < 0.5 else data)
    return Vocabulary(tuple(pieces), frozenset({0}), drops)


def absent(pattern: str) -> Dfa:
    return language(parse_pattern(pattern), "search").complement()


OVERLAPPING = "aba|bab|éa|a é"
PAIRS: dict[str, tuple[Dfa, str]] = {
    "forbidden phrases": (absent(OVERLAPPING), f"start: T\nT: /(?s:.*)/ & ~/(?s:.*)({OVERLAPPING})(?s:.*)/"),
    "phrases wanted and not": (
        intersect([absent("bab|xa"), language(parse_pattern("世|aba"), "search")]),
        "start: T\nT: /(?s:.*)(世|aba)(?s:.*)/ & ~/(?s:.*)(bab|xa)(?s:.*)/",
    ),
    "a pattern": (language(parse_pattern("(ab|é世 )*x{2,4}🙂?"), "full"), "start: /(ab|é世 )*x{2,4}🙂?/"),
    "words": (language(parse_pattern("[^ ]+( [^ ]+){0,2}"), "full"), "start: /[^ ]+( [^ ]+){0,2}/"),
    "one text": (language(parse_pattern("aba é世"), "full"), 'start: "aba é世"'),
}


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("kind", PAIRS)
def test_both_engines_allow_the_same_tokens_everywhere(kind: str, drops: bool) -> None:
    ours, text = PAIRS[kind]
    vocabulary = split_vocabulary(drops)
    automaton = TokenAutomaton(ours, vocabulary.token_bytes, drops)
    maker = random.Random(1)
    grammar = Grammar.from_lark(text, vocabulary)
    compared, ends = 0, 0
    state = grammar.begin([()] * 40, [()] * 40)
    states = np.full(40, automaton.start, dtype=np.int32)
    for _ in range(12):
        following, _ = automaton.rows(states)
        expected = np.where((following >= 0) & vocabulary.regular, 0.0, -np.inf)
        final = automaton.final(states)
        expected[:, 0] = np.where(np.isfinite(final), 0.0, -np.inf)
        assert np.array_equal(state.look_ahead(np.full(40, 9)), expected)
        assert np.array_equal(np.isfinite(state.final()), np.isfinite(final))
        compared += len(np.unique(states))
        ends += int(np.isfinite(final).sum())
        expected[:, 0] = -np.inf
        going = np.flatnonzero(np.isfinite(expected).any(axis=1))
        going = going if len(going) == 40 else np.array(maker.choices(going.tolist() or [0], k=40))
        if not np.isfinite(expected[going]).any():
            break
        tokens = np.array([maker.choice(np.flatnonzero(np.isfinite(expected[row]))) for row in going])
        state.select(going)
        state.advance(tokens)
        states, _ = automaton.step(states[going], tokens.astype(np.int32))
        assert (state.paid == 0).all()
    assert compared > 5
    assert ends > 0


def test_a_forced_text_keeps_all_its_tokenisations() -> None:
    """Left to itself the engine allows only the tokens that it takes for canonical: another law."""
    vocabulary = Vocabulary((None, b"a", b"b", b"ab", b"abc", b"c", b"bc"), frozenset({0}))
    state = Grammar.from_lark('start: "abc"', vocabulary).begin([()], [()])
    assert np.isfinite(state.look_ahead(np.array([5]))[0]).tolist() == [False, True, False, True, True, False, False]
    state.advance(np.array([1]))
    assert np.isfinite(state.look_ahead(np.array([4]))[0]).tolist() == [False, False, True, False, False, False, True]


def test_texts_are_judged_as_tokens_are() -> None:
    vocabulary = split_vocabulary(True)
    maker = random.Random(2)
    for ours, text in PAIRS.values():
        grammar = Grammar.from_lark(text, vocabulary)
        accepted = 0
        for _ in range(150):
            written = "".join(maker.choices(["a", "b", "ab", "é世 ", "xx", "🙂", "世", " "], k=maker.randint(0, 6)))
            verdict = ours.accepts(written)
            accepted += verdict
            assert grammar.log_reward(written) == (0.0 if verdict else -np.inf)
        assert accepted > 0 or text.startswith('start: "')


def test_a_token_outside_the_grammar_pays_minus_infinity_and_the_row_is_gone() -> None:
    vocabulary = split_vocabulary(False)
    a, b = vocabulary.token_bytes.index(b"a"), vocabulary.token_bytes.index(b"b")
    state = Grammar.from_regex("a*", vocabulary).begin([(), (), ()], [(), (a,), (a, b)])
    assert state.paid.tolist() == [0, 0, -np.inf]
    state.select(np.array([1, 0, 1]))
    before = GrammarState(state.grammar, list(state.rows), state.places.copy())
    state.advance(np.array([b, a, a]))
    assert state.paid.tolist() == state.final().tolist() == [-np.inf, 0, 0]
    assert not np.isfinite(state.look_ahead(np.array([3, 3, 3]))[0]).any()
    state.advance(np.array([a, a, a]))
    assert state.paid.tolist() == state.value(np.array([1, 1, 1])).tolist() == [-np.inf, 0, 0]
    # rows that were copied before are as they were
    assert np.array_equal(before.look_ahead(np.zeros(3, int)), state.look_ahead(np.zeros(3, int))[[1, 1, 1]])


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"enum": ["ok", "late"]},
        "berth": {"type": "integer", "minimum": 1, "maximum": 12},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 2},
    },
    "required": ["status", "berth"],
    "additionalProperties": False,
}


def test_json_schema_texts() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    letters = [bytes([byte]) for byte in b'{}[]":, abehklmnorstu019\\']
    words = [
        b'{"',
        b'":',
        b"status",
        b"berth",
        b"names",
        b'"ok"',
        b'"late"',
        b', "',
        "é".encode()[:1],
        "é".encode()[1:],
    ]
    vocabulary = Vocabulary((None, *letters, *words), frozenset({0}))
    grammar = Grammar.from_json_schema(SCHEMA, vocabulary)
    maker, texts = random.Random(4), []
    for _ in range(40):
        state, tokens = grammar.begin([()], [()]), []
        for _ in range(120):
            allowed = np.flatnonzero(np.isfinite(state.look_ahead(np.array([9]))[0]))
            if len(allowed) == 0:
                break  # the grammar goes on, the vocabulary cannot: an escape without its letters
            # white space and letters are endless; a preference for what ends makes texts short
            short = [t for t in allowed if t in (0, 2, 4, 5)] or [t for t in allowed if t > len(letters)]
            token = int(maker.choice(short if short and maker.random() < 0.7 else allowed.tolist()))
            if token == 0:
                texts.append(vocabulary.text(tokens))
                break
            tokens.append(token)
            state.advance(np.array([token]))
    assert len(set(texts)) > 10
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMA)
        assert grammar.log_reward(text) == 0.0
    assert grammar.log_reward('{"status": "ok", "berth": 12}') == 0.0
    for wrong in ('{"status": "ok", "berth": 13}', '{"berth": 1}', '{"status": "ok", "berth": 1', "", "[]"):
        assert grammar.log_reward(wrong) == -np.inf
    same = Grammar.from_json_schema(json.dumps(SCHEMA), vocabulary)
    assert same.log_reward(texts[0]) == 0.0


# ------------------------------------------------------------------------------------------------ in product with rules
def tiny_task(pattern: str, rules: str) -> tuple[Tiny, Grammar, DecodeTask]:
    tiny = Tiny(TabularModel(seed=3))
    vocabulary = tiny.vocabulary
    grammar = Grammar.from_regex(pattern, vocabulary)
    groups = (hard(rules, absent=True), counting("1", 0.8))
    twists = tuple(
        uniform_twist(TokenAutomaton(group, vocabulary.token_bytes, vocabulary.drops_leading_space), vocabulary, CAP)
        for group in groups
    )
    law = PromptLaw(groups, residual=grammar.log_reward)
    return tiny, grammar, DecodeTask(tiny.encode_chat(()), law, twists, (grammar,))


def test_weights_are_exact_in_product_with_automata() -> None:
    tiny, _, task = tiny_task("([ab]1?)*[.]", "aa|b1b")
    responses, log_p0 = tiny.model.enumerate()
    texts = [tiny.vocabulary.text(tokens) for tokens in responses]
    expected = language(parse_pattern(r"([ab]1?)*\."), "full")
    rewards = np.array(
        [
            0.8 * text.count("1") if expected.accepts(text) and "aa" not in text and "b1b" not in text else -np.inf
            for text in texts
        ]
    )
    assert [task.law.log_reward(text) for text in texts[:300]] == pytest.approx(rewards[:300].tolist())
    legal = np.flatnonzero(np.isfinite(rewards))
    log_q = proposal_log_prob(
        tiny, [task.prompt] * len(legal), [responses[i] for i in legal], task.law, task.twists, CAP,
        look_ahead=task.look_ahead, batch_size=500,
    )  # fmt: skip
    assert np.isfinite(log_q).all()
    log_z = np.logaddexp.reduce((log_p0 + rewards)[legal])
    [result] = Sir(1500, batch_size=1500).decode(tiny, [task], max_tokens=CAP, seed=8)
    exact = dict(zip([responses[i] for i in legal], log_q, strict=True))
    for sample in result.samples:
        assert sample.log_q == pytest.approx(exact[sample.tokens], abs=1e-9)
        assert sample.log_reward == pytest.approx(task.law.log_reward(sample.text))
    assert len(result.samples) + result.dead == 1500
    # 4 standard errors: a false alarm in 6e-5 of seeds
    weights = np.concatenate([np.exp([s.log_weight for s in result.samples]), np.zeros(result.dead)])
    assert abs(weights.mean() - np.exp(log_z)) < 4 * weights.std(ddof=1) / np.sqrt(1500)


def test_what_is_impossible_together_is_told_or_dies_with_weight_zero() -> None:
    tiny, grammar, task = tiny_task("a[b1]*[.]", "a")
    others = [Compiled(twist, int(tiny.vocabulary.end_ids[0])) for twist in task.twists]
    with pytest.raises(DecodeError, match="no response can begin: each first token that the pattern allows"):
        require_start(grammar, others, CAP)
    tiny, grammar, task = tiny_task("b(ab|a1)[.]", "ab|a1")
    require_start(grammar, [Compiled(twist, 5) for twist in task.twists], CAP)
    [result] = Sir(20).decode(tiny, [task], max_tokens=CAP, seed=1)
    assert (result.samples, result.dead_ends, result.log_z_estimate) == ((), 20, -np.inf)


# --------------------------------------------------------------------------------------------------------- its failures
def test_grammars_that_cannot_be_used_are_told() -> None:
    vocabulary = split_vocabulary(False)
    for make, source, message in (
        (Grammar.from_lark, "start: nothing_like_it", "the grammar is not valid: .*nothing_like_it"),
        (Grammar.from_regex, "(a", "the pattern is not valid"),
        (Grammar.from_json_schema, '{"type": "frog"}', "the JSON schema is not valid: .*frog"),
        (Grammar.from_json_schema, '{"not": {"type": "string"}}', 'the JSON schema is not valid: .*"not"'),
        (Grammar.from_json_schema, "{", "the JSON schema is not JSON"),
        (Grammar.from_regex, "[0-9]+", "no token of this vocabulary can begin a text of the pattern"),
        (Grammar.from_lark, "start: T\nT: /a/ & /b/", "grammar"),
        (
            Grammar.from_lark,
            "start: T\nT: /x|y/ & /a/ | ~/a/  // ~",
            "a complement `~` on its own in line 2",
        ),
        (Grammar.from_lark, "start: a\na[max_tokens=3]: /b*/", "counts or names tokens in line 2"),
        (Grammar.from_lark, "start: <[3]> a\na: /b*/", "counts or names tokens in line 1"),
    ):
        with pytest.raises(DecodeError, match=message):
            make(source, vocabulary)


def test_an_engine_that_gives_up_is_told_before_the_first_token_and_after() -> None:
    vocabulary = split_vocabulary(False)
    with pytest.raises(DecodeError, match=r"the grammar is too complex for its engine .*limit lengths by rules"):
        Grammar.from_lark("start: T\nT: /(?s:.{5000,})/ & ~/(?s:.*)(aba|bab)(?s:.*)/", vocabulary)
    grammar = Grammar.from_lark('start: "x" ("a" | "b" | "ab" | "ba")*', vocabulary)
    source = llguidance.LLMatcher.grammar_from_lark('start: "x" (A | B | "ab" | "ba")*\nA: /a+b?/\nB: /b+a?/')
    limits = llguidance.LLParserLimits(step_max_items=8)
    weak = llguidance.LLMatcher(grammar._pieces.tokenizer, source, log_level=0, limits=limits)
    limited = replace(grammar, _start=weak)
    state = limited.begin([()], [(vocabulary.token_bytes.index(b"x"),)])
    with pytest.raises(DecodeError, match="too complex for its engine"):
        state.look_ahead(np.array([5]))


def test_without_the_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(DecodeError, match=r"need the extra `grammar`"):
        Grammar.from_regex("a", split_vocabulary(False))
    assert grammar_module.Grammar is Grammar  # importing the module needs no engine


def test_stop_strings_are_refused() -> None:
    with pytest.raises(DecodeError, match="stop strings cannot be combined with a pattern"):
        Grammar.from_regex("a", replace(split_vocabulary(False), stops=("b",)))


def test_a_dropped_space_is_no_part_of_the_text() -> None:
    vocabulary = Vocabulary((b" ", b" ", b" a", b"a", None), frozenset({4}), drops_leading_space=True)
    grammar = Grammar.from_regex("a( a)*", vocabulary)
    space, second, spaced, plain = range(4)
    for tokens in ((plain,), (spaced,), (space, plain), (second, plain, spaced), (spaced, space, plain)):
        state = grammar.begin([()], [tokens])
        assert state.paid[0] == state.final()[0] == grammar.log_reward(vocabulary.text(tokens)) == 0.0
    assert grammar.begin([()], [(space, spaced)]).paid[0] == grammar.log_reward(" a") == -np.inf
