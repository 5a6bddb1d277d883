//! Keeps an answer for a while and shares it among all who ask.
//!
//! However many ask at once, the question is asked once.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// The latest answer to one question. An answer is for one state of who is asked, `S`.
#[derive(Debug)]
pub struct KeptAnswer<S, A> {
    lifetime: Duration,
    latest: Mutex<Option<Latest<S, A>>>,
}

#[derive(Debug)]
struct Latest<S, A> {
    state: S,
    asked_at: Instant,
    answered_at: Instant,
    answer: A,
}

/// What a question is answered by, unless there is no answer.
pub trait Answer: Clone {
    /// Whether this is an answer, to be kept.
    fn is_one(&self) -> bool;
}

impl<T: Clone> Answer for Option<T> {
    fn is_one(&self) -> bool {
        self.is_some()
    }
}

impl<T: Clone, E: Clone> Answer for Result<T, E> {
    fn is_one(&self) -> bool {
        self.is_ok()
    }
}

impl<S: PartialEq, A: Answer> KeptAnswer<S, A> {
    /// Keeps each answer for `lifetime`.
    pub fn lasting(lifetime: Duration) -> Self {
        Self { lifetime, latest: Mutex::new(None) }
    }

    /// Returns the answer that is kept for `state`, or what `ask` answers. Who comes while another one asks waits for that
    /// answer. That there is none is not kept, but shared by those who wait.
    pub async fn get(&self, state: S, ask: impl Future<Output = A>) -> A {
        let came_at = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some(known) = latest.as_ref().filter(|known| known.state == state)
            && (known.answered_at >= came_at || (known.answer.is_one() && known.asked_at.elapsed() < self.lifetime))
        {
            return known.answer.clone();
        }
        let asked_at = Instant::now();
        let answer = ask.await;
        *latest = Some(Latest { state, asked_at, answered_at: Instant::now(), answer: answer.clone() });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::cell::Cell;

    const LIFETIME: Duration = Duration::from_secs(1);

    async fn ask(asked: &Cell<u32>, answer: Option<u32>) -> Option<u32> {
        asked.set(asked.get() + 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer
    }

    #[tokio::test(flavor = "current_thread")]
    async fn many_who_ask_at_once_are_one_question_with_and_without_an_answer() {
        for answer in [Some(7), None] {
            let (kept, asked) = (KeptAnswer::lasting(LIFETIME), Cell::new(0));
            let answers = join_all((0..40).map(|_| kept.get((), ask(&asked, answer)))).await;
            assert!(answers.iter().all(|one| *one == answer));
            assert_eq!(asked.get(), 1);
            kept.get((), ask(&asked, answer)).await;
            assert_eq!(asked.get(), if answer.is_some() { 1 } else { 2 }, "only an answer is kept");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn another_state_and_another_second_need_another_answer() {
        let (kept, asked) = (KeptAnswer::lasting(LIFETIME), Cell::new(0));
        for state in [1, 1, 2, 1] {
            kept.get(state, ask(&asked, Some(7))).await;
        }
        assert_eq!(asked.get(), 3);
        if let Some(answer) = &mut *kept.latest.lock().await {
            answer.asked_at -= LIFETIME;
        }
        kept.get(1, ask(&asked, Some(7))).await;
        assert_eq!(asked.get(), 4);
    }
}
