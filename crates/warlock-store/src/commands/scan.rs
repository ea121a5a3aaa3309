//! Commands that look for keys.
//!
//! Keys come in ascending order of their hashes, which is the same on every replica.

use parking_lot::RwLockReadGuard;
use warlock_resp::{ReplyWriter, Request, decimal};

use super::{CommandError, parse_integer};
use crate::item::Item;
use crate::map::{Segment, Shard};
use crate::pattern;
use crate::reader::{Presence, ReadOutcome, ReadView};

/// `KEYS`, with every shard locked: what it lists was there at one moment.
pub(super) fn keys(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    let wanted = &request[1];
    let guards = lock_all(view);
    let moment = view.moment();
    let mut found: Vec<&Item> = Vec::new();
    for item in sorted(&guards, view) {
        if !pattern::matches(wanted, item.key()) {
            continue;
        }
        match moment.presence(item.deadline_ms()) {
            Presence::Present => found.push(item),
            Presence::Absent => {}
            Presence::Limbo => return ReadOutcome::Limbo,
        }
    }
    reply.array(found.len());
    for item in found {
        reply.bulk(item.key());
    }
    ReadOutcome::Done
}

/// `SCAN`. A cursor is the upper 63 bits of the smallest hash that was not looked at, so it holds
/// no state anywhere, stays valid on another replica, and every key that is there from the first
/// call to the last is returned. The shards of one page stay locked together.
pub(super) fn scan(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<ReadOutcome, CommandError> {
    let options = ScanOptions::parse(request)?;
    if options.cursor > CURSOR_MAX {
        // Not one of ours. Redis, too, ends such a scan instead of complaining.
        reply_page(0, &[], reply);
        return Ok(ReadOutcome::Done);
    }
    let hasher = view.shared.hasher;
    let from = options.cursor << CURSOR_SHIFT;
    let shards = hasher.shard(from)..view.shared.shards();
    let mut page = Page { view, options, looked_at: 0, last: 0, full: false, keys: Vec::new() };
    let mut guards = Vec::new();
    for index in shards {
        let shard = view.shared.read(index);
        let table = &shard.tables[view.db];
        let segments = if index == hasher.shard(from) {
            table.segments_from(hasher, from)
        } else {
            table.segments()
        };
        page.take(segments, from);
        guards.push(shard);
        if page.full {
            break;
        }
    }
    let next = if page.full { page.last + 1 } else { 0 };
    let next = if next > CURSOR_MAX { 0 } else { next };
    // Only now, under all locks, is it known which of the keys are there.
    let moment = view.moment();
    let mut present = Vec::new();
    for (key, deadline_ms) in page.keys {
        match moment.presence(deadline_ms) {
            Presence::Present => present.push(key),
            Presence::Absent => {}
            Presence::Limbo => return Ok(ReadOutcome::Limbo),
        }
    }
    reply_page(next, &present, reply);
    Ok(ReadOutcome::Done)
}

/// `RANDOMKEY`. Draws places until there is a key, and counts through all keys when there are so
/// few that this rarely succeeds. Through the log the batch seed decides, else the caller's time.
pub(super) fn random_key(view: &ReadView<'_>, reply: &mut ReplyWriter<'_>) -> ReadOutcome {
    let hasher = view.shared.hasher;
    let mut random = Random(view.seed());
    for _ in 0..DRAWS {
        let place = random.next();
        let shard = view.shared.read(hasher.shard(place));
        let Some(segment) = shard.tables[view.db].segment(hasher, place) else {
            continue;
        };
        let items = segment.sorted(hasher, 0);
        let Some((_, item)) = items.get(random.below(items.len())) else {
            continue;
        };
        match view.moment().presence(item.deadline_ms()) {
            Presence::Limbo => return ReadOutcome::Limbo,
            Presence::Absent => {}
            Presence::Present => {
                reply.bulk(item.key());
                return ReadOutcome::Done;
            }
        }
    }
    let guards = lock_all(view);
    let moment = view.moment();
    let mut present = Vec::new();
    for item in sorted(&guards, view) {
        match moment.presence(item.deadline_ms()) {
            Presence::Limbo => return ReadOutcome::Limbo,
            Presence::Absent => {}
            Presence::Present => present.push(item),
        }
    }
    match present.get(random.below(present.len())) {
        Some(item) => reply.bulk(item.key()),
        None => reply.null(),
    }
    ReadOutcome::Done
}

fn lock_all<'a>(view: &ReadView<'a>) -> Vec<RwLockReadGuard<'a, Shard>> {
    (0..view.shared.shards()).map(|shard| view.shared.read(shard)).collect()
}

