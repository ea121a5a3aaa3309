//! The order of the versions of one key.

use super::{Cluster, Event, Graph, violation};
use crate::check::Violation;
use crate::history::{History, OpId};

/// When a version was in force: between `first_end` and `last_start` if these come in this order.
#[derive(Clone, Copy)]
struct Zone<'a> {
    cluster: &'a Cluster<'a>,
    /// The earliest response of its operations plus 1 ns, and whose; 0 for the absence at the
    /// beginning.
    first_end: (u64, Option<OpId>),
    /// The latest invocation of its operations plus 1 ns, and whose.
    last_start: (u64, Option<OpId>),
}

/// The versions of a key in their order: each has an operation for its end in the graph.
pub(super) fn chain(
    history: &History,
    clusters: &[Cluster<'_>],
    unknown: usize,
    graph: &mut Graph,
) -> Vec<Violation> {
    let mut found: Vec<Violation> = gaps(history, clusters, unknown).into_iter().collect();
    let mut before = None;
    for cluster in clusters {
        found.extend(twice(history, cluster, "left", cluster.writers));
        found.extend(twice(history, cluster, "replaced", cluster.replacers));
        let end = tie(graph, cluster);
        if let Some(before) = before {
            follow(graph, before, cluster, end);
        }
        before = Some(end);
    }
    found
}

/// Compares the zones of a register, and orders its versions as far as they tell.
pub(super) fn register(
    history: &History,
    clusters: &[Cluster<'_>],
    graph: &mut Graph,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut zones = Vec::new();
    for cluster in clusters {
        found.extend(twice(history, cluster, "replaced", cluster.replacers));
        match written_before_seen(history, cluster) {
            Ok(true) => zones.push(Zone::of(history, cluster)),
            Ok(false) => {}
            Err(violation) => found.push(violation),
        }
    }
    let (mut forward, backward): (Vec<Zone<'_>>, Vec<Zone<'_>>) =
        zones.into_iter().partition(|zone| zone.first_end.0 < zone.last_start.0);
    forward.sort_by_key(|zone| zone.first_end.0);
    for pair in forward.windows(2).filter(|pair| pair[1].first_end.0 < pair[0].last_start.0) {
        found.push(overlap(history, &pair[0], &pair[1]));
    }
    let mut ends = Vec::with_capacity(forward.len());
    for zone in &forward {
        let end = tie(graph, zone.cluster);
        if let Some(&before) = ends.last() {
            follow(graph, before, zone.cluster, end);
        }
        ends.push(end);
    }
    for zone in &backward {
        let end = tie(graph, zone.cluster);
        let after = forward.partition_point(|it| it.first_end.0 < zone.last_start.0);
        let before = after.checked_sub(1);
        if let Some(around) = before.filter(|it| zone.first_end.0 < forward[*it].last_start.0) {
            found.push(overlap(history, &forward[around], zone));
            continue;
        }
        if let Some(before) = before.filter(|it| forward[*it].first_end.0 < zone.last_start.0)
            && forward[before].last_start.0 <= zone.first_end.0
        {
            follow(graph, ends[before], zone.cluster, end);
        }
        let next = forward.partition_point(|it| it.last_start.0 <= zone.first_end.0);
        if let Some(next) = forward.get(next).map(|zone| zone.cluster).filter(|_| next >= after) {
            for writer in next.writers {
                graph.edge(end, writer.id.index());
            }
        }
    }
    found
}

/// Versions of a chain that somebody saw and nobody is known to have written need operations of
/// unknown outcome.
fn gaps(history: &History, clusters: &[Cluster<'_>], unknown: usize) -> Option<Violation> {
    let unwritten = |it: &&Cluster<'_>| it.version > 0 && it.writers.is_empty();
    let last = clusters.iter().filter(unwritten).nth(unknown)?;
    let seen = last.seen().next()?;
    let sentence = format!(
        "nobody wrote what {} saw: {unknown} operations on {} have an unknown outcome",
        history.describe(seen),
        history.key_text(last.key)
    );
    Some(violation(history, sentence, &[seen]))
}

/// Two operations that each did to a version what only one can have done.
fn twice(
    history: &History,
    cluster: &Cluster<'_>,
    did: &str,
    events: &[Event],
) -> Option<Violation> {
    let [one, .., other] = events else {
        return None;
    };
    let sentence = format!(
        "{} and {} {did} the same version of {}",
        history.describe(one.id),
        history.describe(other.id),
        history.key_text(cluster.key)
    );
    Some(violation(history, sentence, &[one.id, other.id]))
}

/// Puts the operations of a version in order: its write, who saw it, its end. Gives the end.
fn tie(graph: &mut Graph, cluster: &Cluster<'_>) -> usize {
    let end = graph.point();
    for writer in cluster.writers {
        graph.edge(writer.id.index(), end);
        for seen in cluster.seen() {
            graph.edge(writer.id.index(), seen.index());
        }
    }
    for reader in cluster.readers {
        graph.edge(reader.id.index(), end);
    }
    for replacer in cluster.replacers {
        graph.edge(end, replacer.id.index());
    }
    end
}

/// Puts a version after another one that ends with `before`.
fn follow(graph: &mut Graph, before: usize, cluster: &Cluster<'_>, end: usize) {
    for writer in cluster.writers {
        graph.edge(before, writer.id.index());
    }
    if cluster.writers.is_empty() {
        for seen in cluster.seen() {
            graph.edge(before, seen.index());
        }
    }
    graph.edge(before, end);
}

/// Whether the version counts: it was written for certain, or somebody saw it.
fn written_before_seen(history: &History, cluster: &Cluster<'_>) -> Result<bool, Violation> {
    let seen = cluster.seen().min_by_key(|id| history.operation(*id).effect_by_ns());
    let Some(writer) = cluster.writers.first() else {
        let (Some(seen), true) = (seen, cluster.version > 0) else {
            return Ok(seen.is_some());
        };
        let sentence = format!("nobody wrote what {} saw", history.describe(seen));
        return Err(violation(history, sentence, &[seen]));
    };
    let Some(seen) = seen else {
        return Ok(history.operation(writer.id).reply().is_some());
    };
    if history.operation(seen).effect_by_ns() < history.operation(writer.id).invoked_ns {
        let sentence = format!(
            "{} ended before {} began",
            history.describe(seen),
            history.describe(writer.id)
        );
        return Err(violation(history, sentence, &[seen, writer.id]));
    }
    Ok(true)
}

fn overlap(history: &History, one: &Zone<'_>, other: &Zone<'_>) -> Violation {
    let mut shown: Vec<OpId> =
        [one.first_end.1, other.first_end.1, other.last_start.1, one.last_start.1]
            .into_iter()
            .flatten()
            .collect();
    shown.dedup();
    let told: Vec<String> = shown.iter().map(|id| history.describe(*id)).collect();
    let sentence = format!(
        "{} would have to hold two values at once: {}",
        history.key_text(one.cluster.key),
        told.join("; ")
    );
    violation(history, sentence, &shown)
}

impl<'a> Zone<'a> {
    fn of(history: &History, cluster: &'a Cluster<'a>) -> Self {
        let first_end = cluster
            .members()
            .map(|id| (after(history.operation(id).effect_by_ns()), Some(id)))
            .min()
            .filter(|_| cluster.version > 0);
        let last_start =
            cluster.members().map(|id| (after(history.operation(id).invoked_ns), Some(id))).max();
        Self {
            cluster,
            first_end: first_end.unwrap_or((0, None)),
            last_start: last_start.unwrap_or((0, None)),
        }
    }
}

/// Leaves room for what was before all time.
fn after(nanoseconds: u64) -> u64 {
    nanoseconds.saturating_add(1)
}
