//! This node as its tailnet knows it: name, domain, addresses.

use std::net::IpAddr;

use crate::target::host::HostName;

/// The names and addresses of the node that this daemon is. Empty until it has joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNode {
    /// The whole name; `None` where the tailnet has no names.
    pub name: Option<HostName>,
    /// The domain of the tailnet's own names, in lower case and without dots around it; empty where there is none.
    pub domain: String,
    pub addresses: Vec<IpAddr>,
}

impl OwnNode {
    /// Returns the other name that MagicDNS knows the same node by: the short one for a whole one of the tailnet's domain, the
    /// whole one for a short one; `None` for a name of another domain.
    pub fn other_name(&self, name: &str) -> Option<String> {
        // No node is called so: it is this machine, whatever the tailnet says.
        if self.domain.is_empty() || name == "localhost" {
            return None;
        }
        match name.strip_suffix(self.domain.as_str()).and_then(|label| label.strip_suffix('.')) {
            Some(label) => Some(label.to_owned()),
            None if name.contains('.') => None,
            None => Some(format!("{name}.{}", self.domain)),
        }
    }

    /// Whether `name` is this node's, short or whole.
    pub fn is_named(&self, name: &HostName) -> bool {
        let name = name.as_str();
        self.name.as_ref().is_some_and(|own| {
            let own = own.as_str();
            own == name || self.other_name(name).is_some_and(|other| other == own)
        })
    }

    /// Whether `address` is one of this node's.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_goes_by_two_names() {
        let node =
            OwnNode { name: HostName::parse("box.tail.test").ok(), domain: "tail.test".into(), ..OwnNode::default() };
        let is_own = |name: &str| node.is_named(&HostName::parse(name).expect(name));
        assert!(is_own("box") && is_own("Box.Tail.Test."));
        assert!(!is_own("web") && !is_own("web.tail.test") && !is_own("box.tail.test.other") && !is_own("box.test"));
        assert_eq!(node.other_name("web"), Some("web.tail.test".to_owned()));
        assert_eq!(node.other_name("web.tail.test"), Some("web".to_owned()));
        assert_eq!(node.other_name("web.eviltail.test"), None);
        assert!(!OwnNode::default().is_named(&HostName::parse("box").expect("a name")));
    }
}
