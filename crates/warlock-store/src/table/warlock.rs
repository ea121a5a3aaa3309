//! Commands of Warlock itself, answered by the front end.

use super::{Class, CommandId, CommandSpec, command};

pub(super) const COMMANDS: &[CommandSpec] =
    &[command(CommandId::Warlock, "warlock", -2, Class::Connection)
        .flags(&["loading", "stale"])
        .categories(&["@admin", "@slow", "@dangerous"])
        .docs("0.1.0", "warlock", "Depends on subcommand", "A container for cluster commands")
        .subcommands(&[
            subcommand("warlock|status", "Return the state of every node as JSON"),
            subcommand("warlock|members", "Return the membership in force as JSON"),
            subcommand("warlock|digest", "Return applied slot and state digest of this node"),
            subcommand("warlock|ready", "Return OK if linearizable requests are served"),
            subcommand("warlock|snapshot", "Have this node take a snapshot, and do not wait"),
            subcommand("warlock|version", "Return the version of this node"),
            subcommand("warlock|help", "Print this help"),
        ])];

const fn subcommand(name: &'static str, summary: &'static str) -> CommandSpec {
    command(CommandId::Warlock, name, 2, Class::Connection)
        .flags(&["loading", "stale"])
        .categories(&["@admin", "@slow", "@dangerous"])
        .docs("0.1.0", "warlock", "O(1)", summary)
}
