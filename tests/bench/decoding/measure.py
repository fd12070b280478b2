"""From independent runs to laws, distances with their noise, and rows of a table.

A run produces one response; what it says of the law of that response is the share of each candidate (the law of the
resampling is known, so nothing is drawn for it). The mean over runs is unbiased for the law, and its TV to p* is too
large by noise; `tv_low` pairs the signs of one half of the runs with the differences of the other, which is never too
large in the mean. So the true distance lies between `tv_low` and `tv`, up to the noise of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from decoding.models import FloatArray, Tokens
from decoding.truth import Truth


@dataclass(frozen=True)
class Run:
    """Candidates with their shares [n], log Ẑ in nats (nan: none), effective size, unique prefixes, acceptance."""

    tokens: tuple[Tokens, ...]
    share: FloatArray
    log_z: float
    ess: float
    passes: int
    acceptance: float = math.nan
    log_beta: float = math.nan


@dataclass(frozen=True)
class Row:
    """One line of a table. `how`: `exact` for closed forms, `runs` for independent runs; nan is not known.

    `floor`: TV that the mean law of that many runs would have by noise alone. `gap`: log Z − E log Ẑ, nats, `error` its
    standard error. `drift`: (mean Ẑ − Z) in standard errors. `ready`: share of runs with a response.
    """

    name: str
    size: int
    how: str
    passes: float
    tv: float = math.nan
    tv_low: float = math.nan
    floor: float = math.nan
    kl: float = math.nan
    gap: float = math.nan
    error: float = math.nan
    drift: float = math.nan
    ess: float = math.nan
    acceptance: float = math.nan
    runs: int = 0
    ready: float = 1.0
    seconds: float = math.nan


def exact_row(truth: Truth, name: str, size: int, law: FloatArray, passes: float, **other: float) -> Row:
    """A row of a law that is known; `law` may lack the chance of no response."""
    return Row(name, size, "exact", passes, truth.tv(law), truth.tv(law), 0.0, truth.kl(law), ready=law.sum(), **other)


def laws(truth: Truth, runs: Sequence[Run]) -> FloatArray:
    """[2, Y] mean laws of the even and the odd runs that have a response."""
    total = np.zeros((2, len(truth.responses)))
    counts = np.zeros(2)
    for number, run in enumerate(runs):
        if len(run.tokens):
            counts[number % 2] += 1
            np.add.at(total[number % 2], [truth.index[tokens] for tokens in run.tokens], run.share)
    return total / np.maximum(counts, 1)[:, None]


def distances(truth: Truth, runs: Sequence[Run]) -> tuple[float, float, float]:
    """(TV of the mean law, its lower companion, the noise floor)."""
    halves = laws(truth, runs)
    mean = halves.mean(axis=0)
    first, second = halves - truth.target
    low = 0.25 * float(np.sign(first) @ second + np.sign(second) @ first)
    squares, count = np.zeros(len(truth.responses)), 0
    for run in runs:
        if len(run.tokens):
            count += 1
            at: dict[int, float] = {}
            for tokens, share in zip(run.tokens, run.share, strict=True):
                row = truth.index[tokens]
                at[row] = at.get(row, 0.0) + float(share)
            squares[list(at)] += np.square(list(at.values()))
    variance = np.maximum(squares / max(count, 1) - mean**2, 0.0) / max(count - 1, 1)
    # a response that was never met has no variance of its own: its share is a rare event
    noise = np.where(mean > 0, np.sqrt(2 * variance / np.pi), truth.target)
    return truth.tv(mean), max(low, 0.0), 0.5 * float(noise.sum())


def gap_of(log_z: float, estimates: FloatArray) -> tuple[float, float, float]:
    """(log Z − E log Ẑ, its standard error, (mean Ẑ − Z) in standard errors), nats; Z is known and E Ẑ = Z.

    Ẑ/Z − 1 has the mean 0, so that Ẑ/Z − 1 − log(Ẑ/Z) has the mean of the gap and less noise where Ẑ is near Z; of the
    two the one with the smaller error is taken, the plain one where few runs leave the mean of Ẑ unseen.
    """
    known = estimates[~np.isnan(estimates)]
    if len(known) < 2 or not np.isfinite(known).all():
        return (math.nan if len(known) < 2 else math.inf), math.nan, math.nan
    off = known - log_z
    ratio = np.exp(off)
    root = math.sqrt(len(known))
    drift = float((ratio.mean() - 1.0) / max(ratio.std(ddof=1) / root, 1e-12))
    ways = [-off, ratio - 1.0 - off] if len(known) >= 12 and abs(drift) < 3 else [-off]
    best = min(ways, key=lambda way: float(way.std()))
    return float(best.mean()), float(best.std(ddof=1) / root), drift


def run_row(name: str, size: int, runs: Sequence[Run], seconds: float, log_z: float, truth: Truth | None = None) -> Row:
    """A row from independent runs; with `truth`, distances too."""
    tv, low, floor = distances(truth, runs) if truth is not None else (math.nan, math.nan, math.nan)
    gap, error, drift = gap_of(log_z, np.array([run.log_z for run in runs]))
    accepted = np.array([run.acceptance for run in runs])
    return Row(
        name, size, "runs", float(np.mean([run.passes for run in runs])), tv, low, floor, gap=gap, error=error,
        drift=drift, ess=float(np.mean([run.ess for run in runs])),
        acceptance=float(np.nanmean(accepted)) if np.isfinite(accepted).any() else math.nan,
        runs=len(runs), ready=float(np.mean([len(run.tokens) > 0 for run in runs])), seconds=seconds / len(runs),
    )  # fmt: skip


def number(value: float, digits: int = 3) -> str:
    """A number of a table; a dash where it is not known."""
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}" if math.isfinite(value) else "∞"


def table(rows: Sequence[Row]) -> str:
    """A table; distances only where some row has them."""
    with_laws = any(not math.isnan(row.tv) for row in rows)
    distances_head = f"{'TV':>8}{'TV low':>8}{'floor':>7}{'KL':>7}" if with_laws else ""
    head = (
        f"{'decoder':<36}{'size':>6}{'law':>7}{'passes':>9}{distances_head}"
        f"{'log Z gap':>18}{'drift':>7}{'ESS':>7}{'accept':>8}{'some':>6}{'runs':>6}{'ms/run':>8}"
    )
    lines = [head, "-" * len(head)]
    for row in rows:
        gap = number(row.gap) + (f" ± {row.error:.3f}" if math.isfinite(row.error) else "")
        laws = f"{number(row.tv):>8}{number(row.tv_low):>8}{number(row.floor):>7}{number(row.kl, 2):>7}"
        lines.append(
            f"{row.name:<36}{row.size or '':>6}{row.how:>7}{row.passes:>9.1f}{laws if with_laws else ''}"
            f"{gap:>18}{number(row.drift, 1):>7}{number(row.ess, 1):>7}{number(row.acceptance):>8}"
            f"{number(row.ready, 2):>6}{row.runs or '–':>6}{number(1000 * row.seconds, 1):>8}"
        )
    return "\n".join(lines)


def passes_to(rows: Sequence[Row], distance: float, *, low: bool) -> float:
    """Passes at which a decoder's rows reach a TV, by interpolation between logarithms; inf where they do not.

    `low` reads the lower companion of the TV, in favour of the decoder.
    """
    ways = sorted((row.passes, row.tv_low if low else row.tv) for row in rows)
    best = math.inf
    for (cost, tv), (more, less) in itertools.pairwise(ways):
        if tv > distance >= less:
            share = math.log(tv / distance) / math.log(tv / max(less, 1e-4))
            best = min(best, math.exp(math.log(cost) + share * math.log(more / cost)))
    return min([best, *(cost for cost, tv in ways if tv <= distance)])
