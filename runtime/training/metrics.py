"""What a run reports: lines of JSON that depend on the run alone, TensorBoard where it is installed, and a table."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.training.distance import Distances, law_weights
from bylaw.runtime.training.errors import CheckpointError
from bylaw.runtime.training.experience import Experience, rates
from bylaw.runtime.training.guard import findings, law_shape, shape_of
from bylaw.runtime.training.settings import Bounds


def measured(
    program: RewardProgram,
    policy: Experience,
    law: Experience,
    found: Distances,
    base_rates: Mapping[str, float],
    bounds: Bounds,
) -> dict[str, Any]:
    """One evaluation as JSON values: rules with their 95 % intervals, distances (nats), shape, what is suspicious.

    `law` are weighted rows; `base_rates` are empty before training.
    """
    weights = law_weights(law)
    under_law = rates(program, law, weights)
    reward = policy.log_reward
    allowed = reward[np.isfinite(reward)]
    return {
        "rules": {
            term.id: {
                "kind": term.kind,
                **_rate(policy, column, term.kind in ("graded", "budget")),
                "law": under_law.get(term.id),
                "multiplier": term.multiplier if term.kind == "budget" else None,
                "bound": term.bound,
            }
            for column, term in enumerate(program.terms)
        },
        "any_hard_rule_broken": {
            **_share(int((reward == -np.inf).sum()), len(policy)),
        },
        "reward": float(allowed.mean()) if len(allowed) else None,
        "law_reward": float((weights * np.where(weights > 0, law.log_reward, 0.0)).sum() / max(weights.sum(), 1e-300)),
        "kl_from_law": found.forward.as_json(),
        "kl_to_law": found.reverse.as_json(),
        "kl_to_law_where_allowed": found.reverse_allowed.as_json(),
        "kl_to_base": found.base.as_json(),
        "law_kl_to_base": found.law.as_json(),
        "law_ess": found.ess,
        "shape": asdict(shape_of(policy.tokens, policy.texts)),
        "law_shape": asdict(law_shape(law, policy)),
        "suspicious": list(findings(program, policy, law, found, dict(base_rates), bounds)) if base_rates else [],
    }


def _rate(rows: Experience, column: int, is_mean: bool) -> dict[str, float | int | None]:
    about = rows.counts[:, column] > 0
    total = int(about.sum())
    if not total:
        return {"rate": None, "low": None, "high": None, "answers": 0}
    if not is_mean:
        return _share(int((rows.violated[about, column] > 0).sum()), total)
    values = rows.values[about, column]
    if set(np.unique(values)) <= {0.0, 1.0}:
        return _share(int(values.sum()), total)
    half = 1.959963984540054 * float(values.std(ddof=1)) / total**0.5 if total > 1 else float("nan")
    mean = float(values.mean())
    return {
        "rate": mean,
        "low": mean - half if half == half else None,
        "high": mean + half if half == half else None,
        "answers": total,
    }


def _share(count: int, total: int) -> dict[str, float | int | None]:
    found = wilson(count, total)
    return {"rate": count / total, "low": found.low, "high": found.high, "answers": total}


@dataclass
class Metrics:
    """metrics.jsonl of a run in `folder`, and TensorBoard's files in `folder`/tensorboard where it is installed.

    A run that goes on keeps its first `lines`. Times are not in the lines, so that equal runs write equal files.
    """

    folder: Path
    lines: int = 0
    tensorboard: bool = True

    def __post_init__(self) -> None:
        self._writer: Any = None
        path = self.folder / "metrics.jsonl"
        try:
            kept = path.read_bytes().splitlines(keepends=True)[: self.lines] if path.exists() else []
            if len(kept) < self.lines:
                raise CheckpointError(f"`{path}` has fewer lines than its checkpoint knows of; remove `{self.folder}`")
            beside = path.with_name(f".metrics.{os.getpid()}.part")
            beside.write_bytes(b"".join(kept))
            os.replace(beside, path)
        except OSError as error:
            raise CheckpointError(f"`{path}` cannot be written: {_words(error)}") from None
        if self.tensorboard:
            try:
                module = importlib.import_module("torch.utils.tensorboard")
                self._writer = module.SummaryWriter(str(self.folder / "tensorboard"))
            except (ImportError, OSError):
                self._writer = None

    def add(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line, written to the disk. Raises CheckpointError where it cannot be."""
        line = json.dumps({"kind": kind, "step": step, **values}, allow_nan=False) + "\n"
        path = self.folder / "metrics.jsonl"
        try:
            with path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"`{path}` cannot be written: {_words(error)}; the last checkpoint is kept; the same command goes on"
            ) from None
        self.lines += 1
        if self._writer is not None:
            for name, value in _flat(kind, values):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """No more lines."""
        if self._writer is not None:
            self._writer.close()


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(f"{prefix}/{name}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{prefix}/{name}", float(value)))
    return found


def finite(value: float) -> float | None:
    """The number, None (null in JSON) where it is none."""
    return float(value) if np.isfinite(value) else None


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
