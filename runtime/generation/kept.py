"""Base samples that a calibration left behind, for the look-ahead of later answers."""

from __future__ import annotations

import json
from pathlib import Path

from bylaw.runtime.calibration.draws import Draw, base_name, collect
from bylaw.runtime.calibration.job import SAMPLES
from bylaw.runtime.calibration.sample_store import KEY_FILE, SampleStore, StoreError, StoreKey
from bylaw.runtime.generation.prepare import PrepareSettings
from bylaw.runtime.models.interface import LanguageModel


def kept_samples(folder: Path, model: LanguageModel, settings: PrepareSettings) -> tuple[Draw, ...]:
    """The base samples that `bylaw calibrate` left in `folder`; none where they are of another model or other settings.

    They are of its prompts, which are like those that are answered now: look-ahead that is counted on them is a guess
    as any other is, and the weights of the responses make up for it. What cannot be read counts as not there.
    """
    place = folder / SAMPLES
    try:
        found = json.loads((place / KEY_FILE).read_text(encoding="utf-8"))
        key = StoreKey(*(found[name] for name in ("model", "prompts", "temperature", "max_tokens", "seed")))
        if (key.model, key.temperature, key.max_tokens) != (model.digest, settings.temperature, settings.max_tokens):
            return ()
        store = SampleStore(place, key)
        beginning = base_name(0)[:-1]
        names = [path.name for path in sorted(place.glob(f"{beginning}*")) if path.name[len(beginning) :].isdigit()]
        shards = [
            store.get(name, index) for name in names for index in range(sum(1 for _ in (place / name).glob("*.jsonl")))
        ]
        rows = [row for shard in shards if shard is not None for row in shard]
        draws: list[list[Draw]] = [[] for _ in range(1 + max((int(row["prompt"]) for row in rows), default=-1))]
        collect(rows, draws)
        return tuple(draw for own in draws for draw in own)
    except (OSError, ValueError, KeyError, TypeError, IndexError, StoreError):
        return ()
