//! Every deliberate mistake, in one place.

use crate::random::Random;

/// A mistake that is built in at one or more places of the code under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What its sites `mutant!(Name)` are called.
    pub name: &'static str,
    /// Where it comes from: a kind of bug that consensus systems are known for, or the number of
    /// the rule in PROTOCOL.md that only this protocol has.
    pub origin: &'static str,
    /// What is wrong with it.
    pub breaks: &'static str,
    /// Who has to find it.
    pub hunter: Hunter,
}

/// Who has to find a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hunter {
    /// The simulator, by running seeds.
    Simulator,
    /// Tests of a package that fail under the mutant and pass without: what they decide is too
    /// far inside for the simulator to see.
    Tests {
        /// The package.
        package: &'static str,
        /// The arguments that choose the tests: target, then filter.
        arguments: &'static [&'static str],
    },
}

const fn simulated(origin: &'static str, name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, origin, breaks, hunter: Hunter::Simulator }
}

const fn tested(
    origin: &'static str,
    name: &'static str,
    breaks: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
) -> Mutant {
    Mutant { name, origin, breaks, hunter: Hunter::Tests { package, arguments } }
}

const fn elected(name: &'static str, breaks: &'static str) -> Mutant {
    tested("election", name, breaks, "warlock-sim", &["--test", "it", "links::directed"])
}

