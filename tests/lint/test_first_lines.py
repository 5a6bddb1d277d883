"""Tests of first_lines.py: it fails on each fault, and passes what is fine."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import first_lines


class FirstLines(unittest.TestCase):
    def fails(self, text, line, reason):
        """Asserts that a file of this text has a fault on this line, for this reason."""
        found = first_lines.fault(text)
        self.assertIsNotNone(found, text)
        self.assertEqual(found[0], line)
        self.assertIn(reason, found[1])

    def test_a_job_in_one_line_is_fine(self):
        for text in (
            "//! Reaps zombies.",
            "//! Reaps zombies.\n\nuse std::io;\n",
            "//! Reaps zombies.\n//!\n//! As process 1 the daemon inherits them.\n",
            f"//! {'é' * 79}.\n",
        ):
            self.assertIsNone(first_lines.fault(text), text)

    def test_a_file_without_a_comment_fails(self):
        for text in ("", "use std::io;\n", "\n//! Reaps zombies.\n", "// Reaps zombies.\n", "/// Reaps zombies.\n"):
            self.fails(text, 1, "does not begin with a //! comment")

    def test_a_long_line_fails(self):
        self.fails(f"//! {'a' * 80}.\n", 1, "81 characters, of at most 80")

    def test_a_line_that_goes_on_fails(self):
        self.fails("//! Reaps zombies, which\n//! process 1 inherits.\n", 1, "no full stop")
        self.fails("//! Reaps these:\n//!\n//! - zombies\n", 1, "a colon at the end")
        self.fails("//!\n//! Reaps zombies.\n", 1, "no full stop")

    def test_details_without_a_blank_line_before_them_fail(self):
        self.fails("//! Reaps zombies.\n//! Process 1 inherits them.\n", 2, "no blank //! line")

    def test_a_fault_is_printed_with_file_and_line(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as output:
            good, bad = Path(folder, "good.rs"), Path(folder, "bad.rs")
            good.write_text("//! Reaps zombies.\n")
            bad.write_text("//! Reaps zombies.\n//! Process 1 inherits them.\n")
            self.assertEqual(first_lines.main([good]), 0)
            self.assertEqual(first_lines.main([good, bad]), 1)
            self.assertEqual(output.getvalue(), f"{bad}:2: no blank //! line after the first line\n")


if __name__ == "__main__":
    unittest.main()
