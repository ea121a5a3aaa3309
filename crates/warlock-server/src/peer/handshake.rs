//! The handshake: who talks to whom, and in which version.
//!
//! ```text
//! "WLCKPEER" | length u16 | body | crc32c u32 of body     (little endian)
//! string:  length u16 | UTF-8
//!
//! hello:   version_min u16 | version_max u16 | cluster | from u16 | incarnation u128 | to u16
//!          | lease_ns u64 | clock_error_per_mille u64 | software version | client address
//!          | lane u8, and on the lane of newcomers: address | observer u8
//!          | membership in force, if it is not that of the settings
//! accept:  0 u8 | version u16 | incarnation u128 | software version | client address
//!          | lanes u8
//! refuse:  1 u8 | reason | membership in force, if the dialler is not part of it
//! join:    2 u8 | member 0 u8, membership; elsewhere 1 u8, address; later 2 u8, reason,
//!          membership if there is one; refused 3 u8, reason
//! ```
//! Bytes of a body after the known fields are ignored, so that later versions can say more. Who
//! says nothing of lanes has one.

use std::fmt;
use std::io;

use bytes::{Buf, BufMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use warlock_node::{JoinReply, JoinWish};
use warlock_paxos::{
    Charter, Incarnation, Membership, NodeId, Span, decode_charter, encode_charter,
};

use super::limits::{HANDSHAKE_LENGTH_MAX, STRING_LENGTH_MAX, VERSION_MIN};

const MAGIC: [u8; 8] = *b"WLCKPEER";

/// What a node says of itself to every peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalIdentity {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// The node.
    pub(crate) node: NodeId,
    /// Its data directory.
    pub(crate) incarnation: Incarnation,
    /// Its length of the lease: a grant protects only a master that counts on the same (L1).
    pub(crate) lease: Span,
    /// Its bound of clock errors; must be equal for the same reason.
    pub(crate) clock_error_per_mille: u64,
    /// Version of `warlockd`.
    pub(crate) version: String,
    /// Where its clients connect, `host:port`.
    pub(crate) client_address: String,
    /// Newest version of the peer protocol that it speaks.
    pub(crate) protocol_max: u16,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Everything but what has a lane of its own.
    Main,
    /// Parts of snapshots, which nothing else shall wait behind.
    Snapshots,
    /// One question of a node that is no member, and its answer.
    Join,
}

impl Lane {
    /// How many there are between members.
    pub(super) const COUNT: u8 = 2;

    fn of(number: u8) -> Option<Self> {
        [Self::Main, Self::Snapshots, Self::Join].into_iter().find(|lane| *lane as u8 == number)
    }
}

/// The first word of a dialler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version_min: u16,
    pub(super) identity: LocalIdentity,
    /// Who the dialler believes it talks to.
    pub(super) to: NodeId,
    pub(super) lane: Lane,
    /// Where the dialler listens for peers; with [`Lane::Join`] only.
    pub(super) address: String,
    /// It wants no vote; with [`Lane::Join`] only.
    pub(super) observer: bool,
    /// The membership in force where the dialler is: whoever is called may have missed it, and
    /// know nobody any more who could tell.
    pub(super) charter: Option<Charter>,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Accept(Accept),
    Refuse {
        reason: String,
        /// The membership in force, for who is not part of it.
        charter: Option<Charter>,
    },
    /// To [`Lane::Join`].
    Join(JoinReply),
}

