"""What `profile` found: numbers for a program, text for a terminal, tables for a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Time and memory of forward passes with one batch size.

    Attributes:
        batch_size: pictures in a pass.
        median: milliseconds of a pass.
        quartiles: milliseconds; a quarter of the passes was faster than the first, a quarter slower than the second.
        runs: passes that were timed.
        peak_memory: bytes, see `profile`; None where it cannot be measured (Apple GPUs).
    """

    batch_size: int
    median: float
    quartiles: tuple[float, float]
    runs: int
    peak_memory: int | None


@dataclass(frozen=True)
class Profile:
    """What `profile` found; prints as text, shows as a table in a notebook.

    Attributes:
        size: height and width of the pictures.
        parameters: weights of the model; buffers such as running means do not count.
        trainable: those that learn; a frozen encoder's do not.
        encoder: those of the encoder; None if the model has none, as a network with a backbone of its own.
        multiply_adds: for one picture, see `profile`; None for an optimised model, whose fused operations torch cannot count.
        latencies: one for each batch size.
        machine: processor or graphics card, number of threads, version of torch, precision.
    """

    size: tuple[int, int]
    parameters: int
    trainable: int
    encoder: int | None
    multiply_adds: int | None
    latencies: list[Latency]
    machine: str

    @property
    def decoder(self) -> int | None:
        """Parameters outside the encoder, in decoder and heads; None if the model has no encoder."""
        return None if self.encoder is None else self.parameters - self.encoder

    def table(self) -> list[dict[str, float | None]]:
        """List the batch sizes, ready for ``pandas.DataFrame``.

        Returns:
            One dictionary per batch size: batch_size, ms (median), ms_lower and ms_upper (quartiles), runs, pictures_per_second
            and peak_mb (millions of bytes).
        """
        return [
            {
                "batch_size": one.batch_size,
                "ms": one.median,
                "ms_lower": one.quartiles[0],
                "ms_upper": one.quartiles[1],
                "runs": one.runs,
                "pictures_per_second": 1000 * one.batch_size / one.median,
                "peak_mb": None if one.peak_memory is None else one.peak_memory / 1e6,
            }
            for one in self.latencies
        ]

    def _facts(self) -> list[tuple[str, str]]:
        """What does not depend on the batch size, in words."""
        parts = "" if self.encoder is None else f" (encoder {self.encoder:,}, decoder {self.decoder:,})"
        counted = "not counted" if self.multiply_adds is None else f"{self.multiply_adds / 1e9:.3f} G"
        return [
            ("size", "{} × {}".format(*self.size)),
            ("parameters", f"{self.parameters:,}{parts}, {self.trainable:,} trainable"),
            ("multiply-adds", f"{counted} for one picture"),
            ("machine", self.machine),
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        """What does depend on it, in words."""
        return [
            (
                f"{row['batch_size']}",
                f"{row['ms']:.1f} ms ({row['ms_lower']:.1f} to {row['ms_upper']:.1f}, {row['runs']} runs)",
                f"{row['pictures_per_second']:.1f}",
                "not measured" if row["peak_mb"] is None else f"{row['peak_mb']:.1f} MB",
            )
            for row in self.table()
        ]

    def __repr__(self) -> str:
        lines = [f"{name:13}  {fact}" for name, fact in self._facts()]
        lines += [
            f"{'batch of ' + batch:13}  {latency}, {rate} pictures per second, peak memory {memory}"
            for batch, latency, rate, memory in self._rows()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        facts = "".join(
            f"<tr><th {left}>{name}</th><td {left}>{html.escape(fact)}</td></tr>" for name, fact in self._facts()
        )
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in self._rows())
        head = "".join(
            f"<th>{name}</th>" for name in ("batch", "median (quartiles)", "pictures per second", "peak memory")
        )
        timed = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return f"<table><tbody>{facts}</tbody></table>{timed}"