/// All mutants, by the part that they sit in. A site and its line here belong together: the tidy
/// test looks for either without the other.
///
/// Some mistakes that such systems are known for are not here.
/// Rounds that start at zero do harm only if an answer to a dead process crosses the very round of
/// the same number of its successor; no batch of seeds of a sensible size does that.
pub const MUTANTS: &[Mutant] = &[
    simulated("acceptor", "PromiseBeforeSync", "a promise leaves before its record is durable"),
    simulated("acceptor", "AcceptBeforeSync", "an accept leaves before its record is durable"),
    simulated("acceptor", "LogNotSynced", "the log is written and never synced"),
    simulated("acceptor", "PromiseForgottenOnRestart", "a restart forgets promises"),
    simulated("acceptor", "BallotLostByTruncation", "dropping old segments forgets the ballot"),
    simulated("acceptor", "BallotWithoutNode", "ballots are compared without the node"),
    simulated("acceptor", "DamagedIsEmpty", "a slot that cannot be read counts as empty"),
    simulated("acceptor", "TruncatedAtDamage", "the log ends at the first bad checksum"),
    simulated("acceptor", "DirectoryNotSynced", "a new segment's name is not made durable"),
    simulated("acceptor", "SyncTriedAgain", "a sync that failed is tried again"),
    simulated("leader", "QuorumIsHalf", "half of the voters are a quorum"),
    simulated("leader", "LowestBallotWins", "phase 1 takes the pvalue of the lowest ballot"),
    simulated("leader", "GapsAssumed", "a gap is a no-op without asking anybody"),
    simulated("leader", "OwnValueOverAccepted", "an own batch replaces what was accepted"),
    simulated("leader", "DuplicateAnswersCount", "a second answer of a node counts again"),
    simulated("leader", "OldBallotAnswersCount", "answers count whatever ballot they are to"),
    simulated("leader", "DecidedBeyondGap", "the watermark passes slots that are not chosen"),
    simulated("leader", "NoReproposal", "nothing is proposed again to a new master"),
    simulated("replica", "NoDedup", "a proposal that came twice is executed twice"),
    simulated("replica", "DedupNotInSnapshot", "snapshots lack the table of origins"),
    simulated("replica", "DedupExpiresLocally", "a node forgets origins when it likes"),
    simulated("replica", "AppliedSlotApart", "a restored state keeps the old applied slot"),
    simulated("replica", "SnapshotSlotBehind", "a snapshot's last slot is applied again"),
    simulated("replica", "SnapshotSlotAhead", "a snapshot claims a slot that it lacks"),
    simulated("replica", "HashOrderOfNode", "each node keeps keys in an order of its own"),
    simulated("replica", "OlderSnapshotInstalled", "an older snapshot replaces a newer state"),
    simulated("replica", "SnapshotWithoutRename", "a snapshot is there before it is complete"),
    simulated("lease", "LeaseFromReply", "the lease runs from the answer, not the question"),
    simulated("lease", "LeaseWithoutMargin", "neither side allows for wrong clocks"),
    simulated("lease", "NoSilenceAfterRestart", "a restart ends a grant"),
    simulated("lease", "ServeBeforeRecovered", "reads before the recovered slots are applied"),
    simulated("lease", "ExpiryByTimer", "only a timer ends the lease"),
    simulated("lease", "WallClock", "the lease runs by the wall clock"),
    simulated("lease", "StopsInSuspend", "the lease runs by a clock that stops in suspend"),
    simulated("lease", "GrantsOfRoundsSummed", "grants of different rounds are summed"),
    simulated("lease", "PromiseDuringGrant", "an acceptor promises while its grant runs"),
    simulated("lease", "HandOverWhileServing", "a leaving master goes on serving reads"),
    simulated("lease", "LeadsWithStuckDisk", "a master with a stuck disk keeps the lease"),
    simulated("read", "ReadIdReused", "a question for a read index has an old number"),
    simulated("read", "LaterReadsAbsorbed", "an answer vouches for reads that came after it"),
    simulated("front end", "NotExecutedForUnknown", "an open fate is told as not executed"),
    simulated("front end", "WriteRetried", "a write is forwarded again without proof"),
    simulated("front end", "StateKeptAfterEmpty", "the parser remembers an empty request"),
    simulated("front end", "LineEndInError", "line ends stay in the text of an error"),
    simulated("front end", "RepliesOutOfOrder", "reads overtake writes of their connection"),
    tested(
        "front end",
        "OutputUnbounded",
        "a client that does not read is given more and more",
        "warlock-node",
        &["--lib", "front::"],
    ),
    elected("YieldToAnyHigher", "any higher ballot heard of deposes a master"),
    elected("OnlyWhenSilent", "a master without a quorum is left in peace"),
    simulated("election", "OneWayIsAlive", "a heartbeat heard counts as an answer to one"),
    elected("NoBackOff", "a preempted candidate tries again at once"),
    simulated("membership", "TwoChangesInFlight", "a change is proposed beside another one"),
    simulated("membership", "NoOldMajority", "a transition asks no majority of the old voters"),
    simulated("membership", "ChangeBeforeHeld", "the next view before the old one is secured"),
    simulated("membership", "PromotedBehind", "an observer that lacks slots gets a vote"),
    simulated("membership", "ObserverCounts", "answers of nodes without a vote count"),
    simulated("membership", "LowerViewAccepted", "a node acts for a view that is over"),
    simulated("membership", "NodeIdReused", "a newcomer may have the id of a node that went"),
    simulated("membership", "ViewEndsGrants", "an acceptor forgets its grant with the view"),
    simulated("membership", "HigherViewEndsGrant", "a ballot of a higher view ends a grant"),
    simulated("membership", "RetiredKeepsLease", "a master that goes keeps its lease"),
    simulated(
        "membership",
        "MembershipForgotten",
        "a restart begins with the settings' membership",
    ),
    tested(
        "membership",
        "SnapshotMembershipIgnored",
        "a state restored from a snapshot lacks its membership",
        "warlock-wal",
        &["--test", "durability", "views::"],
    ),
    tested(
        "P7",
        "FounderNeverMet",
        "a newcomer gets a vote beside a founder whose directory is not on record",
        "warlock-paxos",
        &["--test", "it", "transcripts::"],
    ),
    tested(
        "P6",
        "LateAcceptIsDecided",
        "what is accepted below the watermark counts as decided",
        "warlock-wal",
        &["--test", "durability", "log::"],
    ),
    tested(
        "P6",
        "ResetForgetsAll",
        "a node that is reset forgets what the others lack",
        "warlock-node",
        &["--test", "it", "reset::"],
    ),
    simulated("P2", "OwnPromiseNotNeeded", "a leader's own disk need not know its ballot"),
    simulated("P4", "AcceptedOfAnyBallotIsDecided", "a watermark decides any accepted pvalue"),
    simulated("P6", "UnreadableCounts", "phase 1 ends without a quorum that can read a slot"),
    tested(
        "L1",
        "RoundsStartAtZero",
        "rounds of two processes have the same numbers",
        "warlock-paxos",
        &["--lib", "leader::"],
    ),
    simulated("W1", "BarrierWithoutWindow", "a master starts right behind what it recovered"),
    simulated("W1", "WindowByOthersProgress", "what others decided opens the window"),
    simulated("Fate", "DeclinedAfterTaken", "a leaving master declines what it proposed"),
];

/// Leaves `count` of those `mutants` that the simulator finds, chosen by `seed`. The others need
/// tests to be built, which takes longer than to run all seeds.
pub fn draw(mutants: &mut Vec<Mutant>, count: usize, seed: u64) {
    mutants.retain(|mutant| mutant.hunter == Hunter::Simulator);
    let mut random = Random::new(seed);
    while mutants.len() > count {
        let index = random.index(mutants.len());
        mutants.remove(index);
    }
}