/// What the accepting node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) version: u16,
    pub(super) incarnation: Incarnation,
    pub(super) software: String,
    pub(super) client_address: String,
    /// How many lanes it accepts.
    pub(super) lanes: u8,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The other end closed, or the network broke.
    Io(io::Error),
    /// The first bytes are not those of a peer.
    Magic,
    /// A length is above its limit, or the fields do not fill the body.
    Malformed,
    /// The checksum does not match.
    Checksum,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "connection lost in the handshake: {error}"),
            Self::Magic => f.write_str("the first bytes are not those of a Warlock peer"),
            Self::Malformed => f.write_str("malformed handshake"),
            Self::Checksum => f.write_str("handshake with a wrong checksum"),
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Hello {
    pub(super) fn new(identity: &LocalIdentity, to: NodeId, lane: Lane) -> Self {
        Self {
            version_min: VERSION_MIN,
            identity: identity.clone(),
            to,
            lane,
            address: String::new(),
            observer: false,
            charter: None,
        }
    }

    /// The question of a node that wants to belong to the cluster of whoever answers.
    pub(super) fn join(identity: &LocalIdentity, wish: &JoinWish) -> Self {
        let (address, observer) = (wish.address.clone(), wish.observer);
        Self { address, observer, ..Self::new(identity, NodeId::new(0), Lane::Join) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u16_le(self.version_min);
        body.put_u16_le(self.identity.protocol_max);
        put_string(&mut body, &self.identity.cluster);
        body.put_u16_le(self.identity.node.number());
        body.put_u128_le(self.identity.incarnation.bits());
        body.put_u16_le(self.to.number());
        body.put_u64_le(self.identity.lease.nanos());
        body.put_u64_le(self.identity.clock_error_per_mille);
        put_string(&mut body, &self.identity.version);
        put_string(&mut body, &self.identity.client_address);
        body.put_u8(self.lane as u8);
        if self.lane == Lane::Join {
            put_string(&mut body, &self.address);
            body.put_u8(self.observer.into());
        }
        if let Some(charter) = &self.charter {
            put_charter(&mut body, charter);
        }
        envelope(&body)
    }

    pub(super) fn decode(mut body: &[u8]) -> Option<Self> {
        let body = &mut body;
        let version_min = body.try_get_u16_le().ok()?;
        let protocol_max = body.try_get_u16_le().ok()?;
        let cluster = take_string(body)?;
        let node = NodeId::new(body.try_get_u16_le().ok()?);
        let incarnation = Incarnation::new(body.try_get_u128_le().ok()?);
        let to = NodeId::new(body.try_get_u16_le().ok()?);
        let lease = Span::from_nanos(body.try_get_u64_le().ok()?);
        let clock_error_per_mille = body.try_get_u64_le().ok()?;
        let version = take_string(body)?;
        let client_address = take_string(body)?;
        let lane = Lane::of(body.try_get_u8().unwrap_or(0))?;
        let (address, observer) = match lane {
            Lane::Join => (take_string(body)?, body.try_get_u8().ok()? != 0),
            Lane::Main | Lane::Snapshots => (String::new(), false),
        };
        let charter = take_charter(body);
        let identity = LocalIdentity {
            cluster,
            node,
            incarnation,
            lease,
            clock_error_per_mille,
            version,
            client_address,
            protocol_max,
        };
        Some(Self { version_min, identity, to, lane, address, observer, charter })
    }

    /// The version that both speak, or why `local` does not talk to the sender.
    ///
    /// Whether the sender is a member, and with this incarnation, is for the caller to say.
    pub(super) fn judge(&self, local: &LocalIdentity) -> Result<u16, String> {
        let remote = &self.identity;
        if remote.cluster != local.cluster {
            return Err(format!(
                "wrong cluster: you belong to {:?}, this is {:?}",
                remote.cluster, local.cluster
            ));
        }
        if self.to != local.node && self.lane != Lane::Join {
            return Err(format!(
                "wrong node: you want {}, this is {}: compare cluster.initial_members",
                self.to, local.node
            ));
        }
        let version = remote.protocol_max.min(local.protocol_max);
        if version < self.version_min.max(VERSION_MIN) {
            return Err(format!(
                "version mismatch: you speak {} to {} of the peer protocol, this node \
                 {VERSION_MIN} to {}: upgrade the older",
                self.version_min, remote.protocol_max, local.protocol_max
            ));
        }
        if remote.lease != local.lease {
            return Err(format!(
                "consensus.lease_ms differs: {} on {}, {} on {}; a lease is safe only if all agree",
                remote.lease.millis(),
                remote.node,
                local.lease.millis(),
                local.node
            ));
        }
        if remote.clock_error_per_mille != local.clock_error_per_mille {
            return Err(format!(
                "consensus.clock_error_max differs: {} per mille on {}, {} on {}",
                remote.clock_error_per_mille, remote.node, local.clock_error_per_mille, local.node
            ));
        }
        Ok(version)
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Accept(accept) => {
                body.put_u8(0);
                body.put_u16_le(accept.version);
                body.put_u128_le(accept.incarnation.bits());
                put_string(&mut body, &accept.software);
                put_string(&mut body, &accept.client_address);
                body.put_u8(accept.lanes);
            }
            Self::Refuse { reason, charter } => {
                body.put_u8(1);
                put_string(&mut body, reason);
                if let Some(charter) = charter {
                    put_charter(&mut body, charter);
                }
            }
            Self::Join(reply) => {
                body.put_u8(2);
                put_join_reply(&mut body, reply);
            }
        }
        envelope(&body)
    }

    pub(super) fn decode(mut body: &[u8]) -> Option<Self> {
        let body = &mut body;
        match body.try_get_u8().ok()? {
            0 => Some(Self::Accept(Accept {
                version: body.try_get_u16_le().ok()?,
                incarnation: Incarnation::new(body.try_get_u128_le().ok()?),
                software: take_string(body)?,
                client_address: take_string(body)?,
                lanes: body.try_get_u8().unwrap_or(1),
            })),
            1 => {
                let reason = take_string(body)?;
                Some(Self::Refuse { reason, charter: take_charter(body) })
            }
            2 => take_join_reply(body).map(Self::Join),
            _ => None,
        }
    }
}

