//! Commands about the connection itself, answered by the front end.

use super::arguments::*;
use super::{Class, CommandId, CommandSpec, command};

pub(super) const COMMANDS: &[CommandSpec] = &[
    command(CommandId::Ping, "ping", -1, Class::Connection)
        .flags(&["fast"])
        .categories(&["@fast", "@connection"])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs("1.0.0", "connection", "O(1)", "Ping the server")
        .arguments(&[string("message").optional()]),
    command(CommandId::Echo, "echo", 2, Class::Connection)
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"])
        .docs("1.0.0", "connection", "O(1)", "Echo the given string")
        .arguments(&[string("message")]),
    command(CommandId::ReadOnly, "readonly", -1, Class::Connection)
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"])
        .docs(
            "3.0.0",
            "cluster",
            "O(1)",
            "Let reads of this connection show a state that may be old",
        )
        .arguments(&[token("any", "ANY").optional()]),
    command(CommandId::ReadWrite, "readwrite", 1, Class::Connection)
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"])
        .docs("3.0.0", "cluster", "O(1)", "End what READONLY began"),
    command(CommandId::Select, "select", 2, Class::Connection)
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"])
        .docs(
            "1.0.0",
            "connection",
            "O(1)",
            "Change the selected database for the current connection",
        )
        .arguments(&[integer("index")]),
    command(CommandId::Hello, "hello", -1, Class::Connection)
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"])
        .docs("6.0.0", "connection", "O(1)", "Handshake with Redis")
        .arguments(&[block(
            "arguments",
            &[
                integer("protover"),
                block("username_password", &[string("username"), string("password")])
                    .after("AUTH")
                    .optional(),
                string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()]),
    command(CommandId::Auth, "auth", -2, Class::Connection)
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"])
        .docs(
            "1.0.0",
            "connection",
            "O(N) where N is the number of passwords defined for the user",
            "Authenticate to the server",
        )
        .arguments(&[string("username").optional(), string("password")]),
    command(CommandId::Quit, "quit", -1, Class::Connection)
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"])
        .docs("1.0.0", "connection", "O(1)", "Close the connection"),
    command(CommandId::Reset, "reset", 1, Class::Connection)
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"])
        .docs("6.2.0", "connection", "O(1)", "Reset the connection"),
    command(CommandId::Client, "client", -2, Class::Connection)
        .categories(&["@slow"])
        .docs(
            "2.4.0",
            "connection",
            "Depends on subcommand",
            "A container for client connection commands",
        )
        .subcommands(&[
            command(CommandId::Client, "client|setname", 3, Class::Connection)
                .flags(&["noscript", "loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs("2.6.9", "connection", "O(1)", "Set the current connection name")
                .arguments(&[string("connection-name")]),
            command(CommandId::Client, "client|getname", 2, Class::Connection)
                .flags(&["noscript", "loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs("2.6.9", "connection", "O(1)", "Get the current connection name"),
            command(CommandId::Client, "client|id", 2, Class::Connection)
                .flags(&["noscript", "loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs(
                    "5.0.0",
                    "connection",
                    "O(1)",
                    "Returns the client ID for the current connection",
                ),
            command(CommandId::Client, "client|info", 2, Class::Connection)
                .flags(&["noscript", "loading", "stale"])
                .categories(&["@slow", "@connection"])
                .tips(&["nondeterministic_output"])
                .docs(
                    "6.2.0",
                    "connection",
                    "O(1)",
                    "Returns information about the current client connection",
                ),
            command(CommandId::Client, "client|list", -2, Class::Connection)
                .flags(&["admin", "noscript", "loading", "stale"])
                .categories(&["@admin", "@slow", "@dangerous", "@connection"])
                .tips(&["nondeterministic_output"])
                .docs(
                    "2.4.0",
                    "connection",
                    "O(N) where N is the number of client connections",
                    "Get the list of client connections",
                )
                .arguments(&[
                    one_of(
                        "normal_master_replica_pubsub",
                        &[
                            token("normal", "NORMAL"),
                            token("master", "MASTER"),
                            token("replica", "REPLICA"),
                            token("pubsub", "PUBSUB"),
                        ],
                    )
                    .after("TYPE")
                    .optional(),
                    block("id", &[integer("client-id").multiple()]).after("ID").optional(),
                ]),
            command(CommandId::Client, "client|help", 2, Class::Connection)
                .flags(&["loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs(
                    "5.0.0",
                    "connection",
                    "O(1)",
                    "Show helpful text about the different subcommands",
                ),
            command(CommandId::Client, "client|setinfo", 4, Class::Connection)
                .flags(&["noscript", "loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs(
                    "7.2.0",
                    "connection",
                    "O(1)",
                    "Set information specific to the client or connection",
                )
                .arguments(&[one_of(
                    "attr",
                    &[string("libname").after("LIB-NAME"), string("libver").after("LIB-VER")],
                )]),
            command(CommandId::Client, "client|maint_notifications", -3, Class::Connection)
                .flags(&["noscript", "loading", "stale"])
                .categories(&["@slow", "@connection"])
                .docs("8.2.0", "connection", "O(1)", "Ask for notices of maintenance of the server")
                .arguments(&[
                    one_of("status", &[token("on", "ON"), token("off", "OFF")]),
                    block("parameter", &[string("name"), string("value")]).optional().multiple(),
                ]),
        ]),
];
