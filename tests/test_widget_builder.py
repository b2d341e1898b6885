"""The builder as Python sees it: its state, its search, its drawing, and what it finds out about models."""

from __future__ import annotations

import base64
import io
import threading
import time
import types

import numpy as np
import pytest
from building import ON_BLOCKS
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from squares import TINY

from segnb.errors import SegnbError
from segnb.widgets.builder.builder import Builder
from segnb.widgets.builder.layout import lay_out
from segnb.widgets.builder.search import ALL, EncoderRow, found, licences_of
from segnb.widgets.builder.words import scale_text

ROWS = [
    ["convnext_tiny", 27_800_000, [4, 8, 16, 32], [["in22k", "apache-2.0"], ["dino", "cc-by-nc-4.0"]], False],
    ["plain_vit", 85_000_000, [16], [], False],
    ["resnet18", 11_200_000, [2, 4, 8, 16, 32], [["a1", "apache-2.0"]], True],
    ["resnet34", 21_300_000, [2, 4, 8, 16, 32], [["a1", ""], ["bt", "bsd-3-clause"]], False],
]


def option(name, kind, default, **more):
    return {
        "name": name,
        "help": "",
        "kind": kind,
        "default": default,
        "choices": [],
        "whole": True,
        "optional": False,
        **more,
    }


DEPTH = option("encoder_depth", "choice", 5, choices=[1, 2, 3, 4, 5])
ARCHITECTURES = [
    {
        "name": "unet", "title": "U-Net", "idea": "Climb.", "paper": "", "family": "pyramid",
        "levels": {str(depth): [2**level for level in range(1, depth + 1)] for depth in range(1, 6)},
        "options": [DEPTH, option("width", "number", 16), option("norm", "choice", "batch", choices=["batch", "none"])],
    },
    {
        "name": "fpn", "title": "FPN", "idea": "Add.", "paper": "", "family": "pyramid",
        "levels": {str(depth): [4, 8, 16, 32][: depth - 1] for depth in (3, 4, 5)},
        "options": [{**DEPTH, "choices": [3, 4, 5]}, option("norm", "choice", "group", choices=["group", "none"])],
    },
]  # fmt: skip


def node(kind, name, *shape, **more):
    return {"kind": kind, "name": name, "layer": "", "shape": shape, "parameters": 0, "read": True, **more}


def edge(source, target, *shape):
    return {"source": source, "target": target, "shape": shape}


NODES = [
    node("image", "image", 3, 64, 64),
    node("stage", "c1", 16, 32, 32),
    node("stage", "c2", 32, 16, 16, read=False),
    node("block", "climb", 16, 32, 32, layer="UpBlock", parameters=1234),
    node("head", "classify", 2, 32, 32),
    node("logits", "logits", 2, 64, 64),
]
EDGES = [
    edge(0, 1, 16, 32, 32), edge(1, 2, 32, 16, 16), edge(1, 3, 16, 32, 32), edge(2, 3, 32, 32, 32),
    edge(3, 4, 16, 32, 32), edge(4, 5, 2, 64, 64),
]  # fmt: skip


def look(design):
    if design["options"].get("width") == 0:
        raise SegnbError("width=0: give 1 or more.")
    parameters = {"encoder": 21_300_000, "decoder": 3_100_000, "head": 725}
    return {
        "nodes": NODES,
        "edges": EDGES,
        "parameters": parameters,
        "multiply_adds": 7.8e9,
        "remarks": ["All is well."],
    }


def measured(design, progress):
    for share in (0.0, 0.5):
        progress(share)
    return {"ms": 12.5, "lower": 12.0, "upper": 14.0, "peak_mb": 30.0, "machine": "a machine"}


def fake(**changes):
    functions = {"look": look, "measure": measured, "create": lambda design: {"built": design}}
    return Builder(ROWS, ARCHITECTURES, **{**functions, "arch": "unet", "encoder_name": "resnet34", **changes})


def sent_by(widget, message):
    sent = []
    widget.send = sent.append
    widget._receive(widget, message, [])
    return sent


# State


