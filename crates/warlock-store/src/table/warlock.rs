//! Commands of Warlock itself, answered by the front end.

use super::{Class, CommandId, CommandSpec, command};

pub(super) const COMMANDS: &[CommandSpec] =
    &[command(CommandId::Warlock, "warlock", -2, Class::Connection)
        .flags(&["loading", "stale"])
        .categories(&["@admin", "@slow", "@dangerous"])
        .docs("0.1.0", "warlock", "Depends on subcommand", "A container for cluster commands")
        .subcommands(&[
            subcommand("warlock|status", "Return the state of every node as JSON"),
            subcommand("warlock|members", "Return the state of every member as JSON"),
            subcommand("warlock|membership", "Return the membership in force as JSON"),
            operation("warlock|promote", -3, "Give an observer a vote"),
            operation("warlock|remove", -3, "Remove a node from the cluster"),
            operation("warlock|leave", -2, "Remove this node from the cluster"),
            operation("warlock|replace", -4, "Give the vote of a node to another, and remove it"),
            operation("warlock|voters", -3, "Let exactly these nodes vote, and remove the others"),
            operation("warlock|readdress", -4, "Have the others reach a node at another address"),
            operation("warlock|transfer", -2, "Make another node the master"),
            operation("warlock|join", -3, "Have this node join the cluster of the node named"),
            subcommand("warlock|digest", "Return applied slot and state digest of this node"),
            subcommand("warlock|ready", "Return OK if linearizable requests are served"),
            subcommand("warlock|snapshot", "Have this node take a snapshot, and do not wait"),
            subcommand(
                "warlock|reset",
                "Have this node forget its data and get it from the others",
            ),
            subcommand("warlock|version", "Return the version of this node"),
            subcommand("warlock|help", "Print this help"),
        ])];

const fn operation(name: &'static str, arity: i8, summary: &'static str) -> CommandSpec {
    CommandSpec { arity, ..subcommand(name, summary) }
}

const fn subcommand(name: &'static str, summary: &'static str) -> CommandSpec {
    command(CommandId::Warlock, name, 2, Class::Connection)
        .flags(&["loading", "stale"])
        .categories(&["@admin", "@slow", "@dangerous"])
        .docs("0.1.0", "warlock", "O(1)", summary)
}
