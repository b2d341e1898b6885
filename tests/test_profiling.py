import json
from pathlib import Path

import pytest
import torch
from torch import nn

import segnb
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.profiling import Profile, profile

# resnet34, one class, 256²: SMP 0.6's parameters, and its GFLOP (2 × multiply-adds) to two digits.
# SegFormer is not here: ours mixes each level at its own size, which takes less.
SMP = [
    ("unet", 24_436_369, 15.63),
    ("unetplusplus", 26_078_609, 36.77),
    ("manet", 31_783_633, 16.63),
    ("linknet", 21_771_937, 10.06),
    ("fpn", 23_155_393, 13.71),
    ("deeplabv3", 26_007_105, 54.60),
    ("deeplabv3plus", 22_437_457, 15.77),
    ("pan", 21_475_816, 14.88),
    ("upernet", 29_599_681, 35.94),
]


def on_meta(*arguments, **options):
    """A model without values: counting needs none."""
    with torch.device("meta"):
        return create_model(*arguments, **options)


class Straight(nn.Module):
    """Two convolutions one after the other; all numbers can be worked out by hand."""

    in_channels = 3

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.decoder = nn.Conv2d(8, 2, 1, bias=False)
        self.dropout = nn.Dropout()

    def forward(self, image):
        return self.decoder(self.dropout(self.encoder(image.float())))


@pytest.mark.parametrize(("arch", "parameters", "gflop"), SMP)
def test_counts_are_those_of_smp(arch, parameters, gflop):
    found = profile(on_meta(arch, "resnet34", None), 256, batch_sizes=())
    assert found.parameters == parameters
    assert round(2 * found.multiply_adds / 1e9, 2) == gflop


class WithAuxiliary(nn.Module):
    """torchvision's models run their training-only head always."""

    in_channels = 3

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model.forward_all(image).logits


@pytest.mark.parametrize(
    ("arch", "encoder", "options", "parameters", "gmac"),
    [
        ("fcn", "resnet50", {"encoder_output_stride": 8, "auxiliary": True}, 35_322_218, 152.717),
        ("deeplabv3", "resnet50", {"encoder_output_stride": 8, "auxiliary": True}, 42_004_074, 178.722),
    ],
)
def test_counts_are_those_of_torchvision(arch, encoder, options, parameters, gmac):
    model = on_meta(arch, encoder, None, classes=21, **options)
    found = profile(WithAuxiliary(model), (520, 520), batch_sizes=())
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, gmac)


def test_the_readme_counts_the_same():
    file = Path(__file__).parents[1] / "benchmarks" / "results" / "architectures.json"
    row = json.loads(file.read_text())["dpt"]
    found = profile(on_meta("dpt", row["encoder"], None), row["size"], batch_sizes=())
    assert (found.parameters, round(found.multiply_adds / 1e9, 2)) == (row["parameters"], row["gmac"])


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_counts_on_every_device(device):
    class Attention(nn.Conv2d):
        in_channels = 1

        def forward(self, image):
            tokens = image.float().reshape(1, 2, 6, 4)  # two heads, six tokens of four numbers
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    found = profile(Attention(1, 1, 1, device=device), (6, 8), batch_sizes=())
    assert found.multiply_adds == 2 * (6 * 6 * 4 + 6 * 6 * 4)  # queries with keys, then weights with values


def test_numbers_worked_out_by_hand():
    model = Straight()
    model.encoder.requires_grad_(False)
    found = profile(model, (10, 20), batch_sizes=(1, 3), runs=4)
    assert (found.parameters, found.encoder, found.decoder, found.trainable) == (224 + 16, 224, 16, 16)
    assert found.multiply_adds == 10 * 20 * (27 * 8 + 8 * 2)
    one, three = found.latencies
    # The most that lives at once: raw pixels, float pixels and the encoder's maps; later the maps and the logits.
    assert one.peak_memory == 200 * (3 + 4 * 3 + 4 * 8)
    assert three.peak_memory == 3 * one.peak_memory
    assert (one.batch_size, three.batch_size, one.runs) == (1, 3, 4)
    assert 0 < one.quartiles[0] <= one.median <= one.quartiles[1]


