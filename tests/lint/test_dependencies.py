"""Tests of dependencies.py: it finds what is not used, in whichever way it is written, and passes what is."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import dependencies


def manifest(names, unused=None, **more):
    return {"package": {"metadata": {"unused": unused or {}}}, "dependencies": dict.fromkeys(names, "1"), **more}


class Dependencies(unittest.TestCase):
    def test_what_is_used_in_any_way_is_fine(self):
        for text in ("use tokio_util::io;", "tokio_util::spawn()", "#[tokio_util::main]", "extern crate tokio_util;", "use {tokio_util as t};"):
            self.assertEqual(dependencies.faults(manifest(["tokio-util"]), text), [], text)

    def test_a_part_of_another_word_is_no_use(self):
        for text in ("", "use tokio_utility;", "let my_tokio_util = 1;", "use tokio::util;"):
            self.assertIn("tokio-util is not used", dependencies.faults(manifest(["tokio-util"]), text)[0], text)

    def test_tables_of_targets_and_of_tests_count(self):
        tables = manifest([], target={"cfg(unix)": {"dependencies": {"nix": "1"}}}, **{"dev-dependencies": {"zip": "1"}})
        self.assertEqual(len(dependencies.faults(tables, "")), 2)
        self.assertEqual(dependencies.faults(tables, "nix::x(); zip::y();"), [])

    def test_a_reason_is_taken_and_goes_when_it_is_needless(self):
        held = manifest(["idna_adapter"], {"idna_adapter": "held at a version"})
        self.assertEqual(dependencies.faults(held, ""), [])
        self.assertIn("which is used", dependencies.faults(held, "use idna_adapter::x;")[0])
        self.assertIn("no dependency", dependencies.faults(manifest([], {"gone": "why"}), "")[0])
        self.assertIn("without a reason", dependencies.faults(manifest(["a"], {"a": " "}), "")[0])

    def test_comments_and_crates_below_are_no_use(self):
        with tempfile.TemporaryDirectory() as place:
            crate = Path(place)
            (crate / "src").mkdir()
            (crate / "below/src").mkdir(parents=True)
            (crate / "Cargo.toml").write_text('[package]\nname = "a"\n[dependencies]\nurl = "1"\n')
            (crate / "src/lib.rs").write_text("// Like url::Url.\n")
            (crate / "below/Cargo.toml").write_text('[package]\nname = "b"\n')
            (crate / "below/src/lib.rs").write_text("use url::Url;\n")
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertEqual(dependencies.main([place]), 1)
            self.assertIn("url is not used", said.getvalue())
            (crate / "src/lib.rs").write_text("use url::Url;\n")
            self.assertEqual(dependencies.main([place]), 0)
            # A file of another crate that is taken in.
            (crate / "src/lib.rs").write_text('#[path = "../below/src/lib.rs"]\nmod below;\n')
            self.assertEqual(dependencies.main([place]), 0)


if __name__ == "__main__":
    unittest.main()
