"""Trains the bundled model. Resumable: stop it with Ctrl-C or kill -9 and run the same command again.

    python tokenizer.py --out build/nano
    python train.py --folder build/nano --minutes 100
    python export.py --folder build/nano --out ../models/nano

The length of the run is given in minutes of computing (or in steps): the learning rate is constant
after a short warm-up and falls to zero over the last part. Writes log.jsonl and checkpoint.pt into the
folder; --device cuda uses a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from batches import IGNORED, Batch, BatchStream, batches_of, encode_chunk
from corpus.mixture import EOS
from model import ModelConfig, Qwen2
from muon import optimizers_for


def losses(model: Qwen2, batch: Batch, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Summed cross entropy over the learned positions, which of them are right, and their rows."""
    inputs = torch.from_numpy(batch.inputs).long().to(device)
    targets = torch.from_numpy(batch.targets).long().to(device)
    learned = targets != IGNORED
    logits = model.logits(model.hidden(inputs)[learned]).float()
    wanted = targets[learned]
    rows = torch.arange(len(targets), device=device)[:, None].expand_as(targets)[learned]
    return F.cross_entropy(logits, wanted, reduction="sum"), logits.argmax(-1) == wanted, rows


@torch.no_grad()
def validate(model: Qwen2, batches: list[Batch], device: str) -> tuple[float, dict[str, float]]:
    """Mean loss, and of each family the share of samples whose every token is the likeliest one.

    That share is the success of greedy decoding with the corpus' own wording: a lower bound."""
    total, count, whole = 0.0, 0, {}
    for batch in batches:
        with autocast(device):
            loss, right, rows = losses(model, batch, device)
        total, count = total + loss.item(), count + len(right)
        missed = set(rows[~right].tolist())
        for row, family in enumerate(batch.families):
            tally = whole.setdefault(family, [0, 0])
            tally[0] += row not in missed
            tally[1] += 1
    return total / count, {family: n / of for family, (n, of) in sorted(whole.items())}


def autocast(device: str):
    return torch.autocast(device, torch.bfloat16)


def rate_factor(progress: float, step: int, decay: float) -> float:
    """1 after a warm-up of 100 steps, falling to 0 over the last `decay` share of the run."""
    return min(1.0, (step + 1) / 100) * min(1.0, max(0.0, (1.0 - progress) / decay))


def load_exported(model: Qwen2, folder: Path) -> None:
    """Takes the weights of a directory that export.py wrote, such as models/nano."""
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    state = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            values = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.bfloat16)
            state[name] = values.reshape(entry["shape"]).float()
    model.load_state_dict(state)


class Run:
    """The state that a checkpoint keeps."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.folder: Path = arguments.folder
        self.tokenizer_file = self.folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
        self.pad_id = tokenizer.token_to_id(EOS)
        config = ModelConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=arguments.hidden,
                             intermediate_size=arguments.ffn, num_hidden_layers=arguments.layers,
                             num_attention_heads=arguments.hidden // 64)
        torch.manual_seed(arguments.seed)
        self.model = Qwen2(config).to(arguments.device)
        if arguments.start_from:
            load_exported(self.model, arguments.start_from)
        self.optimizers = optimizers_for(self.model, arguments.matrix_lr, arguments.other_lr)
        self.step, self.tokens, self.seconds, self.chunk = 0, 0, 0.0, 0

    @property
    def checkpoint_file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def progress(self) -> float:
        if self.arguments.steps:
            return self.step / self.arguments.steps
        return self.seconds / (60 * self.arguments.minutes)

    def save(self) -> None:
        state = {"config": self.model.config.to_dict(), "model": self.model.state_dict(),
                 "optimizers": [o.state_dict() for o in self.optimizers], "step": self.step,
                 "tokens": self.tokens, "seconds": self.seconds, "chunk": self.chunk}
        partial = self.checkpoint_file.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint_file)  # never a half written checkpoint

    def restore(self) -> None:
        if not self.checkpoint_file.exists():
            return
        state = torch.load(self.checkpoint_file, map_location=self.arguments.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]
        self.seconds, self.chunk = state["seconds"], state["chunk"]

    def log(self, **entry) -> None:
        entry = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), **entry}
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        shown = {k: v for k, v in entry.items() if k != "families"}
        print("  ".join(f"{k} {v}" for k, v in shown.items()), flush=True)

    def train_on(self, batch: Batch) -> float:
        factor = rate_factor(self.progress(), self.step, self.arguments.decay)
        with autocast(self.arguments.device):
            loss, right, _ = losses(self.model, batch, self.arguments.device)
        mean = loss / len(right)
        mean.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, lr in zip(self.optimizers, (self.arguments.matrix_lr, self.arguments.other_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += len(right)
        return mean.item()

    def run(self) -> None:
        arguments = self.arguments
        held_out = batches_of(
            encode_chunk(str(self.tokenizer_file), arguments.seed, "validation", 0,
                         arguments.validation_samples, arguments.max_length),
            arguments.batch_tokens, 0, self.pad_id)
        stream = BatchStream(self.tokenizer_file, arguments.seed, self.chunk, arguments.chunk_samples,
                             arguments.batch_tokens, arguments.max_length, self.pad_id)
        self.log(start=True, parameters=sum(p.numel() for p in self.model.parameters()),
                 machine=platform.processor() or platform.machine(), torch=torch.__version__)
        mean = 0.0
        for self.chunk, batches in stream.chunks():
            for batch in batches:
                begin = time.monotonic()
                loss = self.train_on(batch)
                self.seconds += min(time.monotonic() - begin, arguments.longest_step_s)
                mean = loss if mean == 0.0 else 0.98 * mean + 0.02 * loss
                if self.step % 50 == 0:
                    self.log(loss=round(mean, 4))
                if self.progress() >= 1.0:
                    break
            self.chunk += 1  # a resumed run starts with the next chunk
            loss, families = validate(self.model, held_out, arguments.device)
            self.log(validation_loss=round(loss, 4),
                     validation_whole=round(sum(families.values()) / len(families), 4),
                     families={k: round(v, 3) for k, v in families.items()})
            self.save()
            if self.progress() >= 1.0:
                break
        stream.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="holds tokenizer.json; gets the rest")
    parser.add_argument("--minutes", type=float, default=100, help="length of the run in computing time")
    parser.add_argument("--steps", type=int, default=0, help="length of the run in steps instead")
    parser.add_argument("--decay", type=float, default=0.35, help="share of the run with a falling rate")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--ffn", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--matrix-lr", type=float, default=0.02)
    parser.add_argument("--other-lr", type=float, default=3e-3)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--max-length", type=int, default=640)
    parser.add_argument("--chunk-samples", type=int, default=16_000)
    parser.add_argument("--validation-samples", type=int, default=1500)
    parser.add_argument("--longest-step-s", type=float, default=60,
                        help="a step counts as at most this long (a suspended machine does not count)")
    parser.add_argument("--start-from", type=Path,
                        help="weights to begin with (a directory of export.py; copy its tokenizer.json to --folder)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run = Run(arguments)
    run.restore()
    run.run()


if __name__ == "__main__":
    main()
