"""Training in the notebook: `fit` runs the loop, `Run` is what comes back."""

from segnb.train.find_lr import RateTest, find_lr
from segnb.train.fitting import fit
from segnb.train.logs import TensorBoard
from segnb.train.run import Callback, Run
from segnb.train.searching import search
from segnb.train.trials import Search

__all__ = ["Callback", "RateTest", "Run", "Search", "TensorBoard", "find_lr", "fit", "search"]
