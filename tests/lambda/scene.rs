//! The scene of Lambda tests: a tailnet, and functions with the extension.
//!
//! The tailnet has a web server `web:8000`.

use std::path::{Path, PathBuf};

use testbed::lambda::Builder;
use testbed::{Node, Server, Tailnet, parts};

/// The page of `web`.
pub const URL: &str = "http://web:8000/";

pub struct Scene {
    _page: Server,
    _web: Node,
    pub tailnet: Tailnet,
}

impl Scene {
    pub fn new() -> Self {
        let tailnet = Tailnet::apart().expect("a tailnet");
        let web = Node::join(&tailnet, "web").expect("a second node");
        Self { _page: Server::http(8000).expect("a web server"), _web: web, tailnet }
    }

    /// A Python function whose extension is to join.
    pub fn python(&self) -> Builder {
        self.function("python3", "function.py")
    }

    pub fn node(&self) -> Builder {
        self.function("node", "function.js")
    }

    fn function(&self, runtime: &str, file: &str) -> Builder {
        with_extension(function(runtime, file)).joining(&self.tailnet).expect("an auth key")
    }
}

/// A function alone.
pub fn function(runtime: &str, file: &str) -> Builder {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lambda/functions");
    Builder::new(runtime, &functions.join(file), &functions.join("bootstrap")).expect("a function")
}

pub fn with_extension(builder: Builder) -> Builder {
    builder.extension(env!("CARGO_BIN_EXE_tetherd").as_ref(), &tailscaled()).expect("a layer")
}

fn tailscaled() -> PathBuf {
    parts::find("lambda-x86_64/tailscaled").expect("make lambda-parts")
}
