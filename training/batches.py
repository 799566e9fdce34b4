"""Samples as batches of token ids: made in chunks by a process of its own, ahead of the training.

Chunk i of a seed is always the same. Inside a chunk samples are sorted by length, so that a batch has
little padding, and the batches are shuffled.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IGNORED = -100  # a position whose next token is not learned (prompt, padding)


@dataclass(frozen=True)
class Batch:
    inputs: np.ndarray  # int32 [rows, length]
    targets: np.ndarray  # int32 [rows, length], IGNORED where nothing is learned
    families: list[str]  # of each row


def encode_chunk(tokenizer_file: str, seed: int, split: str, chunk: int, num_samples: int,
                 max_length: int) -> list[tuple[list[int], int, str]]:
    """(ids, length of the prompt, family) of each sample; samples that are too long are left out."""
    from tokenizers import Tokenizer

    from corpus.mixture import samples

    tokenizer = Tokenizer.from_file(tokenizer_file)
    drawn = list(itertools.islice(samples(seed * 1_000_003 + chunk, split), num_samples))
    prompts = tokenizer.encode_batch_fast([s.prompt for s in drawn], add_special_tokens=False)
    targets = tokenizer.encode_batch_fast([s.target for s in drawn], add_special_tokens=False)
    rows = []
    for sample, prompt, target in zip(drawn, prompts, targets):
        ids = prompt.ids + target.ids
        if len(ids) <= max_length:
            rows.append((ids, len(prompt.ids), sample.problem.family))
    return rows


def batches_of(rows: list, tokens_per_batch: int, seed: int, pad_id: int) -> list[Batch]:
    rng = random.Random(seed)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + rng.random() * 8)
    batches, group, longest = [], [], 0
    for index in order:
        longest_then = max(longest, len(rows[index][0]))
        if group and longest_then * (len(group) + 1) > tokens_per_batch:
            batches.append(_batch(group, pad_id))
            group, longest_then = [], len(rows[index][0])
        group.append(rows[index])
        longest = longest_then
    batches.append(_batch(group, pad_id))
    rng.shuffle(batches)
    return batches


def _batch(rows: list, pad_id: int) -> Batch:
    # The last id is only a target, so inputs are one shorter; lengths are rounded up to 8.
    length = (max(len(ids) for ids, _, _ in rows) - 1 + 7) // 8 * 8
    inputs = np.full((len(rows), length), pad_id, np.int32)
    targets = np.full((len(rows), length), IGNORED, np.int32)
    for row, (ids, prompt_length, _) in enumerate(rows):
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, prompt_length - 1 : len(ids) - 1] = ids[prompt_length:]
    return Batch(inputs, targets, [family for _, _, family in rows])


class BatchStream:
    """Batches of one seed from a given chunk on; the next chunk is made while this one is used."""

    def __init__(self, tokenizer_file: Path, seed: int, first_chunk: int, samples_per_chunk: int,
                 tokens_per_batch: int, max_length: int, pad_id: int):
        self._arguments = (str(tokenizer_file), seed, "train")
        self._samples = samples_per_chunk
        self._tokens, self._max_length, self._pad = tokens_per_batch, max_length, pad_id
        self._chunk = first_chunk
        self._pool = ProcessPoolExecutor(1)
        self._next = self._submit(first_chunk)

    def _submit(self, chunk: int):
        return self._pool.submit(encode_chunk, *self._arguments, chunk, self._samples, self._max_length)

    def chunks(self) -> Iterator[tuple[int, list[Batch]]]:
        while True:
            rows, chunk = self._next.result(), self._chunk
            self._chunk += 1
            self._next = self._submit(self._chunk)
            yield chunk, batches_of(rows, self._tokens, chunk, self._pad)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
