//! What packages ship beside the program: manual pages and completions, made from the command line
//! itself so that they say what it does.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Where these programs are described, for the shelf marks of manual pages.
const SECTION: &str = "8";
/// What the pages belong to.
const SOURCE: &str = concat!("Warlock ", env!("CARGO_PKG_VERSION"));

/// Has `shell` complete the words of `command`.
pub(crate) fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    script
}

/// Writes a page for `command` and one for each of its subcommands into `directory`.
///
/// # Errors
/// What the file system says.
pub(crate) fn write_pages(command: Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
    for command in [&command].into_iter().chain(subcommands) {
        let man = Man::new(command.clone()).section(SECTION).source(SOURCE).manual("Warlock");
        fs::write(directory.join(man.get_filename()), page(command, &man)?)?;
    }
    Ok(())
}

fn page(command: &Command, man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let closing = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    notes(&closing).to_writer(&mut page)?;
    Ok(page)
}

/// Examples and tables, whose lines must stay as they are; a line that ends with a colon is a head.
fn notes(text: &str) -> Roff {
    let mut roff = Roff::new();
    for line in text.lines() {
        match line.strip_suffix(':').filter(|head| !head.starts_with(' ')) {
            Some(head) => {
                roff.control("SH", [head.to_uppercase().as_str()]).control("nf", []);
            }
            None => {
                roff.text([roman(line)]);
            }
        }
    }
    roff
}
