//! Tests every failure to get an auth key.
//!
//! It is about what the user reads, the exit code, how long it took, and that no secret is among it.

mod headscale;
mod plain_http;
mod platform;
mod secrets_manager;
mod settings;
mod tailscale_api;
mod trust;

use std::time::{Duration, Instant};

use testbed::api::{Api, Reply};
use testbed::tailscale_api::{ACCESS_TOKEN, CLIENT_SECRET, ID_TOKEN};

use crate::scene::{AWS_SECRET, AWS_SESSION, END, bare};

/// Stands in what is stored or answered, and must not be read anywhere.
pub const HIDDEN: &str = "hidden-value-0123456789";
/// Final failures end within this on a busy machine; alone they take 0.1 s.
const AT_ONCE: Duration = Duration::from_secs(10);
/// For failures that pass.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// What is wrong, and what must be read of it.
struct Case {
    name: &'static str,
    settings: Vec<(&'static str, String)>,
    ends: Ends,
    parts: Vec<&'static str>,
}

/// How the daemon ends.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// At once, with this code.
    With(i32),
    /// When `start_timeout` is over.
    Late,
}

const REFUSED: Ends = Ends::With(77);
const MISCONFIGURED: Ends = Ends::With(78);

impl Case {
    fn run(&self) {
        let limit = format!("{}s", START_TIMEOUT.as_secs());
        let builder = bare().env("TETHERD_LOG_LEVEL", "trace").env("HOME", "/nowhere");
        let builder = if self.ends == Ends::Late { builder.env("TETHERD_START_TIMEOUT", &limit) } else { builder };
        let builder = self.settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        let begun = Instant::now();
        let mut daemon = builder.start().expect("starts");
        let status = daemon.wait_exit(END).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let took = begun.elapsed();
        let line = daemon.stderr().lines().last().unwrap_or_default().to_owned();
        println!("{}: {:?} after {took:?}: {line}", self.name, status.code());
        let (code, earliest) = match self.ends {
            Ends::With(code) => (code, Duration::ZERO),
            Ends::Late => (69, START_TIMEOUT),
        };
        assert_eq!(status.code(), Some(code), "{}: {line}", self.name);
        assert!((earliest..earliest + AT_ONCE).contains(&took), "{}: {took:?}", self.name);
        for part in &self.parts {
            assert!(line.contains(part), "{}: {part:?} is missing in {line:?}", self.name);
        }
        assert_eq!(line.contains("start_timeout"), self.ends == Ends::Late, "{}: {line}", self.name);
        for secret in [HIDDEN, AWS_SECRET, AWS_SESSION, CLIENT_SECRET, ID_TOKEN, ACCESS_TOKEN, "hskey-api-"] {
            assert!(!daemon.output().contains(secret), "{}: {}", self.name, daemon.output());
        }
    }
}

/// An API that answers everything alike.
fn always(reply: Reply) -> String {
    Api::start(move |_| reply.clone()).expect("API").url()
}

/// An API's fault, in the words of Tailscale's and Headscale's.
fn fault(status: u16, message: &str) -> Reply {
    (status, serde_json::json!({ "message": message }).to_string())
}
