//! Checks addresses that credentials are sent to.
//!
//! They are HTTPS, or plain HTTP to this machine itself.

use std::net::IpAddr;

use http::Uri;

/// Why credentials must not be sent there.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum UrlError {
    #[error("it is no URL such as https://headscale.example.com")]
    NoUrl,
    #[error("it has a user, a query or a fragment: write scheme, host, port and path alone")]
    More,
    #[error("credentials would go to {0} over plain HTTP, where everybody on the way reads them: write https://")]
    Plain(String),
}

/// Scheme, host, port and path, without a slash at the end. Plain HTTP is for `localhost` and addresses of loopback, written as such.
pub fn for_credentials(text: &str) -> Result<String, UrlError> {
    let uri: Uri = text.parse().map_err(|_| UrlError::NoUrl)?;
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let authority = uri.authority().ok_or(UrlError::NoUrl)?;
    if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
        return Err(UrlError::More);
    }
    let host = authority.host();
    let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    if host.is_empty() || authority.as_str() != format!("{host}{port}") {
        return Err(UrlError::NoUrl);
    }
    match scheme.as_str() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err(UrlError::Plain(host.to_owned())),
        _ => return Err(UrlError::NoUrl),
    }
    Ok(format!("{scheme}://{authority}{}", uri.path()).trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_host_port_and_path() {
        let https = for_credentials("HTTPS://headscale.example.com:8443/sub/");
        assert_eq!(https.as_deref(), Ok("https://headscale.example.com:8443/sub"));
        assert_eq!(for_credentials("http://[::1]:8080").as_deref(), Ok("http://[::1]:8080"));
        assert_eq!(for_credentials("http://[::ffff:127.0.0.1]/").as_deref(), Ok("http://[::ffff:127.0.0.1]"));
    }

    #[test]
    fn each_fault_has_its_reason() {
        assert_eq!(for_credentials("http://10.0.0.1:80/a"), Err(UrlError::Plain("10.0.0.1".into())));
        assert_eq!(for_credentials("https://user:password@web"), Err(UrlError::More));
        assert_eq!(for_credentials("ftp://web"), Err(UrlError::NoUrl));
    }
}
