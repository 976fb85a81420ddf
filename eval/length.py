"""What a text costs by its length: time from 150 characters to a megabyte, and peak memory.

python -m eval.length --labels DIR/labels.jsonl --texts DIR/reports_dev.jsonl
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from eval.record import peak_gib, record
from irr.io.texts import read_gold
from irr.labels.space import LabelSpace
from irr.program.program import build

LENGTHS = (150, 1_500, 15_000, 150_000, 1_000_000)


def main() -> None:
    """Classifies one text of each length, cut from the texts given, and records seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="gold texts, a megabyte in all or so")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1])
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()

    space = LabelSpace.read(arguments.labels)
    program = build(space)
    whole = "\n".join(row.text for row in read_gold(arguments.texts, space))
    # A text shorter than asked for is repeated with numbered lines, so that its spans are not all the same.
    while len(whole) < arguments.longest:
        whole += "\n".join(f"{i} {line}" for i, line in enumerate(whole.splitlines()))
    program(whole[:1_000])
    rows = []
    for length in (length for length in LENGTHS if length <= arguments.longest):
        # The processor's time, not the clock's: others use the machine too.
        repeats = max(1, 15_000 // length)
        start = time.process_time()
        for i in range(repeats):
            prediction = program(whole[i * length : (i + 1) * length])
            if prediction.error:
                raise SystemExit(prediction.error.message)
        seconds = (time.process_time() - start) / repeats
        peak = peak_gib()
        rows.append({"characters": length, "cpu_seconds": round(seconds, 3), "peak_gib": round(peak, 2)})
        sys.stderr.write(f"{length:>9,} characters: {seconds:8.3f} s of CPU, peak {peak:.2f} GiB\n")
    if arguments.name:
        record(arguments.name, {"labels": len(space), "lengths": rows})


if __name__ == "__main__":
    main()
