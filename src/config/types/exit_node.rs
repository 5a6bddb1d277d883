//! The exit node as it is wanted: one node, any, or one of a provider's at a place.

use std::fmt;
use std::net::IpAddr;

use crate::config::types::Value;
use crate::config::types::node_label::NodeLabel;

/// The node through which targets that are not in the tailnet are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitNode {
    Address(IpAddr),
    /// MagicDNS name, short or whole, without a dot at its end.
    Name(String),
    /// Any that can be used now.
    Any,
    /// Any of a provider's, such as Mullvad's, at this place.
    Location(Location),
}

/// A place of exit nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Two letters (ISO 3166-1), in upper case.
    pub country: String,
    /// The city's name or its code, in lower case, with dashes for blanks.
    pub city: Option<String>,
}

impl Location {
    /// Parses `CC` or `CC-city`.
    fn parse(text: &str) -> Option<Self> {
        let (country, city) = text.split_once('-').map_or((text, None), |(country, city)| (country, Some(city)));
        let is_country = country.len() == 2 && country.bytes().all(|letter| letter.is_ascii_alphabetic());
        let is_city =
            city.is_none_or(|city| !city.is_empty() && city.chars().all(|c| c.is_alphanumeric() || "-. ".contains(c)));
        (is_country && is_city).then(|| Self { country: country.to_ascii_uppercase(), city: city.map(in_one_spelling) })
    }

    /// Whether a node of this country and in this city, which is told by name and by code, is meant.
    pub fn is_at(&self, country: &str, city: &str, city_code: &str) -> bool {
        let is_city = |wanted: &String| [city, city_code].into_iter().any(|city| in_one_spelling(city) == *wanted);
        country.eq_ignore_ascii_case(&self.country) && self.city.as_ref().is_none_or(is_city)
    }
}

/// A city in lower case and with dashes for blanks: environments and command lines do without blanks.
fn in_one_spelling(city: &str) -> String {
    city.to_lowercase().replace(' ', "-")
}

impl ExitNode {
    /// Whether the setting leaves a choice between nodes.
    pub fn is_choice(&self) -> bool {
        matches!(self, Self::Any | Self::Location(_))
    }
}

impl Value for ExitNode {
    const EXPECTED: &'static str = "a node's name or address, such as gateway or 100.64.0.7; auto:any; or the place of a provider's node, such as \
                                    location:SE or location:SE-Gothenburg";

    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        if let Some((kind, place)) = text.split_once(':') {
            return match (kind, place) {
                ("auto", "any") => Some(Self::Any),
                ("location", place) => Location::parse(place).map(Self::Location),
                _ => None,
            };
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        name.split('.').all(|label| NodeLabel::parse(label).is_some()).then_some(Self::Name(name))
    }
}

impl fmt::Display for ExitNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Any => f.write_str("auto:any"),
            Self::Location(Location { country, city: None }) => write!(f, "location:{country}"),
            Self::Location(Location { country, city: Some(city) }) => write!(f, "location:{country}-{city}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_nodes_are_one_node_any_or_a_place() {
        assert_eq!(ExitNode::parse("fd7a::1"), Some(ExitNode::Address("fd7a::1".parse().expect("address"))));
        assert_eq!(ExitNode::parse("GW.tail.test."), Some(ExitNode::Name("gw.tail.test".into())));
        for (text, shown) in [
            ("auto:any", "auto:any"),
            ("location:se", "location:SE"),
            ("location:SE-Gothenburg", "location:SE-gothenburg"),
            ("location:us-Salt Lake City", "location:US-salt-lake-city"),
        ] {
            let parsed = ExitNode::parse(text).expect(text);
            assert!(parsed.is_choice() && parsed.to_string() == shown, "{parsed}");
        }
        for text in
            ["a node", "", "auto:", "auto:us", "location:", "location:swe", "location:s1", "location:SE-", "mullvad:SE"]
        {
            assert_eq!(ExitNode::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_place_is_a_country_or_one_of_its_cities_by_name_or_code() {
        let at = |wanted: &str, country: &str, city: &str, code: &str| {
            Location::parse(wanted).expect(wanted).is_at(country, city, code)
        };
        assert!(at("se", "SE", "Gothenburg", "got") && at("SE-gothenburg", "SE", "Gothenburg", "got"));
        assert!(at("SE-GOT", "SE", "Gothenburg", "got") && at("US-Salt-Lake-City", "us", "Salt Lake City", "SLC"));
        assert!(!at("SE", "NO", "Oslo", "osl") && !at("SE-sto", "SE", "Gothenburg", "got") && !at("SE", "", "", ""));
    }
}
