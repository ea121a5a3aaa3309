//! What the world may do to a cluster.

use std::fmt;

use super::random::Random;

/// Which node a fault is meant for. Who is master is known only when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The master of that moment.
    Master,
    /// The node with this number.
    Node(u16),
}

/// How the links between nodes are broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// These nodes and the others do not reach each other.
    Halves(Vec<u16>),
    /// What all others send to the target is lost.
    Deaf(Target),
    /// What the target sends to all others is lost.
    Mute(Target),
    /// The target and the others do not reach each other.
    Island(Target),
    /// Every node reaches only its two neighbours in this order, which is closed.
    Ring(Vec<u16>),
    /// Every node reaches only its neighbours in this order, which has two ends.
    Chain(Vec<u16>),
    /// No node reaches another.
    Apart,
    /// So many of a hundred packets are lost on every link.
    Loss(u16),
}

/// One thing that goes wrong. It lasts until it is healed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process is killed (SIGKILL), and started again when healed.
    Kill(Target),
    /// All processes are killed.
    KillAll,
    /// A process stands still (SIGSTOP).
    Pause(Target),
    /// So many processes stand still that the others are no majority.
    PauseMajority,
    /// A process is asked to end (SIGTERM), and started again when healed.
    Stop(Target),
    /// All processes are stopped and started, one after the other.
    Rolling,
    /// Links are broken.
    Links(Shape),
    /// A disk answers nothing.
    DiskStall(Target),
    /// A disk answers in bursts, with up to this many milliseconds between.
    DiskSlow(Target, u64),
    /// A disk is full.
    DiskFull(Target),
    /// A machine loses power, and its disk what was not synced.
    PowerCut(Target),
    /// All machines lose power at once.
    PowerCutAll,
    /// The wall clock of a node is so many seconds off.
    WallJump(Target, i64),
    /// A machine restarts, and its clock since boot starts so many seconds after this machine's.
    BootJump(Target, u64),
    /// A node is removed from the cluster; when healed, another one with an empty disk and a new
    /// number takes its place.
    Replace(Target),
    /// All nodes but one are removed, one after the other; when healed, as many others join.
    Shrink(Target),
    /// A node forgets its state, and gets it again from the others.
    Reset(Target),
    /// The mastership is moved.
    Transfer,
}

/// What a fault is about: of each class at most one is in force, except that two nodes may have
/// trouble of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// One process, or its disk.
    Node,
    /// All processes.
    Cluster,
    /// Links.
    Links,
    /// Wall clocks.
    Clock,
    /// Who belongs to the cluster, and who leads it: operators do that to a cluster that is well.
    Membership,
}

/// The kinds of fault, as a deck of cards from which a plan is dealt. What each does is told by the
/// fault of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the faults of the same names have them")]
pub enum Kind {
    Kill,
    KillAll,
    Pause,
    PauseMajority,
    Stop,
    Rolling,
    Halves,
    Deaf,
    Mute,
    Island,
    Ring,
    Chain,
    Apart,
    Loss,
    DiskStall,
    DiskSlow,
    DiskFull,
    PowerCut,
    PowerCutAll,
    WallJump,
    BootJump,
    Replace,
    Shrink,
    Reset,
    Transfer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::Kill,
        Self::KillAll,
        Self::Pause,
        Self::PauseMajority,
        Self::Stop,
        Self::Rolling,
        Self::Halves,
        Self::Deaf,
        Self::Mute,
        Self::Island,
        Self::Ring,
        Self::Chain,
        Self::Apart,
        Self::Loss,
        Self::DiskStall,
        Self::DiskSlow,
        Self::DiskFull,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::WallJump,
        Self::BootJump,
        Self::Replace,
        Self::Shrink,
        Self::Reset,
        Self::Transfer,
    ];

    /// Its name on the command line and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::PauseMajority => "pause-majority",
            Self::Stop => "stop",
            Self::Rolling => "rolling-restart",
            Self::Halves => "halves",
            Self::Deaf => "deaf",
            Self::Mute => "mute",
            Self::Island => "island",
            Self::Ring => "ring",
            Self::Chain => "chain",
            Self::Apart => "apart",
            Self::Loss => "loss",
            Self::DiskStall => "disk-stall",
            Self::DiskSlow => "disk-slow",
            Self::DiskFull => "disk-full",
            Self::PowerCut => "power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::WallJump => "wall-jump",
            Self::BootJump => "boot-jump",
            Self::Replace => "replace",
            Self::Shrink => "shrink",
            Self::Reset => "reset",
            Self::Transfer => "transfer",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What faults of this kind are about.
    pub(super) const fn class(self) -> Class {
        match self {
            Self::KillAll | Self::PauseMajority | Self::Rolling | Self::PowerCutAll => {
                Class::Cluster
            }
            Self::Halves
            | Self::Deaf
            | Self::Mute
            | Self::Island
            | Self::Ring
            | Self::Chain
            | Self::Apart
            | Self::Loss => Class::Links,
            Self::WallJump => Class::Clock,
            Self::Replace | Self::Shrink | Self::Reset | Self::Transfer => Class::Membership,
            Self::Kill
            | Self::Pause
            | Self::Stop
            | Self::DiskStall
            | Self::DiskSlow
            | Self::DiskFull
            | Self::PowerCut
            | Self::BootJump => Class::Node,
        }
    }

    /// Draws a fault of this kind for a cluster of `nodes`.
    pub(super) fn draw(self, random: &mut Random, nodes: u16) -> Fault {
        let target = draw_target(random, nodes);
        let mut order: Vec<u16> = (1..=nodes).collect();
        random.shuffle(&mut order);
        match self {
            Self::Kill => Fault::Kill(target),
            Self::KillAll => Fault::KillAll,
            Self::Pause => Fault::Pause(target),
            Self::PauseMajority => Fault::PauseMajority,
            Self::Stop => Fault::Stop(target),
            Self::Rolling => Fault::Rolling,
            Self::Halves => {
                order.truncate(usize::from(nodes) / 2);
                Fault::Links(Shape::Halves(order))
            }
            Self::Deaf => Fault::Links(Shape::Deaf(target)),
            Self::Mute => Fault::Links(Shape::Mute(target)),
            Self::Island => Fault::Links(Shape::Island(target)),
            Self::Ring => Fault::Links(Shape::Ring(order)),
            Self::Chain => Fault::Links(Shape::Chain(order)),
            Self::Apart => Fault::Links(Shape::Apart),
            Self::Loss => {
                let percent = random.within(2, 40);
                Fault::Links(Shape::Loss(u16::try_from(percent).expect("at most 100")))
            }
            Self::DiskStall => Fault::DiskStall(target),
            Self::DiskSlow => Fault::DiskSlow(target, random.within(10, 200)),
            Self::DiskFull => Fault::DiskFull(target),
            Self::PowerCut => Fault::PowerCut(target),
            Self::PowerCutAll => Fault::PowerCutAll,
            Self::WallJump => Fault::WallJump(target, draw_jump(random)),
            Self::BootJump => Fault::BootJump(target, random.within(0, 10_000_000)),
            Self::Replace => Fault::Replace(target),
            Self::Shrink => Fault::Shrink(target),
            Self::Reset => Fault::Reset(target),
            Self::Transfer => Fault::Transfer,
        }
    }
}