def test_memory_counts_views_once_and_weights_never():
    class Views(Straight):
        def forward(self, image):
            pixels = image.float()  # 12 bytes a pixel
            turned = pixels.flip(1)  # 12 more
            del pixels
            kernel = self.decoder.weight.flatten().expand(50, -1)
            sums = turned.permute(0, 2, 3, 1).reshape(-1, 3)  # a copy: 12 more
            del turned
            return sums[:, :1].view(1, 1, *image.shape[2:]), image[:, : len(kernel)]

    found = profile(Views(), 10, batch_sizes=(1,), runs=1)
    assert found.latencies[0].peak_memory == 100 * (3 + 12 + 12)


def test_model_is_left_as_it_was(tiny):
    model = tiny().train()
    model.freeze_encoder()
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    found = profile(model, 32, batch_sizes=(2,), runs=2)
    assert torch.equal(torch.rand(4), expected)  # the random state neither
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert found.encoder == sum(weight.numel() for weight in model.encoder.parameters())
    assert found.trainable == found.decoder


def test_optimised_models_are_timed_but_not_counted(tiny):
    found = profile(segnb.optimize(tiny()), 64, batch_sizes=(1,), runs=2)
    assert found.multiply_adds is None
    assert found.latencies[0].median > 0
    assert found.latencies[0].peak_memory > 3 * 64 * 64
    assert "not counted" in repr(found)


def test_it_reads_well():
    found = profile(Straight(), 10, batch_sizes=(1, 2), runs=3)
    assert isinstance(found, Profile)
    text = repr(found)
    for part in (
        "10 × 10",
        "240 (encoder 224, decoder 16), 240 trainable",
        "0.000 G",
        "torch",
        "float32",
        "batch of 2",
        "3 runs",
    ):
        assert part in text
    table = found.table()
    assert [row["batch_size"] for row in table] == [1, 2]
    assert table[1]["pictures_per_second"] == pytest.approx(2000 / table[1]["ms"])
    assert table[0]["peak_mb"] == pytest.approx(0.0047)
    shown = found._repr_html_()
    assert shown.count("<table>") == 2
    assert shown.count("<tr>") == 4 + 1 + 2
    assert profile(Straight(), 10, batch_sizes=())._repr_html_().count("<table>") == 1


def test_a_module_without_parts():
    class Plain(nn.Conv2d):
        in_channels = 1

        def forward(self, image):
            return super().forward(image.float())

    found = profile(Plain(1, 1, 1), 4, batch_sizes=())
    assert (found.encoder, found.decoder, found.parameters) == (None, None, 2)
    assert "parameters     2, 2 trainable" in repr(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, r"size is \(0, 0\); give one number or \(height, width\) of 1 or more"),
        ({"size": (64, 64, 3)}, r"size is \(64, 64, 3\); give one number"),
        ({"size": "64"}, r"size is '64'"),
        ({"size": (64.0, 64)}, r"size is \(64\.0, 64\)"),
        ({"size": 64, "batch_sizes": 4}, r"batch_sizes is 4; give a tuple such as \(1, 4\) of 1 or more"),
        ({"size": 64, "batch_sizes": (1, 0)}, r"batch_sizes is \(1, 0\)"),
        ({"size": 64, "runs": 0}, r"runs is \(0,\); give a number of 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(SegnbError, match=message):
        profile(Straight(), **arguments)


def test_a_model_without_values_cannot_be_timed():
    with pytest.raises(SegnbError, match=r"on the meta device and cannot be run: give batch_sizes=\(\)"):
        profile(on_meta("fcn", "test_efficientnet", None), 64)
