"""What every comparison with another library needs."""

import os
from pathlib import Path

import torch
from torch import nn


def randomise_statistics(model):
    """Give batch normalisation something to do: fresh statistics are 0 and 1."""
    random = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def assert_same_logits(expected, found, share=1e-4):
    """The same shape, the largest difference at most a share of the largest logit, and not two constants."""
    assert found.shape == expected.shape
    assert expected.std() > 0.05 * expected.abs().max()
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if notes := os.environ.get("SEGNB_PARITY_NOTES"):  # see benchmarks/architectures.py
        with Path(notes).open("a") as file:
            file.write(f"{os.environ['PYTEST_CURRENT_TEST'].removesuffix(' (call)')}\t{difference:.3g}\n")
    assert difference <= share
