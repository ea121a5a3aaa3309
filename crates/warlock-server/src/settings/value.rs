//! Single values: what was given, and what it means for a key of some kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use toml::de::DeValue;
use warlock_paxos::NodeId;

use super::keys::{Key, Kind, keys};
use super::problem::{Place, Problem, suggestion};

/// The most members of a cluster.
pub(super) const MEMBERS_MAX: usize = 7;

/// A value as somebody wrote it.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// From a flag or the environment, where everything is text.
    Word(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer, as written; `None` if it is negative or beyond 64 bits.
    Integer(String, Option<u64>),
    /// A TOML float, as written.
    Float(String),
    /// A TOML table.
    Table(Vec<(String, Self)>),
    /// Anything else of TOML, which no key takes.
    Other(&'static str),
}

/// A value that its kind allows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    PerMille(u64),
    Socket(SocketAddr),
    Members(BTreeMap<NodeId, String>),
}

impl Given {
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => {
                let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
                Self::Integer(integer.to_string(), number)
            }
            DeValue::Float(float) => Self::Float(float.as_str().to_owned()),
            DeValue::Table(table) => Self::Table(
                table
                    .iter()
                    .map(|(key, value)| {
                        (key.get_ref().to_string(), Self::from_toml(value.get_ref()))
                    })
                    .collect(),
            ),
            DeValue::Boolean(_) => Self::Other("a boolean"),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(_) => Self::Other("an array"),
        }
    }

    /// The value as it is repeated in messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Text(text) => format!("{text:?}"),
            // The parser calls `1_a` and a control character an integer.
            Self::Integer(text, _) | Self::Float(text) => text.escape_debug().to_string(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            Self::Integer(..) | Self::Float(_) | Self::Table(_) | Self::Other(_) => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Word(text) => text.replace('_', "").parse().ok(),
            Self::Integer(_, number) => *number,
            Self::Text(_) | Self::Float(_) | Self::Table(_) | Self::Other(_) => None,
        }
    }

    /// Thousandths, rounded up: a larger clock error is the safer one.
    fn per_mille(&self) -> Option<u64> {
        let text = match self {
            Self::Word(text) | Self::Float(text) | Self::Integer(text, _) => text,
            Self::Text(_) | Self::Table(_) | Self::Other(_) => return None,
        };
        let fraction: f64 = text.parse().ok()?;
        (0..1000_u32)
            .find(|thousandths| f64::from(*thousandths) >= fraction * 1000.0 - 1e-9)
            .filter(|_| fraction >= 0.0)
            .map(u64::from)
    }
}

impl Kind {
    /// Takes the value, or says what is allowed.
    pub(super) fn take(self, given: &Given) -> Result<Value, String> {
        match self {
            Self::Number(min, max) => given
                .number()
                .filter(|number| (min..=max).contains(number))
                .map(Value::Number)
                .ok_or_else(|| format!("must be a whole number from {min} to {max}")),
            Self::Ratio(limit) => given
                .per_mille()
                .filter(|thousandths| *thousandths < limit)
                .map(Value::PerMille)
                .ok_or_else(|| format!("must be a fraction from 0 to 0.{:03}", limit - 1)),
            Self::Name => given
                .text()
                .filter(|name| is_name(name))
                .map(|name| Value::Text(name.to_owned()))
                .ok_or_else(|| "must be 1 to 64 letters, digits, '.', '_' or '-'".to_owned()),
            Self::Path => given
                .text()
                .filter(|path| !path.is_empty() && !path.contains('\0'))
                .map(|path| Value::Text(path.to_owned()))
                .ok_or_else(|| "must be a path in quotes".to_owned()),
            Self::Listen => listen_address(given),
            Self::Advertise => advertised_address(given),
            Self::Choice(words) => choice(given, words),
            Self::Members => members(given),
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn listen_address(given: &Given) -> Result<Value, String> {
    let allowed = "must be an IP address and a port from 1 to 65535, like \"127.0.0.1:6379\"";
    given
        .text()
        .and_then(|text| text.parse::<SocketAddr>().ok())
        .filter(|address| address.port() != 0)
        .map(Value::Socket)
        .ok_or_else(|| allowed.to_owned())
}

fn advertised_address(given: &Given) -> Result<Value, String> {
    given
        .text()
        .filter(|text| text.is_empty() || is_host_and_port(text))
        .map(|text| Value::Text(text.to_owned()))
        .ok_or_else(|| "must be \"host:port\" that others can connect to, or \"\"".to_owned())
}

fn choice(given: &Given, words: &'static [&'static str]) -> Result<Value, String> {
    let text = given.text().unwrap_or_default();
    if words.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let hint = suggestion(&text.to_lowercase(), words.iter().copied());
    Err(match words {
        [only] => format!("must be {only:?}{hint}"),
        _ => format!("must be one of \"{}\"{hint}", words.join("\", \"")),
    })
}

/// Whether others can connect to `text`: a host name, an IPv4 address or an IPv6 address in
/// brackets, and a port. An address that stands for every interface is none to connect to.
fn is_host_and_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0 && !address.ip().is_unspecified();
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=253).contains(&host.len())
        && host.bytes().all(of_name)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn members(given: &Given) -> Result<Value, String> {
    let pairs = match given {
        Given::Table(pairs) => pairs.clone(),
        Given::Word(list) => list
            .split(',')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(id, address)| (id.trim().to_owned(), Given::Text(address.trim().to_owned())))
            .collect(),
        Given::Text(_) | Given::Integer(..) | Given::Float(_) | Given::Other(_) => {
            return Err("must be a table of node ids and addresses, like 1 = \"host:7379\"".into());
        }
    };
    let mut members = BTreeMap::new();
    for (id, address) in &pairs {
        let node = id.parse().ok().filter(|number: &u16| *number != 0).ok_or_else(|| {
            format!("member {id:?} is not a node id: must be a whole number from 1 to 65535")
        })?;
        let address = address.text().filter(|text| is_host_and_port(text)).ok_or_else(|| {
            let shown = address.shown();
            format!("member {node} has the address {shown}: must be \"host:port\", port 1 to 65535")
        })?;
        if members.insert(NodeId::new(node), address.to_owned()).is_some() {
            return Err(format!("member {node} stands there twice"));
        }
    }
    if members.is_empty() || members.len() > MEMBERS_MAX {
        return Err(format!("has {} members: must be 1 to {MEMBERS_MAX}", members.len()));
    }
    Ok(Value::Members(members))
}

