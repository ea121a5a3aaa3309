//! A time to live is a lower bound, also across failovers: a key does not vanish early, and once
//! it is gone it does not come back (section 4.2 of the design, "log clock").
//!
//! # What is guaranteed
//!
//! A command that gives a key `n` milliseconds is stamped with a log time not before its
//! invocation, and the key vanishes when the log time has advanced by `n`. The log clock runs no
//! faster than true time by [`TtlBound::rate_error_ppm`]: the rate error of the clocks of the hosts
//! and what it may slew. So the key is readable at each true time before
//!
//! ```text
//! invoked + n * 1,000,000 / (1,000,000 + rate_error_ppm)
//! ```
//!
//! unless another write took it away. The log clock steps forward only after the whole cluster was
//! down; after such an outage nothing is guaranteed for keys that were there before its end.
//!
//! How late a key vanishes is not bounded: without a master nothing is read at all.

use super::Violation;
use crate::history::{Command, History, Key, OpId, Operation, Reply, Value};

const PROPERTY: &str = "time to live";

/// How fast the log clock may run, and when it may step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TtlBound {
    /// By how many parts of a million the log clock may be faster than true time.
    pub rate_error_ppm: u64,
    /// When no node ran: from and until, in nanoseconds of true time, in order.
    pub outages_ns: Vec<(u64, u64)>,
}

impl TtlBound {
    /// The earliest true time, in nanoseconds, at which a key may vanish that was given `ttl_ms`
    /// milliseconds by a command invoked at `invoked_ns`.
    #[must_use]
    pub fn readable_until_ns(&self, invoked_ns: u64, ttl_ms: u64) -> u64 {
        let span = u128::from(ttl_ms) * 1_000_000 * 1_000_000
            / (1_000_000 + u128::from(self.rate_error_ppm));
        let end = invoked_ns.saturating_add(u64::try_from(span).unwrap_or(u64::MAX));
        let outage = self.outages_ns.iter().find(|(_, until)| *until >= invoked_ns);
        outage.map_or(end, |(from, _)| end.min((*from).max(invoked_ns)))
    }
}

/// Checks every key that was given a time to live.
///
/// It asks less than [`linearizability`](super::linearizability), which knows the same bound, but
/// it never gives up, and it says what happened in the words of expiry.
#[must_use]
pub fn time_to_live(history: &History, bound: &TtlBound) -> Vec<Violation> {
    let mut timed = vec![false; history.words()];
    for it in history.operations() {
        if let Some(key) = timed_by(&it.command) {
            timed[key.index()] = true;
        }
    }
    let mut keys: Vec<(Key, OpId)> = Vec::new();
    for (id, it) in history.iter() {
        keys.extend(it.command.keys().iter().filter(|it| timed[it.index()]).map(|&key| (key, id)));
    }
    keys.sort_unstable();
    keys.dedup();
    let of_keys = keys.chunk_by(|one, other| one.0 == other.0);
    of_keys.flat_map(|of_key| Timeline::of(history, of_key).check(history, bound)).collect()
}

fn timed_by(command: &Command) -> Option<Key> {
    match command {
        Command::Set { key, ttl_ms: Some(_), .. }
        | Command::SetNx { key, ttl_ms: Some(_), .. }
        | Command::Expire { key, .. } => Some(*key),
        Command::Get { .. }
        | Command::MGet { .. }
        | Command::Set { .. }
        | Command::SetNx { .. }
        | Command::GetSet { .. }
        | Command::Incr { .. }
        | Command::Append { .. }
        | Command::Del { .. }
        | Command::MSet { .. } => None,
    }
}

