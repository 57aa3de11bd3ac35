//! Questions to the engine, at a pace that costs it little however often it is asked.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// Between two statuses: each has the engine count what the kernel aggregated.
const STATUS: Duration = Duration::from_millis(20);
/// Between two other questions.
const QUESTION: Duration = Duration::from_millis(2);

/// The last answer of a kind, and when it was asked for.
#[derive(Debug)]
pub(super) struct Fresh<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Fresh<T> {
    /// An answer to a question that was put after this call, and perhaps also on behalf of others.
    pub(super) async fn get(&self, ask: impl Future<Output = Option<T>>) -> Option<T> {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((asked, answer)) = &*last {
            if *asked >= came {
                return Some(answer.clone());
            }
            tokio::time::sleep((*asked + STATUS).saturating_duration_since(Instant::now())).await;
        }
        let asked = Instant::now();
        let answer = ask.await?;
        *last = Some((asked, answer.clone()));
        Some(answer)
    }
}

/// One question after the other.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Waits for its turn.
    pub(super) async fn turn(&self) {
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep((last + QUESTION).saturating_duration_since(Instant::now())).await;
        }
        *last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = false)]
    async fn many_who_ask_at_once_share_an_answer_that_is_newer_than_their_question() {
        let shared = Fresh::default();
        let asked = AtomicU32::new(0);
        let ask = || async { Some(asked.fetch_add(1, Ordering::Relaxed)) };
        assert_eq!(shared.get(ask()).await, Some(0));
        let (a, b, c) = tokio::join!(shared.get(ask()), shared.get(ask()), shared.get(ask()));
        assert_eq!((a, b, c), (Some(1), Some(1), Some(1)));
        assert_eq!(shared.get(async { None }).await, None);
    }
}
