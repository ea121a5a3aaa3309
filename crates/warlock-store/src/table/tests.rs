use warlock_resp::{Progress, Request, RequestLimits, RequestParser, RequestSpans};

use super::*;

fn with_request<T>(words: &[&[u8]], run: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    warlock_resp::encode_request(words.iter().copied(), &mut bytes);
    let mut spans = RequestSpans::default();
    let progress = RequestParser::new(RequestLimits::CEILING).parse(&bytes, &mut spans);
    assert!(matches!(progress, Ok(Progress::Complete { .. })));
    run(&spans.request(&bytes))
}

fn error(words: &[&[u8]]) -> String {
    with_request(words, |request| check(request).expect_err("refused"))
}

#[test]
fn every_command_is_found_in_any_case() {
    for spec in COMMANDS {
        let upper = spec.name.to_ascii_uppercase();
        assert_eq!(lookup(spec.name.as_bytes()).unwrap().id, spec.id);
        assert_eq!(lookup(upper.as_bytes()).unwrap().name, spec.name);
    }
    assert!(lookup(b"").is_none());
    assert!(lookup(b"gett").is_none());
    assert!(lookup(&[b'x'; 100_000]).is_none());
}

#[test]
fn the_table_agrees_with_itself() {
    for (index, spec) in COMMANDS.iter().enumerate() {
        let name = spec.name;
        assert!(COMMANDS[..index].iter().all(|other| other.name != name), "{name} twice");
        assert_eq!(spec.class == Class::Write, spec.flags.contains(&"write"), "{name}");
        assert!(!spec.summary.is_empty() && !spec.summary.ends_with('.'), "{name}");
        assert!(!spec.since.is_empty() && !spec.group.is_empty(), "{name}");
        assert!(!spec.complexity.is_empty() && !spec.categories.is_empty(), "{name}");
        assert_eq!(spec.first_key == 0, spec.key_specs.is_empty(), "{name}");
        for sub in spec.subcommands {
            assert!(sub.name.starts_with(&format!("{name}|")), "{}", sub.name);
            assert_eq!(sub.class, spec.class, "{}", sub.name);
        }
    }
}

#[test]
fn unknown_commands_are_refused_in_the_words_of_redis() {
    assert_eq!(
        error(&[b"foo", b"a", b"b"]),
        "ERR unknown command 'foo', with args beginning with: 'a' 'b' "
    );
    assert_eq!(error(&[b"foo"]), "ERR unknown command 'foo', with args beginning with: ");
    assert_eq!(
        error(&[b"a\r\nb", b"c\nd"]),
        "ERR unknown command 'a  b', with args beginning with: 'c d' "
    );
    let long = [b'x'; 200];
    let shown = "x".repeat(128);
    assert_eq!(
        error(&[&long, &long, b"more"]),
        format!("ERR unknown command '{shown}', with args beginning with: '{shown}' ")
    );
}

#[test]
fn wrong_numbers_of_words_are_refused_in_the_words_of_redis() {
    let text = |name: &str| format!("ERR wrong number of arguments for '{name}' command");
    assert_eq!(error(&[b"GET"]), text("get"));
    assert_eq!(error(&[b"GET", b"a", b"b"]), text("get"));
    assert_eq!(error(&[b"DEL"]), text("del"));
    assert_eq!(error(&[b"client"]), text("client"));
    assert_eq!(error(&[b"CLIENT", b"SETNAME"]), text("client|setname"));
    assert_eq!(error(&[b"client", b"Foo", b"x"]), "ERR unknown subcommand 'Foo'. Try CLIENT HELP.");
    with_request(&[b"CLIENT", b"SetName", b"x"], |request| {
        assert_eq!(check(request).unwrap().id, CommandId::Client);
    });
    with_request(&[b"COMMAND"], |request| assert!(check(request).is_ok()));
}
