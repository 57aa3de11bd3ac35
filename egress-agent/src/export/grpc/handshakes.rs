//! TLS handshakes under way. They are bounded by themselves, so that strangers who never finish take no place from
//! clients that have shown who they are.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;

use tokio::task::{AbortHandle, JoinSet};

/// Handshakes at a time, of everybody and of one address. A handshake takes as long as three packets; what waits longer
/// than it takes so many others to come is given up.
const AT_A_TIME: usize = 64;
const OF_ONE_ADDRESS: usize = 8;

/// Handshakes under way, the oldest first. Dropping this ends them.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    tasks: JoinSet<()>,
    under_way: VecDeque<(IpAddr, AbortHandle)>,
}

impl Handshakes {
    /// Begins one with a client at this address. Where there are too many, the oldest of that address, else the oldest
    /// of all, is given up for it: whoever means it is through in no time.
    pub(super) fn begin(&mut self, from: IpAddr, handshake: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.under_way.retain(|(_, task)| !task.is_finished());
        let of_one = self.under_way.iter().filter(|(address, _)| *address == from).count();
        let surplus = if of_one >= OF_ONE_ADDRESS {
            self.under_way.iter().position(|(address, _)| *address == from)
        } else {
            (self.under_way.len() >= AT_A_TIME).then_some(0)
        };
        if let Some((address, task)) = surplus.and_then(|place| self.under_way.remove(place)) {
            tracing::debug!("a client at {address} that does not shake hands gave way to another");
            task.abort();
        }
        self.under_way.push_back((from, self.tasks.spawn(handshake)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// Handshakes that never end, and how many of each address are under way.
    #[tokio::test]
    async fn who_has_too_many_loses_the_oldest_and_nobody_else_does() {
        let mut handshakes = Handshakes::default();
        let address = |number: u8| IpAddr::from([192, 0, 2, number]);
        for _ in 0..1000 {
            handshakes.begin(address(1), std::future::pending());
        }
        for number in 2..=57 {
            handshakes.begin(address(number), std::future::pending());
        }
        let count = |handshakes: &Handshakes, number| {
            handshakes.under_way.iter().filter(|(from, _)| *from == address(number)).count()
        };
        assert_eq!((count(&handshakes, 1), handshakes.under_way.len()), (8, 64));
        handshakes.begin(address(58), std::future::pending());
        assert_eq!((count(&handshakes, 1), count(&handshakes, 58), handshakes.under_way.len()), (7, 1, 64));
    }

    #[tokio::test]
    async fn what_is_done_makes_room() {
        let mut handshakes = Handshakes::default();
        let done = Arc::new(Semaphore::new(0));
        for number in 0..200 {
            let ended = Arc::clone(&done);
            handshakes.begin(IpAddr::from([192, 0, 2, 1]), async move { ended.add_permits(1) });
            done.acquire().await.unwrap().forget();
            assert!(handshakes.under_way.len() <= 2, "{number}");
        }
    }
}
