"""Causal language models from a Hugging Face directory. The only module of this package that imports torch.

Weights are read from safetensors files only and no code from the directory is run. Prompts of different lengths share a
batch by padding on the left, with an attention mask and position ids, which changes log-probabilities by rounding only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as transformers_logging

from bylaw.runtime.models.interface import (
    FloatArray,
    IntArray,
    Message,
    ModelError,
    OutOfMemory,
    Vocabulary,
)
from bylaw.runtime.models.tokenbytes import read_vocabulary, verify_vocabulary

_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer.json")
_FULL = re.compile("out of memory|can't allocate memory|not enough memory")
_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")


def load_model(
    path_or_id: str | Path,
    *,
    temperature: float = 1.0,
    allow_download: bool = False,
    device: str = "cpu",
    name: str | None = None,
) -> HuggingFaceModel:
    """Load a model directory, or with `allow_download` a model of the Hugging Face hub by its id.

    `temperature` > 0 divides the logits and is part of the law p0. `name` is for reports; without it the directory's
    name is used. Raises `ModelError` when the directory is missing,
    holds no causal language model in safetensors, or its tokenizer's bytes cannot be established.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ModelError(f"the temperature must be a positive number, not {temperature}")
    directory = _directory(path_or_id, allow_download)
    config_file = directory / "config.json"
    if not config_file.is_file():
        raise ModelError(f"`{directory}` is not a model: it has no config.json")
    if not any(directory.glob("*.safetensors")):
        raise ModelError(f"`{directory}` holds no weights in safetensors files (other formats are not read)")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        kinds = [str(kind) for kind in config.get("architectures") or ()]
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"`{config_file}` is not valid JSON for a model: {error}") from error
    if kinds and not any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds):
        # transformers would build the causal sister of such a model, which the weights were never trained for
        raise ModelError(f"`{directory}` holds a `{kinds[0]}`, which is not a causal language model")
    tokenizer = _load_tokenizer(directory)
    try:
        network = _load_network(directory).to(device)
    except (RuntimeError, AssertionError) as error:  # torch's errors for unknown, absent or full devices
        raise ModelError(f"the device `{device}` cannot be used: {_first_line(error)}") from error
    head = network.get_output_embeddings()
    if head is None:
        raise ModelError(f"the model in `{directory}` has no output layer over tokens")
    size = int(head.weight.shape[0])
    eos_ids = _eos_ids(directory, network, tokenizer, size)
    try:
        vocabulary = read_vocabulary(description := json.loads(tokenizer.backend_tokenizer.to_str()), size, eos_ids)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the tokenizer in `{directory}` cannot be read: {error}") from error
    verify_vocabulary(vocabulary, lambda text: list(tokenizer.encode(text, add_special_tokens=False)), description)
    return HuggingFaceModel(
        network, tokenizer, vocabulary, name or directory.name, _digest(directory), float(temperature)
    )


class HuggingFaceModel:
    """A `LanguageModel` backed by transformers. `temperature` is applied to every log-probability it gives."""

    def __init__(
        self, network: Any, tokenizer: Any, vocabulary: Vocabulary, name: str, digest: str, temperature: float
    ) -> None:
        self.network = self._network = network
        self.tokenizer = self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._name = name
        self._digest = digest
        self._temperature = temperature

    @property
    def name(self) -> str:
        return self._name

    @property
    def digest(self) -> str:
        """sha256 over weights, configuration and tokenizer files; the temperature is not in it."""
        return self._digest

    @property
    def parameters(self) -> int:
        """How many numbers the weights have."""
        return int(self._network.num_parameters())

    @property
    def temperature(self) -> float:
        return self._temperature

    @property
    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    @property
    def context(self) -> int | None:
        """The most tokens of prompt and response together, or None when the configuration states no limit."""
        limit = getattr(self._network.config, "max_position_embeddings", None)
        return int(limit) if limit else None

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """With a chat template: the template with its generation prompt. Without one: the contents of all messages
        joined by newlines, in order, with the tokenizer's own first tokens; for no messages, the beginning-of-text
        token alone.

        Raises `ModelError` when the template refuses the messages or nothing is left to start from.
        """
        tokenizer = self._tokenizer
        for message in messages:
            # a template would print a missing field as nothing
            if not (isinstance(message.get("role"), str) and isinstance(message.get("content"), str)):
                raise ModelError("a message needs a role and a content, both texts")
        if getattr(tokenizer, "chat_template", None):
            try:
                ids = tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=False,
                )
            except Exception as error:  # templates raise what they like: jinja2 errors, IndexError, ValueError
                raise ModelError(f"the chat template of `{self.name}` refuses these messages: {error}") from error
        else:
            joined = "\n".join(message["content"] for message in messages)
            ids = tokenizer.encode(joined) if joined else []
            while ids and ids[-1] == tokenizer.eos_token_id:
                ids = ids[:-1]
        start = tokenizer.bos_token_id
        prompt = tuple(int(i) for i in ids) or (() if start is None else (int(start),))
        if not prompt:
            raise ModelError(f"`{self.name}` has no beginning-of-text token, so an empty prompt is not possible")
        return prompt

    def session(self, prompts: Sequence[tuple[int, ...]], *, hidden: bool = False) -> HuggingFaceSession:
        """Prefill each distinct prompt once and repeat its cache. Raises `ModelError` for empty or too long prompts.

        With `hidden` the session can tell its `last_hidden` states.
        """
        if not prompts or any(not prompt for prompt in prompts):
            raise ModelError("a session needs one prompt at least, and every prompt needs one token at least")
        return HuggingFaceSession(self._network, self._vocabulary, self._temperature, self.context, prompts, hidden)


