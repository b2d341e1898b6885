"""The same random weights give the same logits as in Hugging Face transformers, read from the folders that it writes."""

import json
import re

import pytest
import torch
import torch.nn.functional as F
from references import assert_same_logits, parameters, randomise_statistics
from torch import nn

import segnb
from segnb.errors import SegnbError
from segnb.pretrained import mit
from segnb.pretrained.huggingface import READERS, USUAL

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

LABELS = {0: "wall", 1: "sky", 2: "tree", 3: "road", 4: "car"}


def randomise(model):
    """Fresh norms have ones and zeros, fresh layer scales next to nothing, fresh positions zeros: give all of them a say."""
    randomise_statistics(model)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(
                ("position_embeddings", "cls_token", "relative_position_bias_table", "layer_scale_parameter")
            ):
                parameter.normal_(0, 0.5, generator=random)
        for module in model.modules():
            if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
                module.weight.uniform_(0.5, 1.5, generator=random)
                module.bias.normal_(0, 0.3, generator=random)
            elif isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight.mul_(3)  # they start at a spread of 0.02, so small that layer norms hardly do anything
    return model.eval()


def small_numbers(model):
    """Under the roots of layer norms: a wrong one changes logits by 1e-6 of the largest, too little to see there."""
    return {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)}


def segformer(**options):
    config = transformers.SegformerConfig(
        **{
            "depths": [1, 2, 1, 1],
            "hidden_sizes": [16, 32, 40, 64],
            "decoder_hidden_size": 24,
            "id2label": LABELS,
            **options,
        }
    )
    return transformers.SegformerForSemanticSegmentation(config)


def upernet(backbone):
    config = transformers.UperNetConfig(backbone_config=backbone, hidden_size=24, auxiliary_channels=8, id2label=LABELS)
    return transformers.UperNetForSemanticSegmentation(config)


def swin(**options):
    return upernet(
        transformers.SwinConfig(
            **{
                "embed_dim": 24,
                "depths": [2, 2, 2, 2],
                "num_heads": [2, 2, 4, 4],
                "out_features": ["stage1", "stage2", "stage3", "stage4"],
                **options,
            }
        )
    )


def convnext(**options):
    stages = ["stage1", "stage2", "stage3", "stage4"]
    sizes = {"depths": [1, 1, 2, 1], "hidden_sizes": [12, 16, 24, 32]}
    return upernet(transformers.ConvNextConfig(**sizes, out_features=stages, **options))


def dpt(**options):
    config = transformers.DPTConfig(
        **{
            "hidden_size": 48,
            "num_hidden_layers": 5,
            "num_attention_heads": 3,
            "intermediate_size": 96,
            "image_size": 64,
            "backbone_out_indices": [0, 1, 3, 4],
            "neck_hidden_sizes": [8, 12, 16, 24],
            "fusion_hidden_size": 16,
            "use_batch_norm_in_fusion_residual": True,
            "id2label": LABELS,
            **options,
        }
    )
    return transformers.DPTForSemanticSegmentation(config)


# Swin at a size where its windows fit, and where they do not. DPT at its own size, and where positions must be resized.
CASES = {
    "segformer": (segformer, {}, (72, 104)),
    "segformer-grey": (segformer, {"num_channels": 1, "sr_ratios": [4, 4, 2, 1]}, (64, 64)),
    "upernet-swin": (swin, {}, (224, 448)),
    "upernet-swin-windows-of-4": (swin, {"window_size": 4}, (128, 256)),
    "upernet-swin-padded": (swin, {}, (96, 128)),
    "upernet-convnext": (convnext, {}, (96, 64)),
    "upernet-convnext-no-scales": (convnext, {"layer_scale_init_value": 0.0}, (64, 64)),
    "dpt": (dpt, {}, (64, 64)),
    "dpt-larger": (dpt, {}, (128, 128)),
    "dpt-no-norm-add": (dpt, {"use_batch_norm_in_fusion_residual": False, "readout_type": "add"}, (64, 64)),
    "dpt-biases-ignore": (dpt, {"use_bias_in_fusion_residual": True, "readout_type": "ignore"}, (64, 64)),
    "dpt-last-block-idle": (dpt, {"backbone_out_indices": [0, 1, 2, 3], "qkv_bias": False}, (64, 64)),
}


@pytest.mark.parametrize("case", CASES)
def test_same_logits(case, tmp_path):
    make, options, size = CASES[case]
    torch.manual_seed(0)
    reference = randomise(make(**options))
    reference.save_pretrained(tmp_path)
    model = segnb.load_model(tmp_path)
    image = torch.randn(2, model.in_channels, *size)
    with torch.no_grad():
        expected, found = reference(image).logits, model(image)
    if expected.shape != found.shape:  # SegFormer leaves enlarging to its user, who is shown this way
        expected = F.interpolate(expected, size=size, mode="bilinear", align_corners=False)
    assert_same_logits(expected, found, share=2e-5)
    assert small_numbers(model) == small_numbers(reference)
    assert model.classes == list(LABELS.values())


