//! Verifies webhook signatures (HMAC-SHA256): whether the sender knows the secret.
//!
//! In the schemes of GitHub, Stripe and Slack, or over the body alone in a header of one's own.
//! <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>,
//! <https://docs.stripe.com/webhooks#verify-manually>,
//! <https://docs.slack.dev/authentication/verifying-requests-from-slack>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hyper::header::HeaderName;
use sha2::Sha256;

use crate::request::Request;

/// What Stripe and Slack name for the age of a request, against replay.
const TOLERANCE_SECONDS: u64 = 300;

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coding {
    Hex,
    Base64,
}

/// Who signs, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    GitHub,
    Stripe,
    Slack,
    /// HMAC of the body in this header, perhaps after `sha256=`.
    Body(HeaderName, Coding),
}

/// Why a request is not the sender's.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq)]
pub enum Rejected {
    #[error("it bears no signature, or one of another form")]
    Missing,
    #[error("its signature is wrong")]
    Wrong,
    #[error("it was signed more than five minutes ago, or in the future")]
    Stale,
}

impl Scheme {
    /// By the name of `SIGNATURE_SCHEME`; without one, a header decides.
    pub fn named(name: &str, header: Option<&str>, coding: Coding) -> Result<Self, String> {
        match (name.to_ascii_lowercase().as_str(), header) {
            ("github", None) => Ok(Self::GitHub),
            ("stripe", None) => Ok(Self::Stripe),
            ("slack", None) => Ok(Self::Slack),
            ("github" | "stripe" | "slack", Some(_)) => {
                Err(format!("SIGNATURE_HEADER is set beside SIGNATURE_SCHEME={name}, which has its own: leave one out"))
            }
            ("" | "hmac", Some(header)) => match header.parse() {
                Ok(header) => Ok(Self::Body(header, coding)),
                Err(_) => Err(format!("SIGNATURE_HEADER is {header:?}, which is no name of a header")),
            },
            ("" | "hmac", None) => {
                Err("SIGNATURE_SCHEME is not set: it is github, stripe, slack or none; for others set \
                 SIGNATURE_HEADER to the header that holds the signature of the body"
                    .into())
            }
            (other, _) => Err(format!("SIGNATURE_SCHEME is {other:?}: it is github, stripe, slack, hmac or none")),
        }
    }

    /// `now` in seconds of Unix time.
    pub fn verify(&self, request: &Request, secret: &[u8], now: u64) -> Result<(), Rejected> {
        let header = |name: &str| {
            let mut values = request.headers.get_all(name).iter();
            // Two of them, and nobody knows which one counts.
            values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
        };
        let body = &request.body[..];
        match self {
            Self::GitHub => {
                let text = header("x-hub-signature-256").and_then(|text| text.strip_prefix("sha256="));
                check(&[body], secret, text.into_iter(), Coding::Hex)
            }
            Self::Stripe => {
                let signed = header("stripe-signature").ok_or(Rejected::Missing)?;
                let fields = || signed.split(',').filter_map(|field| field.trim().split_once('='));
                let time = fields().find(|(name, _)| *name == "t").ok_or(Rejected::Missing)?.1;
                let signatures = fields().filter(|(name, _)| *name == "v1").map(|(_, value)| value);
                check(&[time.as_bytes(), b".", body], secret, signatures, Coding::Hex)?;
                fresh(time, now)
            }
            Self::Slack => {
                let time = header("x-slack-request-timestamp").ok_or(Rejected::Missing)?;
                let text = header("x-slack-signature").and_then(|text| text.strip_prefix("v0="));
                check(&[b"v0:", time.as_bytes(), b":", body], secret, text.into_iter(), Coding::Hex)?;
                fresh(time, now)
            }
            Self::Body(name, coding) => {
                let text = header(name.as_str()).map(|text| text.strip_prefix("sha256=").unwrap_or(text));
                check(&[body], secret, text.into_iter(), *coding)
            }
        }
    }
}

/// One of the signatures must be that of the parts; while a secret is changed, Stripe sends two.
fn check<'a>(
    parts: &[&[u8]],
    secret: &[u8],
    signatures: impl Iterator<Item = &'a str>,
    coding: Coding,
) -> Result<(), Rejected> {
    let mut verdict = Err(Rejected::Missing);
    for given in signatures.filter_map(|text| decoded(text, coding)) {
        // A key of any length is one.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Rejected::Wrong)?;
        parts.iter().for_each(|part| mac.update(part));
        // In constant time.
        match mac.verify_slice(&given) {
            Ok(()) => return Ok(()),
            Err(_) => verdict = Err(Rejected::Wrong),
        }
    }
    verdict
}

fn decoded(text: &str, coding: Coding) -> Option<Vec<u8>> {
    match coding {
        Coding::Base64 => STANDARD.decode(text.trim()).ok(),
        Coding::Hex => {
            let pairs = text.trim().as_bytes().chunks(2);
            pairs
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
                .collect()
        }
    }
}

fn fresh(time: &str, now: u64) -> Result<(), Rejected> {
    let time: u64 = time.parse().map_err(|_| Rejected::Missing)?;
    if time.abs_diff(now) <= TOLERANCE_SECONDS { Ok(()) } else { Err(Rejected::Stale) }
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
