"""``python -m segnb.data.samples FOLDER`` writes the shipped samples again."""

from __future__ import annotations

import argparse

from segnb.data.samples.writing import write_samples

parser = argparse.ArgumentParser(prog="python -m segnb.data.samples", description=__doc__)
parser.add_argument("folder", help="where to write, for example data_samples")
write_samples(parser.parse_args().folder)
