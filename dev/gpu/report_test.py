#!/usr/bin/env python3
"""gpu_check.json from texts of the tools, whole and broken. What real tools print is quoted, shortened."""
import unittest

import report

SMI = ("NVIDIA H200, 580.95.05, 9.0, 143771, 4, 0, 345, 3201, 1980, 3201, 31, 77.21, 700.00, Disabled\n"
       "NVIDIA H200, 580.95.05, 9.0, 143771, 4, 0, 345, 3201, 1980, 3201, 30, [N/A], 700.00, [N/A]\n")
CTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux-c++" tests="3" failures="1" disabled="0" skipped="1" time="3">
  <testcase name="kernels_cuda_rows_test" classname="kernels_cuda_rows_test" time="1.5" status="run"><system-out>ok</system-out></testcase>
  <testcase name="model_cuda_executor_test" classname="x" time="0.2" status="fail"><failure message=""/><system-out>no</system-out></testcase>
  <testcase name="kernels_cuda_graph_test" classname="x" time="0.1" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/></testcase>
</testsuite>"""
GTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" disabled="1" errors="0" time="0.1" name="AllTests">
  <testsuite name="Rows" tests="4">
    <testcase name="Norm" status="run" result="completed" time="0." classname="Rows" />
    <testcase name="Rope" status="run" result="completed" time="0." classname="Rows"><failure message="a.cc:3&#x0A;differs" type=""></failure></testcase>
    <testcase name="Device" status="run" result="skipped" time="0." classname="Rows"><skipped message="a.cc:9&#x0A;no CUDA device" /></testcase>
    <testcase name="DISABLED_Slow" status="notrun" result="suppressed" time="0." classname="Rows" />
  </testsuite>
</testsuites>"""


def machine(device=None):
    return {"device": device, "device_reason": "" if device else "no GPU (no nvidia-smi on this machine)", "commit": "abc", "commit_from": "git"}


def tests_of(failed=False):
    programs = [{"name": "a_test", "status": "failed" if failed else "passed", "seconds": 1.0}]
    return report.assemble_tests("gpu", programs, [])


def result_of(**changes):
    parts = dict(machine=machine(), steps=[], tests=tests_of(), sanitizers=[], bench=[], peers=[], probe={"copy_gb_per_s": None, "bf16_tflops": None})
    return report.assemble(**(parts | changes))


