"""Training in the notebook: `fit` runs the loop, `Run` is what comes back."""

from segnb.train.fitting import fit
from segnb.train.run import Run

__all__ = ["Run", "fit"]
