"""The same random weights give the same classes and masks as in Hugging Face transformers, read from the folders it writes."""

import json
from types import SimpleNamespace

import pytest
import torch
from references import assert_same_logits, parameters
from test_transformers import LABELS, STAGES, randomise, small_numbers

import segnb
from segnb.errors import SegnbError
from segnb.pretrained.huggingface import READERS, USUAL

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity


def swin(**options):
    sizes = {"embed_dim": 24, "depths": [2, 2, 2, 2], "num_heads": [2, 2, 4, 4], "window_size": 4}
    return transformers.SwinConfig(**{**sizes, "out_features": STAGES, **options})


def resnet(**options):
    sizes = {"hidden_sizes": [32, 48, 64, 80], "depths": [1, 2, 1, 1], "out_features": STAGES}
    return transformers.ResNetConfig(**{**sizes, **options})


def maskformer(backbone, **options):
    queries = {
        "d_model": 32,
        "num_queries": 9,
        "decoder_layers": 3,
        "decoder_ffn_dim": 40,
        "decoder_attention_heads": 4,
    }
    config = transformers.MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=transformers.DetrConfig(**queries),
        fpn_feature_size=32,
        mask_feature_size=32,
        id2label=LABELS,
        **options,
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def mask2former(backbone, **options):
    sizes = {"encoder_layers": 2, "encoder_feedforward_dim": 24, "dim_feedforward": 48, "decoder_layers": 5}
    widths = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "num_queries": 9, "num_attention_heads": 4}
    config = transformers.Mask2FormerConfig(backbone_config=backbone, id2label=LABELS, **sizes, **widths, **options)
    return transformers.Mask2FormerForUniversalSegmentation(config)


def eomt(**options):
    sizes = {"hidden_size": 48, "num_hidden_layers": 5, "num_attention_heads": 3, "image_size": 64, "num_blocks": 2}
    config = transformers.EomtConfig(**{**sizes, "num_queries": 9, "id2label": LABELS, **options})
    return transformers.EomtForUniversalSegmentation(config)


CASES = {
    "maskformer-swin": (lambda: maskformer(swin()), (128, 192)),
    "maskformer-swin-padded": (lambda: maskformer(swin(window_size=7)), (96, 64)),
    "maskformer-resnet": (lambda: maskformer(resnet()), (64, 96)),
    "mask2former-swin": (lambda: mask2former(swin()), (128, 192)),
    "mask2former-resnet": (lambda: mask2former(resnet(layer_type="basic")), (64, 96)),
    "eomt": (eomt, (64, 64)),
    "eomt-without-registers": (lambda: eomt(num_register_tokens=0, num_blocks=3, image_size=96), (96, 96)),
}


def randomise_all(model):
    """What `randomise` leaves as it starts: where deformable attention looks, registers, and masked attention."""
    randomise(model)
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("sampling_offsets.weight", "attention_weights.weight", "register_tokens")):
                parameter.normal_(0, 0.3, generator=random)
        if hasattr(model, "attn_mask_probs"):
            model.attn_mask_probs.zero_()
    return model


def semantic_map(logits):
    """transformers' own way from classes and masks to a map of labels."""
    found = SimpleNamespace(class_queries_logits=logits[0], masks_queries_logits=logits[1], patch_offsets=None)
    sizes = [tuple(logits[1].shape[-2:])] * len(logits[1])
    return torch.stack(transformers.Mask2FormerImageProcessor().post_process_semantic_segmentation(found, sizes))


def is_idle(name):
    """Swin's last norm, which only a classifier would read."""
    return "pixel_level_module.encoder" in name and name.endswith((".layernorm.weight", ".layernorm.bias"))


