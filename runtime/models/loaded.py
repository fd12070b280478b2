"""A network and a tokenizer that somebody has loaded already, as a language model of ours."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.models.interface import ModelError
from bylaw.runtime.models.tokenbytes import read_vocabulary, verify_vocabulary


def from_loaded(
    network: Any, tokenizer: Any, *, temperature: float = 1.0, name: str | None = None, digest: str | None = None
) -> HuggingFaceModel:
    """A `transformers` causal language model with its fast tokenizer; neither is copied or changed.

    `temperature` > 0 divides the logits and is part of the law p0. End-of-text tokens are those of the network's
    generation configuration, of its configuration and of the tokenizer. `digest` (hexadecimal) names the law in
    records; without it the weights are hashed, which takes a second per gigabyte or so. Raises ModelError for a network
    in training mode or without an output layer, and for a tokenizer whose bytes cannot be established.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ModelError(f"the temperature must be a positive number, not {temperature}")
    if getattr(network, "training", False):
        raise ModelError("the network is in training mode, where its answers are random: call its `eval()` first")
    head = network.get_output_embeddings()
    if head is None:
        raise ModelError("the network has no output layer over tokens")
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("the tokenizer is not a fast one, which is needed to know its bytes")
    size = int(head.weight.shape[0])
    text = tokenizer.backend_tokenizer.to_str()
    try:
        vocabulary = read_vocabulary(description := json.loads(text), size, _eos_ids(network, tokenizer, size))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the tokenizer cannot be read: {error}") from error
    verify_vocabulary(vocabulary, lambda said: list(tokenizer.encode(said, add_special_tokens=False)), description)
    named = name or str(getattr(network, "name_or_path", "")) or type(network).__name__
    found = digest or _digest(network, text)
    return HuggingFaceModel(network, tokenizer, vocabulary, named, found, float(temperature))


def _eos_ids(network: Any, tokenizer: Any, size: int) -> frozenset[int]:
    configured = getattr(network, "generation_config", None), getattr(network, "config", None), tokenizer
    found = [getattr(each, "eos_token_id", None) for each in configured]
    flat = [i for entry in found if entry is not None for i in (entry if isinstance(entry, list) else [entry])]
    ids = frozenset(int(i) for i in flat if 0 <= int(i) < size)
    if not ids:
        raise ModelError("the network and its tokenizer state no end-of-text token")
    return ids


def _digest(network: Any, tokenizer: str) -> str:
    """sha256 over the names, shapes and bytes of all weights and over the tokenizer."""
    import torch

    total = hashlib.sha256(tokenizer.encode("utf-8", "surrogatepass"))
    for name, weight in sorted(network.state_dict().items()):
        total.update(f"{name}\0{weight.dtype}\0{tuple(weight.shape)}\n".encode())
        flat = weight.detach().contiguous().cpu().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()
