//! The form of `tailscale serve get-config --all`: services by their endpoints.
//!
//! <https://tailscale.com/kb/1589/tailscale-services-configuration-file>

use serde_json::{Map, Value, json};

use crate::target::port::parse_port;

/// Text that stands for the domain of the tailnet.
pub const TAILNET: &str = "${TS_TAILNET_DOMAIN}";

/// The version of the form that is known.
const VERSION: &str = "0.0.1";

/// Whether a file has this form.
pub fn has_form(file: &Map<String, Value>) -> bool {
    let of_services = file.get("services").and_then(Value::as_object);
    file.contains_key("version")
        || file.contains_key("endpoints")
        || of_services.is_some_and(|services| services.values().any(|service| service.get("endpoints").is_some()))
}

/// Returns the file in the form of a serve configuration, and the services that are not to be advertised.
///
/// # Errors
/// What is wrong with the file.
pub fn converted(file: &Map<String, Value>) -> Result<(Map<String, Value>, Vec<String>), String> {
    if let Some(version) = file.get("version").filter(|version| **version != VERSION) {
        return Err(format!("has version {version}, and {VERSION} is the one that is known"));
    }
    if file.contains_key("endpoints") {
        return Err(
            "is the configuration of one service, whose name it does not have: use `tailscale serve get-config --all`"
                .into(),
        );
    }
    if let Some(name) = file.keys().find(|name| !["version", "services"].contains(&name.as_str())) {
        return Err(format!("has \"{name}\", expected version and services"));
    }
    let (mut services, mut hidden) = (Map::new(), Vec::new());
    for (name, details) in file.get("services").and_then(Value::as_object).into_iter().flatten() {
        let label =
            name.strip_prefix("svc:").ok_or_else(|| format!("has \"{name}\", expected a name such as svc:web"))?;
        let endpoints = details.get("endpoints").and_then(Value::as_object);
        let endpoints = endpoints.ok_or_else(|| format!("has {name} without endpoints"))?;
        let mut service = json!({ "TCP": {}, "Web": {} });
        for (from, to) in endpoints {
            let to = to.as_str().unwrap_or_default();
            add_endpoint(&mut service, label, from, to).ok_or_else(|| unusable(name, from, to))?;
        }
        if details.get("advertised") == Some(&Value::Bool(false)) {
            hidden.push(name.clone());
        }
        services.insert(name.clone(), service);
    }
    Ok((Map::from_iter([("Services".to_owned(), Value::Object(services))]), hidden))
}

fn unusable(name: &str, from: &str, to: &str) -> String {
    format!(
        "has the endpoint \"{from}\": \"{to}\" of {name}, expected one such as \"tcp:443\": \"http://127.0.0.1:8080\""
    )
}

/// Adds one endpoint, a port or a range of ports, to the service with this label. `None` where it is unusable.
fn add_endpoint(service: &mut Value, label: &str, from: &str, to: &str) -> Option<()> {
    if to == "TUN" {
        service["Tun"] = true.into();
        return (from == "*").then_some(());
    }
    let (first, last) = range(from.strip_prefix("tcp:")?)?;
    let (scheme, place) = to.split_once("://")?;
    // A place without ports is a path of a file, or of a unix socket.
    let (host, ports) = match place.rsplit_once(':') {
        _ if scheme == "file" || place.starts_with("unix:") => (place, None),
        Some((host, ports)) => (host, Some(range(ports)?)),
        None => return None,
    };
    if ports.is_some_and(|(start, end)| end - start != last - first) {
        return None;
    }
    for port in first..=last {
        let place = ports.map_or_else(|| host.to_owned(), |(start, _)| format!("{host}:{}", start + (port - first)));
        let handler = match scheme {
            "file" => json!({ "Path": place }),
            _ if place.starts_with("unix:") => json!({ "Proxy": place }),
            _ => json!({ "Proxy": format!("{scheme}://{place}") }),
        };
        let key = port.to_string();
        service["TCP"][key] = match scheme {
            "tcp" => json!({ "TCPForward": place }),
            "tls-terminated-tcp" => json!({ "TCPForward": place, "TerminateTLS": format!("{label}.{TAILNET}") }),
            "http" => json!({ "HTTP": true }),
            "https" | "https+insecure" | "file" => json!({ "HTTPS": true }),
            _ => return None,
        };
        if !scheme.ends_with("tcp") {
            service["Web"][format!("{label}.{TAILNET}:{port}")] = json!({ "Handlers": { "/": handler } });
        }
    }
    Some(())
}

/// Parses a port or a range of ports.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (parse_port(first).filter(|port| *port > 0)?, parse_port(last)?);
    (range.0 <= range.1).then_some(range)
}
