"""Scores of label maps, of boundaries and of confidence; read in the order confusion, scores, boundaries, calibration."""

from segnb.metrics.boundaries import BOUNDARY_SCORES, boundary_iou, boundary_scores, surface_distances
from segnb.metrics.calibration import CalibrationBins
from segnb.metrics.confusion import ConfusionMatrix, MultilabelConfusionMatrix, confusion_matrices

__all__ = [
    "BOUNDARY_SCORES",
    "CalibrationBins",
    "ConfusionMatrix",
    "MultilabelConfusionMatrix",
    "boundary_iou",
    "boundary_scores",
    "confusion_matrices",
    "surface_distances",
]
