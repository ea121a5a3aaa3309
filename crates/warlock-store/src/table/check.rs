//! What is wrong with a request before anybody looks at its arguments.

use warlock_resp::{Request, mutant};

use super::{CommandSpec, lookup};

/// Finds the command of `request` and checks the number of its words, as Redis 7.2 does.
///
/// # Errors
/// The text of the error reply, without the leading `-`, in the words of Redis.
pub fn check(request: &Request<'_>) -> Result<&'static CommandSpec, String> {
    let Some(spec) = lookup(request.name()) else {
        return Err(unknown_command(request));
    };
    if !spec.accepts_length(request.len()) {
        return Err(wrong_arity(spec));
    }
    if let Some(word) = request.arg(1)
        && !spec.subcommands.is_empty()
    {
        let Some(sub) = spec.subcommand(word) else {
            return Err(unknown_subcommand(request.name(), word));
        };
        if !sub.accepts_length(request.len()) {
            return Err(wrong_arity(sub));
        }
    }
    Ok(spec)
}

/// The error reply for a request with the wrong number of words.
pub(crate) fn wrong_arity(spec: &CommandSpec) -> String {
    format!("ERR wrong number of arguments for '{}' command", spec.name)
}

fn unknown_command(request: &Request<'_>) -> String {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(printed(request.name(), SHOWN_LENGTH));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for arg in request.args().skip(1) {
        let shown = text.len() - start;
        if shown >= SHOWN_LENGTH {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(printed(arg, SHOWN_LENGTH - shown));
        text.extend_from_slice(b"' ");
    }
    one_line(&text)
}

fn unknown_subcommand(command: &[u8], word: &[u8]) -> String {
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(printed(word, SHOWN_LENGTH));
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(&command.to_ascii_uppercase());
    text.extend_from_slice(b" HELP.");
    one_line(&text)
}

/// What `printf("%.*s")` shows of `text`: Redis stops at a NUL, and so clients may expect.
fn printed(text: &[u8], length_max: usize) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0);
    &text[..end.unwrap_or(text.len()).min(length_max)]
}

/// Line ends would let a client forge replies to others behind the same proxy.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match mutant!(LineEndInError) {
        false => text.replace(['\r', '\n'], " "),
        true => text.into_owned(),
    }
}

/// Bytes of a name, and of all arguments together, that an error repeats.
const SHOWN_LENGTH: usize = 128;
