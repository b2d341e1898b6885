"""How good is the model, on which classes, and on which pictures is it worst?

    data ─▶ same-size batches ─▶ model ─▶ label maps ─▶ one confusion matrix per picture ─▶ their sum
                                              │                    │                           │
                                           preview        worst pictures, intervals   IoU, Dice, precision ...

Only counts are kept, never logits, so a data set of any length fits in memory.
"""

from segnb.evaluation.batches import check_fits, evaluating, same_size_batches
from segnb.evaluation.measuring import evaluate
from segnb.evaluation.report import Report
from segnb.evaluation.validation import Picture, Validation, validate

__all__ = [
    "Picture",
    "Report",
    "Validation",
    "check_fits",
    "evaluate",
    "evaluating",
    "same_size_batches",
    "validate",
]
