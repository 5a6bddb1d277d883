//! Hosts as clients name them, in one canonical form.
//!
//! It is in this form that a host is judged by the policy, logged and dialled.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::target::ranges::canonical_ip;
use crate::text::printable;

/// The longest name of DNS, in bytes, without the dot at its end (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// A text that names no host: neither an IP address nor a name. Holds the text, which a client chose.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{} is no host: a name has letters, digits, - and _ between dots, 253 in all at most", printable(.0))]
pub struct InvalidHost(String);

/// A host name in its canonical form: ASCII letters in lower case, digits, `-` and `_` between single dots, none at the
/// end, at most 253 bytes. Whatever else a resolver would take for the same name is refused, so that what a rule judges
/// is what is dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// Reads a name in any case, with or without a dot at its end.
    ///
    /// # Errors
    /// Where the text has another character, an empty label, or more than 253 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.len() <= LONGEST_NAME && name.split('.').all(is_label) {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(InvalidHost(text.to_owned()))
        }
    }

    /// Reads a name that a name server has told, to be judged: what no client can write becomes `_`, so that a rule about
    /// all names below another one holds. `None` where it is empty or too long.
    pub fn told(text: &str) -> Option<Self> {
        let written = |letter: char| match letter {
            '.' | '-' => letter,
            _ if letter.is_ascii_alphanumeric() => letter,
            _ => '_',
        };
        Self::parse(&text.chars().map(written).collect::<String>()).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host: a name or an address, both canonical.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(HostName),
    Ip(IpAddr),
}

impl Host {
    /// Reads an address, an IPv6 address in brackets, or a name: clients send addresses as names, too. A zone
    /// (`fe80::1%eth0`) means something on the client's machine alone and is dropped.
    ///
    /// # Errors
    /// Where the text is none of these.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let literal = bracketed.unwrap_or(text);
        let address = literal.split_once('%').map_or(literal, |(address, _)| address);
        match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) if bracketed.is_some() || address != literal => Err(InvalidHost(text.to_owned())),
            Ok(address) => Ok(Self::Ip(canonical_ip(address))),
            Err(_) => HostName::parse(text).map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A port of a host: where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

impl Target {
    /// Makes a target of a host, read as [`Host::parse`] does, and a port.
    ///
    /// # Errors
    /// Where `host` is neither an address nor a name.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidHost> {
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(canonical_ip(address.ip())), port: address.port() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form_however_it_is_written() {
        for (text, canonical) in [
            ("web", "web"),
            ("WEB", "web"),
            ("web.", "web"),
            ("Db.Corp_1.example", "db.corp_1.example"),
            ("100.64.0.1", "100.64.0.1"),
            ("::ffff:100.64.0.1", "100.64.0.1"),
            ("[fd7a::1]", "fd7a::1"),
            ("FD7A::1", "fd7a::1"),
            ("fe80::1%lo", "fe80::1"),
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
        ] {
            assert_eq!(Host::parse(text).expect(text).to_string(), canonical, "{text:?}");
        }
        assert_eq!(Target::new("[fd7a::1]", 80).expect("a target").to_string(), "[fd7a::1]:80");
        assert_eq!(Host::parse(&format!("{}a", "a.".repeat(126))).map(|host| host.to_string().len()), Ok(253));
    }

    #[test]
    fn what_a_resolver_might_read_otherwise_is_no_host() {
        let long = format!("{}aa", "a.".repeat(126));
        for text in [
            "",
            ".",
            "web..",
            ".web",
            "a..b",
            " web",
            "web ",
            "web\t",
            "web\n",
            "a\nb",
            "[web]",
            "[100.64.0.1]",
            "100.64.0.1%lo",
            "web%20",
            "web%lo",
            " fd7a::1",
            "[fd7a::1",
            "fd7a::1]",
            "we\u{212a}",
            "wéb",
            "web\0",
            "web:80",
            "user@web",
            "web/",
            "*",
            "\u{ff57}eb",
            &long,
        ] {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
        let told = Host::parse("a\nb").expect_err("is none").to_string();
        assert!(told.starts_with("a\\nb is no host"), "{told}");
    }
}
