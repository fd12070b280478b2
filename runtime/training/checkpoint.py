"""Checkpoints of a run: everything that the rest depends on, in safetensors and JSON, written whole or not at all.

A checkpoint is a folder `step-...` with `policy.safetensors` (the trained weights), `optimiser.safetensors`, in
the middle of a round `round.safetensors` (its rows and batch), and `state.json` with the digests of the others. It
is made under another name and renamed, so that what has its name is whole; a folder whose digests do not fit is not
read. Random numbers need no state: each has a seed of the run and of its place in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bylaw.runtime.objectives.interface import Batch
from bylaw.runtime.training.batches import Round
from bylaw.runtime.training.errors import CheckpointError
from bylaw.runtime.training.network import TokenRow

FORMAT = "bylaw training checkpoint 1"
STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is. `step`: steps of the optimiser taken; `round`: the one that is being trained, or comes next;
    `within`: steps taken in it. `multipliers` (nats, by term): of now, and `proposal`: those that the rows at hand
    were drawn with. `ascent`: state of the dual ascent, `totals`: sums of this round's losses,
    `lines`: of metrics.jsonl. `passes`: rows of the network evaluated. `base`, `last`: evaluations.
    `stopped`: why the run ended. `pending`: what this round's line of metrics.jsonl will say."""

    step: int = 0
    round: int = 0
    within: int = 0
    multipliers: Mapping[str, float] | None = None
    proposal: Mapping[str, float] | None = None
    ascent: Mapping[str, Any] | None = None
    totals: Mapping[str, tuple[float, float]] | None = None
    lines: int = 0
    passes: int = 0
    base: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = None
    stopped: str | None = None
    pending: Mapping[str, Any] | None = None

    def moved(self, **changes: Any) -> Position:
        """The same with changes."""
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint that was read."""

    position: Position
    weights: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    round: Round | None


def write(
    folder: Path,
    identity: str,
    position: Position,
    weights: Mapping[str, Tensor],
    optimiser: Mapping[str, Tensor],
    current: Round | None,
    keep: int,
) -> Path:
    """Writes a checkpoint into `folder` and removes all but the newest `keep`. `identity`: what the run
    is, hexadecimal.

    Raises CheckpointError where it cannot be written; earlier ones stay as they are.
    """
    name = f"step-{position.step:08d}-{position.lines:06d}"
    beside, before = (folder / f".{name}.{os.getpid()}.{kind}" for kind in ("part", "old.part"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        parts = {"policy": weights, "optimiser": optimiser} | ({} if current is None else {"round": _packed(current)})
        files = {}
        for part, tensors in parts.items():
            path = beside / f"{part}.safetensors"
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, str(path))
            files[path.name] = _synced(path)
        state = {"format": FORMAT, "identity": identity, "files": files, "position": asdict(position)}
        (beside / STATE).write_text(json.dumps(state, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        _synced(beside / STATE)
        final = folder / name
        if final.exists():  # the same place of the same run, but for how it ended
            os.replace(final, before)
        os.replace(beside, final)
    except (OSError, SafetensorError) as error:
        told = (getattr(error, "strerror", None) or str(error)).lower()
        raise CheckpointError(
            f"no checkpoint could be written to `{folder}`: {told}; earlier ones are kept, and the same command goes "
            "on from the last"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
    for old in _folders(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest(folder: Path, identity: str) -> tuple[Loaded | None, tuple[str, ...]]:
    """(the newest whole checkpoint, None where there is none; what was passed over, in words).

    Raises CheckpointError where the checkpoints are those of another run, or every one is damaged.
    """
    remarks: list[str] = []
    found = _folders(folder)
    for path in reversed(found):
        try:
            return _read(path, identity), tuple(remarks)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            remarks.append(f"the checkpoint `{path}` is damaged ({error}); an earlier one is used")
    if found:
        raise CheckpointError(f"every checkpoint in `{folder}` is damaged; remove `{folder.parent}` to begin again")
    return None, ()


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.startswith("step-"))


def _read(path: Path, identity: str) -> Loaded:
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    if state["format"] != FORMAT or state["identity"] != identity:
        raise CheckpointError(
            f"`{path.parent.parent}` holds another run: its policy, model, prompts or settings were others; choose "
            "another folder with --out, or remove this one to begin again"
        )
    for name, digest in state["files"].items():
        if _digest(path / name) != digest:
            raise ValueError(f"`{name}` is not what was written")
    tensors = {name: load_file(str(path / name)) for name in state["files"]}
    position = Position(**state["position"])
    if position.totals is not None:
        position = position.moved(totals={name: (pair[0], pair[1]) for name, pair in position.totals.items()})
    current = tensors.get("round.safetensors")
    return Loaded(
        position,
        tensors["policy.safetensors"],
        tensors["optimiser.safetensors"],
        None if current is None else _unpacked(current),
    )


def _packed(current: Round) -> dict[str, Tensor]:
    batch = {each.name: getattr(current.batch, each.name) for each in fields(current.batch)}
    # fields may share their memory, which the format does not allow
    made = {f"batch.{name}": value.clone() for name, value in batch.items() if value is not None}
    rows = current.rows
    made["rows.prompt"] = torch.tensor([token for row in rows for token in row.prompt])
    made["rows.response"] = torch.tensor([token for row in rows for token in row.response], dtype=torch.long)
    made["rows.shape"] = torch.tensor([[len(row.prompt), len(row.response), int(row.ended)] for row in rows])
    return made


def _unpacked(tensors: Mapping[str, Tensor]) -> Round:
    batch = {name.removeprefix("batch."): value for name, value in tensors.items() if name.startswith("batch.")}
    prompt, response = tensors["rows.prompt"].tolist(), tensors["rows.response"].tolist()
    known: dict[TokenRow, TokenRow] = {}
    rows, at, then = [], 0, 0
    for first, second, ended in tensors["rows.shape"].tolist():
        row = TokenRow(tuple(prompt[at : at + first]), tuple(response[then : then + second]), bool(ended))
        rows.append(known.setdefault(row, row))
        at, then = at + first, then + second
    return Round(tuple(rows), Batch(**batch))


def _synced(path: Path) -> str:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Removes what an interrupt left unfinished."""
    for left in folder.glob(".step-*.part") if folder.is_dir() else ():
        with suppress(OSError):
            shutil.rmtree(left, ignore_errors=True)
