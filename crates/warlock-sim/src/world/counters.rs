//! How often each fault struck and each thing worth having happened, so that a batch of runs can
//! show that none of them was idle.

use std::fmt;

/// Declares the counters once: field, and the name that reports print.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Counts of one run or of many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counters {
            /// Adds the counts of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// Each counter with its name, in the order of declaration.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }
    };
}

counters! {
    /// Frames that vanished on the way.
    loss,
    /// Frames that arrived twice.
    duplication,
    /// Frames that may have overtaken others.
    reordering,
    /// Frames that took much longer than usual.
    delay_spike,
    /// Frames that were held back on a clogged link.
    clog,
    /// Links of nodes clogged one by one and opened in another order.
    swizzle_clog,
    /// Links cut in one direction only.
    one_way,
    /// Partitions into two groups.
    partition_halves,
    /// Partitions that leave one node alone.
    partition_isolate,
    /// Partitions that leave a chain, or two groups with one node between them.
    partition_bridge,
    /// Partitions into a ring, or a random graph.
    partition_graph,
    /// Frames damaged on the way.
    corrupt_frame,
    /// Connections between nodes reset while frames were on the way.
    connection_reset,
    /// Unsynced writes of which a part was there after a power loss.
    disk_torn,
    /// Unsynced writes that were gone after a power loss.
    disk_lost,
    /// Writes that reached another place of their file.
    disk_misdirected,
    /// Bits that turned over on a disk.
    disk_rot,
    /// Parts of files that became zero.
    disk_zeroed,
    /// Writes or syncs that failed.
    disk_error,
    /// Times that a disk was full.
    disk_full,
    /// Disks that took up to half a minute for a sync.
    disk_stall,
    /// Disks that said "synced" without doing it.
    disk_lie,
    /// Data directories replaced by an older one.
    disk_old_image,
    /// Data directories wiped.
    disk_wiped,
    /// Processes killed.
    kill,
    /// Machines that lost power.
    power_loss,
    /// Processes killed between two steps of an input or output.
    crash_in_io,
    /// Processes killed while they recovered.
    crash_in_recovery,
    /// Processes paused.
    pause,
    /// Machines frozen in a way that their clocks do not see.
    freeze,
    /// Machines suspended.
    suspend,
    /// Wall clocks moved by up to ten years.
    wall_step,
    /// Clocks whose rate changed within the bound.
    clock_rate,
    /// Masters asked to hand over.
    hand_over,
    /// Memberships that came into force.
    membership_steps,
    /// Changes of the membership asked for, of whomever.
    changes_asked,
    /// Changes of the membership refused.
    changes_refused,
    /// Changes of the membership that nobody knows the fate of.
    changes_unknown,
    /// Nodes added.
    node_added,
    /// Observers that got a vote.
    node_promoted,
    /// Nodes removed.
    node_removed,
    /// Nodes removed that were down.
    removed_dead,
    /// Masters removed.
    removed_master,
    /// Changes that put one node into the place of another.
    replaced_one,
    /// Changes that replaced two nodes or more at once.
    replaced_two,
    /// Nodes that got another address.
    readdressed,
    /// Newcomers that got no vote beside a founder that the master had never met.
    never_met_refused,
    /// Masters asked to hand over to a certain node.
    transfer,
    /// Directories lost, each of a node that is replaced then.
    directory_lost,
    /// Nodes that forgot their state because an operator wanted it.
    reset,
    /// Isolated masters asked to remove everybody else.
    island,
    /// Removed nodes that started with their old disk and did not know.
    zombie,
    /// Removed nodes that found out when they started.
    retired_start,
    /// Nodes told that they were removed.
    retired,
    /// Node ids used a second time, which was refused.
    id_reuse_refused,
    /// Two operators at once, the second of whom was refused.
    rival_refused,
    /// Times that a membership of seven voters came into force.
    grown_to_seven,
    /// Times that a membership of one voter came into force.
    shrunk_to_one,
    /// Client connections closed by the client in the middle of something.
    client_reset,
    /// Nodes that stopped because their disk failed.
    stopped_by_disk,
    /// Nodes that refused to start with what their disk held.
    refused_start,
    /// Handshakes refused because of another data directory.
    refused_peer,
    /// Starts of processes.
    starts,
    /// Elections begun.
    elections,
    /// Master leases held for the first time.
    masterships,
    /// Slots applied, on all nodes together.
    applied,
    /// Snapshots taken.
    snapshots,
    /// Snapshots of a peer installed.
    snapshots_installed,
    /// Times that a peer was told from the log on disk.
    log_reads,
    /// Log segments removed.
    segments_removed,
    /// Operations that succeeded.
    ok,
    /// Operations that certainly were not executed.
    not_executed,
    /// Operations of unknown outcome.
    unknown,
    /// Events of the simulation.
    events,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.named() {
            writeln!(f, "  {name:<20} {count:>12}")?;
        }
        Ok(())
    }
}
