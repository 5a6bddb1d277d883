//! The rotation's settings, from the environment.
//!
//! Which control server is whose is decided here alone.

use webhook_outbound::environment::{Faults, Reader};

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

fn url<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>, name: &str) -> Option<String> {
    let url = reader.get(name)?;
    if url.starts_with("https://") || url.starts_with("http://") {
        return Some(url.trim_end_matches('/').to_owned());
    }
    reader.fault(format!("{name} is {url:?}: it is a URL and begins with https://"))
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
}
