//! A thread that answers questions, so that nobody on the way of an event waits for the kernel.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// A thread and the bounded queue of its questions. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker<Q> {
    queue: Option<SyncSender<Q>>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Send + 'static> Worker<Q> {
    /// Starts a thread of this name that answers until its queue is closed; `waiting` questions may wait.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(
        name: &'static str,
        waiting: usize,
        answer: impl FnOnce(Receiver<Q>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, questions) = sync_channel(waiting);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || answer(questions))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Asks, without waiting. `false` if too many questions are waiting.
    pub(crate) fn ask(&self, question: Q) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(question).is_ok())
    }
}

impl<Q> Drop for Worker<Q> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!("the {name} thread panicked");
            }
        }
    }
}
