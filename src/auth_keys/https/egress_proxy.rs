//! Finds the HTTP proxy for requests to APIs: `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Both are read in either case, as Go reads them. Plain HTTP, which only metadata and credential endpoints speak,
//! never goes through a proxy.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::environment::{Environment, first_set};
use crate::secret::Secret;

/// Longest head of a response to CONNECT that is read, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

const NO_ADDRESS: &str =
    "HTTPS_PROXY is no address; characters such as @ / # \\ in user or password are written as %40 %2F %23 %5C";

/// The proxy of `HTTPS_PROXY`, and the hosts that are reached directly.
#[derive(Clone, Debug, Default)]
pub struct EgressProxy {
    /// Host and port of the proxy; `None` without one.
    address: Option<(String, u16)>,
    /// Why the proxy cannot be used; `None` when it can. Connections fail then, and do not bypass a proxy that the user
    /// asked for.
    unusable: Option<&'static str>,
    /// The header line Proxy-Authorization, its end of line included.
    authorization: Option<Secret>,
    /// Entries of `NO_PROXY`, in lower case.
    direct: Vec<String>,
}

impl EgressProxy {
    /// Reads `HTTPS_PROXY` and `NO_PROXY`. A value that cannot be used makes [`Self::connect`] fail.
    pub fn from(environment: &Environment) -> Self {
        let get = |names: [&str; 2]| first_set(environment, names).map(str::to_owned);
        let Some(text) = get(["HTTPS_PROXY", "https_proxy"]) else { return Self::default() };
        let text = if text.contains("://") { text } else { format!("http://{text}") };
        let (uri, unusable) = match text.parse::<Uri>() {
            Ok(uri) if !has_its_userinfo(&uri, &text) => (uri, Some(NO_ADDRESS)),
            Ok(uri) if uri.scheme_str() == Some("http") => (uri, None),
            Ok(uri) => {
                (uri, Some("HTTPS_PROXY is not of the form http://HOST:PORT, the one that keys are fetched through"))
            }
            Err(_) => (Uri::default(), Some(NO_ADDRESS)),
        };
        let credentials = uri.authority().and_then(|authority| Some(authority.as_str().rsplit_once('@')?.0));
        let direct = get(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Self {
            address: uri.host().map(|host| (without_brackets(host).to_owned(), uri.port_u16().unwrap_or(80))),
            unusable,
            authorization: credentials.map(proxy_authorization),
            direct: direct.split(',').map(|entry| entry.trim().to_lowercase()).collect(),
        }
    }

    /// Opens a TCP connection to `host`: through the proxy, but directly to loopback and to what `NO_PROXY` names.
    pub async fn connect(&self, host: &str, port: u16) -> std::io::Result<TcpStream> {
        let is_direct = self.is_direct(host);
        if let Some(problem) = self.unusable.filter(|_| !is_direct) {
            return Err(std::io::Error::other(problem));
        }
        let Some((proxy, proxy_port)) = self.address.as_ref().filter(|_| !is_direct) else {
            return TcpStream::connect((host, port)).await;
        };
        let mut stream = TcpStream::connect((proxy.as_str(), *proxy_port)).await.map_err(|error| {
            let message = format!("the proxy of HTTPS_PROXY, {proxy} port {proxy_port}, cannot be reached: {error}");
            std::io::Error::new(error.kind(), message)
        })?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authorization = self.authorization.as_ref().map_or("", Secret::expose);
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        // Allocated once at its full size: growing would move the text and leave a copy of the secret in freed memory.
        let mut request = Zeroizing::new(String::with_capacity(head.len() + authorization.len() + 2));
        [&head, authorization, "\r\n"].iter().for_each(|part| request.push_str(part));
        stream.write_all(request.as_bytes()).await?;
        read_connect_response(&mut stream).await?;
        Ok(stream)
    }

    fn is_direct(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let matches = |entry: &String| match (entry.parse::<IpNet>(), address) {
            _ if entry == "*" || *entry == host => true,
            (Ok(network), Some(address)) => network.contains(&address),
            _ => {
                let suffix = entry.trim_start_matches("*.").trim_start_matches('.');
                !suffix.is_empty() && host.strip_suffix(suffix).is_some_and(|name| name.ends_with('.'))
            }
        };
        host == "localhost" || address.is_some_and(|address| address.is_loopback()) || self.direct.iter().any(matches)
    }
}

/// Whether `uri` has a user and a password exactly if `text` has them. A `#` or `/` in a password ends the part of an
/// address in which they stand, and the user would be taken for the host.
fn has_its_userinfo(uri: &Uri, text: &str) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str().contains('@')) == text.contains('@')
}

