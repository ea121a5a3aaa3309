//! What operators ask of a cluster, as `WARLOCK` takes it, and the plans that it answers with.

use serde::Serialize;
use warlock_paxos::{Change, Membership, NodeId, Seat, View};
use warlock_resp::Request;

/// Something that an operator wants done and that takes more than this node's own opinion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Another membership.
    Change(Wish),
    /// Another master: the node named, or the fittest.
    Transfer(Option<NodeId>),
    /// This node, which belongs to no cluster yet, shall join the one of which a member listens for
    /// peers at `address`.
    Join {
        /// `host:port`.
        address: String,
        /// It shall have no vote.
        observer: bool,
    },
    /// This node shall forget its state, and get it from its peers.
    Reset,
}

/// A change of the membership as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What shall be.
    pub what: What,
    /// The view that the asker saw; the one in force if it does not say.
    pub view: Option<View>,
    /// Only say what would be.
    pub dry_run: bool,
}

/// What an operator wants of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An observer gets a vote.
    Promote(NodeId),
    /// A node goes.
    Remove(NodeId),
    /// This node goes.
    Leave,
    /// The second node gets the vote of the first, which goes.
    Replace(NodeId, NodeId),
    /// Exactly these nodes shall vote.
    Voters(Vec<NodeId>),
    /// The others reach a node at this address from now on.
    Readdress(NodeId, String),
}

impl What {
    /// The change of `membership` that brings it about, asked of `local`.
    ///
    /// # Errors
    /// The reason, if a node that is to be replaced has no vote, or the other one has.
    pub fn change(self, local: NodeId, membership: &Membership) -> Result<Change, String> {
        Ok(match self {
            Self::Promote(node) => Change::Promote { node },
            Self::Remove(node) => Change::Remove { node },
            Self::Leave => Change::Remove { node: local },
            Self::Voters(voters) => Change::SetVoters { voters },
            Self::Readdress(node, address) => Change::Readdress { node, address },
            Self::Replace(old, new) => {
                if !membership.is_voter(old) {
                    return Err(format!("{old} has no vote that another node could get"));
                }
                if membership.is_voter(new) {
                    return Err(format!("{new} has a vote already: name an observer"));
                }
                let others = membership.voters().iter().copied().filter(|&node| node != old);
                Change::SetVoters { voters: others.chain([new]).collect() }
            }
        })
    }
}

const SYNTAX: &str = "ERR syntax error. Try WARLOCK HELP.";

impl Operation {
    /// The operation that a `WARLOCK` command asks for; `None` if it asks for none.
    ///
    /// # Errors
    /// The error reply.
    pub fn parse(request: Request<'_>) -> Option<Result<Self, String>> {
        let word = request.arg(1)?.to_ascii_uppercase();
        let rest: Vec<&[u8]> = (2..).map_while(|index| request.arg(index)).collect();
        Some(match word.as_slice() {
            b"PROMOTE" | b"REMOVE" | b"LEAVE" | b"REPLACE" | b"VOTERS" | b"READDRESS" => {
                change(&word, &rest)
            }
            b"TRANSFER" => transfer(&rest),
            b"JOIN" => join(&rest),
            b"RESET" if rest.is_empty() => Ok(Self::Reset),
            b"RESET" => Err(SYNTAX.to_owned()),
            _ => return None,
        })
    }
}

fn change(verb: &[u8], rest: &[&[u8]]) -> Result<Operation, String> {
    let (mut operands, mut view, mut dry_run) = (Vec::new(), None, false);
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"DRYRUN") {
            dry_run = true;
        } else if word.eq_ignore_ascii_case(b"VIEW") {
            let number = words.next().and_then(|word| number(word)).ok_or(SYNTAX)?;
            view = Some(View::new(number));
        } else {
            operands.push(*word);
        }
    }
    let what = wanted(verb, &operands)?;
    Ok(Operation::Change(Wish { what, view, dry_run }))
}

fn wanted(verb: &[u8], operands: &[&[u8]]) -> Result<What, String> {
    Ok(match (verb, operands) {
        (b"PROMOTE", [it]) => What::Promote(node(it)?),
        (b"REMOVE", [it]) => What::Remove(node(it)?),
        (b"LEAVE", []) => What::Leave,
        (b"REPLACE", [old, new]) => What::Replace(node(old)?, node(new)?),
        (b"READDRESS", [it, at]) => What::Readdress(node(it)?, address(at)?),
        (b"VOTERS", [_, ..]) => {
            What::Voters(operands.iter().map(|it| node(it)).collect::<Result<_, _>>()?)
        }
        _ => return Err(SYNTAX.to_owned()),
    })
}

fn transfer(rest: &[&[u8]]) -> Result<Operation, String> {
    match rest {
        [] => Ok(Operation::Transfer(None)),
        [word] => Ok(Operation::Transfer(Some(node(word)?))),
        _ => Err(SYNTAX.to_owned()),
    }
}