/// All items of the database in ascending order of their keys' hashes.
fn sorted<'g>(
    guards: &'g [RwLockReadGuard<'_, Shard>],
    view: &ReadView<'_>,
) -> impl Iterator<Item = &'g Item> {
    let (db, hasher) = (view.db, view.shared.hasher);
    let segments = guards.iter().flat_map(move |shard| shard.tables[db].segments());
    segments.flat_map(move |segment| segment.sorted(hasher, 0)).map(|(_, item)| item)
}

/// One reply to `SCAN` in the making.
#[derive(Debug)]
struct Page<'a> {
    view: &'a ReadView<'a>,
    options: ScanOptions<'a>,
    /// Keys looked at, matching or not: this is what `COUNT` counts.
    looked_at: u64,
    /// Cursor of the key that was looked at last.
    last: u64,
    /// Enough was looked at, and more keys may follow.
    full: bool,
    /// Keys that match, with their deadlines.
    keys: Vec<(Vec<u8>, Option<u64>)>,
}

impl Page<'_> {
    /// Takes the keys of `segments` with a hash of at least `from`.
    fn take(&mut self, segments: &[Segment], from: u64) {
        let hasher = self.view.shared.hasher;
        for segment in segments {
            for (hash, item) in segment.sorted(hasher, from) {
                let cursor = hash >> CURSOR_SHIFT;
                // Keys that share a cursor must share a page.
                if self.looked_at >= self.options.count && cursor != self.last {
                    self.full = true;
                    return;
                }
                self.looked_at += 1;
                self.last = cursor;
                if self.options.wants(item) {
                    self.keys.push((item.key().to_vec(), item.deadline_ms()));
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct ScanOptions<'a> {
    cursor: u64,
    count: u64,
    wanted: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    fn parse(request: &Request<'a>) -> Result<Self, CommandError> {
        let mut words = request.args().skip(1);
        let cursor = words.next().and_then(parse_cursor);
        let mut options = Self {
            cursor: cursor.ok_or(CommandError::Cursor)?,
            count: COUNT,
            wanted: None,
            kind: None,
        };
        while let Some(word) = words.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let value = words.next().ok_or(CommandError::Syntax)?;
            match () {
                () if is("COUNT") => {
                    let count = parse_integer(value)?;
                    let count = u64::try_from(count).map_err(|_| CommandError::Syntax)?;
                    if count == 0 {
                        return Err(CommandError::Syntax);
                    }
                    options.count = count;
                }
                () if is("MATCH") => options.wanted = Some(value),
                () if is("TYPE") => options.kind = Some(value),
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }

    fn wants(&self, item: &Item) -> bool {
        let kind = self.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(b"string"));
        kind && self.wanted.is_none_or(|wanted| pattern::matches(wanted, item.key()))
    }
}

/// Reads a cursor as Redis does: any unsigned number of 64 bits.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

fn reply_page(next: u64, keys: &[Vec<u8>], reply: &mut ReplyWriter<'_>) {
    let mut cursor = Vec::new();
    decimal::append_unsigned(next, &mut cursor);
    reply.array(2);
    reply.bulk(&cursor);
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

/// `splitmix64`: a sequence of numbers from a seed, the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, or 0 if there is none.
    fn below(&mut self, limit: usize) -> usize {
        let scaled = (u128::from(self.next()) * limit as u128) >> u64::BITS;
        usize::try_from(scaled).expect("a number below the limit")
    }
}

/// Cursors are below 2^63, because some clients read them as signed.
const CURSOR_SHIFT: u32 = 1;
const CURSOR_MAX: u64 = u64::MAX >> CURSOR_SHIFT;
/// Keys that a page looks at when the client does not say.
const COUNT: u64 = 10;
/// Places that `RANDOMKEY` tries before it counts.
const DRAWS: usize = 64;
