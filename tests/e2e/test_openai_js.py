"""The official JavaScript client; skipped by name where Node 20 or the package is missing."""
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent / "js"


def test_openai_js_client(server):
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if int(version.strip("v\n").split(".")[0]) < 20:
        pytest.skip(f"the openai package needs Node 20, this is {version.strip()}")
    if not (HERE / "node_modules/openai").exists():
        pytest.skip("tests/e2e/js/node_modules is missing: run dev/setup.sh test")
    done = subprocess.run([node, HERE / "client.mjs", server.url + "/v1"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all checks passed" in done.stdout
