//! Traffic whose outcome can be judged: what was acknowledged must stay, what was refused must
//! never appear, and no read may go back in time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use warlock_resp::Value;

use crate::client::{Client, Fate, text};
use crate::wait::eventually;

/// A writer gives a node this long; a node that is cut off says nothing at all.
const WRITER_TIMEOUT: Duration = Duration::from_secs(7);
/// Pause after a refusal, so that writers do not take the processor from an election.
const PAUSE: Duration = Duration::from_millis(5);
/// Keys that one pipeline asks for.
const CHUNK: usize = 500;

/// Writers that write unique values through all nodes and note what became of each.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Vec<Entry>>>,
}

/// One write and its outcome.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    value: String,
    class: Class,
    /// How it came about, for reports.
    reply: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Acknowledged,
    NotExecuted,
    Unknown,
}

/// What became of every write.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// For each counter: increments acknowledged, and increments of unknown outcome.
    counters: BTreeMap<String, (u64, u64)>,
}

impl Traffic {
    /// Starts `writers` clients, each on another of the nodes. A writer that gets no answer goes
    /// on to the next node, and never repeats a write.
    #[must_use]
    pub fn start(writers: usize, nodes: &[SocketAddr]) -> Self {
        static RUN: AtomicU64 = AtomicU64::new(0);
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let start = |writer: usize| {
            let writer = Writer {
                name: format!("{run}.{writer}"),
                nodes: nodes.to_vec(),
                position: writer % nodes.len(),
                client: None,
                acknowledged: Arc::clone(&acknowledged),
            };
            let stop = Arc::clone(&stop);
            thread::spawn(move || writer.run(&stop))
        };
        let writers = (0..writers).map(start).collect();
        Self { stop, acknowledged, writers }
    }

    /// Waits until `count` more writes are acknowledged than now.
    ///
    /// # Panics
    /// If that does not happen.
    #[track_caller]
    pub fn await_acknowledged(&self, count: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + count;
        eventually("writes are acknowledged", || {
            let now = self.acknowledged.load(Ordering::Relaxed);
            if now >= goal { Ok(()) } else { Err(format!("{now} of {goal}")) }
        });
    }

    /// Stops all writers.
    ///
    /// # Panics
    /// If a writer panicked.
    #[must_use]
    pub fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::default();
        for writer in self.writers {
            for entry in writer.join().expect("a writer does not panic") {
                ledger.add(entry);
            }
        }
        ledger
    }
}

struct Writer {
    name: String,
    nodes: Vec<SocketAddr>,
    position: usize,
    client: Option<Client>,
    acknowledged: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            // Values show loss, and increments show what was executed twice.
            let counted = number % 8 == 7;
            let (key, value) = match counted {
                true => (format!("counter:{}", self.name), String::new()),
                false => (format!("w:{}:{number}", self.name), format!("v:{}:{number}", self.name)),
            };
            let Some(client) = self.connected() else {
                thread::park_timeout(PAUSE);
                continue;
            };
            let fate = match counted {
                true => client.fate(&["INCR", &key]),
                false => client.fate(&["SET", &key, &value]),
            };
            entries.push(self.note(key, value, fate));
            number += 1;
        }
        entries
    }

    fn note(&mut self, key: String, value: String, fate: Fate) -> Entry {
        let (class, reply) = match fate {
            Fate::Done(reply) => (Class::Acknowledged, text(&reply)),
            Fate::NotExecuted(reply) => (Class::NotExecuted, reply),
            Fate::Unknown(reply) => (Class::Unknown, reply),
        };
        if class == Class::Acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            // A late reply to this command must never be taken for that to another.
            self.client = None;
            self.position += 1;
            thread::park_timeout(PAUSE);
        }
        Entry { key, value, class, reply }
    }

    fn connected(&mut self) -> Option<&mut Client> {
        if self.client.is_none() {
            let node = self.nodes[self.position % self.nodes.len()];
            self.client = Client::connect(node).ok();
            match &mut self.client {
                Some(client) => client.set_timeout(WRITER_TIMEOUT),
                None => self.position += 1,
            }
        }
        self.client.as_mut()
    }
}

