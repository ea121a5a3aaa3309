//! `INFO`: facts of this node under the names that Redis gives them, and a section of its own.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

use warlock_resp::{ReplyWriter, Request};

use crate::status::{NodeStatus, State};

use super::session::DATABASES;
use super::topology;
use super::turn::Turn;

/// The Redis version whose commands this node speaks; clients choose features by it.
pub(super) const REDIS_VERSION: &str = "7.2.4";

/// A section: its title, and what writes its lines.
type Section = (&'static str, fn(&Turn, &mut Page));

/// In the order of Redis.
const SECTIONS: &[Section] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Modules", |_, _| ()),
    ("Cluster", |_, page| page.line("cluster_enabled", 0)),
    ("Keyspace", keyspace),
    ("Warlock", warlock),
];

/// Answers `INFO`.
pub(super) fn run(turn: &Turn, request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    let mut page = Page(String::with_capacity(4096));
    for (title, write) in SECTIONS {
        if is_wanted(title, request) {
            page.title(title);
            write(turn, &mut page);
        }
    }
    reply.verbatim("txt", page.0.as_bytes());
}

fn is_wanted(title: &str, request: Request<'_>) -> bool {
    request.len() == 1
        || request.args().skip(1).any(|word| {
            [title, "default", "all", "everything"]
                .iter()
                .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        })
}

/// The text of a reply to `INFO`.
struct Page(String);

impl Page {
    fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        write!(self.0, "{gap}# {title}\r\n").expect("writing to a string does not fail");
    }

    fn line(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("writing to a string does not fail");
    }

    /// A size in bytes, also in the form for people.
    fn size(&mut self, name: &str, bytes: u64) {
        self.line(name, bytes);
        self.line(&format!("{name}_human"), human(bytes));
    }
}

