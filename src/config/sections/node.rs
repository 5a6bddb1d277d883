//! Settings of the node that become tailscaled's preferences, and their types.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::origin::Origin;
use crate::config::reader::Reader;
use crate::config::sections::serve::ServeConfig;
use crate::config::types::Value;
use crate::config::types::exit_node::ExitNode;
use crate::config::types::node_label::NodeLabel;
use crate::config::types::rule::parse_network;
use crate::text::bare;

/// A tag, such as `tag:web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(pub String);

impl Value for Tag {
    const EXPECTED: &'static str = "a tag such as tag:web, of letters, digits and dashes";

    fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("tag:")?;
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        fits.then(|| Self(text.to_owned()))
    }
}

/// A network that the node offers a way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedRoute(pub IpNet);

impl Value for AdvertisedRoute {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8, with no bits set behind its prefix";

    fn parse(text: &str) -> Option<Self> {
        parse_network(text).filter(|net| *net == net.trunc()).map(Self)
    }
}

/// Path of the LocalAPI's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSetting(pub PathBuf);

impl Value for SocketSetting {
    // sun_path has 108 bytes, the last of them zero (unix(7)).
    const EXPECTED: &'static str = "the path of a unix socket, at most 107 bytes";
    const FREE: bool = true;

    fn parse(text: &str) -> Option<Self> {
        (1..=107).contains(&text.len()).then(|| Self(text.into()))
    }
}

/// A name that a host name is made of, if it is none: tailnets have labels, and people write whole names and underscores.
struct NearLabel(NodeLabel);

impl Value for NearLabel {
    const EXPECTED: &'static str = NodeLabel::EXPECTED;

    fn parse(text: &str) -> Option<Self> {
        NodeLabel::near(text).map(Self)
    }
}

/// The node's own settings.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    pub tags: Vec<Tag>,
    pub accept_routes: bool,
    pub accept_dns: bool,
    pub shields_up: bool,
    pub advertise_routes: Vec<AdvertisedRoute>,
    pub exit_node: Option<ExitNode>,
    pub exit_node_required: bool,
    /// Whether the container's own networks are reached past the exit node.
    pub exit_node_allow_lan_access: bool,
    /// Path of a serve configuration that was well-formed when the settings were read.
    pub serve_config: Option<PathBuf>,
    /// Whether the services of `serve_config` are advertised.
    pub advertise_services: bool,
}

impl Reader {
    /// Reads the node's own settings.
    pub fn node(&mut self) -> NodeSettings {
        let advertise_routes = self.routes();
        let serve_config = self.serve_config();
        let exit_node = self.value("exit_node");
        NodeSettings {
            tags: self.list("tags"),
            accept_routes: self.value("accept_routes").unwrap_or(false),
            accept_dns: self.value("accept_dns").unwrap_or(true),
            shields_up: self.shields_up(serve_config.is_some(), !advertise_routes.is_empty()),
            exit_node_required: self.beside_exit_node("exit_node_required", exit_node.is_some()),
            exit_node_allow_lan_access: self.beside_exit_node("exit_node_allow_lan_access", exit_node.is_some()),
            advertise_services: self.value("advertise_services").unwrap_or(true),
            advertise_routes,
            exit_node,
            serve_config,
        }
    }

    /// Reads `hostname`. A name that is no label becomes the nearest one, which is said.
    pub fn hostname(&mut self) -> Option<NodeLabel> {
        let NearLabel(label) = self.value("hostname")?;
        let given = self.shown.iter().find(|shown| shown.key == "hostname").map(|shown| bare(&shown.value));
        if given != Some(&label.0) {
            self.warn_at(
                "hostname",
                format!("is not one label of letters, digits and dashes: the node asks for the name {}", label.0),
            );
        }
        Some(label)
    }

    /// Reads `advertise_routes`. tailscaled takes the two default routes, which make an exit node, only together.
    fn routes(&mut self) -> Vec<AdvertisedRoute> {
        let routes: Vec<AdvertisedRoute> = self.list("advertise_routes");
        let of_all = |v4| routes.iter().any(|route| route.0.prefix_len() == 0 && route.0.addr().is_ipv4() == v4);
        if of_all(true) != of_all(false) {
            let problem = "has one of 0.0.0.0/0 and ::/0: an exit node needs both, any other node neither";
            self.fault_at("advertise_routes", problem);
        }
        routes
    }

