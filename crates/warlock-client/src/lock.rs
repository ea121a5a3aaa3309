//! Locks that expire.

use std::fmt;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use warlock_resp::Value;

use crate::client::Client;
use crate::clock;
use crate::command::Command;
use crate::error::Error;

/// One part in this many of a TTL is not used by its holder: the clocks of holder and cluster
/// may differ in rate by up to 5 %.
const CLOCK_MARGIN_PARTS: u32 = 20;

/// Nor is this: expiries are kept in whole milliseconds.
const CLOCK_GRAIN: Duration = Duration::from_millis(1);

/// Bytes of chance in a token. Two holders with the same token would believe in the same lock.
const TOKEN_BYTES: usize = 16;

/// A lock that is held until its TTL ends or it is released.
///
/// The lock is a key that holds a random token: set if it does not exist, with the TTL as its
/// expiry. Extending and releasing compare the token, so a holder that comes too late disturbs
/// nobody. The cluster guarantees that the key does not expire early, whatever fails; the
/// holder guarantees that it does not believe in the lock too long, because it counts the TTL
/// from *before* it sent the request, on a clock that goes on during suspend, and leaves 5 % and
/// a millisecond of it unused. See [`remaining`](Self::remaining).
///
/// A holder can still be paused between looking at the clock and doing its work. Work that
/// must never happen twice needs a check at the place where it happens.
///
/// A lock that is dropped is released in the background if a runtime is there to do it; use
/// [`release`](Self::release) to know the outcome.
#[must_use = "a lock that is dropped is released"]
pub struct Lock {
    client: Client,
    key: Vec<u8>,
    token: String,
    ttl: Duration,
    /// When the holder stops to believe in the lock, on the clock of `clock::now`.
    end: Duration,
    /// Whether dropping it still has to release it.
    held: bool,
}

impl Lock {
    /// Tries to take the lock `key` for `ttl`, which is used in whole milliseconds. `None`:
    /// somebody else holds it.
    ///
    /// When the reply is lost, asks again with the same token until the call timeout of the
    /// client: the second request then finds the token of the first.
    ///
    /// # Errors
    /// The outcome can stay unknown. Then the lock is perhaps taken and ends with its TTL;
    /// nobody holds it.
    ///
    /// # Panics
    /// When the TTL is below a millisecond or the system has no source of chance.
    pub async fn acquire(
        client: &Client,
        key: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<Option<Self>, Error> {
        let ttl = ttl - Duration::from_nanos(u64::from(ttl.subsec_nanos() % 1_000_000));
        assert!(!ttl.is_zero(), "a lock needs a TTL of at least a millisecond");
        let key = key.as_ref();
        let token = random_token();
        // NX with GET: null when the lock is now taken, else the token of its holder.
        let command = Command::new("SET").arg(key).arg(&token).args(["NX", "GET", "PX"]);
        let command = command.arg(ttl.as_millis().to_string());
        let end = end_of(ttl);
        let deadline = Instant::now() + client.options().call_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.call_within(&command, left).await {
                Ok(Value::Null) => break,
                Ok(Value::Bulk(holder)) if holder == token.as_bytes() => break,
                Ok(Value::Bulk(_somebody_else)) => return Ok(None),
                Ok(_) => return Err(Error::Protocol("no reply to SET with GET".to_owned())),
                Err(error) => {
                    let wake = Instant::now() + client.options().backoff_min;
                    if !matches!(error, Error::Unknown(_)) || wake >= deadline {
                        return Err(error);
                    }
                    sleep_until(wake).await;
                }
            }
        }
        let (client, key) = (client.clone(), key.to_vec());
        Ok(Some(Self { client, key, token, ttl, end, held: true }))
    }

    /// How much longer the holder may rely on the lock; zero when it must not any more.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.end.saturating_sub(clock::now())
    }

    /// Starts the TTL anew. `false`: the lock was lost, the work must stop.
    ///
    /// # Errors
    /// [`remaining`](Self::remaining) then still tells what the holder may rely on.
    pub async fn extend(&mut self) -> Result<bool, Error> {
        let end = end_of(self.ttl);
        let extended = self.client.call(&self.set_if_held(&self.token, self.ttl)).await?;
        if extended == Value::Null {
            self.end = Duration::ZERO;
            self.held = false;
            return Ok(false);
        }
        self.end = end;
        Ok(true)
    }

    /// Gives the lock back. `false`: it was already lost.
    ///
    /// Others can take it a millisecond later: the key is set to nothing with the shortest
    /// TTL, if it still holds the token.
    ///
    /// # Errors
    /// When the outcome is unknown, the lock ends with its TTL at the latest.
    pub async fn release(mut self) -> Result<bool, Error> {
        self.held = false;
        Ok(self.client.call(&self.release_command()).await? != Value::Null)
    }

    /// Leaves the lock to its TTL.
    pub fn forget(mut self) {
        self.held = false;
    }

    fn release_command(&self) -> Command {
        self.set_if_held("", Duration::from_millis(1))
    }

    fn set_if_held(&self, value: &str, ttl: Duration) -> Command {
        let command = Command::new("SET").arg(&self.key).arg(value);
        command.arg("IFEQ").arg(&self.token).arg("PX").arg(ttl.as_millis().to_string())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let expired = self.remaining().is_zero();
        if !self.held || expired {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (client, command) = (self.client.clone(), self.release_command());
            // Best effort: if this fails, the lock ends with its TTL.
            runtime.spawn(async move { client.call(&command).await });
        }
    }
}

/// The token is what proves the holder: it is not shown.
impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.escape_ascii();
        write!(f, "Lock {{ key: \"{key}\", remaining: {:?} }}", self.remaining())
    }
}

/// Until when a holder may believe in a lock whose request is sent after this call.
fn end_of(ttl: Duration) -> Duration {
    clock::now() + (ttl - ttl / CLOCK_MARGIN_PARTS).saturating_sub(CLOCK_GRAIN)
}

fn random_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).expect("the system has a source of chance");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