impl Ledger {
    fn add(&mut self, entry: Entry) {
        if entry.value.is_empty() {
            let counter = self.counters.entry(entry.key).or_default();
            match entry.class {
                Class::Acknowledged => counter.0 += 1,
                Class::Unknown => counter.1 += 1,
                Class::NotExecuted => {}
            }
        } else {
            self.entries.push(entry);
        }
    }

    /// Takes over another ledger.
    pub fn merge(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.counters.extend(other.counters);
    }

    /// How many writes were acknowledged, refused, and left unknown.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [Class::Acknowledged, Class::NotExecuted, Class::Unknown]
            .map(|class| self.entries.iter().filter(|entry| entry.class == class).count())
    }

    /// Makes sure that no client noticed more than a delay.
    ///
    /// # Panics
    /// If a write was refused, or its outcome is unknown.
    #[track_caller]
    pub fn expect_all_acknowledged(&self) {
        let [_, refused, unknown] = self.counts();
        assert_eq!((refused, unknown), (0, 0), "refused and unknown writes");
    }

    /// Checks every write against what each node answers now.
    ///
    /// # Panics
    /// If an acknowledged write is missing, a refused one is there, an increment was lost or
    /// executed twice, or two nodes differ.
    #[track_caller]
    pub fn check(&self, nodes: &mut [(u16, Client)]) {
        let mut first: Option<(u16, Vec<Value>)> = None;
        for (node, client) in nodes {
            let found = self.read_all(*node, client);
            self.judge(*node, &found);
            match &first {
                None => first = Some((*node, found)),
                Some((other, expected)) => {
                    let differs = (0..found.len()).find(|&at| found[at] != expected[at]);
                    if let Some(at) = differs {
                        panic!("n{other} and n{node} differ: {:?}", self.entries[at]);
                    }
                }
            }
            self.judge_counters(*node, client);
        }
    }

    fn read_all(&self, node: u16, client: &mut Client) -> Vec<Value> {
        let mut found = Vec::with_capacity(self.entries.len());
        for chunk in self.entries.chunks(CHUNK) {
            let gets: Vec<Vec<String>> =
                chunk.iter().map(|entry| vec!["GET".to_owned(), entry.key.clone()]).collect();
            let replies = client.pipeline(&gets);
            found.extend(replies.unwrap_or_else(|lost| panic!("n{node}: {lost}")));
        }
        found
    }

    #[track_caller]
    fn judge(&self, node: u16, found: &[Value]) {
        for (entry, found) in self.entries.iter().zip(found) {
            let written = *found == Value::Bulk(entry.value.clone().into_bytes());
            let absent = *found == Value::Null;
            let right = match entry.class {
                Class::Acknowledged => written,
                Class::NotExecuted => absent,
                Class::Unknown => written || absent,
            };
            let Entry { key, class, reply, .. } = entry;
            assert!(
                right,
                "n{node} answers {} for {key}, which was {class:?}: {reply:?}; {:?}",
                text(found),
                self.counts()
            );
        }
    }

    #[track_caller]
    fn judge_counters(&self, node: u16, client: &mut Client) {
        for (key, (acknowledged, unknown)) in &self.counters {
            let value = number(&client.ok(&["GET", key]));
            let allowed = *acknowledged..=acknowledged + unknown;
            assert!(
                allowed.contains(&value),
                "n{node} answers {value} for {key}: {acknowledged} increments were acknowledged \
                 and {unknown} are unknown"
            );
        }
    }
}

/// The value of a counter; one that does not exist is zero.
fn number(value: &Value) -> u64 {
    if *value == Value::Null {
        return 0;
    }
    text(value).parse().expect("a counter is a number")
}

/// A counter that some raise while others read it everywhere: a linearizable counter never shows
/// less than what was acknowledged, or shown to anybody, before the read began. An increment of
/// unknown outcome may take effect at any later time without breaking that rule.
#[derive(Debug)]
pub struct Register {
    key: String,
    /// Everything up to this was acknowledged or seen.
    floor: AtomicU64,
    /// So many increments were ever sent.
    ceiling: AtomicU64,
}

