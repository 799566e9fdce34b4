#!/usr/bin/env python3
"""Each check must fail on a bad example: a check that cannot fail proves nothing."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TIDY = pathlib.Path(__file__).with_name("tidy.py")
GOOD = "#pragma once\n// A thing.\nint thing();\n"


def run(check, files, *extra):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("src/base", "src/core", "docs", "tests", "dev"):
            (root / name).mkdir(parents=True)
        (root / "docs/layers.txt").write_text("base:\ncore: base\n")
        (root / "src/CMakeLists.txt").write_text("thing.cc\n")
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, TIDY, check, "--root", folder, *extra], capture_output=True, text=True)
        return done.returncode, done.stdout


class Tidy(unittest.TestCase):
    def bad(self, check, files, words):
        code, out = run(check, files)
        self.assertEqual(code, 1, out)
        self.assertIn(words, out)

    def good(self, check, files):
        code, out = run(check, files)
        self.assertEqual(code, 0, out)

    def test_layers(self):
        self.good("layers", {"src/core/a.cc": '#include "base/x.h"\n'})
        self.bad("layers", {"src/base/a.cc": '#include "core/x.h"\n'}, "base may not include core/x.h")
        self.bad("layers", {"src/core/a.cc": "#include <boost/beast/core.hpp>\n"}, "may be named only in http/")
        self.bad("layers", {"src/zoo/a.cc": "\n"}, "not in docs/layers.txt")
        self.bad("layers", {"docs/layers.txt": "base: core\ncore: base\n"}, "one way down")

    def test_sizes(self):
        self.good("sizes", {"src/base/a.cc": "int f() {\n" + "  g();\n" * 60 + "}\n"})
        self.bad("sizes", {"src/base/a.cc": "int f() {\n" + "  g();\n" * 80 + "}\n"}, "body of 82 lines")
        self.bad("sizes", {"src/base/a.cc": "namespace s {\nint f() {\n" + "  g();\n" * 80 + "}\n}\n"}, "body of 82 lines")
        self.bad("sizes", {"src/base/a.cc": "//\n" * 601}, "601 lines")
        self.bad("sizes", {"src/base/a.cc": "// " + "x" * 100 + "\n"}, "columns")

    def test_banned(self):
        self.good("banned", {"src/base/a.cc": "// std::regex is not used\n"})
        for code in ("using namespace std;", "std::regex r;", "printf(\"x\");", "// TODO later", "assert(x);"):
            self.bad("banned", {"src/core/a.cc": code + "\n"}, "banned")

    def test_dead(self):
        self.good("dead", {"src/base/thing.cc": ""})
        self.bad("dead", {"src/base/forgotten.cc": ""}, "forgotten.cc")

    def test_headers(self):
        self.good("headers", {"src/base/a.h": GOOD})
        self.bad("headers", {"src/base/a.h": "#pragma once\n// Uses what it does not include.\nstd::string s();\n"}, "does not compile alone")
        self.bad("headers", {"src/base/a.h": "int x();\n"}, "#pragma once")


if __name__ == "__main__":
    unittest.main()
