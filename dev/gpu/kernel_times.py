#!/usr/bin/env python3
"""Sums of kernel times from a CSV of Nsight Compute: kernel_times.py FILE [--skip N] [--count N]

    ncu --clock-control none --metrics gpu__time_duration.sum --csv --log-file FILE sparrow bench ... --enforce-eager

One line a kernel: launches, microseconds together and of one, share. Launches in the order they ran.
"""
import argparse
import collections
import csv
import re


def read_launches(path):
    with open(path, newline="", errors="replace") as file:
        rows = [line for line in file if line.startswith('"')]
    for row in csv.DictReader(rows):
        if row.get("Metric Name") != "gpu__time_duration.sum":
            continue
        scale = {"ns": 1e-3, "nsecond": 1e-3, "us": 1, "usecond": 1, "ms": 1e3, "msecond": 1e3}[row["Metric Unit"]]
        yield row["Kernel Name"], float(row["Metric Value"].replace(",", "")) * scale, row.get("Grid Size", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--count", type=int, default=1 << 30)
    args = parser.parse_args()
    launches = list(read_launches(args.file))[args.skip:args.skip + args.count]
    sums = collections.defaultdict(lambda: [0, 0.0, float("inf"), 0.0])
    for name, microseconds, grid in launches:
        name = re.sub(r"\(.*", "", name)
        name = re.sub(r"sparrow::gpu_cuda::|\(anonymous namespace\)::|<unnamed>::|void ", "", name)
        entry = sums[f"{name} {grid}"]
        entry[0] += 1
        entry[1] += microseconds
        entry[2] = min(entry[2], microseconds)
        entry[3] = max(entry[3], microseconds)
    total = sum(entry[1] for entry in sums.values())
    print(f"{len(launches)} launches, {total:.1f} us")
    for name, (count, microseconds, least, most) in sorted(sums.items(), key=lambda item: -item[1][1]):
        print(f"{count:5d} {microseconds:9.1f} us {microseconds / count:8.2f} ({least:.2f} to {most:.2f}) {100 * microseconds / total:5.1f} %  {name[:110]}")


if __name__ == "__main__":
    main()
