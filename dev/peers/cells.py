"""Result files of alternated runs -> the table of docs/performance.md, in Markdown.

    python3 dev/peers/cells.py docs/benchmarks/2026-11-26-zen4-2core-*.jsonl

A row of a file is one of `sparrow bench --json` ("engine": "sparrow") or of a peer's script. Runs of one round follow each other: a
Sparrow row and the peer's row behind it are a pair. The share of the wall is that of the slower limit in that very run: bandwidth as read
between its steps, or the int8 peak probed with it. "needed" is what the targets ask on the machine they were set on (18.8 GB/s, 1.15 TOPS),
as a share of its wall; ik_llama.cpp's figures on that machine are scaled by bandwidth for one and four streams, by the int8 peak for
the rest.
"""
import json
import statistics
import sys

BOX_GB_PER_S, BOX_GOPS = 18.8, 1150.0
# Bits, test, streams: tokens/s that the target asks, the wall there, and ik_llama.cpp (its repacked g++ build), 0 where not measured.
CELLS = {
    (8, "prefill", 1): (250, 431, 83), (8, "decode", 1): (0.92 * 11.75, 11.75, 11.0), (8, "decode", 4): (38, 46, 38.5),
    (8, "decode", 8): (65, 91, 0), (8, "decode", 12): (85, 135, 43.8),
    (4, "prefill", 1): (230, 431, 81), (4, "decode", 1): (0.85 * 21, 21, 17.1), (4, "decode", 4): (65, 85, 48.2),
    (4, "decode", 8): (100, 170, 56.5), (4, "decode", 12): (115, 250, 53.2),
}
BITS = {"q8_0": 8, "w8": 8, "q4_0": 4, "q4_k": 4, "w4g32": 4}


def spread(values, form="{:.1f}"):
    if not values:
        return ""
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low}-{high})" if len(values) > 1 else middle


def share_of_wall(row):
    compute = row["gops"] / row["int8_gops"]
    return (max(row["share_of_read_beside"], compute) if row["test"] == "decode" else compute), compute


def limit_name(row):
    share, compute = share_of_wall(row)
    return "compute" if share == compute else "bandwidth"


def collect(paths):
    """(model, test, streams) -> list of (row, the peer's tokens/s or 0)."""
    cells, open_rows = {}, []
    for path in paths:
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            if row["engine"] == "sparrow":
                if row["test"] == "prefill":
                    open_rows = []  # a run begins; the peer of the one before failed if it is still open
                model = row["model"].removeprefix("r1-")
                if (BITS.get(model), row["test"], row["batch"]) not in CELLS:
                    continue
                key = (model, row["test"], row["batch"])
                cells.setdefault(key, []).append([row, 0.0])
                open_rows.append(cells[key][-1])
            elif row["engine"].startswith("llama.cpp"):
                for entry in open_rows:
                    if entry[0]["model"] == row["model"] and entry[0]["batch"] == row["numSequences"]:
                        entry[1] = row["promptPerSecond"] if entry[0]["test"] == "prefill" else row["genPerSecond"]
                open_rows = []
    return cells


def main():
    cells = collect(sys.argv[1:])
    print("| type | test | rounds | Sparrow tok/s | share of the wall | needed | llama.cpp tok/s | ratio | ik, scaled |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in BITS:
        for (bits, test, streams), (target, wall, peer) in CELLS.items():
            runs = cells.get((model, test, streams))
            if bits != BITS[model] or not runs:
                continue
            rows = [row for row, _ in runs]
            shares = [100 * share_of_wall(row)[0] for row in rows]
            pairs = [(row["tokens_per_s"], other) for row, other in runs if other]
            scaled = []
            for row in rows if peer else ():
                by_memory = test == "decode" and streams <= 4
                factor = row["read_gb_per_s_beside"] / BOX_GB_PER_S if by_memory else row["int8_gops"] / BOX_GOPS
                scaled.append(row["tokens_per_s"] / (peer * factor))
            name = "prompt" if test == "prefill" else f"{streams} stream{'s' if streams > 1 else ''}"
            limits = statistics.mode(limit_name(row) for row in rows)
            print(f"| {model} | {name} | {len(rows)} | {spread([row['tokens_per_s'] for row in rows])} "
                  f"| {spread(shares, '{:.0f}')} % of {limits} | {100 * target / wall:.0f} % "
                  f"| {spread([other for _, other in pairs])} | {spread([own / other for own, other in pairs])} "
                  f"| {spread(scaled, '{:.2f}')} |")


if __name__ == "__main__":
    main()
