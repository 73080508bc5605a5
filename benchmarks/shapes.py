"""The models whose block shapes the benchmarks measure."""

from __future__ import annotations

from postlude.cli import models
from postlude.cli.models import Shape

__all__ = ["MODELS", "Shape"]

MODELS = {
    name: models.MODELS[name] for name in ("bert-base", "bert-large", "gpt2-xl", "llama-3-8b")
}
