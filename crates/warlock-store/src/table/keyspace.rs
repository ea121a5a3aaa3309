//! Commands on keys whatever their value: removal, names, expiry, iteration.

use super::arguments::*;
use super::{Class, CommandId, CommandSpec, command, key_spec};

pub(super) const COMMANDS: &[CommandSpec] = &[
    command(CommandId::Del, "del", -2, Class::Write)
        .flags(&["write"])
        .categories(&["@keyspace", "@write", "@slow"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(1, -1, 1)
        .key_specs(&[key_spec(1, -1, 1, &["RM", "delete"])])
        .docs(
            "1.0.0",
            "generic",
            "O(N) with N being the number of keys that will be removed",
            "Delete a key",
        )
        .arguments(&[key("key").multiple()]),
    command(CommandId::Unlink, "unlink", -2, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(1, -1, 1)
        .key_specs(&[key_spec(1, -1, 1, &["RM", "delete"])])
        .docs(
            "4.0.0",
            "generic",
            "O(N) with N being the number of keys that will be removed",
            "Delete a key; the same as DEL",
        )
        .arguments(&[key("key").multiple()]),
    command(CommandId::Exists, "exists", -2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(1, -1, 1)
        .key_specs(&[key_spec(1, -1, 1, &["RO"])])
        .docs(
            "1.0.0",
            "generic",
            "O(N) where N is the number of keys to check",
            "Determine if a key exists",
        )
        .arguments(&[key("key").multiple()]),
    command(CommandId::Type, "type", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO"])])
        .docs("1.0.0", "generic", "O(1)", "Determine the type stored at key")
        .arguments(&[key("key")]),
    command(CommandId::Expire, "expire", -3, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "update"])])
        .docs("1.0.0", "generic", "O(1)", "Set a key's time to live in seconds")
        .arguments(&[
            key("key"),
            integer("seconds"),
            one_of(
                "condition",
                &[token("nx", "NX"), token("xx", "XX"), token("gt", "GT"), token("lt", "LT")],
            )
            .optional(),
        ]),
    command(CommandId::PExpire, "pexpire", -3, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "update"])])
        .docs("2.6.0", "generic", "O(1)", "Set a key's time to live in milliseconds")
        .arguments(&[
            key("key"),
            integer("milliseconds"),
            one_of(
                "condition",
                &[token("nx", "NX"), token("xx", "XX"), token("gt", "GT"), token("lt", "LT")],
            )
            .optional(),
        ]),
    command(CommandId::ExpireAt, "expireat", -3, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "update"])])
        .docs("1.2.0", "generic", "O(1)", "Set the expiration for a key as a UNIX timestamp")
        .arguments(&[
            key("key"),
            unix_time("unix-time-seconds"),
            one_of(
                "condition",
                &[token("nx", "NX"), token("xx", "XX"), token("gt", "GT"), token("lt", "LT")],
            )
            .optional(),
        ]),
    command(CommandId::PExpireAt, "pexpireat", -3, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "update"])])
        .docs(
            "2.6.0",
            "generic",
            "O(1)",
            "Set the expiration for a key as a UNIX timestamp in milliseconds",
        )
        .arguments(&[
            key("key"),
            unix_time("unix-time-milliseconds"),
            one_of(
                "condition",
                &[token("nx", "NX"), token("xx", "XX"), token("gt", "GT"), token("lt", "LT")],
            )
            .optional(),
        ]),
    command(CommandId::Ttl, "ttl", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .tips(&["nondeterministic_output"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO", "access"])])
        .docs("1.0.0", "generic", "O(1)", "Get the time to live for a key in seconds")
        .arguments(&[key("key")]),
    command(CommandId::PTtl, "pttl", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .tips(&["nondeterministic_output"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO", "access"])])
        .docs("2.6.0", "generic", "O(1)", "Get the time to live for a key in milliseconds")
        .arguments(&[key("key")]),
    command(CommandId::ExpireTime, "expiretime", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO", "access"])])
        .docs("7.0.0", "generic", "O(1)", "Get the expiration Unix timestamp for a key")
        .arguments(&[key("key")]),
    command(CommandId::PExpireTime, "pexpiretime", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO", "access"])])
        .docs(
            "7.0.0",
            "generic",
            "O(1)",
            "Get the expiration Unix timestamp for a key in milliseconds",
        )
        .arguments(&[key("key")]),
    command(CommandId::Persist, "persist", 2, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "update"])])
        .docs("2.2.0", "generic", "O(1)", "Remove the expiration from a key")
        .arguments(&[key("key")]),
    command(CommandId::Keys, "keys", 2, Class::Read)
        .flags(&["readonly"])
        .categories(&["@keyspace", "@read", "@slow", "@dangerous"])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .docs(
            "1.0.0",
            "generic",
            "O(N) with N being the number of keys in the database",
            "Find all keys matching the given pattern",
        )
        .arguments(&[pattern("pattern")]),
    command(CommandId::Scan, "scan", -2, Class::Read)
        .flags(&["readonly"])
        .categories(&["@keyspace", "@read", "@slow"])
        .tips(&["nondeterministic_output", "request_policy:special"])
        .docs(
            "2.8.0",
            "generic",
            "O(1) for every call, O(N) for a complete iteration over N keys",
            "Incrementally iterate the keys space",
        )
        .arguments(&[
            integer("cursor"),
            pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
            string("type").after("TYPE").optional(),
        ]),
    command(CommandId::RandomKey, "randomkey", 1, Class::Read)
        .flags(&["readonly"])
        .categories(&["@keyspace", "@read", "@slow"])
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .docs("1.0.0", "generic", "O(1)", "Return a random key from the keyspace"),
    command(CommandId::Rename, "rename", 3, Class::Write)
        .flags(&["write"])
        .categories(&["@keyspace", "@write", "@slow"])
        .keys(1, 2, 1)
        .key_specs(&[
            key_spec(1, 0, 1, &["RW", "access", "delete"]),
            key_spec(2, 0, 1, &["OW", "update"]),
        ])
        .docs("1.0.0", "generic", "O(1)", "Rename a key")
        .arguments(&[key("key"), key("newkey")]),
    command(CommandId::RenameNx, "renamenx", 3, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@keyspace", "@write", "@fast"])
        .keys(1, 2, 1)
        .key_specs(&[
            key_spec(1, 0, 1, &["RW", "access", "delete"]),
            key_spec(2, 0, 1, &["OW", "insert"]),
        ])
        .docs("1.0.0", "generic", "O(1)", "Rename a key, only if the new key does not exist")
        .arguments(&[key("key"), key("newkey")]),
];
