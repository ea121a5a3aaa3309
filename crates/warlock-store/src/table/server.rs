//! Commands about the server, and those that see a whole database.

use super::arguments::*;
use super::{Class, CommandId, CommandSpec, command};

pub(super) const COMMANDS: &[CommandSpec] = &[
    command(CommandId::Command, "command", -1, Class::Connection)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["nondeterministic_output_order"])
        .docs(
            "2.8.13",
            "server",
            "O(N) where N is the total number of Redis commands",
            "Get array of Redis command details",
        )
        .subcommands(&[
            command(CommandId::Command, "command|count", 2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs("2.8.13", "server", "O(1)", "Get total number of Redis commands"),
            command(CommandId::Command, "command|docs", -2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .tips(&["nondeterministic_output_order"])
                .docs(
                    "7.0.0",
                    "server",
                    "O(N) where N is the number of commands to look up",
                    "Get array of specific Redis command documentation",
                )
                .arguments(&[string("command-name").optional().multiple()]),
            command(CommandId::Command, "command|info", -2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .tips(&["nondeterministic_output_order"])
                .docs(
                    "2.8.13",
                    "server",
                    "O(N) where N is the number of commands to look up",
                    "Get array of specific command details",
                )
                .arguments(&[string("command-name").optional().multiple()]),
            command(CommandId::Command, "command|list", -2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .tips(&["nondeterministic_output_order"])
                .docs(
                    "7.0.0",
                    "server",
                    "O(N) where N is the total number of Redis commands",
                    "Get an array of Redis command names",
                )
                .arguments(&[one_of(
                    "filterby",
                    &[
                        string("module-name").after("MODULE"),
                        string("category").after("ACLCAT"),
                        pattern("pattern").after("PATTERN"),
                    ],
                )
                .after("FILTERBY")
                .optional()]),
            command(CommandId::Command, "command|getkeys", -4, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs(
                    "2.8.13",
                    "server",
                    "O(N) where N is the number of arguments to the command",
                    "Extract keys given a full Redis command",
                ),
            command(CommandId::Command, "command|help", 2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs(
                    "5.0.0",
                    "server",
                    "O(1)",
                    "Show helpful text about the different subcommands",
                ),
        ]),
    command(CommandId::Config, "config", -2, Class::Connection)
        .categories(&["@slow"])
        .docs(
            "2.0.0",
            "server",
            "Depends on subcommand",
            "A container for server configuration commands",
        )
        .subcommands(&[
            command(CommandId::Config, "config|get", -3, Class::Connection)
                .flags(&["admin", "noscript", "loading", "stale"])
                .categories(&["@admin", "@slow", "@dangerous"])
                .docs(
                    "2.0.0",
                    "server",
                    "O(N) when N is the number of configuration parameters provided",
                    "Get the values of configuration parameters",
                )
                .arguments(&[block("parameter", &[string("parameter")]).multiple()]),
            command(CommandId::Config, "config|help", 2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow"])
                .docs(
                    "5.0.0",
                    "server",
                    "O(1)",
                    "Show helpful text about the different subcommands",
                ),
        ]),
    command(CommandId::Info, "info", -1, Class::Connection)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@dangerous"])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs("1.0.0", "server", "O(1)", "Get information and statistics about the server")
        .arguments(&[string("section").optional().multiple()]),
    command(CommandId::Role, "role", 1, Class::Connection)
        .flags(&["noscript", "loading", "stale", "fast"])
        .categories(&["@admin", "@fast", "@dangerous"])
        .docs(
            "2.8.12",
            "server",
            "O(1)",
            "Return the role of the instance in the context of replication",
        ),
    command(CommandId::Time, "time", 1, Class::Read)
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast"])
        .tips(&["nondeterministic_output"])
        .docs("2.6.0", "server", "O(1)", "Return the current server time"),
    command(CommandId::DbSize, "dbsize", 1, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .docs("1.0.0", "server", "O(1)", "Return the number of keys in the selected database"),
    command(CommandId::FlushAll, "flushall", -1, Class::Write)
        .flags(&["write"])
        .categories(&["@keyspace", "@write", "@slow", "@dangerous"])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(
            "1.0.0",
            "server",
            "O(N) where N is the total number of keys in all databases",
            "Remove all keys from all databases",
        )
        .arguments(
            &[one_of("async", &[token("async", "ASYNC"), token("sync", "SYNC")]).optional()],
        ),
    command(CommandId::FlushDb, "flushdb", -1, Class::Write)
        .flags(&["write"])
        .categories(&["@keyspace", "@write", "@slow", "@dangerous"])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(
            "1.0.0",
            "server",
            "O(N) where N is the number of keys in the selected database",
            "Remove all keys from the current database",
        )
        .arguments(
            &[one_of("async", &[token("async", "ASYNC"), token("sync", "SYNC")]).optional()],
        ),
    command(CommandId::Wait, "wait", 3, Class::Connection)
        .flags(&["noscript"])
        .categories(&["@slow", "@connection"])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .docs(
            "3.0.0",
            "generic",
            "O(1)",
            "Wait until other nodes hold the writes of this connection",
        )
        .arguments(&[integer("numreplicas"), integer("timeout")]),
];
