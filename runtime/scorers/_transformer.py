"""Reading a Hugging Face directory for scorers: safetensors only, no code from the directory, its content pinned.

The only module of this package that imports torch, and only when a scorer is made that needs it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.runtime.scorers.interface import ScorerError

FloatArray: TypeAlias = npt.NDArray[np.float64]
Kind: TypeAlias = Literal["encoder", "classifier"]
LONGEST_WINDOW = 512
"""Tokens that a network reads at once, where its configuration allows no fewer."""
MOST_WINDOWS = 64
"""Of one text; a longer one is not scored."""
BATCH_TOKENS = 8_192
"""Tokens, padding counted, that go through a network at once."""
_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json")
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "*.model",
)  # fmt: skip
_PIN = re.compile(r"sha256=([0-9a-f]{64})")


class TooLong(Exception):
    """A text has more windows than MOST_WINDOWS."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What `scored by NAME "PLACE#part#sha256=..."` names: a directory or hub id, parts of it, and the content that it
    must have (hexadecimal, empty: not pinned)."""

    place: str
    parts: tuple[str, ...]
    pin: str

    @staticmethod
    def read(argument: str | None, scorer: str, concept: str) -> Reference:
        """Raises ScorerError for an argument that names nothing, or whose pin is none."""
        place, *parts = (argument or "").split("#")
        if not place.strip():
            message = f'`{concept}` is scored by {scorer}, which needs a model: write `scored by {scorer} "DIRECTORY"`'
            raise ScorerError(message)
        pins = [part for part in parts if part.startswith("sha256")]
        found = [_PIN.fullmatch(pin) for pin in pins]
        if len(pins) > 1 or None in found:
            raise ScorerError(f"`{concept}`: `{pins[-1]}` is no `sha256=` with 64 digits from 0 to f")
        pin = "".join(match[1] for match in found if match)
        return Reference(place.strip(), tuple(part for part in parts if part not in pins), pin)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network with its tokenizer. `digest` is SHA-256 (hexadecimal) of all files that fix what it gives; `window` how
    many tokens it reads at once, those that begin and end a text counted; `before` and `after` are the ids of those."""

    name: str
    digest: str
    tokenizer: Any
    module: Any
    window: int
    before: list[int]
    after: list[int]

    def windows(self, text: str) -> list[tuple[list[int], tuple[int, int]]]:
        """A text in windows: token ids of each with those that begin and end it, and which characters they are.

        Raises TooLong.
        """
        said = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        ids, places = said["input_ids"], said["offset_mapping"]
        room = self.window - len(self.before) - len(self.after)
        if len(ids) > room * MOST_WINDOWS:
            raise TooLong
        found = []
        for start in range(0, max(len(ids), 1), room):
            part, spans = ids[start : start + room], places[start : start + room]
            whole = [*self.before, *part, *self.after]
            # an empty text is one token, so that there is something to read
            found.append(
                (whole or [self.tokenizer.pad_token_id or 0], (spans[0][0], spans[-1][1]) if spans else (0, 0))
            )
        return found

    def batches(self, windows: Sequence[list[int]]) -> Iterator[tuple[list[int], Any]]:
        """(which windows, what the network gives for them), windows of like length together. Padding is masked."""
        import torch

        order = sorted(range(len(windows)), key=lambda number: len(windows[number]))
        # a classifier that reads the last token has to know padding, or else gets one text at a time
        known = self.module.config.pad_token_id
        is_single = known is None and type(self.module).__name__.endswith("ForSequenceClassification")
        pad = next((mark for mark in (known, self.tokenizer.pad_token_id) if mark is not None), 0)
        while order:
            longest, size = 1, 0
            for size, number in enumerate(order, 1):
                longest = max(longest, len(windows[number]))
                if is_single or longest * (size + 1) > BATCH_TOKENS:
                    break
            batch, order = order[:size], order[size:]
            longest = max(1, *(len(windows[number]) for number in batch))
            ids = torch.full((len(batch), longest), pad, dtype=torch.long)
            mask = torch.zeros((len(batch), longest), dtype=torch.long)
            for row, number in enumerate(batch):
                ids[row, : len(windows[number])] = torch.tensor(windows[number], dtype=torch.long)
                mask[row, : len(windows[number])] = 1
            with torch.inference_mode():
                yield batch, (self.module(input_ids=ids, attention_mask=mask), mask)


def _positions(config: Any) -> int | None:
    """How many tokens have a position; None where a configuration states no limit. RoBERTa and its kin count positions
    from that of padding on."""
    most = getattr(config, "max_position_embeddings", None)
    if most is None:
        return None
    is_shifted = any(name in config.model_type for name in ("roberta", "camembert", "mpnet", "xmod", "longformer"))
    return int(most) - (int(config.pad_token_id or 0) + 1 if is_shifted else 0)