@pytest.mark.parametrize("case", CASES)
def test_same_classes_and_masks(case, tmp_path):
    make, size = CASES[case]
    torch.manual_seed(0)
    reference = randomise_all(make())
    reference.save_pretrained(tmp_path)
    model = segnb.load_model(tmp_path)
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, outputs, logits = reference(image), model.forward_all(image), model(image)
    theirs = expected.class_queries_logits, expected.masks_queries_logits
    ours = outputs.clues["class_logits"][-1], outputs.clues["mask_logits"][-1]
    for one, other in zip(theirs, ours, strict=True):
        assert_same_logits(one, other)
    assert torch.equal(semantic_map(theirs), semantic_map(ours))
    assert torch.equal(outputs.logits, logits)
    assert small_numbers(model) == small_numbers(reference)
    assert model.classes == list(LABELS.values())
    assert parameters(model) == sum(p.numel() for name, p in reference.named_parameters() if not is_idle(name))


def test_all_layers_of_mask2former(tmp_path):
    torch.manual_seed(0)
    reference = randomise_all(mask2former(swin()))
    reference.save_pretrained(tmp_path)
    image = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        earlier = reference(image, output_auxiliary_logits=True).auxiliary_logits
        clues = segnb.load_model(tmp_path).forward_all(image).clues
    assert len(earlier) == len(clues["class_logits"]) - 1 == 4
    for number, layer in enumerate(earlier):
        assert_same_logits(layer["class_queries_logits"], clues["class_logits"][number])
        assert_same_logits(layer["masks_queries_logits"], clues["mask_logits"][number])


RELEASED = {
    "maskformer-swin-base": (
        lambda: transformers.MaskFormerForInstanceSegmentation(transformers.MaskFormerConfig()),
        "swin_base_patch4_window12_384",
    ),
    "maskformer-resnet50": (
        lambda: transformers.MaskFormerForInstanceSegmentation(
            transformers.MaskFormerConfig(backbone_config=transformers.ResNetConfig(out_features=STAGES))
        ),
        "resnet50",
    ),
    "mask2former-swin-small": (
        lambda: transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig()),
        "swin_small_patch4_window7_224",
    ),
    "eomt-large": (
        lambda: transformers.EomtForUniversalSegmentation(transformers.EomtConfig()),
        "vit_large_patch14_reg4_dinov2",
    ),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_sizes(name):
    """Each has its own timm encoder, and exactly the parameters that play a part in transformers' logits."""
    make, encoder_name = RELEASED[name]
    kind = name.split("-")[0]
    with torch.device("meta"):
        reference = make()
        tensors = {key: tensor for key, tensor in reference.state_dict().items() if key != "attn_mask_probs"}
        found, _ = READERS[kind]({**USUAL[kind], **reference.config.to_dict()}, tensors)
        model = segnb.create_model(kind, encoder_weights=None, classes=2, **found)
    assert found["encoder_name"] == encoder_name
    assert parameters(model) == sum(p.numel() for key, p in reference.named_parameters() if not is_idle(key))


def test_other_classes_get_a_new_last_layer(tmp_path):
    randomise_all(eomt()).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="was trained for 5 classes; for your 2 the last layer is new"):
        model = segnb.load_model(tmp_path, classes=["a", "b"])
    assert model.decoder.classify.classes.out_features == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "maskformer", "architectures": ["MaskFormerForImage"]},
            "holds transformers' MaskFormerForImage",
        ),
        (
            {"model_type": "maskformer", "fpn_feature_size": 64},
            "has fpn_feature_size=64; segnb reads only those with 256",
        ),
        ({"model_type": "mask2former", "pre_norm": True}, "has pre_norm=True; segnb reads only those with False"),
        (
            {"model_type": "mask2former", "backbone_config": {"model_type": "dinat"}},
            "stands on 'dinat'; of its backbones segnb reads Swin, ConvNeXt and ResNet",
        ),
        ({"model_type": "eomt", "use_swiglu_ffn": True}, "has use_swiglu_ffn=True"),
    ],
)
def test_other_models_are_refused(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SegnbError, match=message):
        segnb.load_model(tmp_path)


def test_an_eomt_whose_training_is_not_over_is_refused(tmp_path):
    reference = eomt()
    reference.save_pretrained(tmp_path)
    with pytest.raises(
        SegnbError, match=r"training is not over: its blocks let shares of \[1.0, 1.0\] of the queries see"
    ):
        segnb.load_model(tmp_path)