/// What happened to one key, by invocation.
struct Timeline {
    key: Key,
    /// Acknowledged: gave the key a value and at least so many milliseconds; `None` for ever.
    kept: Vec<(OpId, Option<u64>)>,
    /// Took the key away or shortened its life: when at the earliest, when at the latest.
    ended: Vec<(u64, u64, OpId)>,
    /// By position in `ended`: the latest end of that and all earlier ones.
    ended_by: Vec<u64>,
    /// When the first operation of unknown outcome was asked that may have done the same.
    maybe_ended_from: u64,
    /// Saw that the key was absent: invoked, responded, read.
    absent: Vec<(u64, u64, OpId)>,
    /// Saw a value: value, read.
    present: Vec<(Value, OpId)>,
    /// Wrote a value: value, when at the latest, write.
    written: Vec<(Value, u64, OpId)>,
}

impl Timeline {
    fn of(history: &History, of_key: &[(Key, OpId)]) -> Self {
        let mut line = Self {
            key: of_key[0].0,
            kept: Vec::new(),
            ended: Vec::new(),
            ended_by: Vec::new(),
            maybe_ended_from: u64::MAX,
            absent: Vec::new(),
            present: Vec::new(),
            written: Vec::new(),
        };
        for &(_, id) in of_key {
            let it = history.operation(id);
            if !it.is_refused() {
                line.note(id, it);
            }
        }
        line.settle(history);
        line.absent.sort_unstable();
        line.written.sort_unstable();
        line
    }

    /// Sorts what may have ended the life of the key.
    fn settle(&mut self, history: &History) {
        let unknown = |end: &(u64, u64, OpId)| history.operation(end.2).is_unknown();
        let maybe = self.ended.iter().filter(|end| unknown(end)).map(|end| end.0);
        self.maybe_ended_from = maybe.min().unwrap_or(u64::MAX);
        self.ended.retain(|end| !unknown(end));
        self.ended.sort_unstable();
        self.ended_by = self.ended.iter().map(|end| end.1).collect();
        for index in 1..self.ended_by.len() {
            self.ended_by[index] = self.ended_by[index].max(self.ended_by[index - 1]);
        }
    }

    /// Whether something else than `write` and `read` may have ended between them what `write`
    /// began.
    fn has_excuse(&self, write: (u64, OpId), read: (u64, OpId)) -> bool {
        if self.maybe_ended_from <= read.0 {
            return true;
        }
        let until = self.ended.partition_point(|end| end.0 <= read.0);
        let earlier = self.ended[..until].iter().zip(&self.ended_by).rev();
        let mut may = earlier.take_while(|(_, ended_by)| **ended_by >= write.0);
        may.any(|(end, _)| end.1 >= write.0 && end.2 != write.1 && end.2 != read.1)
    }

    fn note(&mut self, id: OpId, it: &Operation) {
        let effect = (it.invoked_ns, it.effect_by_ns(), id);
        for (key, value) in it.command.written() {
            if key == self.key {
                self.written.push((value, it.effect_by_ns(), id));
            }
        }
        match (&it.command, it.reply()) {
            (Command::Get { .. }, Some(Reply::Value(found))) => self.saw(id, it, *found),
            (Command::MGet { keys }, Some(Reply::Values(values))) => {
                let found = keys.iter().zip(values).find(|(key, _)| **key == self.key);
                if let Some((_, found)) = found {
                    self.saw(id, it, *found);
                }
            }
            (Command::Set { ttl_ms, .. }, reply) => {
                if reply.is_some() {
                    self.kept.push((id, *ttl_ms));
                }
                if ttl_ms.is_some() {
                    self.ended.push(effect);
                }
            }
            (Command::SetNx { ttl_ms, .. }, reply) => match reply {
                Some(Reply::Number(0)) => {}
                Some(_) => {
                    self.kept.push((id, *ttl_ms));
                    self.ended.push(effect);
                    // It wrote because the key was absent.
                    self.absent.push((it.invoked_ns, it.effect_by_ns(), id));
                }
                None => self.ended.push(effect),
            },
            (Command::Expire { ttl_ms, .. }, reply) => {
                if reply == Some(&Reply::Number(1)) {
                    self.kept.push((id, Some(*ttl_ms)));
                }
                self.ended.push(effect);
            }
            (Command::Del { .. }, _) => self.ended.push(effect),
            (Command::GetSet { .. } | Command::MSet { .. }, Some(_)) => self.kept.push((id, None)),
            (
                Command::Get { .. }
                | Command::MGet { .. }
                | Command::GetSet { .. }
                | Command::MSet { .. }
                | Command::Incr { .. }
                | Command::Append { .. },
                _,
            ) => {}
        }
    }

