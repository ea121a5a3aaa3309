//! Rules about deliberate mistakes: each is listed, each list entry has a site, and none sits in
//! what ships as a program.

use std::collections::BTreeMap;

use super::{Findings, files, required};

/// What says `mutant!` the way it is meant: sites are in the code under test and in its host.
const PLACES: &[&str] = &[
    "crates/warlock-node/src/",
    "crates/warlock-paxos/src/",
    "crates/warlock-resp/src/",
    "crates/warlock-sim/src/",
    "crates/warlock-store/src/",
    "crates/warlock-wal/src/",
];

/// Where the macro is defined, once for each crate that may not see the other.
const DEFINITIONS: [&str; 2] =
    ["crates/warlock-paxos/src/mutants.rs", "crates/warlock-resp/src/mutants.rs"];

/// The list of all mutants.
const LIST: &str = "crates/warlock-sim/src/mutants/list.rs";

#[test]
fn both_definitions_of_mutants_are_the_same() {
    let [one, other] = DEFINITIONS.map(required);
    assert!(one == other, "{}: copy {} over it", DEFINITIONS[1], DEFINITIONS[0]);
}

#[test]
fn mutants_and_their_sites_belong_together() {
    let mut findings = Findings::default();
    let sites = sites();
    let listed = names_in_list(&required(LIST));
    assert!(listed.len() >= 45, "{LIST}: {} mutants, there were more", listed.len());
    for (name, places) in &sites {
        if !listed.contains(name) {
            findings.add(&places[0], format!("list the mutant {name} in {LIST}"));
        }
        for place in places.iter().filter(|it| !PLACES.iter().any(|dir| it.starts_with(dir))) {
            findings.add(place, "move it into the code that decides: programs have no mutants");
        }
    }
    for name in listed.iter().filter(|name| !sites.contains_key(*name)) {
        findings.add(LIST, format!("{name} has no site: add mutant!({name}), or remove it"));
    }
    findings.assert_none();
}

/// The places of each mutant.
fn sites() -> BTreeMap<String, Vec<String>> {
    let mut sites: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files().iter().filter(|file| file.extension() == "rs" && !file.is_tidy()) {
        let text = file.text();
        let lines = text.lines().enumerate();
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (index, line) in code {
            for name in names_of_sites(line) {
                let place = format!("{}:{}", file.path, index + 1);
                sites.entry(name.to_owned()).or_default().push(place);
            }
        }
    }
    sites
}

/// The names in `mutant!(One, Other)` on a line.
fn names_of_sites(line: &str) -> Vec<&str> {
    let calls = line.split("mutant!(").skip(1).filter_map(|rest| rest.split(')').next());
    calls.flat_map(|names| names.split(',').map(str::trim)).collect()
}

/// The names in the list: strings of one word in capitals and small letters.
fn names_in_list(list: &str) -> Vec<String> {
    let strings = list.split('"').skip(1).step_by(2);
    let is_name = |text: &&str| {
        text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.len() > 4
            && text.chars().all(|letter| letter.is_ascii_alphabetic())
    };
    strings.filter(is_name).map(str::to_owned).collect()
}

mod tests {
    use super::{names_in_list, names_of_sites};

    #[test]
    fn all_names_of_a_line_are_found() {
        let line = "if mutant!(One) && !mutant!(Two, Three) { mutant }";
        assert_eq!(names_of_sites(line), ["One", "Two", "Three"]);
    }

    #[test]
    fn names_are_told_from_other_strings() {
        let list = r#"simulated("P2", "OwnPromise", "a leader"), simulated("Fate", "Late", "x")"#;
        assert_eq!(names_in_list(list), ["OwnPromise"]);
    }
}