def _marks(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The token ids that the tokenizer puts before and after a text."""
    whole = list(tokenizer("a")["input_ids"])
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    return [], []


def load(reference: Reference, kind: Kind, base: Path, *, is_download_allowed: bool = False) -> Network:
    """The network of a directory (relative to `base`), or of the hub by id where that is allowed.

    Raises ScorerError for a directory that is not there, holds no safetensors, differs from its pin, or is no network
    of this kind; and where torch or transformers are not installed.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        if not _place(reference, base).is_dir():
            raise ScorerError(_not_there(reference, base)) from None
        raise ScorerError(f"`{reference.place}` needs torch and transformers: pip install 'bylaw[models]'") from None
    directory = _directory(reference, base, is_download_allowed)
    if not any(directory.glob("*.safetensors")):
        raise ScorerError(f"`{reference.place}` holds no weights in safetensors files (other formats are not read)")
    found = digest(directory)
    if reference.pin and found != reference.pin:
        message = f"`{reference.place}` is not what the policy names: its content is sha256={found}"
        raise ScorerError(f"{message}; if that is meant, write it into the policy")
    tokenizer, module = _loaded(directory, kind, reference.place)
    limits = (tokenizer.model_max_length, _positions(module.config), LONGEST_WINDOW)
    window = min(int(limit) for limit in limits if limit)
    before, after = _marks(tokenizer)
    if window <= len(before) + len(after):
        raise ScorerError(f"`{reference.place}` reads {window} tokens at once, which leaves no room for a text")
    return Network(directory.name, found, tokenizer, module, window, before, after)


def digest(directory: Path) -> str:
    """SHA-256 (hexadecimal) over names and contents of weights, configuration and tokenizer, in order of the names."""
    total = hashlib.sha256()
    files = {file for pattern in (*_FILES, *_TOKENIZER_FILES) for file in directory.glob(pattern)}
    for file in sorted(files, key=lambda item: item.name):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.name}\0{content}\n".encode())
    return total.hexdigest()


def _place(reference: Reference, base: Path) -> Path:
    return base / Path(reference.place).expanduser()


def _not_there(reference: Reference, base: Path) -> str:
    return f"there is no model directory `{_place(reference, base)}`"


def _directory(reference: Reference, base: Path, is_download_allowed: bool) -> Path:
    place = _place(reference, base)
    if place.is_dir():
        return place.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted, lacking = [*_FILES, *_TOKENIZER_FILES], _not_there(reference, base)
    try:
        found = Path(
            snapshot_download(reference.place, allow_patterns=wanted, local_files_only=not is_download_allowed)
        )  # fmt: skip
    except (LocalEntryNotFoundError, HFValidationError) as error:
        if is_download_allowed:
            raise ScorerError(f"{lacking}, and as a hub id it could not be downloaded: {_first_line(error)}") from error
        raise ScorerError(f"{lacking}, and no model of that name was fetched from the hub before") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ScorerError(f"{lacking}, and as a hub id it could not be downloaded: {_first_line(error)}") from error
    if not reference.pin:
        message = f"{lacking}; if a model of the hub is meant, name its content too"
        raise ScorerError(f'{message}: write `"{reference.place}#sha256={digest(found)}"`')
    return found


def _loaded(directory: Path, kind: Kind, shown: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    maker = AutoModel if kind == "encoder" else AutoModelForSequenceClassification
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        _require_kind(directory, kind, shown)
        tokenizer = AutoTokenizer.from_pretrained(str(directory), **safe)
        config = AutoConfig.from_pretrained(str(directory), **safe)
        module, report = maker.from_pretrained(
            str(directory), config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **safe
        )
    except ScorerError:
        raise
    except Exception as error:  # a directory can be broken in ways that raise any of a dozen types
        raise ScorerError(f"`{shown}` is not a usable {kind}: {_first_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    # transformers fills what is missing with random numbers; an encoder's pooler is not read here
    missing = sorted(name for name in report["missing_keys"] if kind == "classifier" or "pooler" not in name)
    if missing:
        raise ScorerError(f"the weights in `{shown}` lack {len(missing)} tensors, `{missing[0]}` first")
    if not getattr(tokenizer, "is_fast", False):
        raise ScorerError(f"the tokenizer in `{shown}` has no tokenizer.json")
    return tokenizer, module.eval()


def _require_kind(directory: Path, kind: Kind, shown: str) -> None:
    try:
        data = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        kinds = [str(each) for each in data.get("architectures") or ()]
    except OSError as error:
        raise ScorerError(f"`{shown}` is not a model: it has no config.json that can be read") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise ScorerError(f"config.json of `{shown}` is not valid JSON for a model") from error
    if kind == "classifier" and kinds and not any(each.endswith("ForSequenceClassification") for each in kinds):
        raise ScorerError(f"`{shown}` holds a `{kinds[0]}`, which is not a classifier of texts")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