def test_what_was_read_can_be_saved_and_read_again(tmp_path):
    reference = randomise(dpt())
    reference.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "README.md").write_text("---\nlicense: mit\ndatasets:\n- scene_parse_150\n---\n# A model\n")
    statistics = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(statistics))
    model = segnb.load_model(tmp_path / "theirs")
    assert model.notes == {
        "source": "transformers' DPTForSemanticSegmentation",
        "licence": "mit",
        "trained_on": "scene_parse_150",
        "left_out": "the auxiliary head, which plays no part in the logits",
    }
    assert (model.encoder.mean, model.encoder.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    segnb.save_model(model, tmp_path / "ours")
    again = segnb.load_model(tmp_path / "ours")
    image = torch.randint(0, 256, (1, 3, 96, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(again(image), model(image))


def test_weights_in_parts_and_unnamed_classes(tmp_path):
    reference = randomise(segformer(id2label={0: "LABEL_0", 1: "LABEL_1"}))
    reference.save_pretrained(tmp_path, max_shard_size="50KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    model = segnb.load_model(tmp_path)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = F.interpolate(reference(image).logits, size=(64, 64), mode="bilinear")
        assert_same_logits(expected, model(image))
    assert model.classes == ["class 0", "class 1"]


STAGES = ["stage1", "stage2", "stage3", "stage4"]
RELEASED = {
    **{
        f"segformer-b{size}": ({**facts, "decoder_hidden_size": 256 if size < 2 else 768}, f"mit_b{size}")
        for size, facts in enumerate(
            {
                "hidden_sizes": facts["embed_dims"],
                "depths": facts["depths"],
                "num_attention_heads": [1, 2, 5, 8],
                "sr_ratios": [8, 4, 2, 1],
            }
            for facts in list(mit.SIZES.values())[:3]
        )
    },
    "upernet-swin-tiny": ({"embed_dim": 96}, "swin_tiny_patch4_window7_224"),
    "upernet-swin-small": ({"embed_dim": 96, "depths": [2, 2, 18, 2]}, "swin_small_patch4_window7_224"),
    "upernet-swin-base": (
        {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 12},
        "swin_base_patch4_window12_384",
    ),
    "upernet-convnext-xlarge": (
        {"hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 3, 27, 3]},
        "convnext_xlarge",
    ),
    "dpt-large-ade": (
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "backbone_out_indices": [5, 11, 17, 23],
            "neck_hidden_sizes": [256, 512, 1024, 1024],
            "use_batch_norm_in_fusion_residual": True,
        },
        "vit_large_patch16_384",
    ),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_sizes(name):
    """Each has its own timm encoder, and exactly the parameters that play a part in transformers' logits."""
    options, encoder_name = RELEASED[name]
    kind = name.split("-")[0]
    with torch.device("meta"):
        if kind == "segformer":
            reference = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**options))
        elif kind == "upernet":
            made = transformers.SwinConfig if "swin" in name else transformers.ConvNextConfig
            config = transformers.UperNetConfig(backbone_config=made(**options, out_features=STAGES))
            reference = transformers.UperNetForSemanticSegmentation(config)
        else:
            reference = transformers.DPTForSemanticSegmentation(transformers.DPTConfig(**options))
        found, _ = READERS[kind]({**USUAL[kind], **reference.config.to_dict()}, {})
        model = segnb.create_model(kind, encoder_weights=None, classes=2, **found)
    assert found["encoder_name"] == encoder_name
    differing = found["encoder_options"].keys() - {"layer_norm_eps", "pad_before_shift", "always_partition"}
    assert differing <= {"bilinear_positions"}
    idle = re.compile(
        r"auxiliary_head|backbone\.swin\.layernorm|dpt\.layernorm|.*fusion_stage\.layers\.0\.residual_layer1"
    )
    used = sum(p.numel() for key, p in reference.named_parameters() if not idle.match(key))
    assert parameters(model) == used


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "bert"},
            "holds transformers' bert. Of transformers, segnb reads SegFormer, UPerNet on Swin or",
        ),
        (
            {"model_type": "segformer", "architectures": ["SegformerForImageClassification"]},
            "holds transformers' SegformerForImageClassification",
        ),
        ({"model_type": "dpt", "architectures": ["DPTForDepthEstimation"]}, "DPTForDepthEstimation. Of transformers"),
        ({"model_type": "dpt", "is_hybrid": True}, "this DPT stands on a hybrid of convolutions and a transformer"),
        ({"model_type": "dpt", "reassemble_factors": [1, 1, 1, 1]}, r"reassemble_factors=\[1, 1, 1, 1\]; segnb reads"),
        ({"model_type": "upernet"}, "this UPerNet stands on 'resnet'"),
        ({"model_type": "upernet", "pool_scales": [1, 2]}, r"has pool_scales=\[1, 2\]; segnb reads only those with"),
        ({"model_type": "segformer", "hidden_act": "relu"}, "has hidden_act='relu'"),
    ],
)
def test_other_models_are_refused(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SegnbError, match=message):
        segnb.load_model(tmp_path)


def test_weights_that_are_not_there(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "dpt"}')
    with pytest.raises(SegnbError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        segnb.load_model(tmp_path)
