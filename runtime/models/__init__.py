"""Language models as the decoders see them: an interface, ancestral sampling, and a loader for Hugging Face
directories.

Importing this package never imports torch; `load_model` does, when it is called.

Exception root of this layer: `ModelError` (a model that is missing, broken, not usable here, or asked for too much).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bylaw.runtime.models.interface import LanguageModel, Message, ModelError, Session, Vocabulary
from bylaw.runtime.models.sampling import BaseSample, sample_base

if TYPE_CHECKING:
    from bylaw.runtime.models.huggingface import HuggingFaceModel

__all__ = [
    "BaseSample",
    "LanguageModel",
    "Message",
    "ModelError",
    "Session",
    "Vocabulary",
    "load_model",
    "sample_base",
]


def load_model(
    path_or_id: str | Path, *, temperature: float = 1.0, allow_download: bool = False, device: str = "cpu"
) -> HuggingFaceModel:
    """Load a causal language model with its tokenizer; see `bylaw.runtime.models.huggingface.load_model`.

    Raises `ModelError` also when torch or transformers is not installed.
    """
    try:
        from bylaw.runtime.models import huggingface
    except ImportError as error:
        raise ModelError(
            f"a local model needs the extra `bylaw[models]`, and `{error.name}` is not installed"
        ) from error
    return huggingface.load_model(path_or_id, temperature=temperature, allow_download=allow_download, device=device)
