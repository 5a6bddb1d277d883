//! Times and sizes, which need a unit: a number alone does not say of what.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::config::types::Value;
use crate::target::port::is_plain_number;

/// Longest time that can be set: more than any connection or start takes. Deadlines beyond it cannot be reckoned with.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Shortest time that can be set. Less is a slip, and means nothing where milliseconds are counted.
const SHORTEST: Duration = Duration::from_millis(1);

impl Value for Duration {
    const EXPECTED: &'static str = "a time such as 15s, 300ms or 1m, of at least 1ms";

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().filter(|time| (SHORTEST..=LONGEST).contains(time))
    }
}

/// A time limit that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl Value for Limit {
    const EXPECTED: &'static str = "a time such as 15s, 300ms or 1m, of at least 1ms, or off";

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("off") {
            Some(Self(None))
        } else {
            Duration::parse(text).map(|time| Self(Some(time)))
        }
    }
}

/// A number of at least one.
impl Value for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number of at least 1";

    fn parse(text: &str) -> Option<Self> {
        is_plain_number(text).then(|| text.parse().ok())?
    }
}

/// Amount of memory that tailscaled keeps to, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

const UNITS: [(&str, u64); 6] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

/// Smallest amount that is accepted, in bytes. Less is a slip, such as `64KiB`: tailscaled has more than that when idle,
/// and would do nothing but collect garbage.
const LEAST_ACCEPTED: u64 = 16 << 20;

impl Value for Memory {
    const EXPECTED: &'static str =
        "an amount of memory with its unit (KiB, MiB, GiB, kB, MB, GB) such as 100MiB, at least 16MiB";

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
        let number = number.trim();
        let bytes = number.parse::<u64>().ok().filter(|_| is_plain_number(number))?.checked_mul(unit)?;
        (bytes >= LEAST_ACCEPTED).then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_a_length() {
        assert_eq!(Duration::parse("300ms"), Some(Duration::from_millis(300)));
        for (text, millis) in
            [("1.5h", 5_400_000), ("1m0.5s", 60_500), ("0.25s", 250), ("1m30s", 90_000), ("2500us", 2)]
        {
            assert_eq!(Duration::parse(text).map(|time| time.as_millis()), Some(millis), "{text}");
        }
        for text in ["soon", "1.5", ".s", "1.5.5s", "-1s", "1.5s!", "+1.5s", "1e9h", "99999999999999.5h"] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
        assert_eq!(Duration::parse("0s"), None);
        assert_eq!(Duration::parse("500000000000years"), None);
        for (text, taken) in [("7ns", false), ("999us", false), ("999999ns", false), ("1ms", true), ("1000us", true)] {
            assert_eq!(Duration::parse(text).is_some(), taken, "{text}");
            assert_eq!(Limit::parse(text).is_some(), taken, "{text}");
        }
        assert_eq!(Limit::parse("off"), Some(Limit(None)));
        assert_eq!(Duration::parse("off"), None);
    }

    #[test]
    fn memory_needs_a_unit_and_is_enough_for_tailscaled() {
        assert_eq!(Memory::parse("100MiB"), Some(Memory(100 << 20)));
        assert_eq!(Memory::parse("1 GB"), Some(Memory(1_000_000_000)));
        for text in ["100", "+100MiB", "0100MiB", "1_000MiB"] {
            assert_eq!(Memory::parse(text), None, "{text}");
        }
        for (text, taken) in [("80", true), ("+80", false), ("080", false), ("0", false)] {
            assert_eq!(NonZeroUsize::parse(text).is_some(), taken, "{text}");
        }
        assert_eq!(Memory::parse("99999999999999GiB"), None);
        assert_eq!(Memory::parse("16MiB"), Some(Memory(LEAST_ACCEPTED)));
        assert_eq!(Memory::parse("16383KiB"), None);
    }
}
