"""Tests of imports.py: it fails on made-up crates, and passes what is fine."""

import tempfile
import unittest
from pathlib import Path

import imports


class Imports(unittest.TestCase):
    def complaints(self, files, name="tetherd"):
        """What imports.py says about a crate of these files, by their path below src."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "Cargo.toml").write_text(f'[package]\nname = "{name}"\n')
            for path, text in {"lib.rs": "", **files}.items():
                file = Path(folder, "src", path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return [text.replace(f"{folder}/src/", "") for text in imports.complaints(Path(folder))]

    def test_a_circle_is_named_with_all_its_edges(self):
        files = {
            "net/mod.rs": "use crate::net::socket::Socket;",
            "net/socket.rs": "use super::address::{Address, Port as P};",
            "net/address.rs": "pub struct Net(crate::net::Everything);",
            "net/beside.rs": "use crate::net::address;",
        }
        circle = "net/mod.rs -> net/socket.rs", "net/address.rs -> net/mod.rs", "net/socket.rs -> net/address.rs"
        [text] = self.complaints(files)
        self.assertEqual(text.splitlines()[0], "tetherd: a circle of 3 files")
        self.assertEqual(sorted(line.strip() for line in text.splitlines()[1:]), sorted(circle))
        self.assertEqual(len(self.complaints(files, "other-crate")), 1)

    def test_an_import_that_runs_up_is_named(self):
        files = {"net/socket.rs": "use crate::daemon::Daemon;", "daemon/mod.rs": ""}
        self.assertEqual(self.complaints(files), ["net/socket.rs -> daemon/mod.rs: net must not import daemon"])
        self.assertEqual(self.complaints(files, "other-crate"), [])
        files = {"config/types/rule.rs": "use crate::config::table::KEYS;", "config/table.rs": ""}
        self.assertIn("config::types must not import config", self.complaints(files)[0])

    def test_an_import_that_runs_down_is_fine(self):
        files = {
            "main.rs": "fn main() { tetherd::cli::main() }",
            "lib.rs": "pub mod cli; pub mod daemon; pub mod net;",
            "cli/mod.rs": "use crate::{daemon::{self, Daemon}, net};",
            "daemon/mod.rs": "use crate::net::Socket;",
            "net.rs": "use std::net::TcpStream;",
        }
        self.assertEqual(self.complaints(files), [])
        above = {**files, "main.rs": "fn main() { tetherd::daemon::main() }"}
        self.assertEqual(self.complaints(above), ["main.rs -> daemon/mod.rs: main must not import daemon"])

    def test_a_path_by_way_of_a_name_counts(self):
        code = "use crate::proxy;\nfn f() { proxy::relay::copy() }"
        files = {"proxy/mod.rs": "", "proxy/relay.rs": "", "health/mod.rs": code}
        self.assertEqual(len(self.complaints(files)), 2)
        child = {"proxy/mod.rs": "mod relay;\nfn f() { relay::copy() }", "proxy/relay.rs": "use super::Proxy;"}
        self.assertIn("a circle of 2 files", self.complaints(child)[0])

    def test_an_area_without_a_row_is_named(self):
        files = {"helpers.rs": "use crate::net::Socket;", "net.rs": ""}
        self.assertIn("helpers has no row in ARROWS", self.complaints(files)[0])

    def test_tests_comments_and_texts_do_not_count(self):
        up = "use crate::daemon::Daemon;"
        files = {
            "daemon/mod.rs": "",
            "net/mod.rs": f'// {up}\n/* {up} */\nconst A: &str = "{up}"; const B: &str = r#"" {up}"#;\nconst C: char = \'"\';\n'
            f"#[cfg(test)]\nmod tests {{\n    {up}\n}}\n",
            "net/tests.rs": up,
            "net/tests/more.rs": up,
            "net/socket_tests.rs": up,
        }
        self.assertEqual(self.complaints(files), [])

    def test_each_row_of_the_table_names_rows_below_it_alone(self):
        rows = list(imports.ARROWS)
        for number, row in enumerate(rows):
            for target in imports.ARROWS[row]:
                self.assertGreater(rows.index(target), number, f"{row} -> {target}")


if __name__ == "__main__":
    unittest.main()
