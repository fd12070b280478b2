"""A model that remembers laws equals the model it remembers, and pays for every beginning once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from decoding_models import CAP, Exact, enumerated
from hypothesis import given, settings
from hypothesis import strategies as st
from prefix_models import LETTERS, table

from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.tree import Tree
from bylaw.runtime.models import load_model
from bylaw.runtime.models.interface import LanguageModel, ModelError
from bylaw.runtime.models.metering import Limits, Meter
from bylaw.runtime.models.prefix_cache import PrefixCache
from tinymodels import Tokens

STORIES = Path(__file__).parents[1].parent / "shared" / "data" / "models" / "stories260K"
ROW = 8 * (LETTERS + 1)


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


def wander(
    model: LanguageModel, plain: LanguageModel, prompts: list[Tokens], seed: int, steps: int, tolerance: float
) -> set[Tokens]:
    """Walk two sessions through the same random advances and choices of rows; the beginnings that were asked for."""
    generator = np.random.default_rng(seed)
    tokens_of = np.flatnonzero(model.vocabulary.regular)[:20]
    ours, theirs, rows = model.session(prompts), plain.session(prompts), list(prompts)
    asked: set[Tokens] = set()
    for _ in range(steps):
        if generator.random() < 0.4:
            picked = generator.integers(0, len(rows), size=generator.integers(1, 6))
            ours.select(picked)
            theirs.select(picked)
            rows = [rows[int(at)] for at in picked]
        if generator.random() < 0.7:
            asked |= set(rows)
            found, wanted = ours.log_probs(), theirs.log_probs()
            assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
            possible = np.isfinite(wanted)
            assert found[possible] == pytest.approx(wanted[possible], abs=tolerance)
            found[:] = 0.0  # the caller owns the array
        following = generator.choice(tokens_of, size=len(rows))
        ours.advance(following)
        theirs.advance(following)
        rows = [(*row, int(token)) for row, token in zip(rows, following, strict=True)]
    return asked


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0, 3 * (ROW + 24), 1 << 20]))
def test_a_cached_model_is_the_model(seed: int, most_bytes: int) -> None:
    exact = enumerated_once()
    inner = table(exact)
    meter = Meter()
    cache = PrefixCache(meter.watch(inner), most_bytes)
    asked: set[Tokens] = set()
    for part in range(3):
        prompts = [(5,), (5,), (5, 2)][: 1 + seed % 3]
        asked |= wander(cache, table(exact), prompts, seed + part % 2, CAP - 2, 1e-12)
    assert cache.store.bytes <= most_bytes
    if most_bytes == 1 << 20:
        # what was asked for was evaluated once, and nothing else was: sessions are lazy
        assert meter.passes == len(inner.asked) == len(asked) == len(cache.store)
        assert {(5, *tokens) for tokens in inner.asked} == asked
    if most_bytes == 0:
        assert len(cache.store) == 0


_EXACT: list[Exact] = []


def enumerated_once() -> Exact:
    """Hypothesis and fixtures do not mix."""
    if not _EXACT:
        _EXACT.append(enumerated())
    return _EXACT[0]


def test_what_was_not_used_for_longest_is_forgotten(exact: Exact) -> None:
    inner = table(exact)
    cache = PrefixCache(inner, 2 * (ROW + 16))
    for tokens in ((5, 0), (5, 1), (5, 0), (5, 2), (5, 0), (5, 1)):
        cache.session([tokens]).log_probs()
    assert inner.asked == [(0,), (1,), (2,), (1,)]
    assert (cache.store.hits, cache.store.misses) == (2, 4)
    with pytest.raises(ModelError, match="-1 bytes"):
        PrefixCache(inner, -1)
    with pytest.raises(ModelError, match="one prompt at least"):
        cache.session([])


def test_decoders_pay_only_for_what_is_new(exact: Exact) -> None:
    inner = table(exact)
    cache = PrefixCache(inner)
    [plain] = Sir(60, responses=5).decode(table(exact), [exact.task], max_tokens=CAP, seed=1)
    [first] = Sir(60, responses=5).decode(cache, [exact.task], max_tokens=CAP, seed=1)
    [second] = Sir(60, responses=5).decode(cache, [exact.task], max_tokens=CAP, seed=1)
    assert first.responses == second.responses == plain.responses
    # the decoder counts what was evaluated, and not what was remembered
    assert first.diagnostics.passes == len(inner.asked) == len(set(inner.asked)) == plain.diagnostics.passes
    assert second.diagnostics.passes == 0
    Mask(60).decode(cache, [exact.task], max_tokens=CAP, seed=1)
    Tree(60).decode(cache, [exact.task], max_tokens=CAP, seed=1)
    assert len(inner.asked) == len(set(inner.asked))


def test_limits_hold_for_what_is_evaluated(exact: Exact) -> None:
    cache = PrefixCache(table(exact))
    [short] = Sir(60).decode(cache, [exact.task], max_tokens=CAP, seed=1, limits=Limits(passes=20))
    assert short.diagnostics.stopped == "passes"
    assert short.diagnostics.passes <= 20
    # with what is remembered the same budget reaches further
    reached = [short.diagnostics.unfinished]
    for _ in range(12):
        [more] = Sir(60).decode(cache, [exact.task], max_tokens=CAP, seed=1, limits=Limits(passes=40))
        reached.append(more.diagnostics.unfinished)
    assert reached == sorted(reached, reverse=True)
    assert reached[0] == 60
    assert reached[-1] == 0


@pytest.mark.skipif(not STORIES.is_dir(), reason="the shared model stories260K is not there")
def test_a_real_model_is_remembered() -> None:
    model = load_model(STORIES)
    meter = Meter()
    cache = PrefixCache(meter.watch(model))
    prompts = [model.encode_chat([{"role": "user", "content": text}]) for text in ("Once", "The big dog ran")]
    asked: set[Tokens] = set()
    for seed in (1, 2, 1, 2):
        asked |= wander(cache, model, prompts, seed, 12, 2e-5)
    assert meter.passes == len(asked)
    assert (cache.context, cache.digest, cache.name) == (model.context, model.digest, model.name)
