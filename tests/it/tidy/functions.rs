//! The function-length ratchet: a function fits a screen, and the ones that do not are listed
//! with their length in `functions.txt` and may only shrink.

use std::collections::BTreeMap;

use super::{Findings, files, required};

/// Longest function from the line of `fn` to its closing brace, in lines.
const FUNCTION_LINES_MAX: usize = 70;

const EXCESS_LIST: &str = "tests/it/tidy/functions.txt";

/// A function body found in a file.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Line of `fn`, from 1.
    line: usize,
    /// From `fn` to the closing brace, both counted.
    lines: usize,
}

#[test]
fn functions_fit_the_screen() {
    let mut findings = Findings::default();
    let mut listed = excess_list();
    for file in files().iter().filter(|file| file.extension() == "rs") {
        for function in functions(&file.text()) {
            if function.lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let place = format!("{}:{} fn {}", file.path, function.line, function.name);
            let lines = function.lines;
            match listed.remove(&(file.path.clone(), function.name)) {
                None => findings.add(place, format!("{lines} lines: {FUNCTION_LINES_MAX} at most")),
                Some(allowed) if lines > allowed => {
                    findings
                        .add(place, format!("{lines} lines: it may only shrink from {allowed}"));
                }
                Some(allowed) if lines < allowed => {
                    findings.add(place, format!("good: write {lines} in {EXCESS_LIST}"));
                }
                Some(_) => {}
            }
        }
    }
    for (path, name) in listed.keys() {
        findings.add(format!("{path} fn {name}"), format!("good: remove it from {EXCESS_LIST}"));
    }
    findings.assert_none();
}

/// Reads lines `path name length`; lines that start with `#` are comments.
fn excess_list() -> BTreeMap<(String, String), usize> {
    let text = required(EXCESS_LIST);
    let entries = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    entries
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (Some(path), Some(name), Some(lines), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                panic!("{EXCESS_LIST}: write `path name length`, not {line:?}");
            };
            let lines = lines.parse().expect("the third word is a length");
            ((path, name), lines)
        })
        .collect()
}

/// All functions with a body, also nested ones.
fn functions(text: &str) -> Vec<Function> {
    let code = blank_comments_and_strings(text);
    let mut found = Vec::new();
    for (position, _) in code.match_indices("fn ") {
        let before = code[..position].chars().next_back();
        if before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
            continue;
        }
        let rest = &code[position + 3..];
        let name: String =
            rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some(length) = body_end(rest) {
            found.push(Function {
                name,
                line: code[..position].matches('\n').count() + 1,
                lines: rest[..length].matches('\n').count() + 1,
            });
        }
    }
    found
}

/// Offset just behind the body that follows a function's name, or `None` without a body.
fn body_end(code: &str) -> Option<usize> {
    let mut brackets = 0_usize;
    let mut braces = 0_usize;
    for (position, character) in code.char_indices() {
        match character {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.checked_sub(1)?,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && brackets == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Replaces what is inside comments, strings and character literals by blanks, so that braces
/// in them do not count. Line breaks stay.
fn blank_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = token_to_blank(rest, out.chars().next_back());
        let blanked = if length == 0 { first.len_utf8() } else { length };
        if length == 0 {
            out.push(first);
        } else {
            out.extend(rest[..length].chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        }
        rest = &rest[blanked..];
    }
    out
}

/// Length of the comment or literal that `rest` starts with, 0 when it starts with code.
fn token_to_blank(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"').unwrap_or(rest.len());
    }
    let inside_word = before.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if !inside_word && let Some(hashes) = raw_string_hashes(rest) {
        let start = rest.find('"').expect("a raw string has a quote") + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        return rest[start..].find(&close).map_or(rest.len(), |at| start + at + close.len());
    }
    if rest.starts_with('\'') {
        // A lifetime has no closing quote two characters later; an escape always has one.
        let mut characters = rest.chars().skip(1);
        let escape = characters.next() == Some('\\');
        if escape || characters.next() == Some('\'') {
            return quoted_length(rest, '\'').unwrap_or(0);
        }
    }
    0
}

/// Number of hashes when `rest` starts a raw string.
fn raw_string_hashes(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let behind = &rest[prefix.len()..];
    let hashes = behind.chars().take_while(|it| *it == '#').count();
    behind[hashes..].starts_with('"').then_some(hashes)
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

/// Length of a literal that starts and ends with `quote`, escapes passed over.
fn quoted_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(position + quote.len_utf8()),
            _ => {}
        }
    }
    None
}

mod tests {
    use super::{Function, functions};

    fn shapes(text: &str) -> Vec<(String, usize, usize)> {
        let shape = |it: Function| (it.name, it.line, it.lines);
        functions(text).into_iter().map(shape).collect()
    }

    #[test]
    fn functions_are_measured_from_name_to_brace() {
        let text = "\nfn a() -> [u8; 2] {\n  [1, 2]\n}\ntrait T { fn no_body(&self); fn b() {} }";
        let expected = [("a".to_owned(), 2, 3), ("b".to_owned(), 5, 1)];
        assert_eq!(shapes(text), expected);
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        let text = r####"fn a<'a>(x: &'a str) {
            // } one
            /* } /* } */ } */
            let _ = ("}", '}', '\'', r#"}" "#, b"\"}", '{');
        }"####;
        assert_eq!(shapes(text), [("a".to_owned(), 1, 5)]);
    }

    #[test]
    fn function_pointers_are_not_functions() {
        assert_eq!(shapes("type F = fn (u8) -> u8;\nstruct S { often: u8 }"), []);
    }
}