impl Register {
    /// A counter that was never raised.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), floor: AtomicU64::new(0), ceiling: AtomicU64::new(0) }
    }

    /// Raises the counter by one, and judges the reply.
    ///
    /// # Panics
    /// If the reply is stale, or shows what nobody wrote.
    pub fn raise(&self, client: &mut Client) -> Fate {
        self.ceiling.fetch_add(1, Ordering::SeqCst);
        // The new number is one more than some number that was there when this began, or later.
        let floor = self.expect() + 1;
        let fate = client.fate(&["INCR", &self.key]);
        self.judge(floor, &fate);
        fate
    }

    /// Reads the counter and judges it.
    ///
    /// # Panics
    /// If the read is stale, or shows what nobody wrote.
    pub fn read(&self, client: &mut Client) -> Fate {
        let expectation = self.expect();
        let fate = client.fate(&["GET", &self.key]);
        self.judge(expectation, &fate);
        fate
    }

    /// What a read that begins now may show at least.
    #[must_use]
    pub fn expect(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    /// Judges a read that began when [`Register::expect`] gave `floor`.
    ///
    /// # Panics
    /// If the read is stale, or shows what nobody wrote.
    #[track_caller]
    pub fn judge(&self, floor: u64, fate: &Fate) {
        let Fate::Done(value) = fate else { return };
        let seen = number(value);
        let ceiling = self.ceiling.load(Ordering::SeqCst);
        assert!(seen >= floor, "stale read of {}: {seen}, but {floor} was there before", self.key);
        assert!(seen <= ceiling, "{} is {seen}, but only {ceiling} were sent", self.key);
        self.floor.fetch_max(seen, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(class: Class) -> Ledger {
        let mut ledger = Ledger::default();
        let reply = String::new();
        ledger.add(Entry { key: "k".to_owned(), value: "v".to_owned(), class, reply });
        ledger
    }

    fn found(text: &str) -> [Value; 1] {
        [Value::Bulk(text.into())]
    }

    #[test]
    fn right_answers_are_accepted() {
        ledger(Class::Acknowledged).judge(1, &found("v"));
        ledger(Class::NotExecuted).judge(1, &[Value::Null]);
        ledger(Class::Unknown).judge(1, &[Value::Null]);
        ledger(Class::Unknown).judge(1, &found("v"));
    }

    #[test]
    #[should_panic(expected = "n1 answers nil for k, which was Acknowledged")]
    fn a_lost_write_is_noticed() {
        ledger(Class::Acknowledged).judge(1, &[Value::Null]);
    }

    #[test]
    #[should_panic(expected = "for k, which was NotExecuted")]
    fn a_refused_write_that_took_effect_is_noticed() {
        ledger(Class::NotExecuted).judge(1, &found("v"));
    }

    #[test]
    #[should_panic(expected = "for k, which was Unknown")]
    fn a_value_that_nobody_wrote_is_noticed() {
        ledger(Class::Unknown).judge(1, &found("w"));
    }

    #[test]
    fn increments_count_by_class() {
        let mut ledger = Ledger::default();
        for class in [Class::Acknowledged, Class::Unknown, Class::NotExecuted, Class::Acknowledged]
        {
            let (key, value, reply) = ("n".to_owned(), String::new(), String::new());
            ledger.add(Entry { key, value, class, reply });
        }
        assert_eq!(ledger.counters["n"], (2, 1));
    }

    #[test]
    #[should_panic(expected = "stale read of r: 1, but 2 was there before")]
    fn a_stale_read_is_noticed() {
        let register = Register::new("r");
        register.ceiling.store(2, Ordering::SeqCst);
        register.judge(0, &Fate::Done(Value::Integer(2)));
        register.judge(register.expect(), &Fate::Done(Value::Integer(1)));
    }

    #[test]
    #[should_panic(expected = "r is 3, but only 2 were sent")]
    fn a_number_that_nobody_wrote_is_noticed() {
        let register = Register::new("r");
        register.ceiling.store(2, Ordering::SeqCst);
        register.judge(0, &Fate::Done(Value::Integer(3)));
    }

    #[test]
    fn reads_without_an_answer_say_nothing() {
        let register = Register::new("r");
        register.judge(5, &Fate::Unknown("lost".to_owned()));
        register.judge(5, &Fate::NotExecuted("CLUSTERDOWN".to_owned()));
        assert_eq!(register.expect(), 0);
    }
}
