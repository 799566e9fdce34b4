"""Measures a card's two ceilings with PyTorch, for `dev/gpu_check.sh run`: one JSON line.

    python3 dev/peers/torch_probe.py

copy_gb_per_s: a copy of 4 GB on the device, bytes read and written; bf16_tflops: a product of 8192 x 8192 x 8192 on random values
(zeros run faster). Medians of 10 after warming up, timed by the device's events.
"""
import json
import statistics
import sys

import torch


def median_ms(run, repeat=10):
    for _ in range(3):
        run()
    times = []
    for _ in range(repeat):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def main():
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    source = torch.randint(0, 256, (min(4 << 30, torch.cuda.mem_get_info()[0] // 4),), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy_ms = median_ms(lambda: target.copy_(source))
    copy_gb_per_s = 2 * source.numel() / copy_ms / 1e6
    del source, target
    size = 8192
    a, b = (torch.randn(size, size, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    product_ms = median_ms(lambda: torch.mm(a, b))
    print(json.dumps({"copy_gb_per_s": round(copy_gb_per_s, 1), "bf16_tflops": round(2 * size**3 / product_ms / 1e9, 1)}))


if __name__ == "__main__":
    main()
