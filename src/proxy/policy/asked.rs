//! Judges the names that clients of the DNS server ask for, and are told.
//!
//! There is no port in a question: a name is refused where the proxy would refuse it at every one.

use crate::config::types::rule::Rule;
use crate::proxy::policy::Policy;
use crate::target::host::HostName;

impl Policy {
    /// Whether the proxy would look `name` up for a client, at one port at least.
    pub fn lets_ask(&self, name: &HostName) -> bool {
        let may_lead_there = |rule: &Rule| rule.is_network() || self.is_about(rule, name);
        self.lets_tell(name) && (self.rules.allow.is_empty() || self.rules.allow.iter().any(may_lead_there))
    }

    /// Whether `name` may stand in an answer to a client: no rule of `deny` is about it at every port.
    pub fn lets_tell(&self, name: &HostName) -> bool {
        !self.rules.deny.iter().any(|rule| rule.has_every_port() && self.is_about(rule, name))
    }

    /// Whether `rule` is about this name, or about the other name of the same node, at whatever port.
    fn is_about(&self, rule: &Rule, name: &HostName) -> bool {
        rule.names(name.as_str()) || self.own_node().other_name(name.as_str()).is_some_and(|other| rule.names(&other))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::types::Value;
    use crate::config::types::enums::Direct;
    use crate::config::types::local_targets::LocalTargets;
    use crate::proxy::policy::access::Rules;
    use crate::proxy::policy::own_listeners::OwnListeners;
    use crate::target::own_node::OwnNode;

    #[test]
    fn a_name_is_told_unless_every_port_of_it_is_refused() {
        let rules = |texts: &[&str]| texts.iter().map(|text| Rule::parse(text).expect(text)).collect();
        for (allow, deny, name, asked, told) in [
            (&[][..], &[][..], "web", true, true),
            (&[], &["web"], "web", false, false),
            (&[], &["web"], "web.tail.test", false, false),
            (&[], &["web.tail.test"], "web", false, false),
            (&[], &["*.corp.test"], "db.corp.test", false, false),
            (&[], &["*.corp.test:1-65535"], "db.corp.test", false, false),
            (&[], &["web:22"], "web", true, true),
            (&[], &["10.0.0.0/8"], "web", true, true),
            (&["db:5432"], &[], "db", true, true),
            (&["db:5432"], &[], "web", false, true),
            (&["db:5432", "10.0.0.0/8"], &[], "web", true, true),
        ] {
            let rules = Rules { allow: rules(allow), deny: rules(deny) };
            let policy = Policy::new(Direct::Allow, LocalTargets::default(), rules, OwnListeners::default());
            policy.set_own_node(Arc::new(OwnNode { domain: "tail.test".to_owned(), ..OwnNode::default() }));
            let name = HostName::parse(name).expect(name);
            assert_eq!((policy.lets_ask(&name), policy.lets_tell(&name)), (asked, told), "{name} {allow:?} {deny:?}");
        }
    }
}
