//! The forwarder's settings: the environment, read once into typed values.
//!
//! All faults are reported together.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use webhook_outbound::environment::{Faults, Reader};

use crate::answer::Mode;
use crate::dot_segments::has_dot_segment;
use crate::signature::{Coding, Scheme as Signing};

/// Where the layer's tetherd listens.
const SOCKS: &str = "127.0.0.1:1055";

/// How requests are forwarded.
pub struct Settings {
    /// `None` in a function that only puts requests on the queue.
    pub target: Option<Target>,
    pub mode: Mode,
    /// `None` dials directly.
    pub socks: Option<SocketAddr>,
    /// `None` takes unsigned requests.
    pub signature: Option<Signature>,
    pub queue_url: Option<String>,
}

/// Where they go.
pub struct Target {
    pub scheme: Scheme,
    pub authority: Authority,
    /// Without a slash at its end; empty for none.
    pub base_path: String,
    pub host: HeaderValue,
}

/// What their sender signs them with.
pub struct Signature {
    pub secret: String,
    pub scheme: Signing,
}

impl Settings {
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(lookup);
        let queue_url = reader.get("QUEUE_URL");
        let settings = Self {
            target: target(&mut reader, queue_url.is_none()),
            mode: Mode::named(&reader.get("PROXY_RESPONSE").unwrap_or_default()),
            socks: socks(&mut reader),
            signature: signature(&mut reader),
            queue_url,
        };
        reader.finish(settings)
    }
}

fn target<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>, required: bool) -> Option<Target> {
    // Each is read before any is missed, so that the others are named as well.
    let (scheme, port, base_path) = (scheme(reader), port(reader), base_path(reader));
    let host = host_header(reader);
    let Some(name) = reader.get("TS_TARGET") else {
        return if required { reader.fault("TS_TARGET is not set: name the target, such as web".into()) } else { None };
    };
    let Some(name) = host_name(&name) else {
        return reader.fault(format!("TS_TARGET is {name:?}: it is a host name or an address, without scheme or port"));
    };
    let (scheme, port) = (scheme?, port?);
    let authority: Authority = format!("{name}:{port}").parse().ok()?;
    let own = if scheme == Scheme::HTTP { 80 } else { 443 };
    // The scheme's own port is left out.
    let named = HeaderValue::from_str(if port.get() == own { &name } else { authority.as_str() }).ok()?;
    Some(Target { scheme, authority, base_path: base_path?, host: host?.unwrap_or(named) })
}

fn scheme<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<Scheme> {
    match reader.get("TS_SCHEME").unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "http" => Some(Scheme::HTTP),
        "https" => Some(Scheme::HTTPS),
        other => reader.fault(format!("TS_SCHEME is {other:?}: it is http or https")),
    }
}

fn port<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<NonZeroU16> {
    let port = reader.get("TS_PORT").unwrap_or_else(|| "80".into());
    port.parse().ok().or_else(|| reader.fault(format!("TS_PORT is {port:?}: it is a number from 1 to 65535")))
}

/// Without a slash at its end.
fn base_path<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<String> {
    let path = reader.get("TS_BASE_PATH").unwrap_or_default();
    let path = path.trim_end_matches('/');
    if path.is_empty() || (is_path(path) && !has_dot_segment(path)) {
        return Some(path.to_owned());
    }
    reader.fault(format!(
        "TS_BASE_PATH is {path:?}: it begins with a slash, is percent-encoded and has no segments like .. in any spelling"
    ))
}

/// `Some(None)` where the target's own counts.
fn host_header<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<Option<HeaderValue>> {
    let Some(text) = reader.get("TS_HOST_HEADER") else { return Some(None) };
    if text.parse::<Authority>().is_ok() && !text.contains('@') {
        return Some(HeaderValue::from_str(&text).ok());
    }
    reader.fault(format!("TS_HOST_HEADER is {text:?}: it is a host name, perhaps with a port"))
}

/// As it may stand in an authority; an IPv6 address with or without its brackets.
fn host_name(name: &str) -> Option<String> {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("[{bare}]"));
    }
    // A parsed authority may have a port or a user in front.
    let is_host = name.parse::<Authority>().is_ok_and(|authority| authority.host() == name) && !name.starts_with('[');
    is_host.then(|| name.to_owned())
}

fn is_path(text: &str) -> bool {
    let path = text.parse::<PathAndQuery>();
    text.starts_with('/') && path.is_ok_and(|path| path.query().is_none() && path.path() == text)
}

fn socks<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<SocketAddr> {
    let text = reader.get("TS_SOCKS_PROXY").unwrap_or_else(|| SOCKS.into());
    if text == "none" {
        return None;
    }
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            reader.fault(format!("TS_SOCKS_PROXY is {text:?}: it is an address and a port like {SOCKS}, or none"))
        }
    }
}

/// `None` only where `SIGNATURE_SCHEME` is `none`: a variable that was forgotten must let nobody in.
fn signature<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<Signature> {
    let [secret, scheme, header, coding] =
        ["SIGNATURE_SECRET_ARN", "SIGNATURE_SCHEME", "SIGNATURE_HEADER", "SIGNATURE_ENCODING"];
    let is_set =
        |reader: &Reader<L>, names: &[&'static str]| names.iter().copied().find(|name| reader.get(name).is_some());
    let named = reader.get(scheme).unwrap_or_default();
    if named.eq_ignore_ascii_case("none") {
        return match is_set(reader, &[secret, header, coding]) {
            Some(name) => {
                reader.fault(format!("{name} is set beside {scheme}=none, which checks nothing: leave one out"))
            }
            None => None,
        };
    }
    let Some(secret) = reader.get(secret) else {
        let unsigned = format!("{scheme}=none takes unsigned requests");
        return match is_set(reader, &[scheme, header, coding]) {
            Some(name) => {
                reader.fault(format!("{name} is set, and {secret} is not: nothing would be checked; {unsigned}"))
            }
            None => reader.fault(format!("{scheme} is not set: name who signs the requests, and {secret}; {unsigned}")),
        };
    };
    let coding = match reader.get(coding).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "hex" => Some(Coding::Hex),
        "base64" => Some(Coding::Base64),
        other => reader.fault(format!("{coding} is {other:?}: it is hex or base64")),
    };
    let header = reader.get(header);
    match Signing::named(&named, header.as_deref(), coding.unwrap_or(Coding::Hex)) {
        Ok(scheme) => coding.map(|_| Signature { secret, scheme }),
        Err(fault) => reader.fault(fault),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
