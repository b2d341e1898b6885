"""The same random weights give the same logits as in segmentation-models-pytorch."""

import pytest
import torch
from references import assert_same_logits, parameters, randomise_statistics

from segnb.errors import SegnbError
from segnb.models import create_model
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
    with pytest.raises(
        SegnbError, match="SMP's checkpoints of 'pspnet' cannot be read yet; those of unet, fpn, deeplabv3plus"
    ):
        convert_smp("pspnet", {})