class HuggingFaceSession:
    """A batch with its key-value cache; see `Session`."""

    def __init__(
        self,
        network: Any,
        vocabulary: Vocabulary,
        temperature: float,
        context: int | None,
        prompts: Sequence[tuple[int, ...]],
        hidden: bool = False,
    ) -> None:
        self._network = network
        self._temperature = temperature
        self._context = context
        self._wants_hidden = hidden
        self._hidden: Any = None
        possible = vocabulary.regular.copy()
        possible[vocabulary.end_ids] = True
        self._impossible = None if possible.all() else ~possible
        distinct = list(dict.fromkeys(prompts))
        width = max(map(len, distinct))
        ids, mask = torch.zeros((2, len(distinct), width), dtype=torch.long)
        for row, prompt in enumerate(distinct):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        self._logits: Any = None
        self._lengths = np.array([len(prompt) for prompt in distinct], dtype=np.int64)
        # without padding no mask is needed, and attention takes its faster path
        self._mask: Any = None if bool(mask.all()) else mask.to(network.device)
        self._cache: Any = DynamicCache(config=network.config)
        self._cache.layers = [_GrowingLayer() if type(layer) is DynamicLayer else layer for layer in self._cache.layers]
        self._forward(ids, (mask.cumsum(1) - 1).clamp(min=0))
        index = {prompt: row for row, prompt in enumerate(distinct)}
        if len(distinct) < len(prompts):
            self.select(np.array([index[prompt] for prompt in prompts], dtype=np.int64))

    def log_probs(self) -> FloatArray:
        scores: FloatArray = self._logits.numpy().astype(np.float64)
        if self._temperature != 1.0:
            scores /= self._temperature
        if self._impossible is not None:
            scores[:, self._impossible] = -np.inf
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores

    def last_hidden(self) -> FloatArray:
        """[N, H]: what the output layer sees of the last tokens. Raises `ModelError` unless it was asked for."""
        if self._hidden is None:
            raise ModelError("this session was begun without hidden states")
        states: FloatArray = self._hidden.numpy().astype(np.float64)
        return states

    def advance(self, tokens: IntArray) -> None:
        positions = torch.from_numpy(self._lengths)[:, None]
        if self._mask is not None:
            ones = torch.ones((len(tokens), 1), dtype=torch.long, device=self._mask.device)
            self._mask = torch.cat([self._mask, ones], dim=1)
        self._lengths = self._lengths + 1
        self._forward(torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))[:, None], positions)

    def select(self, indices: IntArray) -> None:
        chosen = torch.from_numpy(np.ascontiguousarray(indices, dtype=np.int64))
        self._lengths = self._lengths[indices]
        self._logits = self._logits[chosen]
        if self._hidden is not None:
            self._hidden = self._hidden[chosen]
        on_device = chosen.to(self._network.device)
        if self._mask is not None:
            self._mask = self._mask[on_device]
        with _memory(len(indices)):
            self._cache.batch_select_indices(on_device)

    def _forward(self, ids: Any, positions: Any) -> None:
        """Run the network on [N, T] new tokens and keep the logits of the last: [N, V], float32, on the host."""
        longest = int(self._lengths.max())
        if self._context is not None and longest > self._context:
            raise ModelError(
                f"prompt and response of {longest} tokens exceed the model's context of {self._context} tokens"
            )
        device = self._network.device
        with torch.inference_mode(), _memory(len(ids)):
            out = self._network(
                input_ids=ids.to(device),
                attention_mask=self._mask,
                position_ids=positions.to(device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
                output_hidden_states=self._wants_hidden,
            )
            self._logits = out.logits[:, -1].float().cpu()
            if self._wants_hidden:
                self._hidden = out.hidden_states[-1][:, -1].float().cpu()


@contextmanager
def _memory(rows: int) -> Iterator[None]:
    """Tells that memory ran out from whatever else may go wrong, on the host and on a device."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error)
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not _FULL.search(said):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(f"a batch of {rows} rows does not fit into memory: {_first_line(error)}") from error


class _GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """A cache layer that grows by doubling its buffers, where `DynamicLayer` copies the whole cache for every token.

    `keys` and `values` ([N, heads, T, width]) are views of the first T places of the buffers.
    """

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        used = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = (key_states[:, :, :0], value_states[:, :, :0])
        total = used + key_states.shape[-2]
        if total > self._buffers[0].shape[-2]:
            self._buffers = (_grown(self._buffers[0], used, total), _grown(self._buffers[1], used, total))
        self._buffers[0][:, :, used:total] = key_states
        self._buffers[1][:, :, used:total] = value_states
        self._show(total)
        return self.keys, self.values

    def batch_select_indices(self, indices: Any) -> None:
        total = self.get_seq_length()
        if total > 0:
            self._buffers = (self._buffers[0].index_select(0, indices), self._buffers[1].index_select(0, indices))
            self._show(total)

    def _show(self, total: int) -> None:
        self.keys = self._buffers[0][:, :, :total]
        self.values = self._buffers[1][:, :, :total]


def _grown(buffer: Any, used: int, total: int) -> Any:
    """A buffer for at least `total` places with the first `used` places of `buffer`."""
    rows, heads, _, width = buffer.shape
    larger = buffer.new_empty((rows, heads, max(64, 2 * total), width))
    larger[:, :, :used] = buffer[:, :, :used]
    return larger


def _directory(path_or_id: str | Path, allow_download: bool) -> Path:
    path = Path(path_or_id)
    if path.is_dir():
        return path.resolve()
    if not allow_download:
        raise ModelError(f"there is no model directory `{path_or_id}`, and downloading was not allowed")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(path_or_id), allow_patterns=[*_FILES, *_TOKENIZER_FILES]))
    except Exception as error:  # the hub client raises network, validation and file errors without a common root
        raise ModelError(f"`{path_or_id}` could not be downloaded: {error}") from error


def _load_tokenizer(directory: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers and tokenizers raise OSError, ValueError and bare Exception here
        raise ModelError(f"the tokenizer in `{directory}` cannot be loaded: {_first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"the tokenizer in `{directory}` has no tokenizer.json, which is needed to know its bytes")
    return tokenizer


def _load_network(directory: Path) -> Any:
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(str(directory), trust_remote_code=False, local_files_only=True)
        network, report = AutoModelForCausalLM.from_pretrained(
            str(directory),
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # a directory can be broken in ways that raise any of a dozen types
        raise ModelError(f"`{directory}` is not a usable causal language model: {_first_line(error)}") from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would fill these with random numbers and only warn
        raise ModelError(f"the weights in `{directory}` lack {len(missing)} tensors, `{missing[0]}` first")
    return network.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _eos_ids(directory: Path, network: Any, tokenizer: Any, size: int) -> frozenset[int]:
    """End tokens of generation_config.json (else of config.json) and of the tokenizer."""
    found: list[int | list[int] | None] = [tokenizer.eos_token_id, getattr(network.config, "eos_token_id", None)]
    if (directory / "generation_config.json").is_file():
        try:
            found.append(GenerationConfig.from_pretrained(str(directory), local_files_only=True).eos_token_id)
        except (OSError, ValueError) as error:
            raise ModelError(f"generation_config.json in `{directory}` cannot be read: {_first_line(error)}") from error
    flat = [i for entry in found if entry is not None for i in (entry if isinstance(entry, list) else [entry])]
    ids = frozenset(int(i) for i in flat if 0 <= int(i) < size)
    if not ids:
        raise ModelError(f"the model in `{directory}` states no end-of-text token")
    return ids


def _digest(directory: Path) -> str:
    """sha256 over names and contents of the files that fix the law, in order of their names."""
    total = hashlib.sha256()
    files = {file for pattern in (*_FILES, *_TOKENIZER_FILES) for file in directory.glob(pattern)}
    for file in sorted(files, key=lambda item: item.name):
        content = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                content.update(block)
        total.update(f"{file.name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()
