"""The default model: a small causal language model that ships with the package, and the code that made it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["default_model_path"]


def default_model_path() -> Path:
    """The Hugging Face directory of the default model; importing this needs neither torch nor transformers."""
    return Path(__file__).resolve().parent / "weights"
