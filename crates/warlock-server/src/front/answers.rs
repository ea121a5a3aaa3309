//! The queue of answers from the core to one worker.

use parking_lot::Mutex;
use warlock_node::seam::Answer;

/// Answers on their way to one worker.
pub(crate) struct AnswerQueue {
    answers: Mutex<Vec<Answer>>,
    waker: mio::Waker,
}

impl AnswerQueue {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { answers: Mutex::new(Vec::new()), waker }
    }

    /// Queues `answer`, and wakes the worker if the queue was empty.
    pub(crate) fn push(&self, answer: Answer) {
        let mut answers = self.answers.lock();
        let was_empty = answers.is_empty();
        answers.push(answer);
        drop(answers);
        if was_empty {
            self.wake();
        }
    }

    /// Makes the worker look around: for new connections, or because the front end is stopping.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake an I/O worker");
        }
    }

    /// Moves all queued answers to `out`.
    pub(super) fn drain_into(&self, out: &mut Vec<Answer>) {
        out.append(&mut self.answers.lock());
    }
}