def test_it_opens_with_everything_the_browser_needs():
    builder = fake(size=(64, 96))
    assert (builder.arch, builder.encoder_name, builder.encoder_weights) == ("unet", "resnet34", "imagenet")
    assert (builder.size, builder.options, builder.measured, builder.progress) == ([64, 96], {}, {}, None)
    assert builder.facts["problem"] == ""
    assert builder.facts["for"] == ["unet", "resnet34", {}, [64, 96]]
    assert [block["name"] for block in builder.drawing["blocks"]] == [each["name"] for each in NODES]
    assert [title["text"] for title in builder.drawing["titles"]] == ["Encoder resnet34", "Decoder unet"]
    assert repr(builder) == (
        "unet on resnet34: 24.4 M parameters (encoder 21.3 M, decoder 3.1 M, head 725), 7.8 G multiply-adds at 64 × 96"
    )


def test_a_choice_is_looked_at_once_and_only_if_it_changes_something():
    seen = []
    builder = fake(look=lambda design: (seen.append(design), look(design))[1])
    assert len(seen) == 1
    builder.options = {"norm": "none", "width": 32}
    builder.arch = "fpn"  # takes norm along, not width
    assert builder.options == {"norm": "none"}
    builder.arch = "fpn"
    builder.encoder_weights = None
    builder.search("res")
    assert [(each["arch"], each["options"]) for each in seen[1:]] == [
        ("unet", {"norm": "none", "width": 32}),
        ("fpn", {"norm": "none"}),
    ]


def test_options_that_are_the_default_are_none():
    builder = fake()
    builder.options = {"width": 16, "norm": "none"}
    assert builder.options == {"norm": "none"}
    builder.options = {"encoder_depth": 2}
    builder.arch = "fpn"  # begins at 3
    assert builder.options == {}


def test_weights_follow_the_encoder():
    builder = fake()
    builder.encoder_weights = "bt"
    builder.encoder_name = "resnet18"  # has no bt
    assert builder.encoder_weights == "imagenet"
    builder.encoder_name = "plain_vit"
    assert builder.encoder_weights is None
    builder.encoder_name = "resnet34"  # None was no choice
    assert builder.encoder_weights == "imagenet"
    builder.encoder_weights = None
    builder.encoder_name = "resnet18"  # this time it was
    assert builder.encoder_weights is None
    assert fake(encoder_name="convnext_tiny.dino").encoder_weights == "dino"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("arch", "unett", "unknown architecture 'unett'. Did you mean 'unet'"),
        ("encoder_name", "resnet43", "unknown encoder 'resnet43'. Did you mean 'resnet34'"),
        ("encoder_weights", "a2", "encoder_weights='a2': 'resnet34' has no such weights."),
        ("options", {"widht": 3}, "'unet' has no option 'widht'. Did you mean 'width'"),
        ("options", {"norm": "bath"}, "norm='bath': 'unet' takes 'batch', 'none'."),
        ("options", {"encoder_depth": 9}, "encoder_depth=9: 'unet' takes 1, 2, 3, 4, 5."),
        ("size", [0, 64], "size=[0, 64]: give height and width in pixels, whole numbers from 1 to 4096."),
        ("size", [64], "size=[64]: give height and width"),
        ("size", [64, 64.5], "give height and width"),
        ("size", [True, 64], "give height and width"),
        ("size", [64, 5000], "from 1 to 4096"),
        ("filters", {"patern": "x"}, "no filter 'patern'. Did you mean 'pattern'"),
        ("filters", {"order": "speed"}, "order='speed'. Choose from: name, parameters."),
        ("filters", {"licence": "gpl"}, "licence='gpl'."),
        ("filters", {"max_parameters": -1}, "max_parameters=-1: give a number of parameters"),
        ("filters", {"pattern": 3}, "pattern=3: give a part of a name"),
    ],
)
def test_what_cannot_be_is_refused_in_python_and_shown_in_the_browser(name, value, words):
    builder = fake()
    before = builder.design(), builder.filters
    with pytest.raises(SegnbError) as caught:
        setattr(builder, name, value)
    assert words in str(caught.value)
    assert sent_by(builder, {"type": "set", "values": {name: value}}) == [{"type": "done"}]
    assert words in builder.error
    assert (builder.design(), builder.filters) == before
    builder.size = [32, 32]
    assert builder.error == ""  # what works clears it


