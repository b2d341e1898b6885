"""What a model costs to run."""

from segnb.profiling.measuring import profile
from segnb.profiling.report import Latency, Profile

__all__ = ["Latency", "Profile", "profile"]
