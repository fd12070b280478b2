"""Verdicts as a table of Parquet: one row a transcript and clause, without the texts."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.evaluate import TermScore
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.columns import UNSCORED, VERDICTS, VIOLATED, Part, VerdictColumns
from bylaw.runtime.audit.tally import NO_REASON, score
from bylaw.spec.trace import Trace

ROWS = 1_000_000
"""Rows of a row group, at most, unless one transcript has more."""


@dataclass(slots=True)
class VerdictTable:
    """Writes a table of verdicts, transcripts in order and the clauses of each in the order of the program.

    Columns: `source` (the id of the transcript), `prompt` (the key of what it answers, 32 hexadecimal digits: the same
    in every audit), `term`, `rule`, `kind`, `verdict` (`satisfied`, `violated`, `not_applicable`, `unscored`), `value`
    (what the law weighs; none where the clause does not apply or is unscored), `reason` (why it is unscored, or which
    event breaks it), `spans` (start and end of what breaks it, in characters of the answer). The digest of the policy
    stands in the metadata of the schema as `bylaw.policy_digest`. The same input gives the same bytes.
    """

    path: Path
    program: RewardProgram
    _arrow: Any = field(init=False)
    _schema: Any = field(init=False)
    _writer: Any = field(init=False)

    def __post_init__(self) -> None:
        arrow = self._arrow = importlib.import_module("pyarrow")
        words = arrow.dictionary(arrow.int32(), arrow.string())
        place = arrow.struct([("start", arrow.int32()), ("end", arrow.int32())])
        named = [(name, words) for name in ("source", "prompt", "term", "rule", "kind", "verdict")]
        rest = [("value", arrow.float64()), ("reason", arrow.string()), ("spans", arrow.list_(place))]
        self._schema = arrow.schema([*named, *rest], metadata={"bylaw.policy_digest": self.program.digest})
        self._writer = importlib.import_module("pyarrow.parquet").ParquetWriter(self.path, self._schema)

    def add(self, traces: Sequence[Trace], part: Part) -> None:
        """The verdicts on some transcripts, of which `part` has the codes and values. Raises OSError."""
        arrow, terms = self._arrow, self.program.terms
        if not traces or not terms:
            return
        columns = VerdictColumns(terms, (part,))
        codes = np.stack([columns.codes(index) for index in range(len(terms))], axis=1)
        values = np.stack([columns.values(index) for index in range(len(terms))], axis=1).reshape(-1)
        reasons, offsets, edges = self._details(traces, codes)
        here, there = np.arange(len(terms)), np.arange(len(traces))
        keys = [key.hex() for key in columns.keys]
        spans = arrow.StructArray.from_arrays([arrow.array(each, arrow.int32()) for each in edges], ["start", "end"])
        table = arrow.table(
            [
                self._words(np.repeat(there, len(terms)), [trace.id for trace in traces]),
                self._words(np.repeat(columns.prompts, len(terms)), keys),
                self._words(np.tile(here, len(traces)), [term.id for term in terms]),
                self._words(np.tile(here, len(traces)), [term.rule for term in terms]),
                self._words(np.tile(here, len(traces)), [term.kind for term in terms]),
                self._words(codes.reshape(-1), [verdict.value.replace(" ", "_") for verdict in VERDICTS]),
                arrow.array(values, mask=np.isnan(values)),
                arrow.array(reasons, arrow.string()),
                arrow.ListArray.from_arrays(arrow.array(offsets, arrow.int32()), spans),
            ],
            schema=self._schema,
        )
        self._writer.write_table(table, row_group_size=max(ROWS, len(terms)))

    def close(self) -> None:
        """Ends the file; until then it cannot be read. Raises OSError."""
        self._writer.close()

    def _words(self, places: Any, words: Sequence[str]) -> Any:
        return self._arrow.DictionaryArray.from_arrays(places.astype(np.int32), self._arrow.array(words))

    def _details(
        self, traces: Sequence[Trace], codes: NDArray[np.uint8]
    ) -> tuple[list[str | None], NDArray[np.int64], tuple[list[int], list[int]]]:
        """(the reason in each row, where the spans of each row begin among all, (starts, ends) of all spans).

        Only what is violated or unscored has any, and only that is asked of the evaluator again.
        """
        terms = self.program.terms
        reasons: list[str | None] = [None] * codes.size
        counts = np.zeros(codes.size + 1, np.int64)
        starts: list[int] = []
        ends: list[int] = []
        for number, index in zip(*np.nonzero((codes == VIOLATED) | (codes == UNSCORED)), strict=True):
            found: TermScore = score(terms[index], traces[number])
            row = int(number) * len(terms) + int(index)
            is_violated = codes[number, index] == VIOLATED
            reasons[row] = found.reason or (None if is_violated else NO_REASON)
            if is_violated:
                starts += [each.start for each in found.evidence]
                ends += [each.end for each in found.evidence]
                counts[row + 1] = len(found.evidence)
        return reasons, np.cumsum(counts), (starts, ends)