/// Makes the header line Proxy-Authorization from user and password as they stand in an address (RFC 3986, section
/// 3.2.1), where an `@` is written as `%40`.
fn proxy_authorization(credentials: &str) -> Secret {
    const SCHEME: &str = "Proxy-Authorization: Basic ";
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    // Allocated once at its full size: growing would move the text and leave a copy of the secret in freed memory.
    let mut plain = Zeroizing::new(Vec::with_capacity(credentials.len() + 1));
    plain.extend(percent_decode_str(user).chain([b':']).chain(percent_decode_str(password)));
    let mut line = String::with_capacity(SCHEME.len() + 4 * plain.len().div_ceil(3) + 2);
    line.push_str(SCHEME);
    STANDARD.encode_string(&*plain, &mut line);
    line.push_str("\r\n");
    Secret::new(line)
}

/// Returns a host without the brackets of an IPv6 address.
pub fn without_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

/// Reads the head of the proxy's response to CONNECT and not a byte more. Any status but 200 is an error.
async fn read_connect_response(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        head.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    if line.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(std::io::Error::other(format!("the proxy of HTTPS_PROXY answered {line:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn loopback_and_what_no_proxy_names_is_direct() {
        let environment =
            environment(&[("https_proxy", "proxy:3128"), ("NO_PROXY", ".internal, 10.0.0.0/8,api.example")]);
        let proxy = EgressProxy::from(&environment);
        assert_eq!(proxy.address, Some(("proxy".to_owned(), 3128)));
        for host in ["127.0.0.1", "::1", "localhost", "a.internal", "10.1.2.3", "api.example", "x.api.example"] {
            assert!(proxy.is_direct(host), "{host}");
        }
        for host in ["internal.example", "192.0.2.1", "myapi.example", "api.tailscale.com"] {
            assert!(!proxy.is_direct(host), "{host}");
        }
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let proxied = Some(("proxy".to_owned(), 3128));
        for (variables, address, direct) in [
            (&[("HTTPS_PROXY", ""), ("https_proxy", "proxy:3128")][..], &proxied, None),
            (&[("HTTPS_PROXY", "proxy:3128"), ("https_proxy", "")], &proxied, None),
            (&[("HTTPS_PROXY", "proxy:3128"), ("https_proxy", "other:1")], &proxied, None),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "")], &None, None),
            (&[("https_proxy", "proxy:3128"), ("NO_PROXY", ""), ("no_proxy", ".corp")], &proxied, Some("a.corp")),
            (&[("https_proxy", "proxy:3128"), ("NO_PROXY", ".corp"), ("no_proxy", "")], &proxied, Some("a.corp")),
        ] {
            let proxy = EgressProxy::from(&environment(variables));
            assert_eq!(&proxy.address, address, "{variables:?}");
            assert_eq!(proxy.is_direct("a.corp"), direct.is_some(), "{variables:?}");
        }
    }

    #[test]
    fn user_and_password_are_those_that_the_address_stands_for() {
        for (written, meant) in [
            ("user:pass", "user:pass"),
            ("corp%5Cuser:p%40ss%3A1", "corp\\user:p@ss:1"),
            ("user", "user:"),
            ("u:100%", "u:100%"),
        ] {
            let proxy = EgressProxy::from(&environment(&[("HTTPS_PROXY", &format!("http://{written}@proxy:3128"))]));
            let line = proxy.authorization.expect("credentials");
            let expected = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(meant));
            assert_eq!(line.expose(), expected, "{written}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_proxy_of_another_kind_is_neither_spoken_to_nor_gone_past() {
        for value in [
            "socks5://user:hidden@127.0.0.1:9",
            "https://user:hidden@127.0.0.1:9",
            "http://a b",
            "http://user:hid#den@127.0.0.1:9",
            "http://user:hid/den@127.0.0.1:9",
        ] {
            let error = EgressProxy::from(&environment(&[("HTTPS_PROXY", value)]))
                .connect("192.0.2.1", 443)
                .await
                .expect_err("is not used")
                .to_string();
            assert!(error.starts_with("HTTPS_PROXY is") && !error.contains("hidden"), "{value}: {error}");
        }
    }
}