def test_a_click_may_change_what_is_settable_and_nothing_else():
    builder = fake()
    assert sent_by(builder, {"type": "set", "values": {"arch": "fpn", "size": [96, 64]}}) == [{"type": "done"}]
    assert (builder.arch, builder.size) == ("fpn", [96, 64])
    sent_by(builder, {"type": "set", "values": {"facts": {}}})
    assert "'facts' cannot be set from the page" in builder.error


def test_a_model_that_cannot_be_is_explained_and_the_drawing_stays():
    builder = fake()
    drawing = builder.drawing
    builder.options = {"width": 0}
    assert builder.facts == {
        "problem": "width=0: give 1 or more.",
        "for": ["unet", "resnet34", {"width": 0}, [256, 256]],
    }
    assert builder.drawing == drawing
    assert repr(builder) == "unet on resnet34: width=0: give 1 or more."
    builder.options = {}
    assert builder.facts["problem"] == ""


def test_code_leaves_out_what_is_usual_and_breaks_long_lines():
    builder = fake()
    assert builder.as_code() == "import segnb\n\nmodel = segnb.create_model('unet', 'resnet34')"
    builder = fake(classes=["road", "it's <b>"], in_channels=4)
    builder.encoder_weights = None
    builder.options = {"width": 32}
    code = builder.as_code()
    assert code.splitlines()[2:] == [
        "model = segnb.create_model(",
        "    'unet',",
        "    'resnet34',",
        "    encoder_weights=None,",
        "    in_channels=4,",
        "    classes=['road', \"it's <b>\"],",
        "    width=32,",
        ")",
    ]
    assert sent_by(builder, {"type": "code"}) == [{"type": "code", "text": code}]


def test_the_model_is_kept_until_something_else_is_chosen():
    builder = fake()
    model = builder.model()
    assert model["built"] == builder.design()
    builder.search("res")
    assert builder.model() is model
    builder.encoder_weights = "bt"
    assert builder.model()["built"]["encoder_weights"] == "bt"
    assert builder.create(encoder_weights=None)["built"]["encoder_weights"] is None
    assert builder.encoder_weights == "bt"


def test_encoders_without_the_only_map_that_is_read_are_unsuitable():
    builder = fake()
    assert [builder.unsuitable(row[0]) for row in ROWS] == ["", "", "", ""]
    builder.options = {"encoder_depth": 1}
    assert builder.unsuitable("convnext_tiny") == (
        "convnext_tiny has no map of stride 2, and unet reads no other at this encoder_depth."
    )
    assert builder.unsuitable("plain_vit")
    assert builder.unsuitable("resnet18") == ""


# Measuring


def test_measuring_tells_how_far_it_is():
    builder, seen = fake(), []
    builder.observe(lambda change: seen.append(change["new"]), "progress")
    assert builder.measure() == measured({}, lambda share: None)
    assert seen == [0.0, 0.5, None]
    builder.encoder_weights = None  # takes as long
    assert builder.measured["ms"] == 12.5
    builder.arch = "fpn"
    assert builder.measured == {}


def test_a_measurement_runs_beside_the_kernel_and_can_be_cancelled():
    started, ended = threading.Event(), threading.Event()

    def slow(design, progress):
        try:
            for step in range(1000):
                progress(step / 1000)
                started.set()
                time.sleep(0.005)
        finally:
            ended.set()

    builder = fake(measure=slow)
    builder._receive(builder, {"type": "measure"}, [])
    assert started.wait(5)
    assert not ended.is_set()  # the message was answered before the end
    builder._receive(builder, {"type": "measure"}, [])  # a second one is not begun
    assert sum(thread.name == "segnb measure" for thread in threading.enumerate()) == 1
    builder._receive(builder, {"type": "cancel"}, [])
    assert ended.wait(5)
    wait_until(lambda: builder.progress is None)
    assert (builder.measured, builder.error) == ({}, "")


def test_a_measurement_of_what_is_no_longer_chosen_is_dropped():
    builder = fake()

    def change_meanwhile(design, progress):
        builder.arch = "fpn"
        return measured(design, lambda share: None)

    builder._measure = change_meanwhile
    assert builder.measure() == {}


