"""The way to a judge behind an address: many questions at once, each brought to an end, each answer kept at once.

What can go wrong with one question is a reply with its class of reason, never an exception and never a verdict. What
is wrong for all of them (the key is refused, nothing listens there) ends the run: the other questions are not sent, and
say so. A later run asks only what has no answer.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from bylaw.runtime.judges.budget import Meter, estimate_text_tokens, estimate_tokens
from bylaw.runtime.judges.cache import AnswerCache
from bylaw.runtime.judges.interface import Estimate, JudgeReply, JudgeRequest
from bylaw.runtime.judges.store import Answer, AnswerStore
from bylaw.runtime.judges.throttle import Throttle
from bylaw.runtime.judges.wire import Attempt, Endpoint, Wire
from bylaw.runtime.models.servers import LONGEST_WAIT
from bylaw.runtime.scorers.interface import Cost, Why

_FIRST_PAUSE = 0.5
_LOOK_AGAIN = 0.05
_FAILED_IN_A_ROW = 25  # attempts: five questions with four retries; chance troubles do not come like that
_NEVER_TAKEN = 10  # questions, where none was ever taken
_LEFT: tuple[Why, str] = ("transport", "not asked, since the run was left")


@dataclass
class _Run:
    """The state of one `ask`: questions to send, replies, and whether it is over."""

    jobs: deque[tuple[int, JudgeRequest]]
    replies: queue.SimpleQueue[JudgeReply | BaseException] = field(default_factory=queue.SimpleQueue)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    failed: int = 0
    answered: int = 0
    end: tuple[Why, str] | None = None
    who: str = "the judge"

    def note(self, attempt: Attempt, sent: int) -> None:
        """Learns from how a question ended, after so many attempts, whether the others have a chance."""
        with self.lock:
            if attempt.text is not None or attempt.why in ("refusal", "filtered", "parse"):
                self.answered += 1
                self.failed = 0
                return
            self.failed += sent
            few = _NEVER_TAKEN if attempt.why == "input" else _FAILED_IN_A_ROW
            hopeless = self.failed >= few and (attempt.why != "input" or not self.answered)
            if self.end is None and attempt.why is not None and (attempt.is_final or hopeless):
                times = "" if attempt.is_final else f" ({self.failed} attempts in a row)"
                self.end = "transport", f"not asked, since {self.who} cannot be used{times}: {attempt.reason}"


class EndpointAsker:
    """An `Asker` for an OpenAI-compatible endpoint.

    `store`: where answers are kept; None: nowhere. `meter`: what may be spent and what was, shared by whoever should
    share a budget. `wait`: sleeps so many seconds. Use it in a `with` statement, or `close` it. Threads may ask at the
    same time. The key is read and the client made when a question is first sent: stored answers need neither.
    """

    who = "the judge"
    """What messages call the other side."""

    def __init__(
        self,
        endpoint: Endpoint,
        store: AnswerStore | None = None,
        meter: Meter | None = None,
        wait: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._cache = AnswerCache(store, endpoint.base_url.rstrip("/"))
        self.meter = meter if meter is not None else Meter(clock=clock)
        self._wait = wait
        self._throttle = Throttle(endpoint.at_once, clock=clock)
        self._wire: Wire | None = None
        self._opening = threading.Lock()

    @property
    def place(self) -> str:
        """The address of the judge."""
        return self._cache.place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections (the store stays open: it is not ours)."""
        with self._opening:
            if self._wire is not None:
                self._wire.close()
                self._wire = None

    def estimate(self, requests: Sequence[JudgeRequest]) -> Estimate:
        """What asking these would cost, without repeats after failures; sends nothing."""
        kept, to_send, same = self._sorted(requests)
        fresh = [requests[index] for index in to_send]
        return Estimate(
            len(fresh),
            sum(1 + len(same[index]) for index in kept),
            sum(estimate_tokens(request.messages) for request in fresh),
            sum(request.parameters.max_tokens for request in fresh),
        )

    def ask(self, requests: Sequence[JudgeRequest]) -> Generator[JudgeReply, None, None]:
        """See `Asker.ask`. Raises JudgeError for a key that is not set or a client that is not installed, when there is
        something to send, and StoreError for a store that fails. Leaving the iterator early sends nothing further."""
        kept, to_send, same = self._sorted(requests)
        self.meter.count_cached(sum(1 + len(same[index]) for index in kept))
        for index, answer in kept.items():
            reply = _reply(index, answer, Cost(cached=1))
            yield reply
            yield from (replace(reply, index=other) for other in same[index])
        if not to_send:
            return
        self.meter.start()
        nothing = self.meter.used_up()
        if nothing is not None:
            for first in to_send:
                yield from (_failed(index, "budget", nothing, Cost(), 0, None) for index in (first, *same[first]))
            return
        wire = self._opened()
        run = _Run(deque((index, requests[index]) for index in to_send), who=self.who)
        for number in range(min(self._endpoint.at_once, len(to_send))):
            # Daemons: a process that is told to end does not wait for a judge.
            threading.Thread(target=self._work, args=(run, wire), name=f"judge-{number}", daemon=True).start()
        try:
            for _ in to_send:
                found = run.replies.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
                for other in same[found.index]:
                    is_answer = found.text is not None
                    self.meter.count_cached(int(is_answer))
                    yield replace(found, index=other, cost=Cost(cached=int(is_answer)))
        finally:
            run.over.set()

    def _sorted(self, requests: Sequence[JudgeRequest]) -> tuple[dict[int, Answer], list[int], dict[int, list[int]]]:
        """Kept answers by the first request of a key; first requests to send; what has the same key as a first one."""
        firsts: dict[str, int] = {}
        same: dict[int, list[int]] = {}
        kept: dict[int, Answer] = {}
        to_send = []
        for index, request in enumerate(requests):
            first = firsts.setdefault(self._cache.key(request), index)
            if first != index:
                same[first].append(index)
                continue
            same[index] = []
            answer = self._cache.find(request)
            if answer is None:
                to_send.append(index)
            else:
                kept[index] = answer
        return kept, to_send, same

    def _opened(self) -> Wire:
        with self._opening:
            if self._wire is None:
                self._wire = self.make_wire(self._endpoint)
            return self._wire

    def make_wire(self, endpoint: Endpoint) -> Wire:
        """What sends the requests. Raises JudgeError."""
        return Wire(endpoint)

    def _work(self, run: _Run, wire: Wire) -> None:
        """One thread: questions until there are none."""
        while not run.over.is_set():
            try:
                index, request = run.jobs.popleft()
            except IndexError:
                return
            try:
                run.replies.put(self._bring(run, wire, index, request))
            except BaseException as error:
                # Whoever waits for the replies must hear of it (a full disk, a reader of answers with a mistake).
                run.replies.put(error)
                return

    def _bring(self, run: _Run, wire: Wire, index: int, request: JudgeRequest) -> JudgeReply:
        """One question to its end, unless another process is at it or was there first."""
        store = self._cache.store
        if store is None:
            return self._attempts(run, wire, index, request)
        key = self._cache.key(request)
        # Another process gives its claim back when it is done or dead; if it hangs, the question is asked twice.
        patience = 2 * (self._endpoint.timeout + LONGEST_WAIT) * (self._endpoint.max_retries + 1)
        started = time.monotonic()
        is_claimed = store.claim(key)
        while not is_claimed and not run.over.is_set() and time.monotonic() - started < patience:
            if self.meter.seconds_left() == 0:
                break
            time.sleep(_LOOK_AGAIN)
            is_claimed = store.claim(key)
        try:
            answer = self._cache.find(request)
            if answer is not None:
                self.meter.count_cached(1)
                return _reply(index, answer, Cost(cached=1))
            return self._attempts(run, wire, index, request)
        finally:
            if is_claimed:
                store.release(key)

    def _attempts(self, run: _Run, wire: Wire, index: int, request: JudgeRequest) -> JudgeReply:
        cost = Cost()
        last: Attempt | None = None
        sent = 0
        for number in range(self._endpoint.max_retries + 1):
            if last is not None and not self._rest(run, last, number):
                return _failed(index, "budget", f"the time is up: {last.reason}", cost, sent, last)
            found = self._once(run, wire, request)
            if not isinstance(found, Attempt):
                why, reason = found
                after = f" (the last attempt: {last.reason})" if last is not None else ""
                return _failed(index, why, reason + after, cost, sent, last)
            last, sent = found, sent + 1
            tokens = self._tokens(request, last)
            cost += Cost(last.seconds, 1, 0, *tokens)
            answer = self._cache.keep(request, last, sent, tokens)
            if answer is not None:
                run.note(last, sent)
                return replace(_reply(index, answer, cost), attempts=sent)
            if not last.may_pass:
                break
        assert last is not None
        assert last.why is not None
        run.note(last, sent)
        if last.why == "timeout" and self.meter.seconds_left() == 0:
            return _failed(index, "budget", f"the time is up: {last.reason}", cost, sent, last)
        times = "" if sent == 1 else f" (tried {sent} times)"
        return _failed(index, last.why, last.reason + times, cost, sent, last)

    def _once(self, run: _Run, wire: Wire, request: JudgeRequest) -> Attempt | tuple[Why, str]:
        """One attempt when there is a slot; or why there is none."""
        slot = self._throttle.take(run.over.is_set)
        if slot is None:
            return _LEFT
        ticket, pause = slot
        found: Attempt | None = None
        try:
            if pause > 0 and not self._sleep(run, pause):
                return "budget", f"the time is up while {self.who} asks for a pause"
            if run.over.is_set():
                return _LEFT
            if run.end is not None:
                return run.end
            most = estimate_tokens(request.messages) + request.parameters.max_tokens
            no = self.meter.reserve(most)
            if no is not None:
                return "budget", no
            try:
                left = self.meter.seconds_left()
                found = wire.send(
                    request, self._endpoint.timeout if left is None else min(self._endpoint.timeout, left or 0.001)
                )
            finally:
                counted = found is not None and (found.tokens_out is not None or found.why in ("transport", "input"))
                spent = self._tokens(request, found) if found is not None else (0, 0)
                seconds = found.seconds if found is not None else 0.0
                self.meter.settle(most, Cost(seconds, 0, 0, *spent), is_estimated=not counted)
            return found
        finally:
            self._throttle.give(
                ticket,
                is_good=found is not None and found.text is not None,
                is_pressure=found is not None and found.is_pressure,
                pause=found.pause if found is not None else None,
            )

    @staticmethod
    def _tokens(request: JudgeRequest, attempt: Attempt) -> tuple[int, int]:
        """Tokens in and out: the server's count, or else an estimate; 0 where no model can have run."""
        if attempt.tokens_in is not None and attempt.tokens_out is not None:
            return attempt.tokens_in, attempt.tokens_out
        if attempt.why in ("transport", "input"):
            return 0, 0
        out = estimate_text_tokens(attempt.text or "")
        return estimate_tokens(request.messages), request.parameters.max_tokens if attempt.is_cut else out

    def _rest(self, run: _Run, last: Attempt, number: int) -> bool:
        """Pauses before attempt `number` (from 1): as long as the server says, or longer each time, with a share of
        chance so that what failed together does not come back together. False: there is no time for it."""
        longest = min(_FIRST_PAUSE * 2 ** (number - 1), LONGEST_WAIT)
        pause = last.pause if last.pause is not None else longest
        return self._sleep(run, min(pause + random.uniform(0, longest / 2), LONGEST_WAIT))

    def _sleep(self, run: _Run, seconds: float) -> bool:
        """Sleeps, unless the budget of time ends before; True: it may go on."""
        left = self.meter.seconds_left()
        if left is not None and left <= seconds:
            return False
        if self._wait is not None:
            self._wait(seconds)
        else:
            run.over.wait(seconds)
        return True


def _reply(index: int, answer: Answer, cost: Cost) -> JudgeReply:
    return JudgeReply(
        index, answer.text, cost=cost, attempts=answer.attempts, finish_reason=answer.finish_reason, model=answer.model
    )


def _failed(index: int, why: Why, reason: str, cost: Cost, sent: int, last: Attempt | None) -> JudgeReply:
    finish, model = (last.finish_reason, last.model) if last is not None else ("", "")
    return JudgeReply(index, None, why, reason, cost, sent, finish, model)
