//! Keeps record of sources whose clients were not let in.
//!
//! The pause after a guess, the lobby and the log need it.
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
/// Pause after the first wrong password of a source; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Failures from which on a source is a nuisance.
const NUISANCE: u32 = 8;

/// Failures of clients, by their source.
#[derive(Debug, Default)]
pub struct SourceRecords(Mutex<HashMap<Source, Record>>);

#[derive(Debug)]
struct Record {
    failures: u32,
    /// Time of the last failure, or of the first line in the log.
    last: Instant,
    /// Time of the last line in the log, and the failures since then that have none.
    line: Option<Instant>,
    withheld: u64,
}

impl SourceRecords {
    /// Notes a failure, and returns how long its answer is to be put off.
    pub fn note_failure(&self, source: Source) -> Duration {
        self.with(source, |record, now| {
            record.last = now;
            let pause = FIRST_PAUSE.saturating_mul(1 << record.failures.min(10));
            record.failures = record.failures.saturating_add(1);
            pause.min(LONGEST_PAUSE)
        })
    }

    /// Whether the clients of `source` have failed often of late.
    pub fn is_nuisance(&self, source: Source) -> bool {
        let records = self.0.lock().ignore_poison();
        records.get(&source).is_some_and(|record| record.failures >= NUISANCE && record.last.elapsed() < REMEMBERED)
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
        let record =
            records.entry(source).or_insert_with(|| Record { failures: 0, last: now, line: None, withheld: 0 });
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
    use std::net::Ipv4Addr;
    use tokio::time::advance;

    fn source(number: u32) -> Source {
        Source::Network(Ipv4Addr::from_bits(number).into())
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn pauses_grow_for_each_source_by_itself_and_are_forgotten_after_a_minute() {
        let records = SourceRecords::default();
        let pauses: Vec<_> = (0..8).map(|_| records.note_failure(source(1)).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_000, 3_000, 3_000]);
        assert_eq!(records.note_failure(source(2)), FIRST_PAUSE);
        assert!(records.is_nuisance(source(1)) && !records.is_nuisance(source(2)));
        advance(REMEMBERED).await;
        assert!(!records.is_nuisance(source(1)));
        assert_eq!(records.note_failure(source(1)), FIRST_PAUSE);
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
            records.note_failure(source(number));
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(records.0.lock().ignore_poison().len(), MOST);
        assert_eq!(records.note_failure(source(2 * MOST as u32 - 1)), 2 * FIRST_PAUSE, "the last one is on record");
    }
}
