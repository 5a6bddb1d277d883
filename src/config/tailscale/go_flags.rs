//! Reads words as Go's flag package does, which Tailscale's programs use.
//!
//! One dash or two, `--flag=value` or `--flag value`; a switch takes its value behind a `=` alone.

/// A flag with its value, or a word that belongs to none.
#[derive(Debug, PartialEq, Eq)]
pub enum Word<'a> {
    Flag { name: &'a str, value: Option<&'a str> },
    Stray,
}

/// Reads `words`. `is_switch` tells the flags that need no value.
pub fn read<'a>(words: impl Iterator<Item = &'a str>, is_switch: impl Fn(&str) -> bool) -> Vec<Word<'a>> {
    let mut words = words.peekable();
    let mut read = Vec::new();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())
        else {
            read.push(Word::Stray);
            continue;
        };
        read.push(match flag.split_once('=') {
            Some((name, value)) => Word::Flag { name, value: Some(value) },
            None if is_switch(flag) => Word::Flag { name: flag, value: None },
            None => Word::Flag { name: flag, value: words.next_if(|word| !word.starts_with('-')) },
        });
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_gos_forms() {
        let read = |text: &'static str| read(text.split_whitespace(), |name| name == "on");
        let flag = |name, value| Word::Flag { name, value };
        assert_eq!(
            read("-a=1 --b 2 --on c"),
            [flag("a", Some("1")), flag("b", Some("2")), flag("on", None), Word::Stray]
        );
        assert_eq!(
            read("--a= --b --on=false --"),
            [flag("a", Some("")), flag("b", None), flag("on", Some("false")), Word::Stray]
        );
    }
}
