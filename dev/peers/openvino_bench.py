"""Measures OpenVINO GenAI on a GGUF file, so that Sparrow and it can be compared on the same weights in the same minute.

    python3 -m venv ~/openvino && ~/openvino/bin/pip install openvino-genai
    ~/openvino/bin/python dev/peers/openvino_bench.py MODEL.gguf [prompt=256] [gen=24] [sequences=1] [threads=2]

Prints one JSON line: prompt tokens/s of one sequence, and generated tokens/s summed over all sequences (greedy, continuous batching).
The GGUF file is converted while it is loaded (20 s for a 1.5B model). One run warms up and is not counted.
"""
import json
import sys
import time

import numpy
import openvino
import openvino_genai

path = sys.argv[1]
num_prompt, num_gen, num_sequences, num_threads = (int(text) for text in (sys.argv[2:] + ["256", "24", "1", "2"][len(sys.argv) - 2:]))
pipeline = openvino_genai.LLMPipeline(path, "CPU", ATTENTION_BACKEND="PA", INFERENCE_NUM_THREADS=num_threads)
random = numpy.random.default_rng(7)


def seconds(num_sequences: int, num_gen: int) -> float:
    """Of new prompts, so that no cache helps."""
    config = openvino_genai.GenerationConfig(max_new_tokens=num_gen, ignore_eos=True, do_sample=False)
    ids = random.integers(1000, 100000, (num_sequences, num_prompt), dtype=numpy.int64)
    inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
    begin = time.monotonic()
    pipeline.generate(inputs, config)
    return time.monotonic() - begin


seconds(num_sequences, 4)
prompt_s = seconds(1, 1)
first_s = prompt_s if num_sequences == 1 else seconds(num_sequences, 1)
all_s = seconds(num_sequences, num_gen)
print(json.dumps({"engine": f"openvino-genai {openvino_genai.__version__}", "numPrompt": num_prompt, "numGen": num_gen,
                  "numSequences": num_sequences, "threads": num_threads, "promptPerSecond": round(num_prompt / prompt_s, 2),
                  "genPerSecond": round(num_sequences * (num_gen - 1) / (all_s - first_s), 2)}))
