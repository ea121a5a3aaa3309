//! What clients make of replies: the class of each, and whether it can be a reply to what was
//! asked.

use warlock_resp::Value;

use super::super::World;
use super::workload::Shape;
use crate::history::{OpId, Outcome, Reply};

/// The property that a wrong reply breaks.
const PROPERTY: &str = "replies";

impl World {
    /// Bytes of its node reach a client.
    pub(in super::super) fn reach_client(&mut self, index: usize, connection: u32, bytes: &[u8]) {
        let client = &mut self.clients[index];
        if client.connection != connection || !client.is_connected {
            return;
        }
        client.input.extend_from_slice(bytes);
        loop {
            let client = &mut self.clients[index];
            match client.parser.parse(&client.input) {
                Ok(None) => break,
                Ok(Some((value, consumed))) => {
                    client.input.drain(..consumed);
                    self.reply(index, value);
                }
                Err(error) => {
                    let sentence = format!("client {index} cannot read what it is sent: {error:?}");
                    return self.violate(PROPERTY, &[], sentence);
                }
            }
        }
        if self.clients[index].is_idle() && !self.is_closing {
            let think = self.weather.think;
            let pause = self.random.around(think);
            self.wake_client(index, pause);
        }
    }

    fn reply(&mut self, index: usize, value: Value) {
        let Some(expected) = self.clients[index].outstanding.pop_front() else {
            let sentence = format!("client {index} gets {value:?} though it asked nothing");
            return self.violate(PROPERTY, &[], sentence);
        };
        let node = self.sites[self.clients[index].node].id;
        let outcome = match self.judge(&expected.shape, value) {
            Ok(outcome) => outcome,
            Err(text) => {
                let sentence = format!("{node} answers client {index} with {text}");
                return self.violate(PROPERTY, &[node], sentence);
            }
        };
        if self.is_auditing {
            self.audited += u64::from(matches!(outcome, Outcome::Ok(_)));
        }
        self.note_lock(index, &expected.shape, &outcome);
        match &outcome {
            Outcome::Ok(_) => self.counters.ok += 1,
            Outcome::NotExecuted(_) => self.counters.not_executed += 1,
            Outcome::Unknown => self.counters.unknown += 1,
        }
        if let Some(op) = expected.op {
            self.trace_answer(index, op, &outcome);
            let is_done = matches!(outcome, Outcome::Ok(_));
            self.respond(op, outcome);
            let written = self.history.operation(op).command.writes().filter(|_| is_done);
            if let Some(key) = written {
                self.spread(index, key);
            }
        }
    }

    fn respond(&mut self, op: OpId, outcome: Outcome) {
        let time = self.time;
        if let Some(served) = matches!(outcome, Outcome::Ok(_)).then(|| self.history.operation(op))
        {
            self.served = Some(served.node);
        }
        self.history.respond(op, time, outcome);
    }

    /// The outcome that a reply means.
    ///
    /// # Errors
    /// The reply, in words, if nothing that was asked can have it.
    fn judge(&mut self, shape: &Shape, value: Value) -> Result<Outcome, String> {
        if let Value::Error(text) = &value {
            return match text.split(' ').next() {
                Some("UNKNOWN") => Ok(Outcome::Unknown),
                Some("ERR") if *shape == Shape::Refused => Ok(Outcome::Ok(Reply::Done)),
                Some("CLUSTERDOWN" | "LOADING") => Ok(Outcome::NotExecuted(text.as_str().into())),
                _ => Err(format!("{text:?} to {shape:?}")),
            };
        }
        let reply = match (shape, value) {
            (Shape::Done, Value::Simple(text)) if text == "OK" => Reply::Done,
            (Shape::Hello, Value::Map(_) | Value::Array(_)) => Reply::Done,
            (Shape::Pong, Value::Simple(text)) if text == "PONG" => Reply::Done,
            (Shape::Value, Value::Null) => Reply::Value(None),
            (Shape::Value, Value::Bulk(bytes)) => Reply::Value(Some(self.history.value(&bytes))),
            (Shape::Values(count), Value::Array(items)) if items.len() == *count => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(if let Value::Bulk(bytes) = item {
                        Some(self.history.value(&bytes))
                    } else if item == Value::Null {
                        None
                    } else {
                        return Err(format!("{item:?} in an array of values"));
                    });
                }
                Reply::Values(values.into())
            }
            (Shape::Number | Shape::Lock(_), Value::Integer(number)) => Reply::Number(number),
            (Shape::SetNx | Shape::Lock(_), Value::Simple(text)) if text == "OK" => {
                Reply::Number(1)
            }
            (Shape::SetNx | Shape::Lock(_), Value::Null) => Reply::Number(0),
            (Shape::Wait, Value::Integer(number)) if self.may_hold(number) => Reply::Number(number),
            (shape, value) => return Err(format!("{value:?} to {shape:?}")),
        };
        Ok(Outcome::Ok(reply))
    }

    /// Whether so many followers can hold something.
    fn may_hold(&self, followers: i64) -> bool {
        let most = i64::try_from(self.sites.len()).expect("few nodes") - 1;
        (0..=most).contains(&followers)
    }

    fn note_lock(&mut self, index: usize, shape: &Shape, outcome: &Outcome) {
        if let (Shape::Lock(lock), Outcome::Ok(Reply::Number(1))) = (shape, outcome) {
            self.clients[index].locks.push(*lock);
        }
    }
}
