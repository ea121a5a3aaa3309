//! What an operator reads when a data directory cannot be used, or was found damaged.

use std::error::Error;
use std::io;

use warlock_paxos::{Incarnation, NodeId};
use warlock_wal::limits::PEERS_MAX;
use warlock_wal::{IdentityError, IoError, Note, SnapshotError, WalError};

fn io_error() -> IoError {
    IoError { doing: "sync", file: "wal-1".into(), source: io::Error::other("no such luck") }
}

#[test]
fn errors_of_the_log_say_what_happened_and_what_to_do() {
    let file = || "wal-1".to_owned();
    for (error, text) in [
        (WalError::from(io_error()), "cannot sync wal-1: no such luck"),
        (WalError::Poisoned, "the log stopped after an earlier disk error: restart"),
        (
            WalError::NewerVersion { file: file(), version: 9, known: 2 },
            "wal-1 has format version 9, this program knows up to 2: upgrade it",
        ),
        (
            WalError::LogMissing,
            "the log files of this data directory are gone: the node must join anew (reset)",
        ),
        (
            WalError::MembershipLost,
            "the membership of this data directory is gone or damaged: the node must join anew \
             (reset)",
        ),
        (
            WalError::from(SnapshotError::Damaged { file: file(), offset: 7 }),
            "wal-1 is damaged at byte 7",
        ),
        (
            WalError::from(SnapshotError::NewerVersion { file: file(), version: 9 }),
            "wal-1 has format version 9, this program knows up to 2: upgrade it",
        ),
        (WalError::from(SnapshotError::Absent { file: file() }), "there is no wal-1"),
        (
            WalError::from(SnapshotError::OutOfOrder { due: 5, came: 8 }),
            "snapshot part at byte 8 came, 5 is due",
        ),
        (WalError::from(SnapshotError::from(io_error())), "cannot sync wal-1: no such luck"),
    ] {
        assert_eq!(error.to_string(), text);
        // The reason of the operating system is there for programs too, and only where there is
        // one.
        let reason = error.source().map(ToString::to_string);
        let expected = text.ends_with("no such luck").then(|| "no such luck".to_owned());
        assert_eq!(reason, expected, "{text}");
    }
}

#[test]
fn errors_of_the_identity_say_what_happened_and_what_to_do() {
    let node = NodeId::new;
    let (known, met) = (Incarnation::new(1), Incarnation::new(2));
    for (error, text) in [
        (IdentityError::from(io_error()), "cannot sync wal-1: no such luck".to_owned()),
        (
            IdentityError::Damaged,
            "the identity of this data directory is damaged or missing: the node must join anew \
             (reset)"
                .to_owned(),
        ),
        (
            IdentityError::NewerVersion(9),
            "identity has format version 9, this program knows up to 1: upgrade it".to_owned(),
        ),
        (
            IdentityError::OtherPeer { node: node(2), known, met },
            format!("n2 has data directory {met}, but {known} is known: it must join anew"),
        ),
        (IdentityError::TooManyPeers, format!("more than {PEERS_MAX} peers")),
    ] {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.source().is_some(), matches!(error, IdentityError::Io(_)), "{text}");
    }
}

#[test]
fn notes_of_a_recovery_say_what_is_lost() {
    let segment = || "wal-1".to_owned();
    for (note, text) in [
        (
            Note::DamagedFrame { segment: segment(), sequence: 7 },
            "wal-1: frame 7 is damaged, abstaining for its slots",
        ),
        (
            Note::RepairedFrame { segment: segment(), sequence: 7 },
            "wal-1: frame 7 is damaged in one place, nothing is lost",
        ),
        (
            Note::LostFrames { segment: segment(), sequence: 7 },
            "wal-1: frames from 7 on are lost, abstaining for all slots that they may hold",
        ),
        (
            Note::DamagedHeader { segment: segment(), lost: false },
            "wal-1: one copy of the header is damaged, nothing is lost",
        ),
        (Note::DamagedHeader { segment: segment(), lost: true }, "wal-1: the header is damaged"),
        (Note::DamagedSnapshot { file: segment() }, "wal-1 is damaged and not used"),
        (
            Note::TornTail { segment: segment(), sequence: 7 },
            "wal-1: dropped the unfinished frame 7 at the end",
        ),
        (
            Note::SuspectTail { segment: segment(), sequence: 7 },
            "wal-1: unreadable end where frame 7 may have been: a promise may be lost",
        ),
    ] {
        assert_eq!(note.to_string(), text);
    }
}
