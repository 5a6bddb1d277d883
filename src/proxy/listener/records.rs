//! Keeps record of sources whose clients were not let in.
//!
//! The pause after a guess and the log need it.
//! A record is forgotten a minute after its last failure; there are at most so many, whoever comes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::listener::source::Source;
use crate::sync::IgnorePoison;

/// How long a failure counts, and the time between two lines in the log.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most sources on record. The one that failed longest ago makes room.
const MOST: usize = 1024;
/// Pause before the answer to the first wrong password of a source; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Failures of clients, by their source.
#[derive(Debug, Default)]
pub struct SourceRecords(Mutex<HashMap<Source, Record>>);

#[derive(Debug)]
struct Record {
    failures: u32,
    /// When the last of its wrong passwords is answered.
    answered: Instant,
    /// Time of the last failure, or of the first line in the log.
    last: Instant,
    /// Time of the last line in the log, and the failures since then that have none.
    line: Option<Instant>,
    withheld: u64,
}

impl SourceRecords {
    /// Notes a wrong password, and returns in how long it is to be answered: after all that came before it from the same
    /// source, and a pause. `None` where that is later than `limit`.
    pub fn note_guess(&self, source: Source, limit: Duration) -> Option<Duration> {
        self.with(source, |record, now| {
            record.last = now;
            let pause = FIRST_PAUSE.saturating_mul(1 << record.failures.min(10)).min(LONGEST_PAUSE);
            record.failures = record.failures.saturating_add(1);
            let answered = record.answered.max(now) + pause;
            if answered > now + limit {
                return None;
            }
            record.answered = answered;
            Some(answered - now)
        })
    }

    /// Whether a line about `source` is due in the log: then the number of lines that were withheld before it.
    pub fn line_due(&self, source: Source) -> Option<u64> {
        self.with(source, |record, now| {
            if record.line.is_some_and(|line| now.duration_since(line) < REMEMBERED) {
                record.withheld += 1;
                return None;
            }
            record.line = Some(now);
            Some(std::mem::take(&mut record.withheld))
        })
    }

    /// Uses the record of `source`, made where there is none.
    fn with<T>(&self, source: Source, then: impl FnOnce(&mut Record, Instant) -> T) -> T {
        let now = Instant::now();
        let mut records = self.0.lock().ignore_poison();
        if records.len() >= MOST && !records.contains_key(&source) {
            make_room(&mut records, now);
        }
        let new = || Record { failures: 0, answered: now, last: now, line: None, withheld: 0 };
        let record = records.entry(source).or_insert_with(new);
        if now.duration_since(record.last) >= REMEMBERED {
            record.failures = 0;
        }
        then(record, now)
    }
}

fn make_room(records: &mut HashMap<Source, Record>, now: Instant) {
    records.retain(|_, record| now.duration_since(record.last) < REMEMBERED);
    if records.len() >= MOST
        && let Some(oldest) = records.iter().min_by_key(|(_, record)| record.last).map(|(source, _)| *source)
    {
        records.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::time::advance;

    const LIMIT: Duration = Duration::from_secs(30);

    fn source(number: u32) -> Source {
        Source::Network(IpAddr::from(Ipv4Addr::from_bits(number)).into())
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn pauses_grow_for_each_source_by_itself_and_are_forgotten_after_a_minute() {
        let records = SourceRecords::default();
        for pause in [100, 200, 400, 800, 1_600, 3_000, 3_000, 3_000] {
            let wait = records.note_guess(source(1), LIMIT).expect("is answered");
            assert_eq!(wait.as_millis(), pause);
            advance(wait).await;
        }
        assert_eq!(records.note_guess(source(2), LIMIT), Some(FIRST_PAUSE));
        advance(REMEMBERED).await;
        assert_eq!(records.note_guess(source(1), LIMIT), Some(FIRST_PAUSE));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn guesses_of_one_source_wait_for_each_other_and_what_is_too_late_takes_no_turn() {
        let records = SourceRecords::default();
        let loopback = |host| Source::from(IpAddr::from([127, 0, 0, host]));
        let waits = (1..100).map(|host| records.note_guess(loopback(host), LIMIT));
        let waits: Vec<_> = waits.flatten().map(|wait| wait.as_millis()).collect();
        assert_eq!(waits[..6], [100, 300, 700, 1_500, 3_100, 6_100]);
        assert_eq!((waits.len(), waits[waits.len() - 1]), (13, 27_100));
        advance(LIMIT).await;
        assert_eq!(records.note_guess(Source::Local, LIMIT), Some(LONGEST_PAUSE));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn one_line_a_minute_says_how_many_were_withheld() {
        let records = SourceRecords::default();
        let lines: Vec<_> = (0..3).map(|_| records.line_due(source(1))).collect();
        assert_eq!(lines, [Some(0), None, None]);
        assert_eq!(records.line_due(source(2)), Some(0));
        advance(REMEMBERED).await;
        assert_eq!(records.line_due(source(1)), Some(2));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn no_number_of_sources_makes_the_records_grow() {
        let records = SourceRecords::default();
        for number in 0..2 * MOST as u32 {
            records.note_guess(source(number), LIMIT);
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(records.0.lock().ignore_poison().len(), MOST);
        let last = records.note_guess(source(2 * MOST as u32 - 1), LIMIT);
        assert!(last > Some(2 * FIRST_PAUSE), "the last one is on record: {last:?}");
    }
}
