//! A line about what goes wrong again and again is worth writing once a minute, not each time.

use std::time::{Duration, Instant};

const AGAIN: Duration = Duration::from_secs(60);

/// When the last such line was written.
#[derive(Debug, Default)]
pub struct Complaint(Option<Instant>);

impl Complaint {
    /// Whether a line is due; whoever asks writes it then.
    pub fn is_due(&mut self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= AGAIN);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute() {
        let (mut complaint, begun) = (Complaint::default(), Instant::now());
        let due = |seconds| complaint.is_due_at(begun + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61, 119, 120].map(due), [true, false, false, true, false, false, true]);
    }
}