def test_a_measurement_that_fails_says_so():
    def fail(design, progress):
        raise SegnbError("no room")

    builder = fake(measure=fail)
    with pytest.raises(SegnbError, match="no room"):
        builder.measure()
    builder._receive(builder, {"type": "measure"}, [])
    wait_until(lambda: builder.error)
    assert builder.error == "SegnbError: no room"
    assert builder.progress is None


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Search


def test_search_knows_parts_patterns_and_filters():
    builder = fake()
    assert builder.search("next") == ["convnext_tiny"]
    assert builder.search("NEXT*") == []  # a pattern is for the whole name
    assert builder.search("*NET??") == ["resnet18", "resnet34"]
    assert builder.search(max_parameters=21_300_000) == ["resnet18", "resnet34"]
    assert builder.search(weights="pretrained", order="parameters") == ["resnet18", "resnet34", "convnext_tiny"]
    assert builder.search(weights="offline") == ["resnet18"]
    assert builder.search(licence="cc-by-nc-4.0") == ["convnext_tiny"]
    assert builder.search(licence="not stated") == ["resnet34"]
    assert builder.search("[r]esnet") == []
    assert builder.filters["pattern"] == "[r]esnet"
    assert builder.licences == ["apache-2.0", "bsd-3-clause", "cc-by-nc-4.0", "not stated"]


names = st.text("abc_1", min_size=1, max_size=6)
tags = st.lists(st.tuples(names, st.sampled_from(["", "mit"])), max_size=2)
row = st.builds(EncoderRow, names, st.integers(0, 50), st.just([4]), tags, st.booleans())


@given(st.lists(row, max_size=12, unique_by=lambda one: one.name), names, st.integers(0, 50))
def test_filters_only_take_away(rows, word, most):
    everything = found(rows, ALL)
    assert everything == sorted(one.name for one in rows)
    fewer = found(rows, {**ALL, "pattern": word, "max_parameters": most, "order": "parameters"})
    expected = [one for one in rows if word in one.name and one.parameters <= most]
    assert fewer == [one.name for one in sorted(expected, key=lambda one: (one.parameters, one.name))]
    for licence in licences_of(rows):
        assert found(rows, {**ALL, "licence": licence})


# Drawing


@pytest.mark.parametrize(
    ("given_shape", "taken", "text"),
    [
        ((8, 16, 16), (8, 32, 32), "×2"),
        ((8, 23, 30), (8, 45, 60), "×2"),  # 45 rows were halved rounding up
        ((8, 32, 32), (8, 8, 8), "÷4"),
        ((8, 6, 6), (8, 32, 40), "→ 32×40"),
        ((8, 16, 16), (4, 16, 16), ""),
        ((8, 16, 16), (256, 8), ""),
    ],
)
def test_resizing_is_written_as_a_factor_if_it_is_one(given_shape, taken, text):
    assert scale_text(given_shape, taken) == text


def test_blocks_are_as_wide_as_their_channels_and_as_high_as_their_resolution():
    blocks = fake().drawing["blocks"]
    image, fine, coarse, climb, _, logits = blocks
    assert fine["width"] == pytest.approx(6 + 1.6 * 4, abs=0.1)
    assert coarse["width"] > fine["width"] == climb["width"]
    assert image["height"] == logits["height"] > fine["height"] > coarse["height"]
    assert coarse["note"] == "not read"
    assert image["x"] < climb["x"] < logits["x"]
    assert image["y"] < fine["y"] < coarse["y"]
    middles = [block["y"] + block["height"] / 2 for block in (fine, climb)]
    assert middles[0] == pytest.approx(middles[1], abs=0.1)  # a skip runs straight across
    assert [arrow["text"] for arrow in fake().drawing["arrows"]] == ["", "", "", "×2", "", "×2"]


@st.composite
def flows(draw):
    """A picture, an encoder of several strides, and any computation on its maps."""
    stages = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5).map(sorted))
    nodes = [node("image", "image", 3, 64, 64)] + [
        node("stage", f"c{level}", 8 * level, 64 >> level, 64 >> level) for level in stages
    ]
    edges = [edge(place, place + 1, 1, 1, 1) for place in range(len(stages))]
    for _ in range(draw(st.integers(1, 12))):
        target = len(nodes)
        side = 64 >> draw(st.integers(0, 5))
        kind = draw(st.sampled_from(["block", "block", "joint"]))
        nodes.append(node(kind, "+" if kind == "joint" else "block", draw(st.integers(1, 2048)), side, side))
        sources = draw(st.lists(st.integers(1, target - 1), min_size=1, max_size=4, unique=True))
        edges += [edge(source, target, 8, side, side) for source in sources]
    nodes.append(node("logits", "logits", 2, 64, 64))
    edges.append(edge(len(nodes) - 2, len(nodes) - 1, 2, 64, 64))
    return nodes, edges


