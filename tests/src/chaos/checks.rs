//! From what clients noted to what the checkers say of it.

use std::collections::BTreeMap;
use std::slice;

use warlock_paxos::NodeId;
use warlock_resp::Value as Received;
use warlock_sim::check::{
    Budget, TtlBound, Violation, durability, linearizability, reply_class, single_application,
    strict_serializability, time_to_live,
};
use warlock_sim::history::{FinalState, History};

use super::keys::Generation;
use super::record::{Record, twin, value_of};
use crate::Fate;

/// By how many parts of a million the clock of the log may be faster than true time: as it slews,
/// since all nodes have the same true clock.
const RATE_ERROR_PPM: u64 = 500;

/// Most choices that the search for an order may take for one key.
const BUDGET: Budget = Budget { tries_max: 5_000_000 };

/// How many violations of one property are told.
const SHOWN_MAX: usize = 3;

/// Judges everything that was asked of a generation of keys; `reader` is the client that read each
/// of them at the end. Answers how many operations it looked at.
///
/// # Errors
/// A promise is broken, or could not be verified: the text says which and how.
pub(super) fn check(
    generation: &Generation,
    reader: u32,
    outages_ns: Vec<(u64, u64)>,
) -> Result<u64, String> {
    let records = generation.records();
    let names: Vec<String> = generation.names();
    let mut history = History::new();
    for record in &records {
        record.enter(&mut history, &names[record.key])?;
    }
    let finals = finals(&mut history, &records, &names, reader);
    let bound = TtlBound { rate_error_ppm: RATE_ERROR_PPM, outages_ns };
    // Those first that say best what is wrong.
    let mut found = reply_class(&history, &finals);
    found.extend(durability(&history, &finals));
    found.extend(single_application(&history, &finals));
    found.extend(time_to_live(&history, &bound));
    found.extend(strict_serializability(&history).verdict.violations);
    found.extend(linearizability(&history, &bound, BUDGET).violations);
    if found.is_empty() { Ok(records.len() as u64) } else { Err(told(&history, &found)) }
}

/// What each node answered to the last reads.
fn finals(
    history: &mut History,
    records: &[Record],
    names: &[String],
    reader: u32,
) -> Vec<FinalState> {
    let mut states: BTreeMap<u16, FinalState> = BTreeMap::new();
    for record in records.iter().filter(|it| it.client == reader && !it.ask.is_write()) {
        let Fate::Done(received) = &record.fate else { continue };
        let both = if let Received::Array(both) = received { Some(both.as_slice()) } else { None };
        let found = both.unwrap_or_else(|| slice::from_ref(received));
        let name = &names[record.key];
        let node = NodeId::new(record.node);
        let state = states.entry(record.node).or_insert_with(|| FinalState::new(node));
        for (name, received) in [name.clone(), twin(name)].iter().zip(found) {
            // What is no value is no such reply, which is an error already.
            if let Some(value) = value_of(history, received) {
                state.set(history.key(name.as_bytes()), value);
            }
        }
    }
    states.into_values().collect()
}

