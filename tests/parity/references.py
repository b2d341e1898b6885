"""What every comparison with another library needs."""

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
    assert (found - expected).abs().max() <= share * expected.abs().max()
    assert expected.std() > 0.05 * expected.abs().max()