fn server(turn: &Turn, page: &mut Page) {
    let identity = &turn.front.identity;
    let process = turn.front.surroundings.process();
    let uptime = turn.now.since(identity.started).millis() / 1000;
    let file = identity.settings_file.as_ref().map(|path| path.display().to_string());
    page.line("redis_version", REDIS_VERSION);
    page.line("warlock_version", &identity.version);
    page.line("redis_mode", "standalone");
    page.line("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    page.line("arch_bits", usize::BITS);
    page.line("monotonic_clock", "POSIX clock_gettime");
    page.line("multiplexing_api", "epoll");
    page.line("process_id", process.id);
    page.line("run_id", &identity.run_id);
    page.line("tcp_port", turn.front.port);
    page.line("server_time_usec", turn.front.surroundings.wall().micros());
    page.line("uptime_in_seconds", uptime);
    page.line("uptime_in_days", uptime / 86_400);
    page.line("hz", 10);
    page.line("configured_hz", 10);
    page.line("executable", process.executable.display());
    page.line("config_file", file.unwrap_or_default());
    page.line("io_threads_active", u8::from(turn.front.workers > 1));
}

fn clients(turn: &Turn, page: &mut Page) {
    page.line("connected_clients", turn.shared.connections.load(Ordering::Relaxed));
    page.line("cluster_connections", 0);
    page.line("maxclients", turn.front.limits.connections);
    page.line("blocked_clients", turn.front.blocked.load(Ordering::Relaxed));
    page.line("tracking_clients", 0);
}

fn memory(turn: &Turn, page: &mut Page) {
    let resident = turn.front.surroundings.process().resident_bytes;
    let dataset = turn.shared.store.used_bytes();
    page.size("used_memory", resident);
    page.size("used_memory_rss", resident);
    page.line("used_memory_dataset", dataset);
    page.size("maxmemory", 0);
    page.line("maxmemory_policy", "noeviction");
    page.line("mem_allocator", "libc");
}

fn persistence(turn: &Turn, page: &mut Page) {
    let loading = u8::from(turn.loading);
    page.line("loading", loading);
    page.line("async_loading", 0);
    if loading == 1 {
        // Clients wait at least this long before they look again.
        page.line("loading_eta_seconds", 1);
    }
    page.line("rdb_bgsave_in_progress", 0);
    page.line("rdb_last_bgsave_status", "ok");
    page.line("aof_enabled", 1);
    page.line("aof_rewrite_in_progress", 0);
    page.line("aof_last_write_status", "ok");
}

fn stats(turn: &Turn, page: &mut Page) {
    let front = &turn.front;
    page.line("total_connections_received", turn.shared.connections_total.load(Ordering::Relaxed));
    page.line("total_commands_processed", turn.shared.commands_total.load(Ordering::Relaxed));
    page.line("total_net_input_bytes", front.input_total.load(Ordering::Relaxed));
    page.line("total_net_output_bytes", front.output_total.load(Ordering::Relaxed));
    page.line("rejected_connections", front.refused.load(Ordering::Relaxed));
    page.line("evicted_keys", 0);
    page.line("pubsub_channels", 0);
    page.line("pubsub_patterns", 0);
}

fn replication(turn: &Turn, page: &mut Page) {
    let status = topology::status(turn);
    let applied = topology::applied(turn);
    if status.master == Some(status.local) {
        let followers: Vec<_> = topology::followers(&status).collect();
        page.line("role", "master");
        page.line("connected_slaves", followers.len());
        for (index, (host, port, node)) in followers.into_iter().enumerate() {
            page.line(
                &format!("slave{index}"),
                format_args!(
                    "ip={host},port={port},state={},offset={},lag=0",
                    link_state(node),
                    node.applied
                ),
            );
        }
    } else {
        let master = topology::master_address(&status);
        let (host, port) = master.unwrap_or(("", 0));
        page.line("role", "slave");
        page.line("master_host", host);
        page.line("master_port", port);
        page.line("master_link_status", if master.is_some() { "up" } else { "down" });
        page.line("master_sync_in_progress", u8::from(turn.loading));
        page.line("slave_repl_offset", applied);
        page.line("slave_priority", 100);
        page.line("slave_read_only", 0);
        page.line("connected_slaves", 0);
    }
    page.line("master_failover_state", "no-failover");
    page.line("master_repl_offset", applied);
}

/// The state of a follower in the words of Redis.
fn link_state(node: &NodeStatus) -> &'static str {
    match node.state {
        State::Up => "online",
        State::Recovering => "send_bulk",
        State::Down => "wait_bgsave",
    }
}

fn cpu(turn: &Turn, page: &mut Page) {
    let process = turn.front.surroundings.process();
    let seconds = |ticks: u64| format!("{}.{:02}0000", ticks / TICKS, ticks % TICKS);
    page.line("used_cpu_sys", seconds(process.system_ticks));
    page.line("used_cpu_user", seconds(process.user_ticks));
}

fn keyspace(turn: &Turn, page: &mut Page) {
    let store = &turn.shared.store;
    for database in 0..DATABASES {
        let keys = store.keys(database);
        if keys > 0 {
            page.line(
                &format!("db{database}"),
                format_args!("keys={keys},expires={},avg_ttl=0", store.keys_with_expiry(database)),
            );
        }
    }
}

fn warlock(turn: &Turn, page: &mut Page) {
    let status = topology::status(turn);
    page.line("cluster", &turn.front.identity.cluster);
    page.line("node", turn.front.identity.node);
    page.line("view", status.view);
    match status.master {
        Some(master) => page.line("master", master),
        None => page.line("master", "none"),
    }
    page.line("ballot", &status.ballot);
    page.line("members", status.nodes.len());
    page.line("applied", topology::applied(turn));
    page.line("log_time_us", turn.shared.store.log_time_us());
}

/// Ticks per second of processor time.
const TICKS: u64 = 100;

/// A size in the form of Redis: two decimals and a unit.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes}B");
    }
    let hundredths = u128::from(bytes) * 100 / u128::from(scale);
    format!("{}.{:02}{}", hundredths / 100, hundredths % 100, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_redis() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (916_912, "895.42K"),
            (25_276_510_208, "23.54G"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
