"""What is wrong with draws, in sentences: labels that vanish, sizes that make no batch, steps that raise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from segnb.widgets.augmenter.draws import Draw, present
from segnb.widgets.augmenter.steps import Step

REMEDY = "End with RandomCrop, or with Resize."
MOST_NAMED = 4  # labels named in warnings of one kind


def find_warnings(draws: Sequence[Draw], other: tuple[str, Draw] | None, names: Sequence[str]) -> list[str]:
    """Say what is wrong with draws.

    Args:
        draws: of one picture.
        other: name and draw of a picture of another size, if there is one.
        names: of the labels.

    Returns:
        Sentences, the gravest first.
    """
    good = [draw for draw in draws if draw.image is not None]
    found = list(dict.fromkeys(draw.problem for draw in draws if draw.problem and draw.place is None))
    found += _size_warnings([draw.size for draw in good], other)
    # A background that is not to be seen is no loss.
    lost = Counter(label for draw in good for label in draw.vanished if names[label].lower() != "background")
    new = Counter(label for draw in good for label in draw.new)
    found += _named(lost, names, lambda name, count: f"{name} vanishes in {_share(count, len(good))}")
    found += _named(
        new,
        names,
        lambda name, count: (
            f"{name} appears in {_share(count, len(good))}, but is not in the mask: "
            "fill_mask=255 ignores what comes in from outside"
        ),
    )
    empty = sum(not present(draw.labels) for draw in good)
    if empty:
        found.append(f"Nothing but ignored pixels in {_share(empty, len(good))}")
    return found


def find_problems(draws: Sequence[Draw], steps: Sequence[Step]) -> list[str]:
    """Say for each step what it does wrong.

    Args:
        draws: of one picture.
        steps: of the pipeline.

    Returns:
        A sentence for each step, or the empty string.
    """
    failed: dict[int, list[str]] = {}
    for draw in draws:
        if draw.place is not None:
            failed.setdefault(draw.place, []).append(draw.problem)
    return [
        f"Fails in {_share(len(failed[place]), len(draws))}: {failed[place][0]}" if place in failed else ""
        for place in range(len(steps))
    ]


def _size_warnings(sizes: Sequence[tuple[int, int]], other: tuple[str, Draw] | None) -> list[str]:
    different = list(dict.fromkeys(sizes))
    if len(different) > 1:
        examples = " and ".join(f"{height} × {width}" for height, width in different[:2])
        return [f"Draws come out in {len(different)} sizes, such as {examples}: they make no batch. {REMEDY}"]
    if other is None or not sizes:
        return []
    name, one = other
    if one.problem:
        return [f"Fails on {name}, a picture of another size: {one.problem}"]
    if one.size == sizes[0]:
        return []
    (height, width), (high, wide) = sizes[0], one.size
    return [f"This picture comes out as {height} × {width}, {name} as {high} × {wide}: they make no batch. {REMEDY}"]


def _named(counts: Counter[int], names: Sequence[str], say: Callable[[str, int], str]) -> list[str]:
    texts = [
        say(names[label] if label < len(names) else f"Label {label}", count) for label, count in counts.most_common()
    ]
    rest = len(texts) - MOST_NAMED
    return texts[:MOST_NAMED] + ([f"The same holds for {rest} more labels"] if rest > 0 else [])


def _share(count: int, all_of: int) -> str:
    if all_of == 1:
        return "the only draw"
    if count == all_of:
        return f"all {all_of} draws"
    return f"{'most draws: ' if count > all_of / 2 else ''}{count} of {all_of}{'' if count > all_of / 2 else ' draws'}"