/// The master as often as anybody else: what happens to it matters most.
fn draw_target(random: &mut Random, nodes: u16) -> Target {
    if random.percent(50) {
        return Target::Master;
    }
    Target::Node(u16::try_from(random.within(1, u64::from(nodes))).expect("at most 7 nodes"))
}

/// Seconds, minutes or years, forwards or back.
fn draw_jump(random: &mut Random) -> i64 {
    const MOST: [u64; 4] = [2, 600, 86_400, 300_000_000];
    let most = MOST[random.index(MOST.len())];
    let seconds = i64::try_from(random.within(1, most)).expect("some years are not many seconds");
    if random.percent(50) { seconds } else { -seconds }
}

impl Fault {
    /// Its kind.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Kill(_) => Kind::Kill,
            Self::KillAll => Kind::KillAll,
            Self::Pause(_) => Kind::Pause,
            Self::PauseMajority => Kind::PauseMajority,
            Self::Stop(_) => Kind::Stop,
            Self::Rolling => Kind::Rolling,
            Self::Links(Shape::Halves(_)) => Kind::Halves,
            Self::Links(Shape::Deaf(_)) => Kind::Deaf,
            Self::Links(Shape::Mute(_)) => Kind::Mute,
            Self::Links(Shape::Island(_)) => Kind::Island,
            Self::Links(Shape::Ring(_)) => Kind::Ring,
            Self::Links(Shape::Chain(_)) => Kind::Chain,
            Self::Links(Shape::Apart) => Kind::Apart,
            Self::Links(Shape::Loss(_)) => Kind::Loss,
            Self::DiskStall(_) => Kind::DiskStall,
            Self::DiskSlow(..) => Kind::DiskSlow,
            Self::DiskFull(_) => Kind::DiskFull,
            Self::PowerCut(_) => Kind::PowerCut,
            Self::PowerCutAll => Kind::PowerCutAll,
            Self::WallJump(..) => Kind::WallJump,
            Self::BootJump(..) => Kind::BootJump,
            Self::Replace(_) => Kind::Replace,
            Self::Shrink(_) => Kind::Shrink,
            Self::Reset(_) => Kind::Reset,
            Self::Transfer => Kind::Transfer,
        }
    }

    /// The one node that it is meant for, if it is meant for one.
    pub(super) const fn target(&self) -> Option<Target> {
        match self {
            Self::Kill(target)
            | Self::Pause(target)
            | Self::Stop(target)
            | Self::Links(Shape::Deaf(target) | Shape::Mute(target) | Shape::Island(target))
            | Self::DiskStall(target)
            | Self::DiskSlow(target, _)
            | Self::DiskFull(target)
            | Self::PowerCut(target)
            | Self::WallJump(target, _)
            | Self::BootJump(target, _)
            | Self::Replace(target)
            | Self::Shrink(target)
            | Self::Reset(target) => Some(*target),
            Self::KillAll
            | Self::PauseMajority
            | Self::Rolling
            | Self::PowerCutAll
            | Self::Transfer
            | Self::Links(
                Shape::Halves(_) | Shape::Ring(_) | Shape::Chain(_) | Shape::Apart | Shape::Loss(_),
            ) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Node(id) => write!(f, "n{id}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        if let Self::Links(Shape::Halves(nodes) | Shape::Ring(nodes) | Shape::Chain(nodes)) = self {
            nodes.iter().try_for_each(|id| write!(f, " n{id}"))?;
        }
        if let Some(target) = self.target() {
            write!(f, " {target}")?;
        }
        if let Self::Links(Shape::Loss(percent)) = self {
            write!(f, " {percent}%")?;
        }
        if let Self::DiskSlow(_, ms) = self {
            write!(f, " {ms}ms")?;
        }
        if let Self::WallJump(_, seconds) = self {
            write!(f, " {seconds:+}s")?;
        }
        if let Self::BootJump(_, seconds) = self {
            write!(f, " {seconds}s")?;
        }
        Ok(())
    }
}
