#!/usr/bin/env python3
"""Makes the golden logits of tests/golden/*.json with PyTorch and transformers.

  python3 -m venv .venv-golden
  .venv-golden/bin/pip install torch==2.13.0 transformers==5.24.0 numpy
  .venv-golden/bin/python tests/golden/make_golden.py            # writes beside itself

The files hold logits only. Weights and token ids come from integers that Python and C++ make alike
(base/random.h, model/generated_weights.h), so a file of a few kB stands for a whole model.

Each case is run twice: with the float32 weights, and with the weights rounded to bfloat16. The
model itself runs in float64 both times, so that the files hold the truth and not the rounding of
one library: what transformers keeps in float32 (the norms, cos and sin) is the largest error left,
about 1e-7 of the logits.
"""

import base64
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

HERE = pathlib.Path(__file__).resolve().parent

# name: (layers, hidden, intermediate, heads, kv heads, head_dim, vocab, theta, tied, seed,
#        [(number of tokens, rows whose logits are kept)])
SHORT = [(1, [0]), (17, [0, 15, 16]), (300, [0, 1, 31, 63, 127, 254, 255, 256, 257, 299])]
MODELS = {
    "tied_group1_head64": (2, 128, 224, 2, 2, 64, 200, 10000.0, True, 11, SHORT),
    "untied_group2_head64": (2, 256, 300, 4, 2, 64, 200, 1000000.0, False, 12, SHORT),
    "untied_group6_head128": (2, 192, 256, 12, 2, 128, 208, 10000.0, False, 13, SHORT),
    "tied_group6_head128": (3, 96, 172, 6, 1, 128, 150, 10000.0, True, 14, SHORT),
    "untied_long_4200": (1, 64, 96, 2, 1, 64, 96, 10000.0, False, 15,
                         [(4200, [4095, 4096, 4097, 4199])]),
}


def mix64(value):
    """SplitMix64's finaliser on arrays of uint64 (base/random.h)."""
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def random_bits(seed, stream, count):
    keyed = mix64(mix64(np.array([seed], dtype=np.uint64)) ^ np.uint64(stream))
    return mix64(keyed ^ np.arange(count, dtype=np.uint64))


def generated_tensor(name, shape, seed):
    """Same values as GeneratedWeights in src/model/generated_weights.cc, bit for bit."""
    bits = random_bits(seed, fnv1a64(name), int(np.prod(shape)))
    steps = (bits >> np.uint64(40)).astype(np.int64) - (1 << 23)  # 24 bits: exact in float32
    unit = (steps.astype(np.float32) * np.float32(2.0**-23)).reshape(shape)  # [-1, 1)
    if name.endswith("norm.weight"):
        return np.float32(1.0) + np.float32(0.25) * unit
    if name.endswith("k_proj.bias"):
        return np.float32(4.0) * unit  # Qwen2's K biases are huge
    if name.endswith(".bias"):
        return np.float32(0.5) * unit
    if name == "model.embed_tokens.weight":
        return unit
    scale = 1.0  # the largest power of two with scale^2 * columns <= 4: about unit variance out
    while scale * scale * shape[1] > 4.0:
        scale *= 0.5
    return np.float32(scale) * unit


def token_ids(num_tokens, vocab, seed):
    return (random_bits(seed, fnv1a64("tokens"), num_tokens) % np.uint64(vocab)).astype(np.int64)


def make_model(spec):
    layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, theta, tied, seed, _ = spec
    config = Qwen2Config(
        vocab_size=vocab, hidden_size=hidden, intermediate_size=intermediate,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        head_dim=head_dim, rms_norm_eps=1e-6, rope_theta=theta, tie_word_embeddings=tied,
        max_position_embeddings=8192, use_sliding_window=False, attn_implementation="sdpa")
    model = Qwen2ForCausalLM(config).eval()
    rope = getattr(config, "rope_parameters", None)
    assert rope is None or rope["rope_theta"] == theta, rope
    return model


def fill(model, seed, bfloat16):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.from_numpy(generated_tensor(name, tuple(parameter.shape), seed))
            if bfloat16:
                values = values.to(torch.bfloat16)
            parameter.copy_(values.to(parameter.dtype))


def logits_of(model, ids, rows):
    with torch.no_grad():
        output = model(torch.from_numpy(ids)[None], logits_to_keep=torch.tensor(rows))
    return output.logits[0].to(torch.float32).numpy()  # [rows, vocab]


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def make(name, spec):
    layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, theta, tied, seed, cases = spec
    model = make_model(spec).double()
    golden = {
        "made_by": {
            "program": "tests/golden/make_golden.py",
            "command": ".venv-golden/bin/python tests/golden/make_golden.py " + name,
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
        "what": "logits of Qwen2ForCausalLM in float64 with weights of model/generated_weights.h; "
                "float32 little endian, base64, [rows, vocab]",
        "config": {
            "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": intermediate,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
            "vocab_size": vocab, "rope_theta": theta, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": tied, "max_position_embeddings": 8192,
        },
        "seed": seed,
        "cases": [],
    }
    for bfloat16 in (False, True):
        fill(model, seed, bfloat16)
        for num_tokens, rows in cases:
            ids = token_ids(num_tokens, vocab, seed)
            golden["cases"].append({
                "weights": "bf16" if bfloat16 else "f32",
                "num_tokens": num_tokens,
                "token_sum": int(ids.sum()),  # tells a wrong token generator from a wrong model
                "rows": rows,
                "logits": encode(logits_of(model, ids, rows)),
            })
    path = HERE / (name + ".json")
    path.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes, {len(golden['cases'])} cases")


def main():
    torch.manual_seed(0)
    for name in sys.argv[1:] or MODELS:
        make(name, MODELS[name])


if __name__ == "__main__":
    main()
