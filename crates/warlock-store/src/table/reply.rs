//! What `COMMAND` and `HELP` say, from the table alone.

use warlock_resp::{ReplyWriter, Request};

use super::{ArgumentSpec, COMMANDS, CommandSpec, KeySpec, lookup};

/// Answers `COMMAND` and its subcommands. `request` must have passed [`check`](super::check()).
pub fn command_reply(request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let named = || request.args().skip(2);
    match request.arg(1).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None => {
            reply.array(COMMANDS.len());
            for spec in COMMANDS {
                info(spec, reply);
            }
        }
        Some(b"count") => reply.integer(length(COMMANDS.len())),
        Some(b"info") if request.len() == 2 => {
            reply.array(COMMANDS.len());
            for spec in COMMANDS {
                info(spec, reply);
            }
        }
        Some(b"info") => {
            reply.array(request.len() - 2);
            for name in named() {
                match lookup_full(name) {
                    Some(spec) => info(spec, reply),
                    None => reply.null_array(),
                }
            }
        }
        Some(b"docs") if request.len() == 2 => {
            reply.map(COMMANDS.len());
            for spec in COMMANDS {
                docs(spec, reply);
            }
        }
        Some(b"docs") => {
            let found: Vec<_> = named().filter_map(lookup_full).collect();
            reply.map(found.len());
            for spec in found {
                docs(spec, reply);
            }
        }
        Some(b"list") => list(request, reply),
        Some(b"getkeys") => get_keys(request, reply),
        _ => match lookup(request.name()) {
            Some(spec) => help_reply(spec, reply),
            None => reply.error("ERR syntax error"),
        },
    }
}

/// Answers the `HELP` subcommand of a family.
pub fn help_reply(spec: &CommandSpec, reply: &mut ReplyWriter<'_>) {
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        spec.name.to_ascii_uppercase()
    )];
    for sub in spec.subcommands {
        lines.push(sub.short_name().to_ascii_uppercase());
        lines.push(format!("    {}.", sub.summary));
    }
    reply.array(lines.len());
    for line in &lines {
        reply.simple(line);
    }
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
fn list(request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let filter: Option<(Vec<u8>, &[u8])> = match request.len() {
        2 => None,
        5 if request[2].eq_ignore_ascii_case(b"FILTERBY") => {
            Some((request[3].to_ascii_lowercase(), &request[4]))
        }
        _ => return reply.error("ERR syntax error"),
    };
    let wanted: Box<dyn Fn(&CommandSpec) -> bool> = match &filter {
        None => Box::new(|_| true),
        Some((kind, _)) if kind == b"module" => Box::new(|_| false),
        Some((kind, name)) if kind == b"aclcat" => Box::new(|spec| {
            let categories = spec.categories.iter();
            categories
                .map(|category| &category[1..])
                .any(|category| category.as_bytes().eq_ignore_ascii_case(name))
        }),
        Some((kind, name)) if kind == b"pattern" => {
            Box::new(|spec| crate::pattern::matches(name, spec.name.as_bytes()))
        }
        Some(_) => return reply.error("ERR syntax error"),
    };
    let listed: Vec<_> = COMMANDS.iter().filter(|spec| wanted(spec)).collect();
    reply.array(listed.len());
    for spec in listed {
        reply.bulk(spec.name.as_bytes());
    }
}

/// `COMMAND GETKEYS command [argument ...]`
fn get_keys(request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let words: Vec<&[u8]> = request.args().skip(2).collect();
    let Some(spec) = words.first().and_then(|name| lookup(name)) else {
        return reply.error("ERR Invalid command specified");
    };
    if spec.key_specs.is_empty() {
        return reply.error("ERR The command has no key arguments");
    }
    if !spec.accepts_length(words.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let at = |index: i8| isize::from(index);
    let last = match at(spec.last_key) {
        last if last < 0 => words.len().saturating_add_signed(last),
        last => last.unsigned_abs(),
    };
    let keys = words[..=last].iter().skip(at(spec.first_key).unsigned_abs());
    let keys: Vec<_> = keys.step_by(at(spec.key_step).unsigned_abs()).collect();
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

/// A command, or a subcommand by its full name.
fn lookup_full(name: &[u8]) -> Option<&'static CommandSpec> {
    match name.iter().position(|byte| *byte == b'|') {
        None => lookup(name),
        Some(bar) => lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

fn info(spec: &CommandSpec, reply: &mut ReplyWriter<'_>) {
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(i64::from(spec.arity));
    words_as_set(spec.flags, reply);
    reply.integer(i64::from(spec.first_key));
    reply.integer(i64::from(spec.last_key));
    reply.integer(i64::from(spec.key_step));
    words_as_set(spec.categories, reply);
    reply.array(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.array(spec.key_specs.len());
    for keys in spec.key_specs {
        key_spec(keys, reply);
    }
    reply.array(spec.subcommands.len());
    for sub in spec.subcommands {
        info(sub, reply);
    }
}

fn key_spec(keys: &KeySpec, reply: &mut ReplyWriter<'_>) {
    reply.map(if keys.notes.is_empty() { 3 } else { 4 });
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    words_as_set(keys.flags, reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    numbers(&[("index", keys.index)], reply);
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    let range = [("lastkey", keys.last), ("keystep", keys.step), ("limit", 0)];
    numbers(&range, reply);
}

fn numbers(pairs: &[(&str, i8)], reply: &mut ReplyWriter<'_>) {
    reply.map(pairs.len());
    for (name, value) in pairs {
        reply.bulk(name.as_bytes());
        reply.integer(i64::from(*value));
    }
}

fn docs(spec: &CommandSpec, reply: &mut ReplyWriter<'_>) {
    reply.bulk(spec.name.as_bytes());
    let facts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
        ("complexity", spec.complexity),
    ];
    let pairs = facts.len()
        + usize::from(!spec.arguments.is_empty())
        + usize::from(!spec.subcommands.is_empty());
    reply.map(pairs);
    for (name, text) in facts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !spec.arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments(spec.arguments, &mut 0, reply);
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(spec.subcommands.len());
        for sub in spec.subcommands {
            docs(sub, reply);
        }
    }
}

/// `keys` counts the keys on the way, each of which has a key specification of its own.
fn arguments(arguments: &[ArgumentSpec], keys: &mut i64, reply: &mut ReplyWriter<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        argument_docs(argument, keys, reply);
    }
}

fn argument_docs(argument: &ArgumentSpec, keys: &mut i64, reply: &mut ReplyWriter<'_>) {
    let is_key = argument.kind == "key";
    let mut flags = Vec::new();
    if argument.optional {
        flags.push("optional");
    }
    if argument.multiple {
        flags.push("multiple");
    }
    let pairs = 2
        + usize::from(is_key)
        + usize::from(argument.token.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(!argument.members.is_empty());
    reply.map(pairs);
    reply.bulk(b"name");
    reply.bulk(argument.name.as_bytes());
    reply.bulk(b"type");
    reply.bulk(argument.kind.as_bytes());
    if is_key {
        reply.bulk(b"key_spec_index");
        reply.integer(*keys);
        *keys += 1;
    }
    if let Some(token) = argument.token {
        reply.bulk(b"token");
        reply.bulk(token.as_bytes());
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        words_as_set(&flags, reply);
    }
    if !argument.members.is_empty() {
        reply.bulk(b"arguments");
        arguments(argument.members, keys, reply);
    }
}

fn words_as_set(words: &[&str], reply: &mut ReplyWriter<'_>) {
    reply.set(words.len());
    for word in words {
        reply.simple(word);
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).expect("few commands")
}