class Report(unittest.TestCase):
    def test_gpus(self):
        first, second = report.parse_gpus(SMI)
        self.assertEqual(first["name"], "NVIDIA H200")
        self.assertEqual(first["driver"], "580.95.05")
        self.assertEqual(first["compute_capability"], "9.0")
        self.assertEqual((first["memory_mib"], first["max_sm_clock_mhz"], first["temperature_c"], first["power_w"]), (143771, 1980, 31, 77.21))
        self.assertIsNone(second["power_w"])
        self.assertIsNone(second["mig_mode"])
        self.assertEqual(report.parse_gpus("No devices were found\n"), [])

    def test_ctest(self):
        self.assertEqual([(p["name"], p["status"]) for p in report.parse_ctest_junit(CTEST)],
                         [("kernels_cuda_rows_test", "passed"), ("model_cuda_executor_test", "failed"), ("kernels_cuda_graph_test", "skipped")])

    def test_a_program_that_was_not_built_is_no_skip(self):
        text = '<testsuite><testcase name="a_test" time="0" status="notrun"><skipped message="Unable to find executable"/></testcase></testsuite>'
        self.assertEqual([p["status"] for p in report.parse_ctest_junit(text)], ["failed"])

    def test_googletest(self):
        cases = report.parse_googletest_xml(GTEST, "rows_test")
        self.assertEqual([(c["name"], c["status"]) for c in cases],
                         [("rows_test:Rows.Norm", "passed"), ("rows_test:Rows.Rope", "failed"), ("rows_test:Rows.Device", "skipped")])
        self.assertIn("no CUDA device", cases[2]["message"])

    def test_counts_and_names(self):
        tests = report.assemble_tests("gpu", report.parse_ctest_junit(CTEST), report.parse_googletest_xml(GTEST, "rows_test"))
        self.assertEqual(tests["programs"], {"passed": 1, "failed": 1, "skipped": 1})
        self.assertEqual(tests["cases"], {"passed": 1, "failed": 1, "skipped": 1})
        self.assertEqual(tests["failed_programs"], ["model_cuda_executor_test"])
        self.assertEqual(tests["skipped_programs"], ["kernels_cuda_graph_test"])
        self.assertEqual([case["name"] for case in tests["skipped_cases"]], ["rows_test:Rows.Device"])

    def test_sanitizer(self):
        self.assertEqual(report.parse_sanitizer("x\n========= ERROR SUMMARY: 0 errors\n"), 0)
        self.assertEqual(report.parse_sanitizer("========= ERROR SUMMARY: 1 error\n"), 1)
        self.assertEqual(report.parse_sanitizer("========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)\n"), 2)
        self.assertIsNone(report.parse_sanitizer("killed"))

    def test_bench(self):
        rows = report.parse_bench('[{"test":"decode","batch":1,"depth":0,"tokens_per_s":9.5,"step_ms":105.2}\n]\n')
        self.assertEqual(rows[0]["tokens_per_s"], 9.5)
        for bad in ("", "[{]", '{"test":"decode"}', "[1]"):
            with self.assertRaises(ValueError):
                report.parse_bench(bad)

    def test_peers_cut_short(self):
        self.assertEqual(report.parse_json_lines('warning\n{"mode":"eager"}\n{"mode":"comp'), [{"mode": "eager"}])

    def test_verdict(self):
        self.assertTrue(result_of()["passed"])
        self.assertFalse(result_of(tests=tests_of(failed=True))["passed"])
        nothing = result_of(tests=report.assemble_tests("gpu", [], []))
        self.assertEqual(nothing["failures"], ["no test with label gpu ran"])
        found = result_of(sanitizers=[{"tool": "memcheck", "program": "a_test", "status": "failed", "errors": 3}])
        self.assertEqual(found["failures"], ["compute-sanitizer memcheck found 3 in a_test"])
        unknown = result_of(sanitizers=[{"tool": "memcheck", "program": "a_test", "status": "timeout", "errors": None}])
        self.assertTrue(unknown["passed"])
        slow = result_of(steps=[report.step("bench x", "timeout", 60, 60, "more than 60 s")])
        self.assertTrue(slow["passed"])

    def test_skipped_tests_alone_do_not_pass(self):
        skipped = report.assemble_tests("gpu", [{"name": "a_test", "status": "skipped", "seconds": 0.0}], [])
        self.assertEqual(result_of(tests=skipped)["failures"], ["no test with label gpu ran"])

    def test_steps(self):
        with self.assertRaises(ValueError):
            report.step("x", "done")
        self.assertEqual(report.step("x", "ok", 1.26, 5, command=["a", "b"], exit_code=0)["seconds"], 1.3)

    def test_table(self):
        text = report.table(result_of(steps=[report.step("probe", "skipped", reason="no GPU")]))
        self.assertIn("none: no GPU (no nvidia-smi on this machine)", text)
        self.assertIn("not measured", text)
        self.assertIn("skipped  probe: no GPU", text)
        self.assertEqual(text.splitlines()[-1], "passed")
        bench = [{"case": "bf16-batches", "model": "bf16", "rows": [{"test": "decode", "batch": 8, "depth": 0, "tokens_per_s": 12.0, "step_ms": 1.5}]}]
        peers = [{"engine": "transformers", "mode": "eager", "tokens_per_s": 3.0}, {"engine": "transformers", "mode": "compiled", "error": "X: " + "y" * 300}]
        text = report.table(result_of(machine=machine({"name": "NVIDIA H200"}), bench=bench, peers=peers, tests=tests_of(failed=True),
                                      probe={"copy_gb_per_s": 4300.4, "bf16_tflops": None}))
        self.assertIn("12.0 tok/s     1.500 ms/step", text)
        self.assertIn("4300", text)
        self.assertIn("FAILED   test a_test failed", text)
        self.assertEqual(text.splitlines()[-1], "not passed")
        self.assertLessEqual(max(map(len, text.splitlines())), 120)


if __name__ == "__main__":
    unittest.main()
