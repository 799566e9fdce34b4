"""Texts of tools -> the parts of gpu_check.json, and the table printed last. Nothing here runs anything.

The keys are described in docs/benchmarks/README.md; a change of meaning raises SCHEMA.
"""
import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree

SCHEMA = 1
# Fields of `nvidia-smi --query-gpu`, and the keys they become.
GPU_FIELDS = {
    "name": "name", "driver_version": "driver", "compute_cap": "compute_capability", "memory.total": "memory_mib",
    "memory.used": "memory_used_mib", "utilization.gpu": "utilization_percent", "clocks.sm": "sm_clock_mhz",
    "clocks.mem": "memory_clock_mhz", "clocks.max.sm": "max_sm_clock_mhz", "clocks.max.mem": "max_memory_clock_mhz",
    "temperature.gpu": "temperature_c", "power.draw": "power_w", "power.limit": "power_limit_w", "mig.mode.current": "mig_mode",
}
TEXT_KEYS = {"name", "driver", "compute_capability", "mig_mode"}
STATUSES = ("ok", "failed", "timeout", "skipped")


def parse_gpus(text):
    """Rows of nvidia-smi's CSV without header and units. A field the card does not know ("[N/A]") becomes null."""
    gpus = []
    for row in csv.reader(io.StringIO(text), skipinitialspace=True):
        if len(row) != len(GPU_FIELDS):
            continue
        gpu = {}
        for key, value in zip(GPU_FIELDS.values(), (cell.strip() for cell in row)):
            if key in TEXT_KEYS:
                gpu[key] = None if value.startswith("[") else value
            else:
                gpu[key] = number(value)
        gpus.append(gpu)
    return gpus


def number(text):
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else value


def parse_ctest_junit(text):
    """ctest's --output-junit: [{name, status, seconds}], status passed, failed or skipped."""
    programs = []
    for case in ElementTree.fromstring(text).iter("testcase"):
        skipped = case.find("skipped")
        # "notrun" is also what ctest calls a program that was not built: only a test that skips itself is skipped.
        skips = skipped is not None and (skipped.get("message") or "").startswith("SKIP_")
        status = "passed" if case.get("status") == "run" else "skipped" if skips or case.get("status") == "disabled" else "failed"
        if case.find("failure") is not None or case.find("error") is not None:
            status = "failed"
        programs.append({"name": case.get("name"), "status": status, "seconds": float(case.get("time") or 0)})
    return programs


def parse_googletest_xml(text, program):
    """GoogleTest's own report: [{name, status, message}] with names PROGRAM:Suite.Case."""
    cases = []
    for case in ElementTree.fromstring(text).iter("testcase"):
        failure, skipped = case.find("failure"), case.find("skipped")
        status = "failed" if failure is not None else "skipped" if skipped is not None else "passed"
        if case.get("status") == "notrun":
            continue  # left out by a filter or DISABLED_
        told = failure if failure is not None else skipped
        message = "" if told is None else (told.get("message") or told.text or "").strip()
        cases.append({"name": f"{program}:{case.get('classname')}.{case.get('name')}", "status": status, "message": message[:500]})
    return cases


def count(entries):
    return {status: sum(entry["status"] == status for entry in entries) for status in ("passed", "failed", "skipped")}


def assemble_tests(label, programs, cases):
    """A program that died reports no cases: it counts as failed by its own name."""
    named = lambda status: [{"name": entry["name"], "message": entry.get("message", "")} for entry in cases if entry["status"] == status]
    return {
        "label": label,
        "programs": count(programs),
        "cases": count(cases),
        "failed_programs": [program["name"] for program in programs if program["status"] == "failed"],
        "skipped_programs": [program["name"] for program in programs if program["status"] == "skipped"],
        "failed_cases": named("failed"),
        "skipped_cases": named("skipped"),
        "passed_programs": [program["name"] for program in programs if program["status"] == "passed"],
    }


def parse_sanitizer(text):
    """The number of errors or hazards that compute-sanitizer summed up; null when it never came so far."""
    found = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)", text)
    return int(found[-1]) if found else None


def parse_bench(text):
    """The array of `sparrow bench --json`. Raises ValueError when it is not one."""
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "test" in row for row in rows):
        raise ValueError("not an array of rows of sparrow bench")
    return rows


def parse_json_lines(text):
    """Objects of the lines that are whole: a run cut short by its time limit keeps those."""
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def step(name, status, seconds=0.0, limit_s=0, reason="", command=(), exit_code=None):
    if status not in STATUSES:
        raise ValueError(f"unknown status {status}")
    return {"name": name, "status": status, "reason": reason, "seconds": round(seconds, 1), "limit_s": limit_s,
            "exit_code": exit_code, "command": list(command)}


def verdict(tests, sanitizers):
    """Why the check fails, empty when it passes. Benchmarks never decide: a slow or missing figure is no defect."""
    reasons = [f"test {name} failed" for name in tests["failed_programs"]]
    reasons += [f"case {case['name']} failed" for case in tests["failed_cases"]]
    if tests["programs"]["passed"] + tests["programs"]["failed"] == 0:
        reasons.append(f"no test with label {tests['label']} ran")
    reasons += [f"compute-sanitizer {entry['tool']} found {entry['errors']} in {entry['program']}" for entry in sanitizers if entry["errors"]]
    return reasons


def assemble(machine, steps, tests, sanitizers, bench, peers, probe):
    reasons = verdict(tests, sanitizers)
    return {"schema": SCHEMA, **machine, "passed": not reasons, "failures": reasons, "steps": steps, "tests": tests,
            "sanitizers": sanitizers, "bench": bench, "peers": peers, "probe": probe}


def table(result):
    """At most 120 columns. A figure that was not measured is named as such, never left out."""
    device = result["device"]
    lines = [f"device   {device['name'] if device else 'none: ' + result['device_reason']}",
             f"commit   {result['commit'] or 'unknown'} ({result['commit_from']})"]
    tests = result["tests"]
    for what in ("programs", "cases"):
        counts = tests[what]
        lines.append(f"tests    {what:<9} {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    for entry in result["sanitizers"]:
        found = "no summary" if entry["errors"] is None else f"{entry['errors']} found"
        lines.append(f"sanitize {entry['tool']:<9} {entry['program']}: {found}")
    probe = result["probe"]
    for key, unit in (("copy_gb_per_s", "GB/s device to device"), ("bf16_tflops", "TFLOP/s bf16 product")):
        value = probe.get(key)
        lines.append(f"probe    {'not measured' if value is None else format(value, '.0f'):<12} {unit}")
    for case in result["bench"]:
        for row in case["rows"]:
            step_ms = f"{row['step_ms']:9.3f} ms/step" if "step_ms" in row else ""
            lines.append(f"bench    {case['case']:<24} {row['test']:<8} batch {row.get('batch', 1):>4} depth {row.get('depth', 0):>6}"
                         f" {row.get('tokens_per_s', 0):10.1f} tok/s {step_ms}")
    for row in result["peers"]:
        value = row.get("error") or f"{row['tokens_per_s']:10.1f} tok/s"
        lines.append(f"peer     {row['engine'] + ' ' + row['mode']:<24} batch 1 {value}"[:120])
    for entry in result["steps"]:
        if entry["status"] != "ok":
            lines.append(f"{entry['status']:<8} {entry['name']}: {entry['reason']}"[:120])
    lines += [f"FAILED   {reason}"[:120] for reason in result["failures"]]
    lines.append("passed" if result["passed"] else "not passed")
    return "\n".join(lines)
