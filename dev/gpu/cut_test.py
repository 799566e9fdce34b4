#!/usr/bin/env python3
"""The check of the engine cut must find what would break on a machine without our packages."""
import pathlib
import tempfile
import unittest

import bundle
import cut


class Cut(unittest.TestCase):
    def problems(self, files, source="src/model/a.cc"):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for name, text in {"bundle/include/fmt/format.h": "", "bundle/googletest/include/gtest/gtest.h": "", **files}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return cut.problems([root / source], root / "bundle", root)

    def test_good(self):
        self.assertEqual(self.problems({
            "src/model/a.cc": '#include "model/a.h"\n#include <fmt/format.h>\n#include <gtest/gtest.h>\n#include <vector>\n',
            "src/model/a.h": "#include <sys/mman.h>\n#include <immintrin.h>\n#include <cuda_runtime.h>\n"}), [])

    def test_a_header_outside_the_bundle(self):
        found = self.problems({"src/model/a.cc": '#include "model/a.h"\n', "src/model/a.h": "#include <openssl/evp.h>\n"})
        self.assertEqual(len(found), 1)
        self.assertIn("src/model/a.h: cut: <openssl/evp.h> is not in the bundle", found[0])
        self.assertTrue(self.problems({"src/model/a.cc": "#include <sqlite3.h>\n"}))
        self.assertTrue(self.problems({"src/model/a.cc": "#include <fmt/chrono.h>\n"}))

    def test_the_server(self):
        found = self.problems({"src/model/a.cc": '#include "http/x.h"\n', "src/http/x.h": ""})
        self.assertEqual(found, ["src/http/x.h: cut: the server's folders are no part of the engine cut"])

    def test_a_header_that_is_not_there(self):
        self.assertEqual(self.problems({"src/model/a.cc": '#include "model/gone.h"\n'}), ['src/model/a.cc: cut: "model/gone.h" is not in the tree'])

    def test_no_history_no_commit(self):
        self.assertRegex(bundle.git_commit(), "^([0-9a-f]{40}(-changed)?)?$")
        with tempfile.TemporaryDirectory(dir=bundle.ROOT / "dev") as inside_another_repository:
            self.assertEqual(bundle.git_commit(pathlib.Path(inside_another_repository)), "")

    def test_digest_tells_a_change(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "src").mkdir()
            (root / "CMakeLists.txt").write_text("a")
            (root / "src/a.cc").write_text("1")
            first = bundle.source_digest(root)
            (root / "src/notes.md").write_text("not built")
            self.assertEqual(bundle.source_digest(root), first)
            (root / "src/a.cc").write_text("2")
            self.assertNotEqual(bundle.source_digest(root), first)


if __name__ == "__main__":
    unittest.main()