def overlap(first, second):
    return all(
        low < high2 - 0.11 and low2 < high - 0.11 for (low, high), (low2, high2) in zip(first, second, strict=True)
    )


def outline(block):
    return (block["x"], block["x"] + block["width"]), (block["y"], block["y"] + block["height"])


def check(drawing):
    """No block covers another, all are on the paper, and no arrow runs through one that it does not join."""
    blocks = [outline(block) for block in drawing["blocks"]]
    for place, block in enumerate(blocks):
        assert not any(overlap(block, other) for other in blocks[:place])
        assert 0 <= block[0][0] < block[0][1] <= drawing["width"]
        assert 0 <= block[1][0] < block[1][1] <= drawing["height"]
    for arrow in drawing["arrows"]:
        for (x, y), (x2, y2) in zip(arrow["points"], arrow["points"][1:], strict=False):
            assert x == x2 or y == y2
            run = (min(x, x2), max(x, x2)), (min(y, y2), max(y, y2))
            thick = tuple((low - 0.2, high + 0.2) for low, high in run)
            others = [block for place, block in enumerate(blocks) if place not in (arrow["source"], arrow["target"])]
            assert not any(overlap(thick, other) for other in others)


@given(flows())
def test_no_block_covers_another_and_no_arrow_runs_through_one(flow):
    check(lay_out(*flow, ("Encoder", "Decoder")))


@pytest.mark.parametrize(
    ("size", "sides", "texts"),
    [
        ((64, 64), (32, 32), ["stride 1", "stride 2"]),
        ((90, 120), (23, 30), ["stride 1", "stride 4"]),  # rounded up
        ((360, 480), (92, 120), ["stride 1", "stride 4"]),  # padded to 368
        ((256, 256), (18, 18), ["stride 1", "stride 14"]),
    ],
)
def test_a_band_is_named_after_its_stride(size, sides, texts):
    nodes = [node("image", "image", 3, *size), node("stage", "c2", 8, *sides), node("logits", "logits", 2, *size)]
    drawing = lay_out(nodes, [edge(0, 1, 8, *sides), edge(1, 2, 2, *size)], ("", ""))
    assert [band["text"] for band in drawing["bands"]] == texts


def test_means_over_windows_have_no_stride():
    nodes = [node("image", "image", 3, 256, 320), node("stage", "c2", 8, 64, 80), node("block", "look", 8, 3, 3)]
    nodes += [node("block", "mean", 8, 1, 1), node("logits", "logits", 2, 256, 320)]
    edges = [edge(0, 1, 8, 64, 80), edge(1, 2, 8, 3, 3), edge(1, 3, 8, 1, 1), edge(2, 4, 2, 9, 9), edge(3, 4, 2, 9, 9)]
    assert [band["text"] for band in lay_out(nodes, edges, ("", ""))["bands"]] == ["stride 1", "stride 4", "", ""]


def test_the_static_picture_shows_the_same_drawing():
    builder = fake()
    picture = Image.open(io.BytesIO(builder.figure_png())).convert("RGB")
    assert picture.width == pytest.approx(builder.drawing["width"] / 96 * 120, abs=2)
    pixels = np.asarray(picture).reshape(-1, 3)
    for colour in ((0, 114, 178), (213, 94, 0), (22, 133, 91)):  # encoder, decoder, head
        assert (pixels == colour).all(axis=1).sum() > 100
    data, _ = builder._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == picture.size
    assert "unet on resnet34: 24.4 M parameters" in data["text/html"]


# Models


@pytest.fixture(scope="module")
def tools():
    from segnb.tools import building, building_flow, building_options

    return building, building_flow, building_options


def flow_of(tools, arch, encoder_name, size):
    import torch

    from segnb.models import create_model

    with torch.device("meta"):
        model = create_model(arch, encoder_name, None, classes=3)
    return tools[1].trace(model, size)


