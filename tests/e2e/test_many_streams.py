"""Many users at once: nobody's text changes, nothing leaks."""
import concurrent.futures
import json
import random

NUM_STREAMS = 64


def body(index):
    return {"messages": [{"role": "user", "content": f"user {index}: " + "麻雀 sparrow " * (index % 7)}],
            "max_tokens": 24 + index % 40, "temperature": 0, "ignore_eos": True}


def text_of(chunks):
    return "".join((c["delta"].get("reasoning_content") or "") + (c["delta"].get("content") or "")
                   for chunk in chunks for c in chunk["choices"])


def hang_up(server, request, after):
    """Reads a few bytes of the stream, then closes the socket."""
    connection = server.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps({**request, "max_tokens": 1500, "stream": True}),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read(after)
    connection.sock.close() if connection.sock else None
    response.close()
    connection.close()


def test_concurrent_streams_equal_single_ones_and_leak_nothing(server):
    alone = {index: text_of(server.stream("/v1/chat/completions", body(index))) for index in range(0, NUM_STREAMS, 4)}
    dice = random.Random(4)
    with concurrent.futures.ThreadPoolExecutor(NUM_STREAMS) as pool:
        jobs = {}
        for index in range(NUM_STREAMS):
            if index in alone:
                jobs[index] = pool.submit(server.stream, "/v1/chat/completions", body(index))
            else:
                jobs[index] = pool.submit(hang_up, server, body(index), dice.randrange(1, 3000))
        results = {index: job.result(timeout=300) for index, job in jobs.items()}
    for index, text in alone.items():
        assert text_of(results[index]) == text, f"stream {index} changed when others ran beside it"
        assert text, index
    server.wait_until_idle()


def test_hang_up_frees_blocks(server):
    for after in (1, 200, 2000):
        hang_up(server, body(3), after)
        server.wait_until_idle(seconds=10)