fn put_charter(body: &mut Vec<u8>, charter: &Charter) {
    let bytes = encode_charter(charter);
    body.put_u16_le(u16::try_from(bytes.len()).expect("members and addresses are limited"));
    body.put_slice(&bytes);
}

fn take_charter(body: &mut &[u8]) -> Option<Charter> {
    let length = usize::from(body.try_get_u16_le().ok()?);
    let (bytes, rest) = body.split_at_checked(length)?;
    *body = rest;
    decode_charter(bytes).ok()
}

fn put_join_reply(body: &mut Vec<u8>, reply: &JoinReply) {
    let (kind, text) = match reply {
        JoinReply::Member(membership) => {
            body.put_u8(0);
            return put_charter(body, membership.charter());
        }
        JoinReply::Elsewhere(address) => (1, address),
        JoinReply::Later(reason, _) => (2, reason),
        JoinReply::Refused(reason) => (3, reason),
    };
    body.put_u8(kind);
    put_string(body, text);
    if let JoinReply::Later(_, Some(membership)) = reply {
        put_charter(body, membership.charter());
    }
}

fn take_join_reply(body: &mut &[u8]) -> Option<JoinReply> {
    Some(match body.try_get_u8().ok()? {
        0 => JoinReply::Member(Membership::from_charter(take_charter(body)?).ok()?),
        1 => JoinReply::Elsewhere(take_string(body)?),
        2 => {
            let reason = take_string(body)?;
            let charter = take_charter(body);
            let membership = charter.and_then(|charter| Membership::from_charter(charter).ok());
            JoinReply::Later(reason, membership)
        }
        3 => JoinReply::Refused(take_string(body)?),
        _ => return None,
    })
}

/// Reads one body; holds at most its limit, and stops at the first byte that cannot be right.
pub(super) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Vec<u8>, HandshakeError> {
    let mut magic = [0; MAGIC.len()];
    let mut length = 0;
    while length < magic.len() {
        match stream.read(&mut magic[length..]).await? {
            0 => return Err(HandshakeError::Io(io::ErrorKind::UnexpectedEof.into())),
            count => length += count,
        }
        if magic[..length] != MAGIC[..length] {
            return Err(HandshakeError::Magic);
        }
    }
    let length = usize::from(stream.read_u16_le().await?);
    if length > HANDSHAKE_LENGTH_MAX {
        return Err(HandshakeError::Malformed);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    if stream.read_u32_le().await? != crc32c::crc32c(&body) {
        return Err(HandshakeError::Checksum);
    }
    Ok(body)
}

/// Writes an encoded hello or reply.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    encoded: &[u8],
) -> Result<(), HandshakeError> {
    stream.write_all(encoded).await?;
    Ok(())
}

fn envelope(body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= HANDSHAKE_LENGTH_MAX, "strings are cut so that every body fits");
    let length = u16::try_from(body.len()).expect("the limit of handshakes is below 64 KiB");
    let mut bytes = Vec::with_capacity(MAGIC.len() + 2 + body.len() + 4);
    bytes.put_slice(&MAGIC);
    bytes.put_u16_le(length);
    bytes.put_slice(body);
    bytes.put_u32_le(crc32c::crc32c(body));
    bytes
}

/// Appends `text`, cut to what a string may have.
fn put_string(body: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(STRING_LENGTH_MAX);
    body.put_u16_le(u16::try_from(end).expect("the limit of strings is below 64 KiB"));
    body.put_slice(&text.as_bytes()[..end]);
}

