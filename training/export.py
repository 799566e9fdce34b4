"""Writes a checkpoint as a Hugging Face directory: what Sparrow, transformers and vLLM load.

    python export.py --folder build/nano --out ../models/nano

model.safetensors in bfloat16, config.json, generation_config.json (R1's sampling defaults), the
tokenizer files. The model card and the licence beside them are kept by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
from pathlib import Path

import torch
from tokenizers import Tokenizer

from corpus.mixture import BOS, EOS
from model import ModelConfig


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """The safetensors format: u64 header size, JSON header, then the bytes; names in sorted order."""
    header: dict = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in sorted(tensors.items()):
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in sorted(tensors.items()):
            file.write(tensor.contiguous().view(torch.int16).numpy().tobytes())
    partial.replace(path)


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of train.py")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    state = torch.load(arguments.folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    config = ModelConfig(**state["config"])
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.to(torch.bfloat16) for name, value in state["model"].items()}
    write_safetensors(arguments.out / "model.safetensors", tensors)
    write_json(arguments.out / "config.json", {
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": bos,
        "eos_token_id": eos, "hidden_act": "silu", "hidden_size": config.hidden_size,
        "initializer_range": 0.02, "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings, "model_type": "qwen2",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads, "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "use_cache": True, "use_sliding_window": False, "vocab_size": config.vocab_size,
    })
    write_json(arguments.out / "generation_config.json", {
        "bos_token_id": bos, "eos_token_id": eos, "do_sample": True, "temperature": 0.6, "top_p": 0.95})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(arguments.folder / name, arguments.out / name)
    print(f"step {state['step']}, {state['tokens']} tokens: "
          f"{(arguments.out / 'model.safetensors').stat().st_size / 1e6:.2f} MB in {arguments.out}")


if __name__ == "__main__":
    main()
