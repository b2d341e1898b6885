"""From a picture, however it is given, to a label map that can be looked at and saved."""

from segnb.prediction.many import Predictions, SavedPredictions
from segnb.prediction.predicting import predict
from segnb.prediction.results import Prediction

__all__ = ["Prediction", "Predictions", "SavedPredictions", "predict"]
