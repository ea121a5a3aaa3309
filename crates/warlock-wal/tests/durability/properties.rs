//! Random workloads with random crashes and random damage.

use proptest::collection::vec;
use proptest::prelude::*;
use warlock_wal::{FaultyDisk, Outcome, Tail};

use crate::model::{Op, Run, accept, decided, learn, open, promise};

/// What to do next; ballots and slots are made to fit when the plan is carried out.
#[derive(Clone, Debug)]
enum Plan {
    Promise,
    Accept { back: u64, length: usize },
    Learn { back: u64, length: usize },
    Decide { back: u64 },
    Sync,
    Snapshot { back: u64 },
    CountStart,
}

fn plan() -> impl Strategy<Value = Plan> {
    let length = prop_oneof![0..200_usize, 3000..5000_usize, 0..20_000_usize];
    prop_oneof![
        2 => Just(Plan::Promise),
        8 => (0..4_u64, length.clone()).prop_map(|(back, length)| Plan::Accept { back, length }),
        2 => (0..4_u64, length).prop_map(|(back, length)| Plan::Learn { back, length }),
        4 => (0..4_u64).prop_map(|back| Plan::Decide { back }),
        8 => Just(Plan::Sync),
        1 => (0..6_u64).prop_map(|back| Plan::Snapshot { back }),
        1 => Just(Plan::CountStart),
    ]
}

/// Carries plans out from where `slot` and `round` stand.
fn ops(plans: &[Plan], slot: &mut u64, round: &mut u64, snapshot: &mut u64) -> Vec<Op> {
    let mut ops = vec![Op::Append(promise(*round))];
    // A slot that is decided is never written again with another content.
    let mut first = *slot;
    for plan in plans {
        let earlier = |back: u64| slot.saturating_sub(back).max(first);
        match plan {
            Plan::Promise => {
                *round += 1;
                ops.push(Op::Append(promise(*round)));
            }
            Plan::Accept { back: 0, length } => {
                ops.push(Op::Append(accept(*slot, *round, *length)));
                *slot += 1;
            }
            Plan::Accept { back, length } => {
                *round += 1;
                ops.push(Op::Append(accept(earlier(*back), *round, *length)));
            }
            Plan::Learn { back, length } => {
                ops.push(Op::Append(learn(earlier(*back), *round + 1000, *length)));
            }
            Plan::Decide { back } => {
                first = earlier(*back);
                ops.push(Op::Append(decided(first)));
            }
            Plan::Sync => ops.push(Op::Sync),
            Plan::Snapshot { back } => {
                let at = earlier(*back);
                if at > *snapshot {
                    (*snapshot, first) = (at, at);
                    ops.push(Op::Append(decided(at)));
                    ops.push(Op::Snapshot(at));
                }
            }
            Plan::CountStart => ops.push(Op::CountStart),
        }
    }
    // An accept never falls behind a slot that was decided: the next life starts beyond.
    *slot += 5;
    *round += 1;
    ops
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn many_lives_lose_nothing_acknowledged(
        lives in vec((vec(plan(), 1..40), 0..60_u64, 0..4_usize), 1..6),
        seed in any::<u64>(),
    ) {
        let mut disk = FaultyDisk::new(seed);
        let mut run = Run::new();
        let (mut slot, mut round, mut snapshot) = (1, 1, 1);
        for (life, (plans, step, outcome)) in lives.iter().enumerate() {
            let ops = ops(plans, &mut slot, &mut round, &mut snapshot);
            disk.crash_at(disk.steps() + step + 1);
            run.perform(&disk, &ops);
            disk = disk.restart(Outcome::ALL[*outcome]);
            run.reopen(&disk, &format!("life {life}"));
            disk = disk.restart(Outcome::ALL[*outcome]);
        }
    }

    #[test]
    fn random_damage_of_sealed_frames_is_found(
        plans in vec(plan(), 10..60),
        places in vec((any::<prop::sample::Index>(), 1..3000_u64, any::<bool>()), 1..3),
        seed in any::<u64>(),
    ) {
        let disk = FaultyDisk::new(seed);
        let mut run = Run::new();
        let (mut slot, mut round, mut snapshot) = (1, 1, 1);
        let mut ops = ops(&plans, &mut slot, &mut round, &mut snapshot);
        ops.retain(|op| !matches!(op, Op::Snapshot(_)));
        ops.push(Op::Append(promise(round)));
        ops.push(Op::Sync);
        prop_assert!(run.perform(&disk, &ops).is_some());
        let names: Vec<String> = warlock_wal::Disk::list(&disk).unwrap();
        let segments: Vec<&String> =
            names.iter().filter(|name| name.starts_with("wal-")).collect();
        for (place, length, is_noise) in places {
            // The last frame and its seal are left alone: losing both is losing the evidence.
            let name = segments[place.index(segments.len())];
            let content = disk.content(name).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).unwrap() as u64;
            let end = (used / 4096).saturating_sub(1) * 4096;
            let offset = place.index(end.max(1) as usize) as u64;
            let length = length.min(end.saturating_sub(offset));
            if is_noise {
                disk.garble(name, offset, length);
            } else {
                disk.zero(name, offset, length);
            }
        }
        let (_, recovered) = open(&disk.restart(Outcome::Kept)).unwrap();
        run.check_damaged(&recovered, "damaged");
        let is_torn = matches!(recovered.tail, Tail::Torn { .. });
        prop_assert!(!is_torn, "nothing is unfinished");
        let (_, again) = open(&disk.restart(Outcome::Lost)).unwrap();
        prop_assert_eq!(recovered.unknown, again.unknown);
    }
}