    fn saw(&mut self, id: OpId, it: &Operation, found: Option<Value>) {
        match found {
            Some(value) => self.present.push((value, id)),
            None => self.absent.push((it.invoked_ns, it.effect_by_ns(), id)),
        }
    }

    fn check(&self, history: &History, bound: &TtlBound) -> Vec<Violation> {
        let mut found = self.vanished_early(history, bound);
        found.extend(self.came_back(history));
        found
    }

    /// A write that gave the key its life, and a read that did not find it within that life though
    /// nothing else can have ended it.
    fn vanished_early(&self, history: &History, bound: &TtlBound) -> Vec<Violation> {
        let mut found = Vec::new();
        for &(write, ttl_ms) in &self.kept {
            let it = history.operation(write);
            let (invoked, acknowledged) = (it.invoked_ns, it.effect_by_ns());
            let until = ttl_ms.map_or(u64::MAX, |ttl| bound.readable_until_ns(invoked, ttl));
            let from = self.absent.partition_point(|read| read.0 <= acknowledged);
            let early = self.absent[from..].iter().take_while(|read| read.0 < until);
            let mut early = early.filter(|read| read.1 < until && read.2 != write);
            let early = early.find(|read| !self.has_excuse((invoked, write), (read.1, read.2)));
            if let Some(&(_, _, read)) = early {
                let life = ttl_ms.map_or_else(|| "for ever".to_owned(), |ms| format!("{ms} ms"));
                let sentence = format!(
                    "{} vanished early: {} gives it {life}, but {} does not find it",
                    history.key_text(self.key),
                    history.describe(write),
                    history.describe(read)
                );
                let nodes = [it.node, history.operation(read).node];
                found.push(Violation::safety(PROPERTY, &nodes, sentence).shown_by(&[write, read]));
            }
        }
        found
    }