fn take_string(body: &mut &[u8]) -> Option<String> {
    let length = usize::from(body.try_get_u16_le().ok()?);
    if length > STRING_LENGTH_MAX {
        return None;
    }
    let (text, rest) = body.split_at_checked(length)?;
    *body = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::limits::VERSION_MAX;
    use super::*;

    fn identity(node: u16) -> LocalIdentity {
        LocalIdentity {
            cluster: "blue".into(),
            node: NodeId::new(node),
            incarnation: Incarnation::new(77),
            lease: Span::from_millis(500),
            clock_error_per_mille: 50,
            version: "0.1.0".into(),
            client_address: "127.0.0.1:6379".into(),
            protocol_max: VERSION_MAX,
        }
    }

    fn hello() -> Hello {
        Hello::new(&identity(1), NodeId::new(2), Lane::Snapshots)
    }

    fn body(encoded: &[u8]) -> &[u8] {
        &encoded[MAGIC.len() + 2..encoded.len() - 4]
    }

    #[test]
    fn bodies_survive_the_round_trip_and_later_additions() {
        let encoded = hello().encode();
        let longer = [body(&encoded), b"said by a later version"].concat();
        assert_eq!(Hello::decode(&longer), Some(hello()));
        for reply in [
            Reply::Refuse { reason: "because".into(), charter: None },
            Reply::Accept(Accept {
                version: 1,
                incarnation: Incarnation::new(5),
                software: "0.1.0".into(),
                client_address: "a:1".into(),
                lanes: 2,
            }),
        ] {
            assert_eq!(Reply::decode(body(&reply.encode())), Some(reply));
        }
    }

    #[test]
    fn cut_bodies_are_malformed() {
        let encoded = hello().encode();
        let whole = body(&encoded);
        let older = whole.len() - 1;
        for length in 0..older {
            assert_eq!(Hello::decode(&whole[..length]), None, "{length}");
        }
        assert_eq!(Hello::decode(&whole[..older]).unwrap().lane, Lane::Main, "it knows no lanes");
        let unknown = [&whole[..older], &[9]].concat();
        assert_eq!(Hello::decode(&unknown), None);
        assert_eq!(Reply::decode(&[]), None);
        assert_eq!(Reply::decode(&[2]), None);
    }

    #[test]
    fn strings_are_cut_at_a_character() {
        let text = format!("{}\u{e4}", "x".repeat(STRING_LENGTH_MAX - 1));
        let refusal = Reply::Refuse { reason: text, charter: None };
        let Some(Reply::Refuse { reason: cut, .. }) = Reply::decode(body(&refusal.encode())) else {
            panic!("a refusal was encoded");
        };
        assert_eq!(cut.len(), STRING_LENGTH_MAX - 1);
    }

    #[test]
    fn every_disagreement_has_its_reason() {
        let local = identity(2);
        assert_eq!(hello().judge(&local), Ok(VERSION_MAX));
        let refusal = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            hello.judge(&local).unwrap_err()
        };
        assert!(refusal(|h| h.identity.cluster = "red".into()).starts_with("wrong cluster: "));
        assert!(refusal(|h| h.to = NodeId::new(3)).starts_with("wrong node: "));
        assert!(refusal(|h| h.version_min = VERSION_MAX + 1).starts_with("version mismatch: "));
        assert!(
            refusal(|h| h.identity.protocol_max = VERSION_MIN - 1)
                .starts_with("version mismatch: ")
        );
        let lease = refusal(|h| h.identity.lease = Span::from_millis(400));
        assert!(lease.starts_with("consensus.lease_ms differs: 400 on n1, 500 on n2"), "{lease}");
        assert!(refusal(|h| h.identity.clock_error_per_mille = 1).contains("clock_error_max"));
    }

    #[test]
    fn newest_common_version_is_taken() {
        let mut hello = hello();
        hello.identity.protocol_max = 9;
        assert_eq!(hello.judge(&identity(2)), Ok(VERSION_MAX));
        let mut older = identity(2);
        older.protocol_max = VERSION_MIN;
        assert_eq!(hello.judge(&older), Ok(VERSION_MIN));
    }

    async fn read(bytes: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut input = bytes;
        read_body(&mut input).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn envelopes_are_checked() {
        let good = hello().encode();
        assert_eq!(read(&good).await.unwrap(), body(&good));
        assert!(matches!(read(b"GET / HTTP/1.1\r\n\r\n").await, Err(HandshakeError::Magic)));
        // One wrong byte suffices: a stranger that says little is not waited for.
        assert!(matches!(read(b"*").await, Err(HandshakeError::Magic)));
        assert!(matches!(read(&good[..good.len() - 1]).await, Err(HandshakeError::Io(_))));
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        assert!(matches!(read(&bad).await, Err(HandshakeError::Checksum)));
        let over = u16::try_from(HANDSHAKE_LENGTH_MAX + 1).unwrap().to_le_bytes();
        let long = [&MAGIC[..], &over].concat();
        assert!(matches!(read(&long).await, Err(HandshakeError::Malformed)));
    }
}
