//! Commands on string values.

use super::arguments::*;
use super::{Class, CommandId, CommandSpec, command, key_spec};

pub(super) const COMMANDS: &[CommandSpec] = &[
    command(CommandId::Get, "get", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@read", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO", "access"])])
        .docs("1.0.0", "string", "O(1)", "Get the value of a key")
        .arguments(&[key("key")]),
    command(CommandId::Set, "set", -3, Class::Write)
        .flags(&["write", "denyoom"])
        .categories(&["@write", "@string", "@slow"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update", "variable_flags"])
            .notes("RW and ACCESS due to the optional `GET` argument")])
        .docs("1.0.0", "string", "O(1)", "Set the string value of a key")
        .arguments(&[
            key("key"),
            string("value"),
            one_of(
                "condition",
                &[
                    token("nx", "NX"),
                    token("xx", "XX"),
                    string("ifeq-value").after("IFEQ"),
                    string("ifne-value").after("IFNE"),
                ],
            )
            .optional(),
            token("get", "GET").optional(),
            one_of(
                "expiration",
                &[
                    integer("seconds").after("EX"),
                    integer("milliseconds").after("PX"),
                    unix_time("unix-time-seconds").after("EXAT"),
                    unix_time("unix-time-milliseconds").after("PXAT"),
                    token("keepttl", "KEEPTTL"),
                ],
            )
            .optional(),
        ]),
    command(CommandId::SetNx, "setnx", 3, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["OW", "insert"])])
        .docs("1.0.0", "string", "O(1)", "Set the value of a key, only if the key does not exist")
        .arguments(&[key("key"), string("value")]),
    command(CommandId::SetEx, "setex", 4, Class::Write)
        .flags(&["write", "denyoom"])
        .categories(&["@write", "@string", "@slow"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["OW", "update"])])
        .docs("2.0.0", "string", "O(1)", "Set the value and expiration of a key")
        .arguments(&[key("key"), integer("seconds"), string("value")]),
    command(CommandId::PSetEx, "psetex", 4, Class::Write)
        .flags(&["write", "denyoom"])
        .categories(&["@write", "@string", "@slow"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["OW", "update"])])
        .docs("2.6.0", "string", "O(1)", "Set the value and expiration in milliseconds of a key")
        .arguments(&[key("key"), integer("milliseconds"), string("value")]),
    command(CommandId::GetSet, "getset", 3, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])])
        .docs("1.0.0", "string", "O(1)", "Set the string value of a key and return its old value")
        .arguments(&[key("key"), string("value")]),
    command(CommandId::GetDel, "getdel", 2, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "delete"])])
        .docs("6.2.0", "string", "O(1)", "Get the value of a key and delete the key")
        .arguments(&[key("key")]),
    command(CommandId::GetEx, "getex", -2, Class::Write)
        .flags(&["write", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])
            .notes("RW and UPDATE because it changes the TTL")])
        .docs("6.2.0", "string", "O(1)", "Get the value of a key and optionally set its expiration")
        .arguments(&[
            key("key"),
            one_of(
                "expiration",
                &[
                    integer("seconds").after("EX"),
                    integer("milliseconds").after("PX"),
                    unix_time("unix-time-seconds").after("EXAT"),
                    unix_time("unix-time-milliseconds").after("PXAT"),
                    token("persist", "PERSIST"),
                ],
            )
            .optional(),
        ]),
    command(CommandId::MGet, "mget", -2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@read", "@string", "@fast"])
        .tips(&["request_policy:multi_shard"])
        .keys(1, -1, 1)
        .key_specs(&[key_spec(1, -1, 1, &["RO", "access"])])
        .docs(
            "1.0.0",
            "string",
            "O(N) where N is the number of keys to retrieve",
            "Get the values of all the given keys",
        )
        .arguments(&[key("key").multiple()]),
    command(CommandId::MSet, "mset", -3, Class::Write)
        .flags(&["write", "denyoom"])
        .categories(&["@write", "@string", "@slow"])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keys(1, -1, 2)
        .key_specs(&[key_spec(1, -1, 2, &["OW", "update"])])
        .docs(
            "1.0.1",
            "string",
            "O(N) where N is the number of keys to set",
            "Set multiple keys to multiple values",
        )
        .arguments(&[block("key_value", &[key("key"), string("value")]).multiple()]),
    command(CommandId::MSetNx, "msetnx", -3, Class::Write)
        .flags(&["write", "denyoom"])
        .categories(&["@write", "@string", "@slow"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .keys(1, -1, 2)
        .key_specs(&[key_spec(1, -1, 2, &["OW", "insert"])])
        .docs(
            "1.0.1",
            "string",
            "O(N) where N is the number of keys to set",
            "Set multiple keys to multiple values, only if none of the keys exist",
        )
        .arguments(&[block("key_value", &[key("key"), string("value")]).multiple()]),
    command(CommandId::Append, "append", 3, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "insert"])])
        .docs(
            "2.0.0",
            "string",
            "O(1) amortized, for a short appended value",
            "Append a value to a key",
        )
        .arguments(&[key("key"), string("value")]),
    command(CommandId::StrLen, "strlen", 2, Class::Read)
        .flags(&["readonly", "fast"])
        .categories(&["@read", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RO"])])
        .docs("2.2.0", "string", "O(1)", "Get the length of the value stored in a key")
        .arguments(&[key("key")]),
    command(CommandId::Incr, "incr", 2, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])])
        .docs("1.0.0", "string", "O(1)", "Increment the integer value of a key by one")
        .arguments(&[key("key")]),
    command(CommandId::IncrBy, "incrby", 3, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])])
        .docs("1.0.0", "string", "O(1)", "Increment the integer value of a key by the given amount")
        .arguments(&[key("key"), integer("increment")]),
    command(CommandId::Decr, "decr", 2, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])])
        .docs("1.0.0", "string", "O(1)", "Decrement the integer value of a key by one")
        .arguments(&[key("key")]),
    command(CommandId::DecrBy, "decrby", 3, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])])
        .docs("1.0.0", "string", "O(1)", "Decrement the integer value of a key by the given number")
        .arguments(&[key("key"), integer("decrement")]),
    command(CommandId::IncrByFloat, "incrbyfloat", 3, Class::Write)
        .flags(&["write", "denyoom", "fast"])
        .categories(&["@write", "@string", "@fast"])
        .keys(1, 1, 1)
        .key_specs(&[key_spec(1, 0, 1, &["RW", "access", "update"])])
        .docs("2.6.0", "string", "O(1)", "Increment the float value of a key by the given amount")
        .arguments(&[key("key"), double("increment")]),
];
