//! One line for each message and notice: the form of logs and transcripts.

use core::fmt;

use crate::message::{Heartbeat, Message, P1b, Reconfiguration, Standing};
use crate::output::{Event, Fate, Notice};
use crate::record::PValue;

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P1a(m) => write!(f, "P1a {} decided {}", m.ballot, m.decided),
            Self::P1b(m) => write!(f, "{m}"),
            Self::P2a(m) => {
                write!(f, "P2a {} {} {} decided {}", m.ballot, m.slot, m.batch, m.decided)
            }
            Self::P2b(m) if m.promised == m.asked => {
                write!(f, "P2b {} {} held {}", m.asked, m.slot, m.held)
            }
            Self::P2b(m) => write!(f, "P2b {} {} refused by {}", m.asked, m.slot, m.promised),
            Self::P2aView(m) => {
                write!(f, "P2a {} {} {}", m.ballot, m.charter.view.slot(), m.charter)
            }
            Self::P2bView(m) if m.promised == m.asked => {
                write!(f, "P2b {} {}", m.asked, m.view.slot())
            }
            Self::P2bView(m) => {
                write!(f, "P2b {} {} refused by {}", m.asked, m.view.slot(), m.promised)
            }
            Self::InForce(m) => write!(f, "InForce {} {}", m.charter.view.slot(), m.charter),
            Self::Decision(m) => write!(f, "Decision {} decided {}", m.ballot, m.decided),
            Self::Propose(m) => {
                write!(f, "Propose {} {}", m.ballot, m.origin)?;
                m.previous.map_or(Ok(()), |previous| write!(f, " after #{previous}"))
            }
            Self::Declined(m) => write!(f, "Declined {} from #{}", m.ballot, m.from_sequence),
            Self::Heartbeat(m) => write!(f, "{m}"),
            Self::Ack(m) => {
                let granted = if m.granted { " granted" } else { "" };
                let stalled = if m.stalled { " stalled" } else { "" };
                write!(f, "Ack {}{granted}{stalled}", m.promised)
            }
            Self::Learn(m) => write!(f, "Learn {}", m.from),
            Self::Learned(m) => {
                write!(f, "Learned {}", m.from)?;
                m.batches.iter().try_for_each(|batch| write!(f, " {batch}"))?;
                write!(f, " decided {}", m.decided)?;
                m.snapshot.map_or(Ok(()), |slot| write!(f, " snapshot {slot}"))
            }
            Self::ReadIndex(m) => write!(f, "ReadIndex #{}", m.id),
            Self::ReadIndexed(m) => match &m.index {
                Some(index) => {
                    write!(f, "ReadIndexed #{} {} applied {}", m.id, index.ballot, m.applied)
                }
                None => write!(f, "ReadIndexed #{} refused", m.id),
            },
            Self::Release(m) => write!(f, "Release {}", m.ballot),
            Self::HandOver(m) => write!(f, "HandOver {}", m.ballot),
            Self::SnapshotFetch(m) => {
                f.write_str("SnapshotFetch")?;
                m.slot.map_or(Ok(()), |slot| write!(f, " {slot}"))?;
                write!(f, " at {}", m.offset)
            }
            Self::SnapshotChunk(m) => {
                let end = m.offset + m.bytes.len() as u64;
                write!(f, "SnapshotChunk {} bytes {}..{end} of {}", m.slot, m.offset, m.total)
            }
        }
    }
}

impl fmt::Display for P1b {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P1b {}", self.asked)?;
        if self.promised != self.asked {
            write!(f, " refused at {}", self.promised)?;
            let behind = self.view < self.asked.view;
            return if behind { write!(f, ", knows {}", self.view) } else { Ok(()) };
        }
        write!(f, " promised, decided {}", self.decided)?;
        if self.known > self.decided {
            write!(f, " of {}", self.known)?;
        }
        self.pvalues.iter().try_for_each(|pvalue| write!(f, " {pvalue}"))?;
        self.unknown.iter().try_for_each(|range| write!(f, " unknown {range}"))?;
        self.reconfiguration.as_ref().map_or(Ok(()), |accepted| {
            let Reconfiguration { ballot, charter } = accepted;
            write!(f, " ({ballot} {} {charter})", charter.view.slot())
        })
    }
}

impl fmt::Display for PValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.ballot, self.slot, self.batch)
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease = if self.lease { " asks for the lease" } else { "" };
        write!(f, "Heartbeat {} {} applied {}{lease}", self.ballot, self.standing, self.applied)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master { ballot, barrier } => write!(f, "master {ballot} from {barrier}"),
            Self::Follower { ballot } => write!(f, "follows {ballot}"),
            Self::Unhappy => f.write_str("unhappy"),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotExecuted => "not executed",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scouting(ballot) => write!(f, "scouts with {ballot}"),
            Self::Leading { ballot, from, barrier } => {
                write!(f, "leads with {ballot}, recovers {from} to below {barrier}")
            }
            Self::LeaseHeld(ballot) => write!(f, "holds the lease of {ballot}"),
            Self::SteppedDown(ballot, reason) => write!(f, "steps down from {ballot}: {reason}"),
            Self::CatchingUp { from, to, node } => {
                write!(f, "lacks {from} to below {to}, asks {node}")
            }
            Self::Changing(membership) => {
                write!(f, "proposes {} {membership}", membership.view().slot())
            }
            Self::Lost(slot) => write!(f, "finds {slot} decided, and no copy of it anywhere"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply { slot, batch, .. } => write!(f, "applies {slot} {batch}"),
            Self::Failed { ticket, fate } => write!(f, "fails submission {ticket}: {fate}"),
            Self::ReadReady { ticket, allowed: true } => write!(f, "allows read {ticket}"),
            Self::ReadReady { ticket, allowed: false } => write!(f, "refuses read {ticket}"),
            Self::Serve(Some(_)) => f.write_str("serves local reads"),
            Self::Serve(None) => f.write_str("serves no local reads"),
            Self::Master(Some(ballot)) => write!(f, "sees master {ballot}"),
            Self::Master(None) => f.write_str("sees no master"),
            Self::Held(held) => {
                f.write_str("held")?;
                held.iter().try_for_each(|(node, slot)| write!(f, " {node} {slot}"))
            }
            Self::LogClock(time, _) => write!(f, "log clock {time}"),
            Self::SnapshotWanted => f.write_str("wants a snapshot to be taken"),
            Self::ReadLog { to, from } => write!(f, "reads its log from {from} for {to}"),
            Self::ReadSnapshot { to, slot, offset } => {
                write!(f, "sends {to} a part of")?;
                match slot {
                    Some(slot) => write!(f, " snapshot {slot} from {offset}"),
                    None => write!(f, " the newest snapshot from {offset}"),
                }
            }
            Self::WriteSnapshot { slot, offset, bytes, total } => {
                let end = offset + bytes.len() as u64;
                write!(f, "writes snapshot {slot} bytes {offset}..{end} of {total}")
            }
            Self::InstallSnapshot { slot } => write!(f, "installs snapshot {slot}"),
            Self::Diverged { slot } => write!(f, "differs from the master at {slot}"),
            Self::HandedOver => f.write_str("has handed over"),
            Self::ChangeAnswered { ticket, verdict } => {
                write!(f, "answers change {ticket}: {verdict}")
            }
            Self::InForce(membership) => write!(f, "enters {membership}"),
            Self::Retired => f.write_str("is retired"),
            Self::Log(event) => write!(f, "{event}"),
        }
    }
}