def traced(tools, arch, encoder_name, size):
    flow = flow_of(tools, arch, encoder_name, size)
    named = [each["name"] for each in flow["nodes"]]
    edges = {(named[each["source"]], named[each["target"]]): each["shape"] for each in flow["edges"]}
    return flow["nodes"], edges


def test_a_unet_is_traced_to_the_last_number(tools):
    nodes, edges = traced(tools, "unet", "resnet18", (64, 96))
    assert [(each["kind"], each["name"], each["shape"]) for each in nodes] == [
        ("image", "image", (3, 64, 96)),
        ("stage", "c1", (64, 32, 48)),
        ("stage", "c2", (64, 16, 24)),
        ("stage", "c3", (128, 8, 12)),
        ("stage", "c4", (256, 4, 6)),
        ("stage", "c5", (512, 2, 3)),
        ("block", "blocks[0]", (256, 4, 6)),
        ("block", "blocks[1]", (128, 8, 12)),
        ("block", "blocks[2]", (64, 16, 24)),
        ("block", "blocks[3]", (32, 32, 48)),
        ("block", "blocks[4]", (16, 64, 96)),
        ("head", "classify", (3, 64, 96)),
        ("logits", "logits", (3, 64, 96)),
    ]
    skips = {("c5", "blocks[0]"), ("c4", "blocks[0]"), ("c3", "blocks[1]"), ("c2", "blocks[2]"), ("c1", "blocks[3]")}
    climb = {(f"blocks[{step}]", f"blocks[{step + 1}]") for step in range(4)} | {
        ("blocks[4]", "classify"),
        ("classify", "logits"),
    }
    chain = {("image", "c1"), ("c1", "c2"), ("c2", "c3"), ("c3", "c4"), ("c4", "c5")}
    assert set(edges) == skips | climb | chain
    # 3×3 convolutions of 512 + 256 and 256 channels to 256, and two normalisations
    assert nodes[6]["parameters"] == 9 * 256 * (512 + 256) + 9 * 256 * 256 + 4 * 256
    assert nodes[11]["parameters"] == 9 * 16 * 3 + 3


def test_sums_and_levels_that_are_not_read_are_seen(tools):
    nodes, edges = traced(tools, "fpn", "resnet18", (64, 64))
    assert [each["name"] for each in nodes if not each["read"]] == ["c1"]
    joints = [each for each in nodes if each["kind"] == "joint"]
    assert [each["name"] for each in joints] == ["+"] * 4  # three in the pyramid, one over the four branches
    assert joints[-1]["shape"] == (128, 16, 16)
    assert edges["branches[3][2]", "+"] == (128, 16, 16)  # as it arrives: doubled
    nodes, _ = traced(tools, "pspnet", "resnet18", (64, 64))
    (concat,) = [each for each in nodes if each["kind"] == "joint"]
    assert (concat["name"], concat["shape"]) == ("concat", (1024, 8, 8))
    assert [each["shape"] for each in nodes if each["name"].startswith("look")] == [(128, n, n) for n in (1, 2, 3, 6)]
    assert [each["shape"][1] for each in nodes if each["kind"] == "stage"] == [32, 16, 8, 8, 8]  # dilated


def test_a_missing_level_is_an_empty_place(tools):
    nodes, edges = traced(tools, "unet", "test_convnext", (64, 64))
    assert (nodes[1]["name"], nodes[1]["shape"]) == ("c1", ())
    assert not any("c1" in pair for pair in edges)
    nodes, _ = traced(tools, "dpt", "test_vit", (160, 160))
    assert [each["shape"] for each in nodes if each["kind"] == "stage"] == [
        (64, 10, 10)
    ] * 4  # as the backbone makes them


def every_architecture():
    """Names, and an encoder that each can stand on."""
    from segnb.decoders import DECODERS

    return [(arch, "test_vit" if arch in ON_BLOCKS else TINY) for arch in DECODERS]


def shape_of(output):
    """The shape of the first map that a block gives, without the batch."""
    while isinstance(output, (tuple, list)):
        output = output[0]
    return tuple(output.shape[1:])


