//! The forwarder's settings: the environment, read once into typed values. All faults are reported together.

use std::net::SocketAddr;

use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use webhook_outbound::environment::{Faults, Reader};

use crate::answer::Mode;
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
    let Some(name) = reader.get("TS_TARGET") else {
        return if required { reader.fault("TS_TARGET is not set: name the target, such as web".into()) } else { None };
    };
    let scheme = match reader.get("TS_SCHEME").unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "http" => Scheme::HTTP,
        "https" => Scheme::HTTPS,
        other => reader.fault(format!("TS_SCHEME is {other:?}: it is http or https"))?,
    };
    let port = reader.get("TS_PORT").unwrap_or_else(|| "80".into());
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port != 0) else {
        return reader.fault(format!("TS_PORT is {port:?}: it is a number from 1 to 65535"));
    };
    let Some((authority, host)) = authority(&name, port, &scheme) else {
        return reader.fault(format!("TS_TARGET is {name:?}: it is a host name or an address, without scheme or port"));
    };
    let base_path = reader.get("TS_BASE_PATH").unwrap_or_default();
    let base_path = base_path.trim_end_matches('/').to_owned();
    if !base_path.is_empty() && !is_path(&base_path) {
        return reader.fault(format!("TS_BASE_PATH is {base_path:?}: it begins with a slash and is percent-encoded"));
    }
    let host = match reader.get("TS_HOST_HEADER") {
        None => host,
        Some(text) if text.parse::<Authority>().is_err() => {
            reader.fault(format!("TS_HOST_HEADER is {text:?}: it is a host name, perhaps with a port"))?
        }
        Some(text) => HeaderValue::from_str(&text).ok()?,
    };
    Some(Target { scheme, authority, base_path, host })
}

/// Host and port to dial, and the `Host` header for them, which leaves the scheme's own port out.
fn authority(name: &str, port: u16, scheme: &Scheme) -> Option<(Authority, HeaderValue)> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_v6 = bare.parse::<std::net::Ipv6Addr>().is_ok();
    if !is_v6 && name.contains([':', '@', '/', '[', ']']) {
        return None;
    }
    let name = if is_v6 { format!("[{bare}]") } else { name.to_owned() };
    let authority: Authority = format!("{name}:{port}").parse().ok()?;
    let own = if *scheme == Scheme::HTTP { 80 } else { 443 };
    let host = HeaderValue::from_str(if port == own { &name } else { authority.as_str() }).ok()?;
    Some((authority, host))
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

fn signature<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Option<Signature> {
    let (scheme, header, coding) = ("SIGNATURE_SCHEME", "SIGNATURE_HEADER", "SIGNATURE_ENCODING");
    let Some(secret) = reader.get("SIGNATURE_SECRET_ARN") else {
        // Somebody believes that signatures are checked.
        return match [scheme, header, coding].into_iter().find(|name| reader.get(name).is_some()) {
            Some(name) => {
                reader.fault(format!("{name} is set, and SIGNATURE_SECRET_ARN is not: nothing would be checked"))
            }
            None => None,
        };
    };
    let coding = match reader.get(coding).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "hex" => Coding::Hex,
        "base64" => Coding::Base64,
        other => return reader.fault(format!("SIGNATURE_ENCODING is {other:?}: it is hex or base64")),
    };
    let header = reader.get(header);
    match Signing::named(&reader.get(scheme).unwrap_or_default(), header.as_deref(), coding) {
        Ok(scheme) => Some(Signature { secret, scheme }),
        Err(fault) => reader.fault(fault),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
