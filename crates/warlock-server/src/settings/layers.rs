//! Reads settings from file, environment and flags, and puts the layers on top of each other.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Settings;
use super::check;
use super::keys::{Key, Standard, keys};
use super::problem::{Place, Problem, Problems, suggestion};
use super::value::{Given, Values};

/// Everything that was said about settings, before it is checked.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file and its content.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; those without the prefix `WARLOCK_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Values of flags by key path.
    pub flags: Vec<(String, String)>,
}

impl Layers {
    /// Reads `path` and takes its content as the file.
    ///
    /// # Errors
    /// [`Problems`] if it cannot be read or is not UTF-8.
    pub fn read_file(&mut self, path: &Path) -> Result<(), Problems> {
        let unreadable = |why: String| {
            Problems(vec![Problem {
                place: None,
                subject: path.display().to_string(),
                complaint: format!("cannot read the settings file: {why}"),
            }])
        };
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
        self.file = Some((path.to_owned(), text));
        Ok(())
    }

    /// Checks everything and makes settings of it.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong.
    pub fn settings(&self) -> Result<Settings, Problems> {
        self.settings_over(|_| false)
    }

    /// The same for a node of which the data directory may know its cluster, which
    /// `knows_its_cluster` says of a path: who belongs to that is not asked of the settings then.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong.
    pub fn settings_over(
        &self,
        knows_its_cluster: impl FnOnce(&Path) -> bool,
    ) -> Result<Settings, Problems> {
        let mut reading = Reading::default();
        reading.defaults();
        if let Some((path, text)) = &self.file {
            reading.file(path, text);
        }
        reading.environment(&self.environment);
        reading.flags(&self.flags);
        let is_member = knows_its_cluster(Path::new(reading.values.text("data_dir")));
        if !reading.unparsed {
            reading.required(is_member);
        }
        if reading.problems.is_empty() {
            reading.problems = check::relations(&reading.values, is_member);
        }
        if reading.problems.is_empty() {
            Ok(Settings::from_values(&reading.values))
        } else {
            Err(Problems(reading.problems))
        }
    }
}

/// Layers put so far.
#[derive(Debug, Default)]
struct Reading {
    values: Values,
    problems: Vec<Problem>,
    /// The file is not TOML: what it holds is unknown, so nothing in it counts as missing.
    unparsed: bool,
}

impl Reading {
    fn defaults(&mut self) {
        for key in keys() {
            if let Standard::Default(toml) = key.standard {
                let value = DeValue::parse(toml).expect("defaults are TOML");
                let problem =
                    self.values.put(key, &Given::from_toml(value.get_ref()), Place::Default);
                assert!(problem.is_none(), "a default breaks its own rule: {problem:?}");
            }
        }
    }

    fn file(&mut self, path: &Path, text: &str) {
        let file = File { path, text };
        match DeTable::parse(text) {
            Ok(table) => self.table(&file, "", table.get_ref()),
            Err(error) => {
                let place = file.place(error.span().map_or(0, |span| span.start));
                let complaint = error.message().replace('\n', ", ");
                self.problems.push(Problem::new(place, "not TOML".into(), complaint));
                self.unparsed = true;
            }
        }
    }

    fn table(&mut self, file: &File<'_>, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            let place = file.place(name.span().start);
            if let Some(key) = keys().iter().find(|key| key.path == path) {
                let given = Given::from_toml(value.get_ref());
                self.problems.extend(self.values.put(key, &given, place));
            } else if is_section(&path) {
                if let DeValue::Table(inner) = value.get_ref() {
                    self.table(file, &path, inner);
                } else {
                    let given = Given::from_toml(value.get_ref());
                    let subject = format!("{path} = {}", given.shown());
                    let complaint = format!("is a section: write [{path}] and its keys below");
                    self.problems.push(Problem::new(place, subject, complaint));
                }
            } else {
                self.problems.push(unknown(place, &path));
            }
        }
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        let names: Vec<(String, &'static Key)> =
            keys().iter().map(|key| (key.variable(), key)).collect();
        for (variable, value) in variables {
            if !variable.starts_with("WARLOCK_") {
                continue;
            }
            let place = Place::Environment(variable.clone());
            if let Some((_, key)) = names.iter().find(|(name, _)| name == variable) {
                self.problems.extend(self.values.put(key, &Given::Word(value.clone()), place));
                continue;
            }
            // Orchestrators set variables after the names of services, for example
            // WARLOCK_SERVICE_HOST: only what looks like a slip of the pen is refused.
            let hint = suggestion(variable, names.iter().map(|(name, _)| name.as_str()));
            if !hint.is_empty() {
                let complaint = format!("no setting has this variable{hint}");
                self.problems.push(Problem::new(place, format!("value {value:?}"), complaint));
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (path, value) in flags {
            let place = Place::Flag(path.clone());
            match keys().iter().find(|key| key.path == path) {
                Some(key) => {
                    self.problems.extend(self.values.put(key, &Given::Word(value.clone()), place));
                }
                None => self.problems.push(unknown(place, path)),
            }
        }
    }

    /// Complains of required keys that nobody gave, unless a given value was refused already.
    fn required(&mut self, is_member: bool) {
        for key in keys() {
            let Standard::Required(example) = key.standard else {
                continue;
            };
            let start = format!("{} = ", key.path);
            let needs_members = self.values.starts_from_members() && !is_member;
            if key.path == "cluster.initial_members" && !needs_members {
                continue;
            }
            if self.values.has(key.path)
                || self.problems.iter().any(|problem| problem.subject.starts_with(&start))
            {
                continue;
            }
            let example = example.lines().next().unwrap_or(example);
            self.problems.push(Problem {
                place: None,
                subject: key.path.to_owned(),
                complaint: format!(
                    "missing: {} Give it in the file (like {example}), as --{} or as {}.",
                    key.comment,
                    key.flag(),
                    key.variable()
                ),
            });
        }
    }
}

/// A file while it is read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Place::File(self.path.to_owned(), line)
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn is_section(path: &str) -> bool {
    !path.is_empty() && keys().iter().any(|key| key.section() == path)
}

fn unknown(place: Place, path: &str) -> Problem {
    let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
    let sections = keys().iter().map(Key::section).filter(|section| !section.is_empty());
    let mut hint = suggestion(path, keys().iter().map(|key| key.path).chain(sections));
    if hint.is_empty() {
        let elsewhere: Vec<&str> =
            keys().iter().filter(|key| key.name() == name).map(|key| key.path).collect();
        if !elsewhere.is_empty() {
            hint = format!("; did you mean {}?", elsewhere.join(" or "));
        }
    }
    let complaint = format!("there is no such setting{hint}");
    // A quoted key of TOML may hold anything, or nothing: the message must stay one clear line.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let subject = match path {
        "" => format!("{path:?}"),
        plain if plain.bytes().all(is_plain) => plain.to_owned(),
        odd => format!("{odd:?}"),
    };
    Problem::new(place, subject, complaint)
}
