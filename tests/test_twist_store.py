"""Twists on disk: what comes back is what was built, damaged and foreign files are ignored, room is kept."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.counts import Valued, count_between, indicator, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models import Vocabulary
from bylaw.runtime.twist import SamplePool, Twist, build_twist
from bylaw.runtime.twist import store as store_module
from bylaw.runtime.twist.store import TwistKey, TwistStore, automaton_digest, vocabulary_digest
from bylaw.spec.pattern import parse_pattern
from bylaw.spec.units import words

PIECES = (*(bytes([byte]) for byte in range(256)), b" a", b"b c", None)
VOCABULARY = Vocabulary(PIECES, frozenset({258}))
KEY = TwistKey("automaton", "vocabulary", "model", 1.0, "samples", 12)


def pool() -> SamplePool:
    rng = np.random.default_rng(4)
    flat = rng.choice([32, 97, 98, 99, 256, 257], size=400).astype(np.int32)
    beside = rng.choice([32, 97, 98, -1], size=(440, 3)).astype(np.int32)
    ended = np.ones(40, dtype=np.bool_)
    return SamplePool(flat, np.arange(40) * 10, np.full(40, 10), ended, beside, np.arange(40) * 11)


def built(group: Valued, max_tokens: int = 12) -> Twist:
    return build_twist(TokenAutomaton(group, PIECES), VOCABULARY, pool(), max_tokens)


@pytest.fixture(scope="module")
def twist() -> Twist:
    return built(support(count_between(words.machine(), 1, 4)))


@pytest.fixture
def store(tmp_path: Path) -> TwistStore:
    return TwistStore(tmp_path / "cache" / "twists")


def same(left: Twist | None, right: Twist) -> bool:
    states = np.arange(right.automaton.state_count, dtype=np.int32)
    return (
        left is not None
        and np.array_equal(left.log_value, right.log_value)
        and all(np.array_equal(left.value(states, ahead), right.value(states, ahead)) for ahead in (0, 3, 12))
        and left.proxy == right.proxy
    )


def test_what_is_kept_comes_back(store: TwistStore, twist: Twist) -> None:
    assert store.get(KEY, twist.automaton) is None
    assert store.put(KEY, twist)
    assert same(store.get(KEY, twist.automaton), twist)
    assert [path.name for path in store.folder.iterdir()] == [f"{KEY.digest}.npz"]
    assert store.size == (store.folder / f"{KEY.digest}.npz").stat().st_size


def test_every_field_of_the_key_counts() -> None:
    others = {"temperature": 0.7, "max_tokens": 13, "smoothing": 4.0}
    changed = {replace(KEY, **{field.name: others.get(field.name, "other")}).digest for field in fields(KEY)}
    assert len(changed | {KEY.digest}) == len(fields(KEY)) + 1


def test_a_newer_format_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = KEY.digest
    monkeypatch.setattr(store_module, "FORMAT", store_module.FORMAT + 1)
    assert KEY.digest != before


def test_digests_tell_apart_what_differs() -> None:
    rule = support(language(parse_pattern("ab"), "search"))
    soft = scale(indicator(language(parse_pattern("ab"), "search")), -0.5)
    groups = [rule, soft, scale(soft, 2.0), support(language(parse_pattern("ac"), "search"))]
    assert len({automaton_digest(group) for group in groups}) == len(groups)
    assert automaton_digest(support(language(parse_pattern("ab"), "search"))) == automaton_digest(rule)
    vocabularies = [
        VOCABULARY,
        Vocabulary(PIECES[::-1], frozenset({0})),
        Vocabulary(PIECES, frozenset({258, 3})),
        Vocabulary(PIECES, frozenset({258}), drops_leading_space=True),
        Vocabulary((b"ab", b"c"), frozenset()),
        Vocabulary((b"a", b"bc"), frozenset()),
    ]
    assert len({vocabulary_digest(vocabulary) for vocabulary in vocabularies}) == len(vocabularies)
    other = pool()
    other.flat[3] += 1
    another = pool()
    another.beside[2, 1] = 98 if another.beside[2, 1] == 97 else 97
    assert len({pool().digest, pool().digest, other.digest, another.digest}) == 3


def _array(data: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def _pickled(data: bytes) -> bytes:
    return pickle.dumps({"key": KEY.digest})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"no file of ours",
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        _pickled,
        _array,
    ],
    ids=["empty", "half", "cut", "foreign", "flipped", "pickle", "array"],
)
def test_damaged_files_are_built_again(damage: Callable[[bytes], bytes], store: TwistStore, twist: Twist) -> None:
    store.put(KEY, twist)
    path = store.folder / f"{KEY.digest}.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert store.get(KEY, twist.automaton) is None
    assert store.get_or_build(KEY, twist.automaton, lambda: twist) is twist
    assert same(store.get(KEY, twist.automaton), twist)


def test_files_of_another_key_or_shape_are_ignored(store: TwistStore, twist: Twist) -> None:
    store.put(KEY, twist)
    other = replace(KEY, samples="others")
    os.replace(store.folder / f"{KEY.digest}.npz", store.folder / f"{other.digest}.npz")
    assert store.get(other, twist.automaton) is None
    larger = built(support(count_between(words.machine(), 1, 6)))
    store.put(KEY, larger)
    assert store.get(KEY, twist.automaton) is None


def test_a_file_is_whole_or_absent(store: TwistStore, twist: Twist, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object, **arrays: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(store_module.np, "savez", full)
    assert not store.put(KEY, twist)
    assert list(store.folder.iterdir()) == []
    assert store.get_or_build(KEY, twist.automaton, lambda: twist) is twist


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, twist: Twist) -> None:
    (tmp_path / "file").write_text("in the way")
    store = TwistStore(tmp_path / "file" / "twists")
    assert not store.put(KEY, twist)
    assert store.get(KEY, twist.automaton) is None


def test_what_was_used_last_is_kept_longest(store: TwistStore, twist: Twist) -> None:
    keys = [replace(KEY, samples=str(number)) for number in range(4)]
    assert store.put(keys[0], twist)
    one = store.size
    small = TwistStore(store.folder, limit=4 * one + one // 2)
    for age, key in enumerate(keys[1:], 1):
        small.put(key, twist)
        os.utime(store.folder / f"{key.digest}.npz", (age, age))
    os.utime(store.folder / f"{keys[0].digest}.npz", (0, 0))
    assert small.get(keys[0], twist.automaton) is not None  # now it is the one used last
    small.put(replace(KEY, samples="new"), twist)
    assert small.get(keys[1], twist.automaton) is None
    assert all(small.get(key, twist.automaton) is not None for key in (keys[0], *keys[2:]))
    assert small.size <= small.limit
    assert not TwistStore(store.folder, limit=one).put(KEY, twist)  # larger than a quarter of the room


def test_loading_is_much_faster_than_building(store: TwistStore) -> None:
    automaton = TokenAutomaton(support(count_between(words.machine(), 1, 80)), PIECES)
    automaton.block(0)
    samples = pool()
    began = time.process_time()
    twist = build_twist(automaton, VOCABULARY, samples, 120)
    between = time.process_time()
    key = replace(KEY, max_tokens=120)
    store.put(key, twist)
    kept = time.process_time()
    found = store.get(key, automaton)
    loading = time.process_time() - kept
    assert found is not None
    assert np.array_equal(found.log_value, twist.log_value)
    assert loading < 0.25 * (between - began)
