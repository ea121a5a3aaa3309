//! Mailboxes of role tasks: all on one thread, so that a hop is a queue push and a task wake.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use warlock_paxos::Instant;

use crate::clock;

/// A queue with one reader.
pub(super) struct Mailbox<T> {
    items: RefCell<VecDeque<T>>,
    reader: RefCell<Option<Waker>>,
    closed: Cell<bool>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { items: RefCell::default(), reader: RefCell::default(), closed: Cell::new(false) }
    }
}

impl<T> Mailbox<T> {
    /// Queues `item`, and wakes the reader if it sleeps.
    pub(super) fn push(&self, item: T) {
        self.items.borrow_mut().push_back(item);
        self.wake();
    }

    /// Lets the reader end once it has emptied the queue.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    pub(super) fn pop(&self) -> Option<T> {
        self.items.borrow_mut().pop_front()
    }

    /// Waits until something is in the queue or `deadline` has passed. False once closed and empty.
    pub(super) async fn wait(&self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else { return self.arrival().await };
        let span = deadline.since(clock::now()).nanos();
        if span == 0 {
            return !self.closed.get();
        }
        let sleep = tokio::time::sleep(std::time::Duration::from_nanos(span));
        tokio::select! {
            biased;
            open = self.arrival() => open,
            () = sleep => !self.closed.get(),
        }
    }

    async fn arrival(&self) -> bool {
        poll_fn(|context| {
            if !self.items.borrow().is_empty() {
                return Poll::Ready(true);
            }
            if self.closed.get() {
                return Poll::Ready(false);
            }
            *self.reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}
