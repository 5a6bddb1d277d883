//! Measures the time until the auth key of AWS Secrets Manager is in hand.
//!
//! The clock runs from exec of tetherd, with moto on loopback as AWS.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::moto::Moto;
use testbed::region::REGION;
use testbed::{Daemon, Tailnet, wait_until};

use crate::{KEY, READY};

const NAME: &str = "tailscale";

/// Stores a key that the daemon can join with.
pub fn store(tailnet: &Tailnet) -> Result<Moto> {
    let moto = Moto::start(tailnet)?;
    moto.store(NAME, &tailnet.auth_key(KEY)?)?;
    Ok(moto)
}

/// The daemon says so in its log, which it writes at once.
pub fn in_hand(tailnet: &Tailnet, moto: &Moto, binary: &Path) -> Result<Duration> {
    let builder = Daemon::builder(binary)
        .env("TETHERD_CONTROL_URL", &tailnet.control_url())
        .env("TETHERD_CA_FILE", &tailnet.ca_file().to_string_lossy())
        .env("TETHERD_AUTH_SECRET", NAME)
        .env("TETHERD_LOG_LEVEL", "debug")
        .env("AWS_ENDPOINT_URL", &moto.url())
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY");
    let begun = Instant::now();
    let daemon = builder.start()?;
    wait_until("the key is in hand", READY, || daemon.output().contains("auth key in hand").then_some(()))?;
    let time = begun.elapsed();
    ensure!(!daemon.output().contains("no auth key"), "it took more than one attempt:\n{}", daemon.output());
    Ok(time)
}
