"""Which backbones work, and what is known of each without building it."""

from __future__ import annotations

import fnmatch
import html
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import timm

from segnb.encoders.weights import OFFLINE_ENCODER, offline_weights

# Written by benchmarks/encoders.py: {name: [parameters, strides]} of the backbones that it found to work.
CATALOGUE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True)
class EncoderFacts:
    """What is known of a backbone.

    Attributes:
        name: as in ``create_model(encoder_name=...)``.
        parameters: number of them, without the classifier.
        strides: of its feature maps.
        tags: of its pretrained weights, best first; empty if there are none.
        offline: whether weights are on this machine without any download.
    """

    name: str
    parameters: int
    strides: tuple[int, ...]
    tags: tuple[str, ...]
    offline: bool


class EncoderList(list[str]):
    """Names of encoders; shows itself as a table in a notebook."""

    @property
    def facts(self) -> list[EncoderFacts]:
        """Parameters, strides and weights of each."""
        return [encoder_facts(name) for name in self]

    def _repr_html_(self, rows: int = 100) -> str:
        cells = "".join(
            f"<tr><td>{html.escape(fact.name)}</td><td>{fact.parameters / 1e6:.1f} M</td>"
            f"<td>{', '.join(map(str, fact.strides))}</td>"
            f"<td>{'offline' if fact.offline else html.escape(', '.join(fact.tags[:3])) or 'none'}</td></tr>"
            for fact in EncoderList(self[:rows]).facts
        )
        more = f"<p>{len(self) - rows} more</p>" if len(self) > rows else ""
        return (
            "<table><tr><th>encoder_name</th><th>parameters</th><th>strides</th><th>encoder_weights</th></tr>"
            f"{cells}</table>{more}"
        )


@cache
def read_catalogue() -> dict[str, tuple[int, list[int]]]:
    """Read what benchmarks/encoders.py found."""
    return json.loads(CATALOGUE.read_text())


def list_encoders(pattern: str = "*", *, pretrained: bool = False, max_parameters: int | None = None) -> EncoderList:
    """List the timm backbones that were found to work as encoders.

    Args:
        pattern: shell-style, for example ``"convnext*"``.
        pretrained: only those with pretrained weights.
        max_parameters: only those with at most so many parameters.

    Returns:
        Sorted names, a list of str; its ``facts`` tell parameters, strides and weights of each, and a notebook shows them.
    """
    known = read_catalogue()
    names = sorted(fnmatch.filter(known.keys() & set(timm.list_models()), pattern))
    return EncoderList(
        name
        for name in names
        if (max_parameters is None or known[name][0] <= max_parameters)
        and (not pretrained or timm.is_model_pretrained(name))
    )


def encoder_facts(name: str) -> EncoderFacts:
    """Look up what is known of a backbone that `list_encoders` lists."""
    parameters, strides = read_catalogue()[name]
    tags = tuple(full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*"))
    offline = name == OFFLINE_ENCODER and offline_weights() is not None
    return EncoderFacts(name, parameters, tuple(strides), tags, offline)