fn join(rest: &[&[u8]]) -> Result<Operation, String> {
    let (address, observer) = match rest {
        [address] => (address, false),
        [address, word] if word.eq_ignore_ascii_case(b"OBSERVER") => (address, true),
        _ => return Err(SYNTAX.to_owned()),
    };
    Ok(Operation::Join { address: self::address(address)?, observer })
}

/// Where a node listens for peers.
fn address(word: &[u8]) -> Result<String, String> {
    let address = String::from_utf8(word.to_vec()).map_err(|_| SYNTAX)?;
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|it| it > 0) => {
            Ok(address)
        }
        _ => Err("ERR the address of a member is host:port, with its port for peers".to_owned()),
    }
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A node as `3` or `n3`.
fn node(word: &[u8]) -> Result<NodeId, String> {
    let digits = word.strip_prefix(b"n").unwrap_or(word);
    let node = number(digits).filter(|&id: &u16| id > 0).map(NodeId::new);
    node.ok_or_else(|| "ERR a node is a number from 1 to 65535".to_owned())
}

/// A membership as JSON: a public interface.
#[derive(Debug, Serialize)]
pub struct MembershipFacts {
    /// The node that says so.
    node: u16,
    /// Number of the view; zero if the node belongs to no cluster yet.
    view: u64,
    /// The voters of the view before still count in elections.
    transitional: bool,
    members: Vec<MemberFacts>,
}

#[derive(Debug, Serialize)]
struct MemberFacts {
    id: u16,
    /// `voter`, `observer` or `leaving`.
    seat: String,
    /// Address for peers; empty if only the settings of the founders say.
    peer: String,
    /// The data directory; `null` if it is not recorded.
    incarnation: Option<String>,
}

impl MembershipFacts {
    /// `membership` as `node` knows it.
    #[must_use]
    pub fn new(node: u16, membership: &Membership) -> Self {
        let members = membership.members().iter().map(|member| MemberFacts {
            id: member.node.number(),
            seat: member.seat.to_string(),
            peer: member.address.clone(),
            incarnation: member.incarnation.map(|incarnation| incarnation.to_string()),
        });
        Self {
            node,
            view: membership.view().number(),
            transitional: membership.is_transitional(),
            members: members.collect(),
        }
    }
}

/// What a change leads to, as JSON: a public interface.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Whether the change was only looked at.
    dry_run: bool,
    before: Side,
    /// Once it is stable.
    after: Side,
    /// The voters change, so that two views follow each other.
    transitional: bool,
    /// Who decides: a majority of the first, then one of the second.
    must_answer: Vec<Majority>,
    /// More voters must answer than before for the cluster to go on, or fewer may fail.
    quorum_at_risk: bool,
}

#[derive(Debug, Serialize)]
struct Side {
    view: u64,
    voters: Vec<u16>,
    observers: Vec<u16>,
    /// How many voters may fail while the others go on.
    survives: usize,
}

#[derive(Debug, Serialize)]
struct Majority {
    of: Vec<u16>,
    quorum: usize,
}

impl Plan {
    /// The plan of a change from `before` to `next`; `up` says who answers now.
    #[must_use]
    pub fn new(
        before: &Membership,
        next: &Membership,
        up: impl Fn(NodeId) -> bool,
        dry_run: bool,
    ) -> Self {
        let transitional = next.is_transitional();
        let after = if transitional { next.stabilised() } else { next.clone() };
        let majority = |membership: &Membership| Majority {
            of: numbers(membership.voters()),
            quorum: membership.quorum(),
        };
        let must_answer = match transitional {
            true => vec![majority(before), majority(&after)],
            false => vec![majority(before)],
        };
        let spare = |membership: &Membership| {
            let answering = membership.voters().iter().filter(|&&node| up(node)).count();
            answering.saturating_sub(membership.quorum())
        };
        let quorum_at_risk = transitional && spare(&after) == 0 && spare(&after) < spare(before);
        Self {
            dry_run,
            before: side(before),
            after: side(&after),
            transitional,
            must_answer,
            quorum_at_risk,
        }
    }
}

fn side(membership: &Membership) -> Side {
    let voters = membership.voters();
    let observers = membership.members().iter().filter(|member| member.seat == Seat::Observer);
    Side {
        view: membership.view().number(),
        voters: numbers(voters),
        observers: observers.map(|member| member.node.number()).collect(),
        survives: voters.len().saturating_sub(membership.quorum()),
    }
}

fn numbers(nodes: &[NodeId]) -> Vec<u16> {
    nodes.iter().map(|node| node.number()).collect()
}

#[cfg(test)]
mod tests {
    use warlock_resp::{Progress, RequestLimits, RequestParser, RequestSpans, encode_request};

    use super::*;

    fn parse(line: &str) -> Option<Result<Operation, String>> {
        let mut input = Vec::new();
        let words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        encode_request(words.into_iter(), &mut input);
        let mut spans = RequestSpans::default();
        let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
        let progress = parser.parse(&input, &mut spans);
        assert!(matches!(progress, Ok(Progress::Complete { .. })), "{line}");
        Operation::parse(spans.request(&input))
    }