@pytest.mark.parametrize(("arch", "encoder_name"), every_architecture())
def test_the_shapes_are_those_of_a_real_pass(tools, arch, encoder_name):
    import torch

    from segnb.models import create_model

    flow = flow_of(tools, arch, encoder_name, (96, 64))
    nodes = flow["nodes"]
    model = create_model(arch, encoder_name, None, classes=3).eval()
    real: dict[str, tuple[int, ...]] = {}
    for path, block in tools[1].blocks_of(model.decoder):
        block.register_forward_hook(lambda _module, _inputs, out, path=path: real.update({path: shape_of(out)}))
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 96, 64))
    drawn = {each["name"]: each["shape"] for each in nodes if each["kind"] in ("block", "head")}
    assert drawn == real
    assert nodes[-1]["shape"] == tuple(logits.shape[1:])
    check(lay_out(nodes, flow["edges"], ("Encoder", "Decoder")))


def test_the_facts_are_those_of_the_model(tools):
    import segnb

    builder = tools[0].build("linknet", TINY, classes=["a", "b"], size=(64, 64))
    model = builder.create(encoder_weights=None)
    parts = builder.facts["parameters"]
    assert sum(parts.values()) == sum(weight.numel() for weight in model.parameters())
    assert parts["encoder"] == sum(weight.numel() for weight in model.encoder.parameters())
    assert parts["head"] == 32 * 2 + 2
    assert builder.facts["multiply_adds"] == segnb.profile(model, 64, batch_sizes=()).multiply_adds
    assert model.classes == ["a", "b"]


def test_it_opens_quickly_and_builds_one_model_only(tools, monkeypatch):
    import timm

    built, original = [], timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: (built.append(name), original(name, **options))[1]
    )
    start = time.perf_counter()
    builder = tools[0].build("fpn", TINY)
    assert time.perf_counter() - start < 10  # two seconds on a machine of one's own; benchmarks time it
    assert set(built) == {TINY}
    assert len(builder.encoders) > 1000
    built.clear()
    assert len(builder.search("convnext*")) > 20
    assert built == []


def test_the_catalogue_is_what_timm_says(tools):
    import timm

    import segnb

    rows = {
        name: (parameters, strides, tags, offline)
        for name, parameters, strides, tags, offline in tools[0].encoder_rows()
    }
    assert list(rows) == list(segnb.list_encoders())
    for fact in segnb.list_encoders("res*").facts:
        parameters, strides, tags, offline = rows[fact.name]
        assert (parameters, tuple(strides), offline) == (fact.parameters, fact.strides, fact.offline)
        assert sorted(tag for tag, _ in tags) == sorted(fact.tags)
        assert not tags or tags[0][0] == timm.get_pretrained_cfg(fact.name).tag  # what "imagenet" means
        assert all((timm.get_pretrained_cfg(f"{fact.name}.{tag}").license or "") == licence for tag, licence in tags)


def test_the_code_makes_the_same_model(tools):
    import torch

    builder = tools[0].build("unet", TINY, classes=4, size=(64, 64))
    builder.encoder_weights = None
    builder.options = {"decoder_channels": [32, 16, 8, 8, 4], "decoder_attention_type": "scse", "encoder_depth": 5}
    code = builder.as_code()
    assert "decoder_channels=[32, 16, 8, 8, 4]" in code
    assert "encoder_depth" not in code
    space: dict = {}
    exec(code, space)
    shapes = [tuple(weight.shape) for weight in space["model"].parameters()]
    assert shapes == [tuple(weight.shape) for weight in builder.model().parameters()]
    assert builder.model()(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 64, 64)


