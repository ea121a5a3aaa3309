//! What the acceptor and the replica of a node ask to be made durable.

use core::fmt;

use wincode::{SchemaRead, SchemaWrite};

use crate::batch::Batch;
use crate::ids::{Ballot, Slot};
use crate::membership::Charter;
use crate::message::Reconfiguration;

/// A batch accepted for a slot under a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct PValue {
    /// The ballot that it was accepted under.
    pub ballot: Ballot,
    /// The slot that it was accepted for.
    pub slot: Slot,
    /// The content.
    pub batch: Batch,
}

/// One durable fact. The WAL keeps them in the order of writing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The acceptor will never again promise or accept under a lower ballot (P2).
    Promise {
        /// The ballot promised.
        ballot: Ballot,
    },
    /// The acceptor accepted a pvalue; implies the promise of its ballot.
    Accept(PValue),
    /// The replica learned the decided content of a slot that its acceptor does not hold under the
    /// deciding ballot. Says nothing about promises, nor what was accepted: a slot whose accepted
    /// pvalue cannot be read stays unknown (P6) until it is below a watermark on record.
    Learn {
        /// The decided slot.
        slot: Slot,
        /// Its content.
        batch: Batch,
    },
    /// Every slot below `slot` is decided, and for each the newest record written is the decided
    /// one.
    Decided {
        /// The watermark, exclusive.
        slot: Slot,
    },
    /// The acceptor accepted a membership for the reconfiguration slot after the one in force;
    /// implies the promise of its ballot, and replaces what was accepted before.
    AcceptView(Reconfiguration),
    /// This membership is decided and in force; what was accepted for its slot counts no more.
    InForce(Charter),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promise { ballot } => write!(f, "promise {ballot}"),
            Self::Accept(pvalue) => {
                write!(f, "accept {} {} {}", pvalue.ballot, pvalue.slot, pvalue.batch)
            }
            Self::Learn { slot, batch } => write!(f, "learn {slot} {batch}"),
            Self::Decided { slot } => write!(f, "decided {slot}"),
            Self::AcceptView(Reconfiguration { ballot, charter }) => {
                write!(f, "accept {ballot} {} {charter}", charter.view.slot())
            }
            Self::InForce(charter) => write!(f, "in force {} {charter}", charter.view.slot()),
        }
    }
}
