"""What the tests of training share: a small run, an action at one moment of it, and comparisons of weights."""

import torch
from squares import CLASSES, TINY, squares

from segnb.data import SegmentationDataset
from segnb.models import create_model
from segnb.train import fit


def tiny_model(arch="unet", **options):
    """A small model, the same each time."""
    torch.manual_seed(0)
    return create_model(arch, TINY, None, classes=CLASSES, **options)


def square_sets(count=16, transform=None):
    """Training and validation pictures of squares."""
    return SegmentationDataset(*squares(count), CLASSES, transform), SegmentationDataset(*squares(4, seed=1), CLASSES)


def quick_fit(epochs=2, *, model=None, train=None, valid=None, **options):
    """Fit a small model for a few epochs of four steps; returns run and model."""
    model = tiny_model() if model is None else model
    squares_train, squares_valid = square_sets()
    options = {"batch_size": 4, "out": "run", **options}
    return fit(model, train or squares_train, valid or squares_valid, epochs, **options), model


class At:
    """Call something at one moment of a run: ``At("step", 2, 3, action)`` in step 3 of epoch 2."""

    def __init__(self, event, epoch, step, action):
        self.event, self.epoch, self.step, self.action = event, epoch, step, action

    def on_step(self, run):
        if self.event == "step" and (run.epoch, run.step) == (self.epoch, self.step):
            self.action(run)

    def on_epoch(self, run):
        if self.event == "epoch" and run.epoch == self.epoch:
            self.action(run)


class Every:
    """Call something at every step."""

    def __init__(self, action):
        self.on_step = action


class Recorder(torch.optim.SGD):
    """SGD that notes the learning rates and the norm of the gradient of every step it takes."""

    def __init__(self, groups, lr=0.1, **options):
        super().__init__(groups, lr=lr, **options)
        self.rates, self.norms = [], []

    def step(self, closure=None):
        self.rates.append([group["lr"] for group in self.param_groups])
        gradients = [p.grad.norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.norms.append(float(torch.stack(gradients or [torch.zeros(())]).norm()))
        return super().step(closure)


def recording(made, **options):
    """An ``optimizer=`` for `fit` that appends the recorders it makes to a list; the last one takes the steps."""

    def make(groups):
        made.append(Recorder(groups, **options))
        return made[-1]

    return make


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_time(history):
    return [{key: value for key, value in entry.items() if key not in ("seconds", "elapsed")} for entry in history]


def raising(error):
    def action(_):
        raise error

    return action