    /// A value that was read after somebody saw that the key was absent, which was after the only
    /// write of that value had been acknowledged.
    fn came_back(&self, history: &History) -> Vec<Violation> {
        // By position in `absent`: the read of that and all later ones that ended first.
        let mut first_end: Vec<(u64, OpId)> = self.absent.iter().map(|it| (it.1, it.2)).collect();
        for index in (1..first_end.len()).rev() {
            first_end[index - 1] = first_end[index - 1].min(first_end[index]);
        }
        let mut found = Vec::new();
        for &(value, read) in &self.present {
            let at = self.written.partition_point(|it| it.0 < value);
            let mut writes = self.written[at..].iter().take_while(|it| it.0 == value);
            let (Some(&(_, written_by, write)), None) = (writes.next(), writes.next()) else {
                continue;
            };
            let after = self.absent.partition_point(|it| it.0 <= written_by);
            let Some(&(gone_by, gone)) = first_end.get(after) else {
                continue;
            };
            if gone_by < history.operation(read).invoked_ns {
                let sentence = format!(
                    "{} came back: after {}, {} did not find it, and then {} did",
                    history.key_text(self.key),
                    history.describe(write),
                    history.describe(gone),
                    history.describe(read)
                );
                let nodes = [history.operation(gone).node, history.operation(read).node];
                let violation = Violation::safety(PROPERTY, &nodes, sentence);
                found.push(violation.shown_by(&[write, gone, read]));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, failed, unknown};

    const MS: u64 = 1_000_000;

    fn count(script: Script) -> usize {
        count_with(script, &TtlBound { rate_error_ppm: 50_000, outages_ns: Vec::new() })
    }

    fn count_with(script: Script, bound: &TtlBound) -> usize {
        time_to_live(&script.history(), bound).len()
    }

    fn timed() -> Script {
        Script::new().op("SET k a PX 105", 0, 10 * MS, "OK")
    }

    #[test]
    fn the_bound_counts_from_the_invocation_with_the_fastest_clock() {
        let bound = TtlBound { rate_error_ppm: 50_000, outages_ns: vec![(500, 600)] };
        assert_eq!(bound.readable_until_ns(700, 105), 700 + 100 * MS);
        assert_eq!(bound.readable_until_ns(100, 105), 500, "the cluster was down");
        assert_eq!(bound.readable_until_ns(550, 105), 550);
        assert_eq!(bound.readable_until_ns(1000, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_key_may_vanish_from_the_bound_on() {
        assert_eq!(count(timed().op("GET k", 99 * MS, 100 * MS, "-")), 0);
        assert_eq!(count(timed().op("GET k", 300 * MS, 301 * MS, "a")), 0, "late is allowed");
        assert_eq!(count(timed().op("GET k", 5 * MS, 20 * MS, "-")), 0, "the read came first");
    }

    #[test]
    fn a_key_may_be_taken_away_by_others() {
        let read = |script: Script| count(script.op("GET k", 60 * MS, 70 * MS, "-"));
        assert_eq!(read(timed().op("DEL k", 20 * MS, 30 * MS, "1")), 0);
        assert_eq!(read(unknown(timed(), "DEL k", 65 * MS)), 0);
        assert_eq!(read(unknown(Script::new(), "SET k b PX 1", 0).op("SET k a", 0, 1, "OK")), 0);
        assert_eq!(read(timed().op("PEXPIRE k 5", 20 * MS, 30 * MS, "1")), 0);
    }

    #[test]
    fn a_whole_cluster_that_was_down_may_lose_time() {
        let bound = TtlBound { rate_error_ppm: 0, outages_ns: vec![(40 * MS, 50 * MS)] };
        assert_eq!(count_with(timed().op("GET k", 60 * MS, 70 * MS, "-"), &bound), 0);
        assert_eq!(count_with(timed().op("GET k", 20 * MS, 30 * MS, "-"), &bound), 1);
    }

    #[test]
    fn a_key_that_vanished_early_is_found() {
        let found = time_to_live(
            &timed().op("GET k", 80 * MS, 99 * MS, "-").history(),
            &TtlBound { rate_error_ppm: 50_000, outages_ns: Vec::new() },
        );
        assert_eq!(
            found[0].sentence,
            "k vanished early: op0 c0->n1 SET k a PX 105 [0.000000s..0.010000s] OK gives it \
             105 ms, but op1 c1->n1 GET k [0.080000s..0.099000s] nothing does not find it"
        );
    }

    #[test]
    fn a_lock_taken_twice_within_its_time_is_found() {
        let script = Script::new().op("SETNX k a PX 1000", 0, MS, "1");
        assert_eq!(count(script.op("SETNX k b PX 1000", 2 * MS, 3 * MS, "1")), 1);
    }

    #[test]
    fn a_refused_removal_is_no_excuse() {
        let script = failed(timed(), "DEL k", 20 * MS, 30 * MS);
        assert_eq!(count(script.op("MGET j k", 40 * MS, 50 * MS, "- -")), 1);
    }

    #[test]
    fn a_key_made_permanent_must_stay() {
        let script = timed().op("SET k b", 20 * MS, 30 * MS, "OK");
        assert_eq!(count(script.op("GET k", 900 * MS, 901 * MS, "-")), 1);
    }

    #[test]
    fn a_key_that_comes_back_is_found() {
        let script = timed().op("GET k", 200 * MS, 210 * MS, "-");
        assert_eq!(count(script.op("GET k", 220 * MS, 230 * MS, "a")), 1);
        let script = timed().op("GET k", 200 * MS, 210 * MS, "-");
        let script = unknown(script, "SET k a", 205 * MS);
        assert_eq!(count(script.op("GET k", 220 * MS, 230 * MS, "a")), 0, "written again");
    }
}