    fn node(number: u16) -> NodeId {
        NodeId::new(number)
    }

    fn wish(what: What) -> Option<Result<Operation, String>> {
        Some(Ok(Operation::Change(Wish { what, view: None, dry_run: false })))
    }

    #[test]
    fn operations_are_understood() {
        assert_eq!(parse("WARLOCK promote 4"), wish(What::Promote(node(4))));
        assert_eq!(parse("WARLOCK REMOVE n4"), wish(What::Remove(node(4))));
        assert_eq!(parse("WARLOCK LEAVE"), wish(What::Leave));
        assert_eq!(parse("WARLOCK REPLACE 1 4"), wish(What::Replace(node(1), node(4))));
        assert_eq!(parse("WARLOCK VOTERS 1 2"), wish(What::Voters(vec![node(1), node(2)])));
        let moved = What::Readdress(node(4), "[::1]:7".into());
        assert_eq!(parse("WARLOCK READDRESS n4 [::1]:7"), wish(moved));
        let what = What::Remove(node(1));
        let view = Some(View::new(7));
        let dry = Operation::Change(Wish { what, view, dry_run: true });
        assert_eq!(parse("WARLOCK REMOVE 1 VIEW 7 DRYRUN"), Some(Ok(dry)));
        assert_eq!(parse("WARLOCK TRANSFER"), Some(Ok(Operation::Transfer(None))));
        assert_eq!(parse("WARLOCK TRANSFER 2"), Some(Ok(Operation::Transfer(Some(node(2))))));
        assert_eq!(parse("WARLOCK RESET"), Some(Ok(Operation::Reset)));
        let join = Operation::Join { address: "a:1".into(), observer: true };
        assert_eq!(parse("WARLOCK JOIN a:1 OBSERVER"), Some(Ok(join)));
        assert_eq!(parse("WARLOCK STATUS"), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for wrong in [
            "WARLOCK PROMOTE",
            "WARLOCK PROMOTE 1 2",
            "WARLOCK PROMOTE 0",
            "WARLOCK REMOVE x",
            "WARLOCK REMOVE 65536",
            "WARLOCK LEAVE 1",
            "WARLOCK REPLACE 1",
            "WARLOCK REPLACE",
            "WARLOCK VOTERS",
            "WARLOCK REMOVE 1 VIEW",
            "WARLOCK REMOVE 1 VIEW x",
            "WARLOCK READDRESS 1",
            "WARLOCK READDRESS a:1 1",
            "WARLOCK READDRESS 1 a:0",
            "WARLOCK READDRESS 1 a:1 2",
            "WARLOCK TRANSFER 1 2",
            "WARLOCK JOIN",
            "WARLOCK JOIN host",
            "WARLOCK JOIN :1",
            "WARLOCK JOIN host:0",
            "WARLOCK JOIN host:1 VOTER",
            "WARLOCK RESET now",
        ] {
            let error = parse(wrong).unwrap().unwrap_err();
            assert!(error.starts_with("ERR "), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_replacement_keeps_the_other_voters() {
        let three = Membership::new(View::new(1), (1..=3).map(node));
        let change = What::Replace(node(2), node(4)).change(node(1), &three);
        let voters = vec![node(1), node(3), node(4)];
        assert_eq!(change, Ok(Change::SetVoters { voters }));
        let unknown = What::Replace(node(9), node(4)).change(node(1), &three);
        assert_eq!(unknown, Err("n9 has no vote that another node could get".to_owned()));
        let voter = What::Replace(node(2), node(3)).change(node(1), &three);
        assert_eq!(voter, Err("n3 has a vote already: name an observer".to_owned()));
        let leave = What::Leave.change(node(1), &three);
        assert_eq!(leave, Ok(Change::Remove { node: node(1) }));
    }

    #[test]
    fn a_plan_says_who_must_answer_and_what_is_at_risk() {
        let three = Membership::new(View::new(1), (1..=3).map(node));
        let next = three.changed(&Change::Remove { node: node(3) }).unwrap();
        let json = |up: fn(NodeId) -> bool| {
            serde_json::to_value(Plan::new(&three, &next, up, true)).unwrap()
        };
        let plan = json(|_| true);
        assert_eq!(plan["before"]["voters"], serde_json::json!([1, 2, 3]));
        assert_eq!(plan["after"]["view"], 3);
        assert_eq!(plan["after"]["survives"], 0);
        assert_eq!(plan["must_answer"][1], serde_json::json!({ "of": [1, 2], "quorum": 2 }));
        assert_eq!(plan["quorum_at_risk"], true, "none may fail any more");
        let dead = json(|node| node.number() != 3);
        assert_eq!(dead["quorum_at_risk"], false, "without the dead one it is no worse");
    }
}
