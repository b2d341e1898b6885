"""The same logits from less work."""

from segnb.optimizing.model import InferenceModel, optimize

__all__ = ["InferenceModel", "optimize"]