/// What was found, one sentence a line, each with the operations that show it; a few of each
/// property, as the first says most.
fn told(history: &History, found: &[Violation]) -> String {
    let mut lines = Vec::new();
    for of_property in found.chunk_by(|one, other| one.property == other.property) {
        for violation in of_property.iter().take(SHOWN_MAX) {
            lines.push(violation.to_string());
            let shown = violation.operations.iter().map(|id| history.describe(*id));
            lines.extend(shown.map(|operation| format!("  {operation}")));
        }
        let more = of_property.len().saturating_sub(SHOWN_MAX);
        lines.extend((more > 0).then(|| format!("{}: {more} more", of_property[0].property)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use warlock_resp::Value;

    use super::{Fate, Generation, Record, check};
    use crate::chaos::record::Ask;

    const READER: u32 = 9;

    /// A history of one key, which each line of `asked` reads or writes in one second.
    fn judged(key: usize, asked: &[(u32, Ask, Fate)]) -> Result<u64, String> {
        let generation = Generation::new(1, 0);
        for (second, (client, ask, fate)) in (0..).zip(asked) {
            let (client, ask, fate) = (*client, ask.clone(), fate.clone());
            let invoked_ns = second * 1_000_000_000;
            let responded_ns = invoked_ns + 1_000_000;
            let record = Record { client, node: 1, invoked_ns, responded_ns, key, ask, fate };
            generation.note(vec![record]);
        }
        check(&generation, READER, Vec::new())
    }

    fn set(value: &str, fate: Fate) -> (u32, Ask, Fate) {
        (1, Ask::Set(value.to_owned(), None), fate)
    }

    fn get(client: u32, found: &str) -> (u32, Ask, Fate) {
        (client, Ask::Get, Fate::Done(Value::Bulk(found.as_bytes().to_vec())))
    }

    fn ok() -> Fate {
        Fate::Done(Value::Simple("OK".to_owned()))
    }

    fn refused() -> Fate {
        Fate::NotExecuted("CLUSTERDOWN no master".to_owned())
    }

    fn unknown() -> Fate {
        Fate::Unknown("connection lost".to_owned())
    }

    #[test]
    fn a_good_history_passes() {
        let asked = [
            set("a", ok()),
            get(2, "a"),
            set("b", unknown()),
            get(2, "a"),
            get(3, "b"),
            set("c", refused()),
            get(READER, "b"),
        ];
        assert_eq!(judged(0, &asked), Ok(7));
    }

    #[test]
    fn a_lost_write_a_stale_read_and_a_false_refusal_are_found() {
        let lost = judged(0, &[set("a", ok()), set("b", ok()), get(READER, "a")]);
        assert!(lost.clone().is_err_and(|what| what.contains("durability")), "{lost:?}");
        let stale = judged(0, &[set("a", ok()), set("b", ok()), get(2, "a"), get(READER, "b")]);
        assert!(stale.clone().is_err_and(|what| what.contains("linearizability")), "{stale:?}");
        let lied = judged(0, &[set("a", ok()), set("b", refused()), get(READER, "b")]);
        assert!(lied.clone().is_err_and(|what| what.contains("reply class")), "{lied:?}");
    }

    #[test]
    fn twins_that_differ_are_found() {
        let set = |value: &str| (1, Ask::SetBoth(value.to_owned()), ok());
        let get = |one: &str, other: &str| {
            let both = [one, other].map(|word| Value::Bulk(word.as_bytes().to_vec()));
            (2, Ask::GetBoth, Fate::Done(Value::Array(both.to_vec())))
        };
        assert_eq!(judged(3, &[set("a"), get("a", "a"), set("b"), get("b", "b")]), Ok(4));
        let torn = judged(3, &[set("a"), get("a", "a"), set("b"), get("a", "b")]);
        assert!(torn.clone().is_err_and(|what| what.contains("linearizability")), "{torn:?}");
    }

    #[test]
    fn a_key_that_vanishes_early_is_found() {
        let set = (1, Ask::Set("a".to_owned(), Some(5000)), ok());
        let gone = (2, Ask::Get, Fate::Done(Value::Null));
        let early = judged(8, &[set.clone(), gone.clone()]);
        assert!(early.clone().is_err_and(|what| what.contains("time to live")), "{early:?}");
        let late = (2, Ask::Get, Fate::Done(Value::Bulk(b"a".to_vec())));
        let late = [&set, &late, &late, &late, &late, &late, &gone].map(Clone::clone);
        assert_eq!(judged(8, &late), Ok(7));
    }

    #[test]
    fn a_reply_that_no_such_command_has_is_found() {
        let wrong = judged(0, &[set("a", Fate::Done(Value::Integer(1)))]);
        assert!(wrong.clone().is_err_and(|what| what.contains("no such reply")), "{wrong:?}");
        let wrong = judged(0, &[set("a", Fate::NotExecuted("ERR syntax".to_owned()))]);
        assert!(wrong.clone().is_err_and(|what| what.contains("no such refusal")), "{wrong:?}");
    }
}
