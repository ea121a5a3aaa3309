//! `ROLE` and `WARLOCK`: the cluster as this node sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use warlock_resp::{ReplyWriter, Request};
use warlock_store::CommandId;

use crate::operations::MembershipFacts;
use crate::status::{NodeStatus, Role, State, Status};

use super::turn::Turn;

/// The cluster as the core last described it.
pub(super) fn status(turn: &Turn) -> Arc<Status> {
    Arc::clone(&turn.shared.status.lock())
}

/// Whether this node is the master.
pub(super) fn is_master(turn: &Turn) -> bool {
    let status = status(turn);
    status.master == Some(status.local)
}

/// Nodes other than the master that answer, with their client address.
pub(super) fn followers(status: &Status) -> impl Iterator<Item = (&str, u16, &NodeStatus)> {
    let followers = status.nodes.iter().filter(|node| {
        Some(node.id) != status.master && node.role != Role::Master && node.state != State::Down
    });
    followers.map(|node| {
        let (host, port) = split_address(&node.addr);
        (host, port, node)
    })
}

/// The master's client address, if one is known.
pub(super) fn master_address(status: &Status) -> Option<(&str, u16)> {
    let master = status.nodes.iter().find(|node| Some(node.id) == status.master)?;
    Some(split_address(&master.addr))
}

/// Slots that this node has applied.
pub(super) fn applied(turn: &Turn) -> u64 {
    turn.shared.store.next_slot().saturating_sub(1)
}

/// Answers `ROLE`.
pub(super) fn role(turn: &Turn, reply: &mut ReplyWriter<'_>) {
    let status = status(turn);
    let applied = integer(applied(turn));
    if status.master == Some(status.local) {
        let followers: Vec<_> = followers(&status).collect();
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(applied);
        reply.array(followers.len());
        for (host, port, node) in followers {
            reply.array(3);
            reply.bulk(host.as_bytes());
            reply.bulk(port.to_string().as_bytes());
            reply.bulk(node.applied.to_string().as_bytes());
        }
        return;
    }
    let master = master_address(&status);
    let (host, port) = master.unwrap_or(("", 0));
    reply.array(5);
    reply.bulk(b"slave");
    reply.bulk(host.as_bytes());
    reply.integer(i64::from(port));
    reply.bulk(if master.is_some() { b"connected" } else { b"connect" });
    reply.integer(applied);
}

/// Answers `WARLOCK`, except for `READY`, which needs a proof and not an opinion, and for what
/// changes the cluster.
pub(super) fn run(turn: &Turn, request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    let word = request.arg(1).unwrap_or_default().to_ascii_uppercase();
    match word.as_slice() {
        b"STATUS" => json(&*status(turn), reply),
        b"MEMBERS" => json(&status(turn).nodes, reply),
        b"MEMBERSHIP" => {
            let membership = Arc::clone(&turn.shared.membership.lock());
            let node = turn.front.identity.node;
            json(&MembershipFacts::new(node, &membership), reply);
        }
        b"DIGEST" => {
            // Both of one moment: only then can they be compared with another node's.
            let checkpoint = turn.shared.store.checkpoint();
            reply.map(2);
            reply.bulk(b"applied");
            reply.integer(integer(checkpoint.next_slot.saturating_sub(1)));
            reply.bulk(b"digest");
            reply.bulk(format!("{:016x}", checkpoint.digest).as_bytes());
        }
        b"SNAPSHOT" => {
            turn.shared.snapshot_wanted.store(true, Ordering::Relaxed);
            reply.simple("OK");
        }
        b"VERSION" => reply.bulk(turn.front.identity.version.as_bytes()),
        b"HELP" => {
            if let Some(spec) =
                warlock_store::COMMANDS.iter().find(|spec| spec.id == CommandId::Warlock)
            {
                warlock_store::help_reply(spec, reply);
            }
        }
        _ => reply.error("ERR unknown subcommand. Try WARLOCK HELP."),
    }
}

/// A count as RESP writes it.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize, reply: &mut ReplyWriter<'_>) {
    match serde_json::to_vec(value) {
        Ok(text) => reply.bulk(&text),
        Err(error) => reply.error(&format!("ERR cannot describe the cluster: {error}")),
    }
}

/// Host and port of `address`; an IPv6 host loses its brackets, as Redis clients expect.
fn split_address(address: &str) -> (&str, u16) {
    let Some((host, port)) = address.rsplit_once(':') else { return (address, 0) };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (host, port.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_kind_are_split() {
        assert_eq!(split_address("10.0.0.1:7001"), ("10.0.0.1", 7001));
        assert_eq!(split_address("[::1]:7001"), ("::1", 7001));
        assert_eq!(split_address("node.example:1"), ("node.example", 1));
        assert_eq!(split_address(""), ("", 0));
    }
}
