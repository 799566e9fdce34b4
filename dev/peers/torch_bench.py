"""Measures PyTorch with transformers on Qwen2 shapes with random weights in bf16, for `dev/gpu_check.sh run`.

    python3 dev/peers/torch_bench.py [--device cuda] [--shapes r1-distill-qwen-1.5b] [--prompt-tokens 512] [--new-tokens 128] [--repeat 5]

One sequence, greedy, no end token. Two ways to run: "eager" (generate with its growing cache) and "compiled" (generate with a static
cache, which compiles the forward pass with torch.compile, CUDA graphs included). Prints one JSON line for each as soon as it is there,
so what was measured before a time limit counts. tokens_per_s is that of decoding alone: (new - 1) / (time of all - time of the first);
every figure is the median of --repeat runs after warming up. Speed of a dense model does not depend on what the weights say.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import transformers

SHAPES = {
    # The config.json of DeepSeek-R1-Distill-Qwen-1.5B, what bears on speed.
    "r1-distill-qwen-1.5b": dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
                                 num_key_value_heads=2, vocab_size=151936, max_position_embeddings=131072),
    "tiny": dict(hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 vocab_size=320, max_position_embeddings=8192),
}


def make_model(shapes, device):
    torch.manual_seed(0)
    config = transformers.Qwen2Config(**SHAPES[shapes], tie_word_embeddings=False, use_sliding_window=False)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = transformers.Qwen2ForCausalLM(config)
    model.generation_config = transformers.GenerationConfig(do_sample=False, pad_token_id=0)
    return model.eval()


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(model, prompt, num_new, options):
    synchronize(prompt.device.type)
    begin = time.perf_counter()
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=num_new, min_new_tokens=num_new, **options)
    synchronize(prompt.device.type)
    seconds = time.perf_counter() - begin
    if out.shape[1] != prompt.shape[1] + num_new:
        raise RuntimeError(f"generate gave {out.shape[1] - prompt.shape[1]} tokens, asked for {num_new}")
    return seconds


def options_of(mode, device):
    if mode == "eager":
        return {}
    compile_config = transformers.CompileConfig()
    if device != "cuda":
        compile_config._compile_all_devices = True  # else a CPU, where this program is tested, runs it eagerly
    return {"cache_implementation": "static", "compile_config": compile_config}


def measure(model, mode, args):
    prompt = torch.randint(1, model.config.vocab_size, (1, args.prompt_tokens), device=args.device)
    options = options_of(mode, args.device)
    begin = time.perf_counter()
    # The cache of both lengths is that of the longer one, and all graphs are there before a run counts.
    for num_new in (args.new_tokens, 1, args.new_tokens, 1):
        seconds_of(model, prompt, num_new, options)
    warm_up_s = time.perf_counter() - begin
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    if mode == "compiled" and graphs == 0:
        raise RuntimeError("generate compiled nothing with a static cache: not what this row claims")
    first, whole = [], []
    for _ in range(args.repeat):
        first.append(seconds_of(model, prompt, 1, options))
        whole.append(seconds_of(model, prompt, args.new_tokens, options))
    decode = sorted((args.new_tokens - 1) / (all_s - first_s) for first_s, all_s in zip(first, whole))
    return {"engine": "transformers", "mode": mode, "tokens_per_s": round(statistics.median(decode), 2),
            "tokens_per_s_min": round(decode[0], 2), "tokens_per_s_max": round(decode[-1], 2),
            "first_token_ms": round(statistics.median(first) * 1e3, 3), "warm_up_s": round(warm_up_s, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shapes", default="r1-distill-qwen-1.5b", choices=sorted(SHAPES))
    parser.add_argument("--modes", default="eager,compiled")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    what = {"shapes": args.shapes, "dtype": "bf16", "batch": 1, "prompt_tokens": args.prompt_tokens, "new_tokens": args.new_tokens,
            "repeat": args.repeat, "device": name, "torch": torch.__version__, "transformers": transformers.__version__}
    failed = False
    with torch.inference_mode():
        model = make_model(args.shapes, args.device)
        for mode in args.modes.split(","):
            try:
                row = measure(model, mode, args)
            except Exception as error:  # whatever a peer throws is its result, and the other mode still counts
                row, failed = {"engine": "transformers", "mode": mode, "error": f"{type(error).__name__}: {str(error)[:500]}"}, True
            print(json.dumps(row | what), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
