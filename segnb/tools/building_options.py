"""What can be chosen about each architecture, read off its class, so that nothing is written down twice.

docstring of the module       "U-Net: climb back ..."       ─▶ title, idea, paper
signature of the class        *, dropout: float = 0.1       ─▶ name, kind, default
its docstring, under Args     dropout: probability of ...   ─▶ help, and the words in quotes that may be chosen
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from torch import nn

from segnb.blocks import NORMS
from segnb.decoders import DECODERS
from segnb.models import check_options, create_model, decoder_strides

DEEPEST = 5  # times that an encoder halves the picture
OUTPUT_STRIDES = (8, 16, 32)
QUOTED = re.compile(r'``"(\w+)"``')


def architectures() -> list[dict[str, Any]]:
    """Describe every architecture in plain data.

    Returns:
        For each: ``name`` as in `segnb.create_model`, ``title``, ``idea`` (a sentence), ``paper`` (an address, or empty),
        ``family`` (its folder), ``levels`` (the strides that it reads, by encoder_depth) and ``options``, see `options_of`.
    """
    return [_architecture(name, decoder_class) for name, decoder_class in DECODERS.items()]


def options_of(decoder_class: type[nn.Module]) -> list[dict[str, Any]]:
    """List the options of an architecture, the encoder's depth first.

    Args:
        decoder_class: one of `segnb.decoders.DECODERS`.

    Returns:
        For each option: ``name``, ``help``, ``default``, ``kind`` ("switch", "choice", "number", "numbers" or "text"),
        ``choices`` (of a choice), ``whole`` (whether a number has no fraction) and ``optional`` (whether it may be None).
    """
    depth = {
        "name": "encoder_depth",
        "help": _helps(create_model)["encoder_depth"],
        "default": DEEPEST,
        "kind": "choice",
        "choices": list(_depths(decoder_class)),
        "whole": True,
        "optional": False,
    }
    helps = _helps(decoder_class)
    parameters = inspect.signature(decoder_class.__init__).parameters.values()
    return [depth] + [
        _option(parameter, helps.get(parameter.name, ""))
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is not inspect.Parameter.empty
    ]


def _architecture(name: str, decoder_class: type[nn.Module]) -> dict[str, Any]:
    documented = sys.modules[decoder_class.__module__].__doc__ or name
    title, _, idea = documented.splitlines()[0].partition(":")
    usual = check_options(name, decoder_class, {})
    paper = re.search(r"Paper:.*?(https?://[^\s,;)]+)", documented, re.DOTALL)
    return {
        "name": name,
        "title": title.strip(),
        "idea": idea.strip()[:1].upper() + idea.strip()[1:],
        "paper": paper[1].rstrip(".") if paper else "",
        "family": decoder_class.__module__.split(".")[-2],
        "levels": {
            str(depth): list(decoder_strides(name, decoder_class, depth, usual)) for depth in _depths(decoder_class)
        },
        "options": options_of(decoder_class),
    }


def _depths(decoder_class: type[nn.Module]) -> range:
    return range(getattr(decoder_class, "least_depth", 3), DEEPEST + 1)


def _option(parameter: inspect.Parameter, explained: str) -> dict[str, Any]:
    annotation, default = str(parameter.annotation), parameter.default
    optional = "None" in annotation
    choices = _choices(parameter.name, explained) if "str" in annotation else []
    if parameter.name == "encoder_output_stride":
        choices = list(OUTPUT_STRIDES)
    return {
        "name": parameter.name,
        "help": explained,
        "default": list(default) if isinstance(default, (tuple, list)) else default,
        "kind": _kind(annotation, choices),
        "choices": [None, *choices] if choices and optional else choices,
        "whole": "float" not in annotation,
        "optional": optional,
    }


def _choices(name: str, explained: str) -> list[Any]:
    """The words that an option of text takes; normalisations stand in a table of their own."""
    return list(NORMS) if name == "decoder_use_norm" else list(dict.fromkeys(QUOTED.findall(explained)))


def _kind(annotation: str, choices: list[Any]) -> str:
    if choices:
        return "choice"
    if "Sequence" in annotation:
        return "numbers"
    if annotation == "bool":
        return "switch"
    return "number" if "int" in annotation or "float" in annotation else "text"


def _helps(documented: Any) -> dict[str, str]:
    """Read the section Args of a docstring: {argument: explanation in one line}."""
    section = (inspect.getdoc(documented) or "").partition("Args:\n")[2]
    helps: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        start = re.match(r"    (\*{0,2}\w+): (.*)", line)
        if start:
            name, helps[start[1]] = start[1], start[2]
        elif name and line.strip():
            helps[name] += " " + line.strip()
    return helps
