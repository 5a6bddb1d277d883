//! Brings a serve file into the one form that tailscaled is given.
//!
//! It comes in the forms that tools and people write.
//! Go reads names in any case and takes `null` for nothing; people put remarks under names such as `_comment`; `tailscale serve
//! get-config` has a form of its own (`serve_services`). What is unknown stays, and is a fault when it is read strictly.

use serde_json::{Map, Value};

/// Text that stands for the node's own domain.
pub const DOMAIN: &str = "${TS_CERT_DOMAIN}";

/// Other spellings of [`DOMAIN`]: doubled dollars as compose files have them, and what is left where a dollar was single there.
const OTHER_DOMAINS: [&str; 5] = ["", "$${TS_CERT_DOMAIN}", "$TS_CERT_DOMAIN", "$$TS_CERT_DOMAIN", "{TS_CERT_DOMAIN}"];

/// What a part of the file is.
enum Shape {
    /// A value that is left as it is.
    Plain,
    /// Names that are known, each with its part.
    Named(&'static [(&'static str, &'static Shape)]),
    /// Names that are the user's, of parts that are alike.
    Each(&'static Shape),
}

static PLAIN: Shape = Shape::Plain;
static HANDLERS: Shape = Shape::Each(&Shape::Named(&[
    ("Path", &PLAIN),
    ("Proxy", &PLAIN),
    ("Text", &PLAIN),
    ("AcceptAppCaps", &PLAIN),
    ("Redirect", &PLAIN),
]));
static WEB: Shape = Shape::Each(&Shape::Named(&[("Handlers", &HANDLERS)]));
static TCP: Shape = Shape::Each(&Shape::Named(&[
    ("HTTPS", &PLAIN),
    ("HTTP", &PLAIN),
    ("TCPForward", &PLAIN),
    ("TerminateTLS", &PLAIN),
    ("ProxyProtocol", &PLAIN),
]));
static SERVICES: Shape = Shape::Each(&Shape::Named(&[("TCP", &TCP), ("Web", &WEB), ("Tun", &PLAIN)]));
static FUNNEL: Shape = Shape::Each(&PLAIN);
static FOREGROUND: Shape = Shape::Each(&CONFIG);
static CONFIG: Shape = Shape::Named(&[
    ("TCP", &TCP),
    ("Web", &WEB),
    ("Services", &SERVICES),
    ("AllowFunnel", &FUNNEL),
    ("Foreground", &FOREGROUND),
]);

/// Returns the file with known names in their own case, without remarks and `null`, and with the node's domain where a key of `Web`
/// or `AllowFunnel` names no host.
///
/// # Errors
/// What is wrong: a name that is there twice, or a host that cannot be meant.
pub fn in_one_form(file: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let Value::Object(mut file) = shaped(Value::Object(file), &CONFIG)? else { return Ok(Map::new()) };
    for part in ["Web", "AllowFunnel"] {
        if let Some(Value::Object(hosts)) = file.get_mut(part) {
            let mut named = Map::new();
            for (key, value) in std::mem::take(hosts) {
                let key = with_host(part, &key)?;
                insert_once(&mut named, key, value)?;
            }
            *hosts = named;
        }
    }
    Ok(file)
}

fn shaped(value: Value, shape: &Shape) -> Result<Value, String> {
    let Value::Object(members) = value else { return Ok(value) };
    let mut kept = Map::new();
    for (name, value) in members {
        let (name, shape) = match shape {
            Shape::Named(known) => match known.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some((known, shape)) => ((*known).to_owned(), *shape),
                None if is_remark(&name) => continue,
                None => (name, &PLAIN),
            },
            // A remark is a text; what the user names is not, or is a truth value.
            Shape::Each(_) if is_remark(&name) && !value.is_object() => continue,
            Shape::Each(shape) => (name, *shape),
            Shape::Plain => (name, &PLAIN),
        };
        if !value.is_null() {
            insert_once(&mut kept, name, shaped(value, shape)?)?;
        }
    }
    Ok(Value::Object(kept))
}

/// Whether a name is one that people give to remarks, since JSON has none.
fn is_remark(name: &str) -> bool {
    name.starts_with(['_', '#', '$']) && !name.contains(':')
        || name.starts_with("//")
        || ["comment", "comments", "description"].iter().any(|remark| name.eq_ignore_ascii_case(remark))
}

fn insert_once(members: &mut Map<String, Value>, name: String, value: Value) -> Result<(), String> {
    if members.contains_key(&name) {
        return Err(format!("has \"{name}\" twice, in one spelling or another"));
    }
    members.insert(name, value);
    Ok(())
}

/// Returns a key with the node's domain where it names no host: tailscaled would take it, and answer nobody.
fn with_host(part: &str, key: &str) -> Result<String, String> {
    let Some((host, port)) = key.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
    else {
        return Err(format!("has \"{key}\" in {part}, expected a host and a port, such as \"{DOMAIN}:443\""));
    };
    if OTHER_DOMAINS.contains(&host) {
        return Ok(format!("{DOMAIN}:{port}"));
    }
    if host != DOMAIN && host.contains('$') {
        let problem = "which nothing replaces: the node's own name is";
        return Err(format!(
            "has \"{key}\" in {part}, with a dollar {problem} {DOMAIN}, and $${{TS_CERT_DOMAIN}} in a compose file"
        ));
    }
    Ok(key.to_owned())
}
