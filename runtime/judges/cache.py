"""Which answers of a judge may be kept, and under which name: the content of everything that can change them.

The name (key) of an answer is a SHA-256 of the messages, the schema, the model and its parameters, the number of the
repeat, the version of what reads the answer (all in `JudgeRequest.key`), the address of the judge and the version of
this format. So another template, another text, another model or another place never finds an old answer, and a
repeat never finds that of another repeat.

Kept are texts that their reader accepts (`JudgeRequest.check`), and nothing else: no error, no refusal, nothing
filtered, cut or empty. What failed today is asked again tomorrow.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bylaw.runtime.judges.interface import JudgeRequest
from bylaw.runtime.judges.store import Answer, AnswerStore
from bylaw.runtime.judges.wire import Attempt

_FORMAT = 1


@dataclass(frozen=True)
class AnswerCache:
    """Answers of the judge at `place`. `store`: None: nothing is kept. Raises what the store raises (StoreError)."""

    store: AnswerStore | None
    place: str

    def key(self, request: JudgeRequest) -> str:
        """The name of the answer to a request: SHA-256, hexadecimal."""
        return hashlib.sha256(f"{_FORMAT}\n{self.place}\n{request.key}".encode()).hexdigest()

    def find(self, request: JudgeRequest) -> Answer | None:
        """The kept answer; one that its reader no longer accepts is forgotten."""
        if self.store is None:
            return None
        key = self.key(request)
        answer = self.store.get(key)
        if answer is not None and request.check(answer.text) is not None:
            self.store.remove(key)
            return None
        return answer

    def keep(self, request: JudgeRequest, attempt: Attempt, attempts: int, tokens: tuple[int, int]) -> Answer | None:
        """Keeps what an attempt brought, if it may be kept, and gives the answer that stands: that of another process
        if it came first. None: there is no text. `tokens`: in and out."""
        if attempt.text is None:
            return None
        answer = Answer(attempt.text, attempt.model, attempt.finish_reason, *tokens, attempts)
        if self.store is None or not is_storable(attempt.text) or request.check(attempt.text) is not None:
            return answer
        return self.store.put(self.key(request), answer)


def is_storable(text: str) -> bool:
    """Whether a text can be written as UTF-8; half a surrogate pair (from JSON escapes) cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