/// Values by key, with the place each comes from.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, (Value, String, Place)>);

impl Values {
    /// Replaces the value of `key`, or says why it is not allowed there.
    pub(super) fn put(
        &mut self,
        key: &'static Key,
        given: &Given,
        place: Place,
    ) -> Option<Problem> {
        match key.kind.take(given) {
            Ok(value) => {
                self.0.insert(key.path, (value, given.shown(), place));
                None
            }
            Err(allowed) => {
                Some(Problem::new(place, format!("{} = {}", key.path, given.shown()), allowed))
            }
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Whether a new data directory starts from `cluster.initial_members`.
    pub(super) fn starts_from_members(&self) -> bool {
        !self.has("cluster.start") || self.text("cluster.start") == "members"
    }

    /// A problem with the value of `path`, shown with its place.
    pub(super) fn problem(&self, path: &'static str, complaint: String) -> Problem {
        let (_, shown, place) = self.0.get(path).expect("only values that exist are compared");
        Problem::new(place.clone(), format!("{path} = {shown}"), complaint)
    }

    pub(super) fn text(&self, path: &'static str) -> &str {
        let Value::Text(text) = self.value(path) else { unexpected(path) };
        text
    }

    pub(super) fn number(&self, path: &'static str) -> u64 {
        let Value::Number(number) = self.value(path) else { unexpected(path) };
        *number
    }

    pub(super) fn per_mille(&self, path: &'static str) -> u64 {
        let Value::PerMille(thousandths) = self.value(path) else { unexpected(path) };
        *thousandths
    }

    pub(super) fn socket(&self, path: &'static str) -> SocketAddr {
        let Value::Socket(address) = self.value(path) else { unexpected(path) };
        *address
    }

    pub(super) fn members(&self, path: &'static str) -> BTreeMap<NodeId, String> {
        let Value::Members(members) = self.value(path) else { unexpected(path) };
        members.clone()
    }

    /// A number whose range fits into 16 bits.
    pub(super) fn small(&self, path: &'static str) -> u16 {
        u16::try_from(self.number(path)).expect("the range of the key fits 16 bits")
    }

    /// A number that counts things in memory.
    pub(super) fn size(&self, path: &'static str) -> usize {
        usize::try_from(self.number(path)).unwrap_or(usize::MAX)
    }

    fn value(&self, path: &'static str) -> &Value {
        debug_assert!(keys().iter().any(|key| key.path == path), "{path} is a key");
        &self.0.get(path).expect("every key has a value when settings are made").0
    }
}

fn unexpected(path: &str) -> ! {
    panic!("{path} is read as a type that its kind does not make")
}
