#!/usr/bin/env python3
"""`gpu_check.sh run` from end to end with tools that only pretend: what a machine with a GPU would do, and what it would survive."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import report
import report_test

RUN = pathlib.Path(__file__).with_name("run.py")
SMI = f"cat <<'END'\n{report_test.SMI}END\n"
TORCH = """case "$1" in -c) exit 0 ;; *probe*) echo '{"copy_gb_per_s": 4300.0, "bf16_tflops": 790.0}'; exit 0 ;; esac
echo '{"engine": "transformers", "mode": "eager", "tokens_per_s": 40.0}'
"""
SPARROW = """case "$1" in
  synth) while [ "$1" != --out ]; do shift; done; touch "$2"; exit 0 ;;
esac
case "$*" in
  *depth*) echo 'error: unknown option --device' >&2; exit 2 ;;
  *q8_0*) echo 'not JSON' ;;
  *) echo '[{"test":"decode","batch":1,"depth":0,"tokens_per_s":1.0,"step_ms":1000.0}]' ;;
esac
"""
SANITIZER = """echo "short: $SPARROW_TEST_SHORT"
[ "$2" = memcheck ] && { echo '========= ERROR SUMMARY: 0 errors'; exit 0; }
echo '========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)'
"""
CTEST = """case "$*" in
  *--show-only*) echo '{{"tests": [{{"name": "kernels_cuda_rows_test", "command": ["/bin/true"]}}, {{"name": "model_test", "command": ["/bin/true"]}}]}}'; exit 0 ;;
esac
cp {folder}/rows.xml "${{GTEST_OUTPUT#xml:}}kernels_cuda_rows_test.xml"
while [ "$1" != --output-junit ]; do shift; done
cp {folder}/ctest.xml "$2"
"""


class Run(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        for name in ("bin", "build"):
            (self.folder / name).mkdir()
        (self.folder / "build/CMakeCache.txt").write_text("CMAKE_BUILD_TYPE:STRING=Release\nSPARROW_CUT:STRING=engine\n")
        self.tool("ctest", CTEST.format(folder=self.folder))
        self.tool("sparrow", SPARROW, "build")
        self.good_tests()

    def tearDown(self):
        self._folder.cleanup()

    def tool(self, name, text, folder="bin"):
        path = self.folder / folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def good_tests(self):
        (self.folder / "ctest.xml").write_text('<testsuite><testcase name="kernels_cuda_rows_test" time="1" status="run"/></testsuite>')
        (self.folder / "rows.xml").write_text('<testsuites><testsuite><testcase name="Norm" classname="Rows" status="run"/></testsuite></testsuites>')

    def bad_tests(self):
        (self.folder / "ctest.xml").write_text(report_test.CTEST)
        (self.folder / "rows.xml").write_text(report_test.GTEST)

    def device(self):
        self.tool("nvidia-smi", SMI)
        self.tool("compute-sanitizer", SANITIZER)
        self.tool("python3", TORCH)

    def run_check(self, *options):
        out = self.folder / "out"
        done = subprocess.run([sys.executable, RUN, "--build", self.folder / "build", "--out", out, *options], capture_output=True, text=True,
                              env={**os.environ, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"})
        self.assertTrue((out / "gpu_check.json").exists(), done.stderr)
        return done, json.loads((out / "gpu_check.json").read_text())

    def test_without_a_device(self):
        # Wherever this runs, even on a machine with a GPU.
        self.tool("nvidia-smi", "echo 'No devices were found'; exit 6")
        done, result = self.run_check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIsNone(result["device"])
        self.assertIn("no GPU", done.stdout)
        self.assertEqual(result["tests"]["programs"], {"passed": 1, "failed": 0, "skipped": 0})
        self.assertEqual((result["bench"], result["peers"], result["sanitizers"]), ([], [], []))
        skipped = {step["name"] for step in result["steps"] if step["status"] == "skipped" and "no GPU" in step["reason"]}
        self.assertLessEqual({"sanitizer memcheck", "sanitizer racecheck", "probe", "bench bf16-batches", "peer transformers"}, skipped)

    def test_with_a_device(self):
        self.device()
        done, result = self.run_check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(result["schema"], report.SCHEMA)
        self.assertEqual(result["device"]["name"], "NVIDIA H200")
        self.assertEqual(result["num_devices"], 2)
        self.assertEqual(result["device_after"]["name"], "NVIDIA H200")
        self.assertEqual(result["build"]["SPARROW_CUT"], "engine")
        self.assertEqual([(entry["tool"], entry["program"], entry["errors"]) for entry in result["sanitizers"]],
                         [("memcheck", "kernels_cuda_rows_test", 0), ("racecheck", "kernels_cuda_rows_test", 0)])
        self.assertIn("short: 1", (self.folder / "out/gpu_check.log").read_text())
        self.assertEqual(result["peers"][0]["mode"], "eager")
        self.assertEqual(result["probe"], {"copy_gb_per_s": 4300.0, "bf16_tflops": 790.0})
        # One case fails, one prints no JSON: both are recorded, the others count.
        self.assertEqual([case["case"] for case in result["bench"]], 
                         ["bf16-batches", "bf16-own-kernels", "bf16-plain-decode", "q4_0-one", "bf16-first-token", "bf16-nano-vllm", "bf16-users"])
        failed = {step["name"]: step["reason"] for step in result["steps"] if step["status"] == "failed"}
        self.assertEqual(set(failed), {"bench bf16-depths", "bench q8_0-one"})
        self.assertEqual(failed["bench bf16-depths"], "error: unknown option --device")
        self.assertLessEqual(len(list((self.folder / "out").iterdir())), 8)

    def test_failed_test_fails_the_check(self):
        self.device()
        self.bad_tests()
        done, result = self.run_check()
        self.assertEqual(done.returncode, 1)
        self.assertFalse(result["passed"])
        self.assertIn("test model_cuda_executor_test failed", result["failures"])
        self.assertEqual(result["tests"]["skipped_programs"], ["kernels_cuda_graph_test"])
        self.assertTrue(result["bench"])  # the rest went on

    def test_no_time_left(self):
        self.device()
        done, result = self.run_check("--budget-s", "0")
        self.assertEqual(done.returncode, 1)
        self.assertEqual({step["status"] for step in result["steps"]}, {"skipped"})
        self.assertIn("no test with label gpu ran", result["failures"])

    def test_a_step_ends_with_its_limit(self):
        sys.path.insert(0, str(RUN.parent))
        import run
        with open(os.devnull, "w", encoding="utf-8") as log:
            steps = run.Steps(100, log)
            done = steps.run("endless", 1, ["bash", "-c", "trap 'echo rows; exit 130' TERM; echo before; cat /dev/zero >/dev/null & wait"])
        self.assertEqual((done.status, done.out), ("timeout", "before\nrows\n"))
        self.assertEqual(steps.entries[0]["reason"], "more than 1 s")


if __name__ == "__main__":
    unittest.main()
