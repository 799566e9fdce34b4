"""Writes unseen problems with their solutions as one text, for perplexity and KL divergence.

    python held_out_text.py --samples 400 --out /tmp/held_out.txt
    sparrow quantize ../models/nano nano-q4_0.gguf --type q4_0 --evaluate /tmp/held_out.txt

A text to calibrate on, of other problems:

    python held_out_text.py --split validation --samples 100 --out /tmp/calibration.txt

400 samples are about 45,000 tokens. Special tokens stand in the text as the server writes them.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from corpus.mixture import samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=("test", "validation", "train"), default="test")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    drawn = itertools.islice(samples(arguments.seed, arguments.split), arguments.samples)
    arguments.out.write_text("".join(s.prompt + s.target for s in drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
