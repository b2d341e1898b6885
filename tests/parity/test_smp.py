"""The same random weights give the same logits as in segmentation-models-pytorch."""

import pytest
import torch
from references import assert_same_logits, parameters, randomise_statistics

from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained import load_model, save_model
from segnb.pretrained.smp import convert as convert_smp

smp = pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.parity

REFERENCES = {"unet": smp.Unet, "fpn": smp.FPN, "deeplabv3plus": smp.DeepLabV3Plus, "segformer": smp.Segformer}
# What the ones who trained SMP's weights did, and we by default do not.
OPTIONS = {name: {} if name == "unet" else {"align_corners": True} for name in REFERENCES}
# resnet34, one class: the numbers that SMP 0.6.0 publishes.
PARAMETERS = {"unet": 24_436_369, "fpn": 23_155_393, "deeplabv3plus": 22_437_457, "segformer": 21_876_545}
CASES = [
    *(
        (arch, encoder, 5, 3)
        for arch in REFERENCES
        for encoder in ("resnet34", "tu-tf_efficientnet_lite0", "tu-convnext_atto")
    ),
    *((arch, "resnet34", 1, 4) for arch in REFERENCES),  # binary, four channels
]


@pytest.mark.parametrize(("arch", "encoder", "classes", "channels"), CASES)
def test_same_weights_same_logits(arch, encoder, classes, channels):
    torch.manual_seed(0)
    if arch == "deeplabv3plus" and encoder == "resnet34":
        encoder = "tu-resnet34"  # SMP's own encoders also dilate the first block of the stage, which timm does not
    options = dict(OPTIONS[arch])
    if arch == "segformer" and "convnext" not in encoder:
        options["stem"] = True
    reference = REFERENCES[arch](encoder, encoder_weights=None, in_channels=channels, classes=classes).eval()
    randomise_statistics(reference)
    model = create_model(arch, encoder.removeprefix("tu-"), None, channels, classes, **options).eval()
    model.load_state_dict(convert_smp(arch, reference.state_dict()), strict=True)
    assert parameters(model) == parameters(reference)
    image = torch.randn(2, channels, 96, 128)
    with torch.no_grad():
        expected, found = reference(image), model(image)
    assert found.shape == (2, classes, 96, 128)
    assert_same_logits(expected, found)


@pytest.mark.parametrize("arch", REFERENCES)
def test_published_parameters(arch):
    options = {"stem": True} if arch == "segformer" else {}
    with torch.device("meta"):
        assert parameters(create_model(arch, "resnet34", None, **options)) == PARAMETERS[arch]


def test_other_architectures_cannot_be_converted():
    with pytest.raises(SegnbError, match=r"SMP's checkpoints of 'fcn' cannot be read yet; those of unet, .*, fpn, "):
        convert_smp("fcn", {})


@pytest.mark.parametrize("arch", ["fpn", "segformer"])
def test_saved_by_smp(arch, tmp_path):
    """Class names, options and head come from the folder; saved again it needs no SMP."""
    torch.manual_seed(0)
    reference = REFERENCES[arch](
        "resnet18", encoder_weights=None, classes=4, aux_params={"classes": 3, "dropout": 0.1}
    ).eval()
    randomise_statistics(reference)
    reference.save_pretrained(tmp_path / "smp")
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, expected_labels = reference(image)
        model = load_model(tmp_path / "smp")
        outputs = model.forward_all(image)
        assert_same_logits(expected, outputs.logits)
        torch.testing.assert_close(outputs.image_logits, expected_labels, atol=1e-4, rtol=1e-4)
        again = load_model(save_model(model, tmp_path / "ours"))
        assert torch.equal(again(image), outputs.logits)
