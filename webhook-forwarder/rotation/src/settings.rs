//! The rotation's settings, from the environment.
//!
//! Which control server is whose is decided here alone.

use webhook_outbound::environment::{Faults, Reader};
use webhook_outbound::url::for_credentials;

const TAILSCALE: &str = "https://api.tailscale.com";

/// How keys are made.
#[derive(Debug)]
pub struct Settings {
    /// The secret with the credentials: `{"id","key"}` of an OAuth client, or an API key of Headscale as `key`.
    pub credentials: String,
    pub control: Control,
    pub tag: String,
    /// This function's name, for its metric.
    pub function: String,
}

#[derive(Debug, PartialEq)]
pub enum Control {
    Tailscale { api_url: String, tailnet: String },
    Headscale { url: String },
}

impl Settings {
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(lookup);
        let credentials = reader.get("OAUTH_SECRET_ARN").or_else(|| {
            reader.fault("OAUTH_SECRET_ARN is not set: it names the secret with the OAuth client or API key".into())
        });
        let settings = Self {
            credentials: credentials.unwrap_or_default(),
            control: control(&mut reader),
            tag: tag(&mut reader),
            function: reader.get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
        };
        reader.finish(settings)
    }
}

fn tag<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> String {
    let tag = reader.get("TAG_NAME").unwrap_or_default();
    let tag = if tag.starts_with("tag:") { tag } else { format!("tag:{tag}") };
    if is_tag(&tag) {
        return tag;
    }
    let text = format!("TAG_NAME is {tag:?}: it is a tag like tag:webhook, letters, digits and hyphens");
    reader.fault(text).unwrap_or_default()
}

fn control<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Control {
    let [control_url, api_url] = ["CONTROL_URL", "API_URL"].map(|name| url(reader, name));
    match control_url.filter(|url| !is_tailscale(url)) {
        Some(url) => Control::Headscale { url },
        None => Control::Tailscale {
            api_url: api_url.unwrap_or_else(|| TAILSCALE.into()),
            // The one that the OAuth client belongs to.
            tailnet: reader.get("TAILNET").unwrap_or_else(|| "-".into()),
        },
    }
}

/// The credentials that make keys are sent there.
fn url<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>, name: &str) -> Option<String> {
    match for_credentials(&reader.get(name)?) {
        Ok(url) => Some(url),
        Err(error) => reader.fault(format!("{name} cannot be used: {error}")),
    }
}

fn is_tailscale(url: &str) -> bool {
    ["https://controlplane.tailscale.com", "https://login.tailscale.com"].contains(&url)
}

fn is_tag(tag: &str) -> bool {
    let name = tag.strip_prefix("tag:").unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Faults> {
        Settings::read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn tailscale_is_meant_unless_another_control_server_is_named() {
        let own = Control::Tailscale { api_url: TAILSCALE.into(), tailnet: "-".into() };
        let base = [("OAUTH_SECRET_ARN", "arn"), ("TAG_NAME", "webhook")];
        let settings = read(&base).expect("usable");
        assert_eq!((settings.control, settings.tag.as_str()), (own, "tag:webhook"));
        let known =
            [base[0], base[1], ("CONTROL_URL", "https://controlplane.tailscale.com/"), ("TAILNET", "example.com")];
        let control = Control::Tailscale { api_url: TAILSCALE.into(), tailnet: "example.com".into() };
        assert_eq!(read(&known).expect("usable").control, control);
        let other = [base[0], ("TAG_NAME", "tag:web"), ("CONTROL_URL", "https://headscale.example.com/")];
        let control = Control::Headscale { url: "https://headscale.example.com".into() };
        assert_eq!(read(&other).expect("usable").control, control);
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let faults = read(&[("CONTROL_URL", "headscale"), ("TAG_NAME", "a b")]).expect_err("unusable").to_string();
        for name in ["OAUTH_SECRET_ARN", "TAG_NAME", "CONTROL_URL"] {
            assert!(faults.contains(name), "{faults}");
        }
    }

    /// An API key, or an OAuth client's secret, would stand in the clear.
    #[test]
    fn credentials_go_over_plain_http_to_loopback_alone() {
        let faults = |name: &'static str, url: &'static str| {
            let read = read(&[("OAUTH_SECRET_ARN", "arn"), ("TAG_NAME", "web"), (name, url)]);
            read.err().map(|faults| faults.to_string())
        };
        for name in ["CONTROL_URL", "API_URL"] {
            for refused in [
                "http://headscale.example.com",
                "HTTP://headscale.example.com",
                "http://10.0.0.1:8080",
                "http://192.168.1.1",
                "http://0.0.0.0:8080",
                "http://[::]:8080",
                "http://[fd7a:115c:a1e0::1]",
                "http://localhost.example.com",
                "http://127.0.0.1.example.com",
                "http://127.0.0.1@headscale.example.com",
                "http://2130706433",
                "http://0x7f.1",
                "http:headscale.example.com",
                "http:///headscale.example.com",
                "https://",
                "https:///path",
                "https://user:password@headscale.example.com",
                "https://headscale.example.com/?baseURL=http://evil",
                "https://headscale.example.com/#a",
                "https://headscale.example.com:port",
                "ftp://headscale.example.com",
                "headscale.example.com:443",
            ] {
                let fault = faults(name, refused).unwrap_or_else(|| panic!("{name}={refused} is taken"));
                assert!(fault.contains(name), "{refused}: {fault}");
                assert!(!fault.contains("password"), "{fault}");
            }
            for taken in [
                "https://headscale.example.com",
                "HTTPS://headscale.example.com:8443/sub/",
                "http://127.0.0.1:8080",
                "http://127.9.9.9/",
                "http://[::1]:8080",
                "http://localhost:8080",
            ] {
                assert_eq!(faults(name, taken), None, "{name}={taken}");
            }
        }
    }
}