    fn serve_config(&mut self) -> Option<PathBuf> {
        let path: PathBuf = self.value("serve_config")?;
        if let Err(error) = ServeConfig::read(&path) {
            self.fault_at("serve_config", error.to_string());
        }
        Some(path)
    }

    /// Reads `shields_up`. Up by default, unless something is offered to the tailnet. In userspace mode everything that
    /// comes in reaches the container's loopback.
    fn shields_up(&mut self, serves: bool, routes: bool) -> bool {
        if let Some(up) = self.value("shields_up") {
            return up;
        }
        let (up, origin) = match (serves, routes) {
            (true, _) => (false, Origin::Because("serve_config")),
            (false, true) => (false, Origin::Because("advertise_routes")),
            (false, false) => (true, Origin::Default),
        };
        let mut unset = self.shown.iter_mut().filter(|shown| shown.key == "shields_up");
        if let Some(shown) = unset.find(|shown| shown.origin == Origin::NotSet) {
            (shown.value, shown.origin) = (up.to_string(), origin);
        }
        up
    }

    /// Reads a switch that says something of the exit node, which is `there` or not.
    fn beside_exit_node(&mut self, key: &'static str, there: bool) -> bool {
        let on = self.value(key).unwrap_or(false);
        if on && !there {
            self.fault_at(key, "needs exit_node beside it: the node's name or address");
        }
        on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::environment::environment;

    fn read(pairs: &[(&str, &str)]) -> Result<NodeSettings, String> {
        load(&environment(pairs), None, &vec![])
            .settings
            .map(|settings| settings.node)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn shields_are_up_unless_something_is_offered_or_they_are_set() {
        let up = |pairs: &[(&str, &str)]| read(pairs).expect("is valid").shields_up;
        assert!(up(&[]));
        assert!(!up(&[("TETHERD_ADVERTISE_ROUTES", "10.0.0.0/8")]));
        assert!(!up(&[("TETHERD_SERVE_CONFIG", "/dev/null")]));
        assert!(up(&[("TETHERD_SERVE_CONFIG", "/dev/null"), ("TETHERD_SHIELDS_UP", "true")]));
        assert!(!up(&[("TETHERD_SHIELDS_UP", "false")]));
    }

    #[test]
    fn contradictions_are_faults_that_name_the_key() {
        for (pair, part) in [
            (
                ("TETHERD_EXIT_NODE_REQUIRED", "true"),
                "exit_node_required (from TETHERD_EXIT_NODE_REQUIRED) needs exit_node",
            ),
            (("TETHERD_ADVERTISE_ROUTES", "0.0.0.0/0"), "advertise_routes (from TETHERD_ADVERTISE_ROUTES) has one of"),
            (("TS_SERVE_CONFIG", "/nowhere"), "serve_config (from TS_SERVE_CONFIG) cannot be read: /nowhere"),
            (("TS_SERVE_CONFIG", "/proc/self/comm"), "is not a serve configuration"),
            (("TETHERD_TAGS", "web"), "expected a tag such as tag:web"),
        ] {
            let text = read(&[pair]).expect_err("is faulty");
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
    }

    #[test]
    fn tags_and_routes_are_told_from_what_is_not() {
        for tag in ["tag:web", "tag:Web-1"] {
            assert!(Tag::parse(tag).is_some(), "{tag}");
        }
        for tag in ["web", "tag:", "tag:1", "tag:a b", "tag:a_b"] {
            assert!(Tag::parse(tag).is_none(), "{tag}");
        }
        for (route, fits) in
            [("10.0.0.0/8", true), ("::/0", true), ("10.0.0.1/8", false), ("10.0.0.0", false), ("10.0.0.0/08", false)]
        {
            assert_eq!(AdvertisedRoute::parse(route).is_some(), fits, "{route}");
        }
        assert!(SocketSetting::parse(&"x".repeat(108)).is_none());
    }
}
