//! Chooses among the nodes that an `exit_node` setting is about.

use crate::config::types::exit_node::ExitNode;
use crate::tailscaled::local_api::types::Node;

/// Returns the nodes that `wanted` is about, the best first: those that are exit nodes and online, what Tailscale suggests, nodes
/// of the tailnet before a provider's, and of these the ones with the highest priority.
pub fn candidates<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    wanted: &ExitNode,
    suggested: Option<&str>,
) -> Vec<&'a Node> {
    let mut fitting: Vec<&Node> = nodes.filter(|node| is_wanted(node, wanted)).collect();
    fitting.sort_by_key(|node| {
        let (is_located, priority) = node.location.as_ref().map_or((false, 0), |place| (true, place.priority));
        let is_suggested = suggested == Some(node.id.as_str());
        (!node.exit_node_option, !node.online, !is_suggested, is_located, -priority, &node.dns_name)
    });
    fitting
}

/// Whether `node` is one that the setting is about.
fn is_wanted(node: &Node, wanted: &ExitNode) -> bool {
    let name = node.dns_name.trim_end_matches('.').to_ascii_lowercase();
    match wanted {
        ExitNode::Address(address) => node.addresses.iter().flatten().any(|own| own == address),
        ExitNode::Name(wanted) => name == *wanted || name.split('.').next() == Some(wanted),
        ExitNode::Any => node.exit_node_option,
        ExitNode::Location(wanted) => {
            let place = node.location.as_ref();
            place.is_some_and(|place| wanted.is_at(&place.country_code, &place.city, &place.city_code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::Value;

    #[test]
    fn the_exit_node_is_found_by_name_short_or_whole_and_by_address() {
        let text = r#"{"ID":"n1","DNSName":"GW.tail.test.","TailscaleIPs":["100.64.0.7","fd7a::7"]}"#;
        let node: Node = serde_json::from_str(text).expect("parses");
        for (wanted, fits) in [
            ("gw", true),
            ("gw.tail.test", true),
            ("gw.other.test", false),
            ("g", false),
            ("100.64.0.7", true),
            ("fd7a::7", true),
            ("100.64.0.8", false),
            ("auto:any", false),
            ("location:SE", false),
        ] {
            assert_eq!(is_wanted(&node, &ExitNode::parse(wanted).expect("parses")), fits, "{wanted}");
        }
    }

    /// A provider's nodes as Tailscale's status has them (`ipnstate.PeerStatus`, `tailcfg.Location`), and two of the tailnet.
    const NODES: &str = r#"[
        {"ID":"b","DNSName":"b.tail.test.","ExitNodeOption":true,"Online":true},
        {"ID":"a","DNSName":"a.tail.test.","ExitNodeOption":true,"Online":true},
        {"ID":"off","DNSName":"0.tail.test.","ExitNodeOption":true,"Online":false},
        {"ID":"no","DNSName":"no.tail.test.","ExitNodeOption":false,"Online":true},
        {"ID":"got1","DNSName":"se-got-wg-001.mullvad.ts.net.","ExitNodeOption":true,"Online":true,
         "Location":{"Country":"Sweden","CountryCode":"SE","City":"Gothenburg","CityCode":"got","Priority":100}},
        {"ID":"got2","DNSName":"se-got-wg-002.mullvad.ts.net.","ExitNodeOption":true,"Online":true,
         "Location":{"Country":"Sweden","CountryCode":"SE","City":"Gothenburg","CityCode":"got","Priority":200}},
        {"ID":"sto","DNSName":"se-sto-wg-001.mullvad.ts.net.","ExitNodeOption":true,"Online":true,
         "Location":{"Country":"Sweden","CountryCode":"SE","City":"Stockholm","CityCode":"sto","Priority":150}},
        {"ID":"osl","DNSName":"no-osl-wg-001.mullvad.ts.net.","ExitNodeOption":true,"Online":false,
         "Location":{"Country":"Norway","CountryCode":"NO","City":"Oslo","CityCode":"osl"}}]"#;

    #[test]
    fn of_several_the_best_comes_first() {
        let nodes: Vec<Node> = serde_json::from_str(NODES).expect("parses");
        for (wanted, suggested, found) in [
            ("auto:any", None, "a b got2 sto got1 off osl"),
            ("auto:any", Some("sto"), "sto a b got2 got1 off osl"),
            ("auto:any", Some("off"), "a b got2 sto got1 off osl"),
            ("location:SE", None, "got2 sto got1"),
            ("location:SE-Gothenburg", None, "got2 got1"),
            ("location:se-sto", None, "sto"),
            ("location:NO", None, "osl"),
            ("location:DE", None, ""),
        ] {
            let wanted = ExitNode::parse(wanted).expect(wanted);
            let ids: Vec<_> = candidates(nodes.iter(), &wanted, suggested).iter().map(|node| &*node.id).collect();
            assert_eq!(ids.join(" "), found, "{wanted} {suggested:?}");
        }
    }
}