def test_options_are_read_off_the_classes(tools):
    described = {one["name"]: one for one in tools[2].architectures()}
    unet = {each["name"]: each for each in described["unet"]["options"]}
    assert list(unet) == [
        "encoder_depth", "decoder_channels", "decoder_use_norm", "decoder_attention_type", "decoder_interpolation",
        "decoder_center_block",
    ]  # fmt: skip
    assert unet["encoder_depth"]["choices"] == [1, 2, 3, 4, 5]
    assert unet["decoder_attention_type"]["choices"] == [None, "scse"]
    assert unet["decoder_interpolation"]["choices"] == ["nearest", "bilinear"]
    assert unet["decoder_center_block"]["kind"] == "switch"
    assert unet["decoder_channels"] == {
        "name": "decoder_channels", "kind": "numbers", "default": None, "choices": [], "whole": True, "optional": True,
        "help": "channels after each step, coarse to fine; None for as many of 256, 128, 64, 32, 16 as there are levels, always "
        "16 at the picture's size.",
    }  # fmt: skip
    assert described["unet"]["title"] == "U-Net"
    assert described["unet"]["paper"] == "https://arxiv.org/abs/1505.04597"
    assert described["fpn"]["levels"] == {"3": [2, 4, 8], "4": [2, 4, 8, 16], "5": [4, 8, 16, 32]}
    for one in described.values():
        assert one["idea"].endswith("."), one["name"]
        assert all(each["help"] for each in one["options"]), one["name"]


@pytest.mark.parametrize(("arch", "encoder_name"), every_architecture())
def test_what_is_offered_can_be_built(tools, arch, encoder_name):
    import torch

    (described,) = [one for one in tools[2].architectures() if one["name"] == arch]
    options = {each["name"]: each["choices"][-1] for each in described["options"] if each["kind"] == "choice"}
    options |= {each["name"]: not each["default"] for each in described["options"] if each["kind"] == "switch"}
    design = {
        "arch": arch,
        "encoder_name": encoder_name,
        "encoder_weights": None,
        "in_channels": 4,
        "classes": 2,
        "options": options,
    }
    with torch.device("meta"):
        model = tools[0].create(design)
    assert {name: model.config[name] for name in options if name != "encoder_depth"} == {
        name: value for name, value in options.items() if name != "encoder_depth"
    }


def test_a_design_that_cannot_be_is_a_sentence(tools):
    builder = tools[0].build("unet", TINY, size=(64, 64))
    builder.options = {"decoder_channels": [3, 4]}
    assert "decoder_channels" in builder.facts["problem"]
    builder.options = {"decoder_channels": ["wide"] * 5}  # torch's own complaint, in a sentence
    assert builder.facts["problem"].startswith(f"'unet' on '{TINY}' cannot be built with these options: ")
    builder.options = {"encoder_depth": 1}
    assert builder.unsuitable("convnext_tiny")
    builder.encoder_name = "convnext_tiny"
    assert "no map of stride 2" in builder.facts["problem"]
    with pytest.raises(SegnbError, match="in_channels=0"):
        tools[0].build(in_channels=0)
    with pytest.raises(SegnbError, match="classes=0"):
        tools[0].build(classes=0)


@pytest.mark.parametrize(
    ("arch", "encoder_name", "size", "words"),
    [
        ("unet", "test_convnext", (64, 64), ["test_convnext has no map of stride 2: unet goes without."]),
        ("unet", "resnet18", (64, 64), []),
        ("unet", "resnet18", (32, 48), ["At 32 × 48 the coarsest map is 1 × 2: too small to tell places apart. "
                                        "Give pictures of at least 64 pixels a side."]),
        ("deeplabv3", "resnet18", (64, 64), ["The deepest stages are dilated: they keep stride 8 and still see as far."]),
        ("dpt", "test_vit", (160, 160), ["test_vit keeps stride 16: 4 of its blocks, evenly spaced, play the levels."]),
    ],
)  # fmt: skip
def test_what_is_special_is_said(tools, arch, encoder_name, size, words):
    import torch

    from segnb.models import create_model

    with torch.device("meta"):
        model = create_model(arch, encoder_name, None)
    assert tools[0].remarks(model, size) == words


def test_a_real_measurement(tools, monkeypatch):
    builder, shares = tools[0].build("unet", TINY, size=(32, 32)), []
    builder.observe(lambda change: shares.append(change["new"]), "progress")
    result = builder.measure()
    assert 0 < result["lower"] <= result["ms"] <= result["upper"]
    assert result["peak_mb"] > 0
    assert shares[0] == 0
    assert shares[:-1] == sorted(shares[:-1])
    assert shares[-2:] == [pytest.approx(14 / 15), None]  # the share before the last of fifteen passes

    memory = types.SimpleNamespace(available=1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    with pytest.raises(SegnbError, match=r"the weights take .* GB, 0.0 GB are free here"):
        builder.measure()
