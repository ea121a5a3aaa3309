//! `CONFIG GET`: what clients and tools ask for, under the names of redis.conf, with true values.

use warlock_paxos::Span;
use warlock_resp::{ReplyWriter, Request};
use warlock_store::CommandId;

use super::Front;
use super::session::DATABASES;
use super::turn::Turn;

/// One name, and how to find its value.
type Parameter = (&'static str, fn(&Front) -> String);

/// By name. Redis has some two hundred more; these are the ones that mean something here or that
/// a client is known to read.
const PARAMETERS: &[Parameter] = &[
    ("activedefrag", |_| "no".to_owned()),
    ("appendfsync", |_| "always".to_owned()),
    ("appendonly", |_| "yes".to_owned()),
    ("cluster-enabled", |_| "no".to_owned()),
    ("databases", |_| DATABASES.to_string()),
    ("dir", |front| front.identity.data_dir.display().to_string()),
    ("hz", |_| "10".to_owned()),
    ("io-threads", |front| front.workers.to_string()),
    ("lazyfree-lazy-expire", |_| "no".to_owned()),
    ("maxclients", |front| front.limits.connections.to_string()),
    ("maxmemory", |_| "0".to_owned()),
    ("maxmemory-policy", |_| "noeviction".to_owned()),
    ("maxmemory-samples", |_| "5".to_owned()),
    ("min-replicas-max-lag", |_| "10".to_owned()),
    ("min-replicas-to-write", |_| "0".to_owned()),
    ("notify-keyspace-events", |_| String::new()),
    ("port", |front| front.port.to_string()),
    ("proto-max-bulk-len", |front| front.limits.request.argument_length.to_string()),
    ("replica-read-only", |_| "no".to_owned()),
    ("requirepass", |_| String::new()),
    ("save", |_| String::new()),
    ("slave-read-only", |_| "no".to_owned()),
    ("slowlog-log-slower-than", |_| "-1".to_owned()),
    ("slowlog-max-len", |_| "0".to_owned()),
    ("tcp-keepalive", |_| "300".to_owned()),
    ("timeout", |front| front.limits.idle.map_or(0, seconds).to_string()),
];

/// Answers `CONFIG`.
pub(super) fn run(turn: &Turn, request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    let word = request.arg(1).unwrap_or_default();
    if word.eq_ignore_ascii_case(b"HELP") {
        let spec = warlock_store::COMMANDS.iter().find(|spec| spec.id == CommandId::Config);
        return spec.map_or((), |spec| warlock_store::help_reply(spec, reply));
    }
    let wanted = |name: &str| request.args().skip(2).any(|pattern| matches(pattern, name));
    let found: Vec<_> = PARAMETERS.iter().filter(|(name, _)| wanted(name)).collect();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value(&turn.front).as_bytes());
    }
}

fn seconds(span: Span) -> u64 {
    span.millis() / 1000
}

/// Whether `name` has the form of `pattern`, in any case: `*` is any text, `?` any character.
///
/// Goes back to the last `*` only, which suffices and keeps the time below the product of the
/// lengths (CVE-2022-36021).
fn matches(pattern: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[next]) => {
                at += 1;
                next += 1;
            }
            Some(_) | None => {
                let Some((star_at, covered)) = star else { return false };
                star = Some((star_at, covered + 1));
                at = star_at + 1;
                next = covered + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_in_order_and_once() {
        assert!(PARAMETERS.is_sorted_by(|left, right| left.0 < right.0));
    }

    #[test]
    fn patterns_match_as_in_redis() {
        for pattern in ["save", "SAVE", "s*", "*", "s?ve", "*e", "s**e", "*a*"] {
            assert!(matches(pattern.as_bytes(), "save"), "{pattern}");
        }
        for pattern in ["", "sav", "saves", "?", "s?e", "*x*", "a*"] {
            assert!(!matches(pattern.as_bytes(), "save"), "{pattern}");
        }
        let hostile = "*a".repeat(10_000);
        assert!(!matches(hostile.as_bytes(), &"a".repeat(64)));
    }
}
