//! What changes who belongs to the cluster, and who leads it: asked of the master wherever it is,
//! and followed until it is done.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;
use warlock_client::{Client, Command, Error, Options, Value};

use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::status::{Node, Status};

/// Pause between two looks at what is under way.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one question may take.
const QUESTION_MAX: Duration = Duration::from_secs(2);

/// The membership as a node describes it.
#[derive(Debug, Deserialize)]
struct Membership {
    /// The node that says so.
    node: u64,
    view: u64,
    transitional: bool,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    id: u64,
    seat: String,
}

/// What a change leads to.
#[derive(Debug, Deserialize, Serialize)]
struct Plan {
    dry_run: bool,
    before: Side,
    after: Side,
    transitional: bool,
    must_answer: Vec<Majority>,
    quorum_at_risk: bool,
}

#[derive(Debug, Deserialize, Serialize)]
struct Side {
    view: u64,
    voters: Vec<u64>,
    observers: Vec<u64>,
    survives: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Majority {
    of: Vec<u64>,
    quorum: u64,
}

/// A cluster under an operator's hands.
pub(crate) struct Operator<'a> {
    client: Client,
    options: Options,
    output: &'a Output,
    deadline: Instant,
}

impl<'a> Operator<'a> {
    /// Speaks with the nodes of `options` and those that they name, for `timeout` at most.
    pub(crate) fn new(mut options: Options, output: &'a Output, timeout: Duration) -> Self {
        options.call_timeout = timeout.min(QUESTION_MAX);
        let deadline = Instant::now() + timeout;
        Self { client: Client::new(options.clone()), options, output, deadline }
    }

    /// Has the master change the membership, and waits until it has.
    pub(crate) async fn change(&mut self, words: &[String], dry_run: bool) -> Result<(), Failure> {
        let membership = self.membership().await?;
        let mut command = Command::new("WARLOCK").args(words);
        command = command.arg("VIEW").arg(membership.view.to_string());
        if dry_run {
            command = command.arg("DRYRUN");
        }
        let reply = self.ask_master(&command).await?;
        let plan: Plan = parse(&reply, &words[0])?;
        if !dry_run {
            self.await_view(plan.after.view).await?;
        }
        self.output.progress_end();
        match self.output.json {
            true => self.output.print_json(&plan),
            false => self.output.print(plan.text().as_bytes()),
        }
        Ok(())
    }

    /// Takes the node that was asked out of the cluster; a master hands over first.
    pub(crate) async fn leave(&mut self, dry_run: bool) -> Result<(), Failure> {
        let node = self.membership().await?.node;
        let status = self.status().await?;
        if status.master() == Some(node) && !dry_run {
            self.hand_over(None, node).await?;
        }
        self.change(&["REMOVE".to_owned(), node.to_string()], dry_run).await
    }

    /// Makes another node the master.
    pub(crate) async fn transfer(&mut self, to: Option<u64>) -> Result<(), Failure> {
        let before = self.status().await?.master();
        let Some(before) = before else {
            return Err(Failure {
                kind: Kind::Refused,
                message: "there is no master that could hand over".to_owned(),
                next: "see which nodes are up with `warlock-admin status`",
            });
        };
        let master = self.hand_over(to, before).await?;
        self.output.progress_end();
        match self.output.json {
            true => self.output.print_json(&json!({ "master": master, "before": before })),
            false => self.output.print(format!("n{master} is the master\n").as_bytes()),
        }
        Ok(())
    }

    /// Has the node that is asked join a cluster, and waits until it has.
    pub(crate) async fn join(&self, address: &str, observer: bool) -> Result<(), Failure> {
        let mut command = Command::new("WARLOCK").arg("JOIN").arg(address);
        if observer {
            command = command.arg("OBSERVER");
        }
        self.ask(&command).await?;
        loop {
            let membership = self.membership().await?;
            let node = membership.node;
            let seat = membership.members.iter().find(|member| member.id == node);
            let seat = seat.map(|member| member.seat.as_str());
            let wanted = if observer { "observer" } else { "voter" };
            if seat == Some(wanted) && !membership.transitional {
                self.output.progress_end();
                let object = json!({ "node": node, "view": membership.view, "seat": wanted });
                let article = if observer { "an" } else { "a" };
                let view = membership.view;
                let text = format!("n{node} is {article} {wanted} as of view v{view}\n");
                match self.output.json {
                    true => self.output.print_json(&object),
                    false => self.output.print(text.as_bytes()),
                }
                return Ok(());
            }
            let progress = self.status().await.ok().and_then(|status| {
                status.nodes.iter().find(|known| known.id == node).map(Node::progress)
            });
            let progress = progress.unwrap_or_else(|| "asking for a seat".to_owned());
            self.pause(&format!("n{node}: {progress}")).await?;
        }
    }

    /// Has the node that is asked forget its state, and waits until it has it again.
    pub(crate) async fn reset(&self) -> Result<(), Failure> {
        let node = self.membership().await?.node;
        let before = self.start_of_node().await?;
        self.ask_until_taken(&Command::new("WARLOCK").arg("RESET")).await?;
        loop {
            let progress = match self.start_of_node().await {
                Ok(now) if now != before => match self.status().await {
                    Ok(status) => match status.nodes.iter().find(|known| known.id == node) {
                        Some(own) if own.is_level() && status.master().is_some() => break,
                        Some(own) => own.progress(),
                        None => "starts".to_owned(),
                    },
                    Err(_) => "starts".to_owned(),
                },
                Ok(_) | Err(_) => "starts again without its data".to_owned(),
            };
            self.pause(&format!("n{node} {progress}")).await?;
        }
        self.output.progress_end();
        match self.output.json {
            true => self.output.print_json(&json!({ "node": node, "reset": "done" })),
            false => self.output.print(format!("n{node} has its data again\n").as_bytes()),
        }
        Ok(())
    }

    /// A word that differs from start to start of the node that is asked.
    async fn start_of_node(&self) -> Result<String, Failure> {
        let value = self.ask(&Command::new("INFO").arg("server")).await?;
        let text = crate::reply::raw(&value);
        let text = String::from_utf8_lossy(&text);
        let id = text.lines().find_map(|line| line.trim().strip_prefix("run_id:"));
        id.map(str::to_owned).ok_or_else(|| Failure::not_understood("INFO"))
    }

    /// Asks the master to hand over, and gives the one that leads then.
    async fn hand_over(&mut self, to: Option<u64>, before: u64) -> Result<u64, Failure> {
        let command = Command::new("WARLOCK").arg("TRANSFER");
        let command = match to {
            Some(node) => command.arg(node.to_string()),
            None => command,
        };
        self.ask_master(&command).await?;
        loop {
            match self.status().await?.master() {
                Some(master) if master != before => return Ok(master),
                _ => self.pause(&format!("n{before} hands over")).await?,
            }
        }
    }

    async fn await_view(&self, view: u64) -> Result<(), Failure> {
        loop {
            // The node asked may be the one that goes: another one answers then.
            if let Ok(known) = self.membership().await
                && known.view >= view
                && !known.transitional
            {
                return Ok(());
            }
            self.pause(&format!("waiting for view v{view}")).await?;
        }
    }

    /// Asks the master, whichever node that is, until it gives an answer that lasts.
    async fn ask_master(&mut self, command: &Command) -> Result<Value, Failure> {
        self.know_all().await;
        loop {
            let error = match self.client.call(command).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let why = match error {
                Error::Server(text) if text.starts_with("NOTMASTER ") => {
                    if let Some(address) = text.split(' ').nth(2).filter(|it| !it.is_empty()) {
                        self.prefer(address.to_owned());
                    }
                    "looking for the master".to_owned()
                }
                Error::Server(text) if text.starts_with("TRYAGAIN ") => {
                    text["TRYAGAIN ".len()..].to_owned()
                }
                Error::Refused(text) => text,
                error @ (Error::Connect { .. }
                | Error::Unknown(_)
                | Error::Server(_)
                | Error::Protocol(_)
                | Error::Usage(_)) => return Err(failure(error)),
            };
            self.pause(&why).await?;
        }
    }

    /// Asks the same node again while it wants to be.
    async fn ask_until_taken(&self, command: &Command) -> Result<(), Failure> {
        loop {
            match self.client.call(command).await {
                Ok(_) => return Ok(()),
                Err(Error::Server(text)) if text.starts_with("TRYAGAIN ") => {
                    self.pause(&text["TRYAGAIN ".len()..]).await?;
                }
                Err(error) => return Err(failure(error)),
            }
        }
    }

    async fn ask(&self, command: &Command) -> Result<Value, Failure> {
        self.client.call(command).await.map_err(failure)
    }

    async fn membership(&self) -> Result<Membership, Failure> {
        let command = Command::new("WARLOCK").arg("MEMBERSHIP");
        parse(&self.ask(&command).await?, "MEMBERSHIP")
    }

    async fn status(&self) -> Result<Status, Failure> {
        let command = Command::new("WARLOCK").arg("STATUS");
        parse(&self.ask(&command).await?, "STATUS")
    }

    /// Adds every node of the cluster to those that may be asked.
    async fn know_all(&mut self) {
        let Ok(status) = self.status().await else { return };
        let known = &mut self.options.addresses;
        for address in status.nodes.iter().map(|node| node.addr.clone()) {
            if !address.is_empty() && !known.contains(&address) {
                known.push(address);
            }
        }
    }

    /// Asks this node first from now on.
    fn prefer(&mut self, address: String) {
        let known = &mut self.options.addresses;
        known.retain(|other| *other != address);
        known.insert(0, address);
        self.client = Client::new(self.options.clone());
    }

    /// Waits a little, unless there is no time left.
    async fn pause(&self, why: &str) -> Result<(), Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left <= PAUSE {
            self.output.progress_end();
            return Err(Failure {
                kind: Kind::TimedOut,
                message: format!("not done in time: {why}"),
                next: "see how far it is with `warlock-admin members`; --timeout gives more time",
            });
        }
        self.output.progress(&format!("{why} ({} s left)", left.as_secs()));
        sleep(PAUSE).await;
        Ok(())
    }
}

fn failure(error: Error) -> Failure {
    if let Error::Server(text) = error { refused(&text) } else { error.into() }
}

fn parse<T: for<'de> Deserialize<'de>>(value: &Value, what: &str) -> Result<T, Failure> {
    let Value::Bulk(text) = value else {
        return Err(Failure::not_understood(what));
    };
    serde_json::from_slice(text).map_err(|_| Failure::not_understood(what))
}

/// What a node refused, with the way out.
fn refused(text: &str) -> Failure {
    let message = text.strip_prefix("REFUSED ").unwrap_or(text).to_owned();
    let ways = [
        ("of the new voters only", "start the nodes that are down, or join others first"),
        ("is in force, look again", "somebody else changed the membership: look, and decide anew"),
        ("ever higher ids", "start the node with an empty data directory and that node_id"),
        ("would be lost", "start the nodes that are down first"),
        ("does not answer", "start that node, or name another one"),
        ("has no vote that", "see who votes with `warlock-admin members`"),
        (
            "has a vote already",
            "start a node with --cluster.join_as observer, or remove the old one",
        ),
        ("has never been met", "the newcomer may observe until then"),
        ("is no member", "see who is with `warlock-admin members`"),
        ("no voter left", "join another node first, or stop this one"),
        ("nothing would change", "it is so already: see `warlock-admin members`"),
        ("belongs to a cluster already", "name the node that is to join with --addr"),
    ];
    let way = ways.iter().find(|(part, _)| message.contains(part)).map(|(_, way)| *way);
    let next = way.unwrap_or("nothing was changed; correct the command");
    Failure { kind: Kind::Refused, message, next }
}

impl Plan {
    /// The plan for people.
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.dry_run {
            let _ = writeln!(text, "done: {}", self.after.text());
            return text;
        }
        let _ = writeln!(text, "before  {}", self.before.text());
        let _ = writeln!(text, "after   {}", self.after.text());
        let majority = |it: &Majority| format!("{} of {}", it.quorum, names(&it.of));
        let majorities: Vec<String> = self.must_answer.iter().map(majority).collect();
        let _ = writeln!(text, "must answer: {}", majorities.join(", then "));
        if self.quorum_at_risk {
            text.push_str("note: of the nodes that answer now, all would be needed afterwards\n");
        }
        text
    }
}

impl Side {
    fn text(&self) -> String {
        let mut text = format!("v{}, voters {}", self.view, names(&self.voters));
        if !self.observers.is_empty() {
            let _ = write!(text, ", observers {}", names(&self.observers));
        }
        let _ = write!(text, "; survives {}", failures(self.survives));
        text
    }
}

fn failures(count: u64) -> String {
    match count {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        more => format!("{more} failures"),
    }
}

fn names(nodes: &[u64]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| format!("n{node}")).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_sentences() {
        let side = |view, voters: &[u64], survives| Side {
            view,
            voters: voters.to_vec(),
            observers: vec![],
            survives,
        };
        let mut plan = Plan {
            dry_run: true,
            before: side(1, &[1, 2, 3], 1),
            after: side(3, &[1, 2], 0),
            transitional: true,
            must_answer: vec![
                Majority { of: vec![1, 2, 3], quorum: 2 },
                Majority { of: vec![1, 2], quorum: 2 },
            ],
            quorum_at_risk: true,
        };
        let text = plan.text();
        assert!(text.contains("before  v1, voters n1 n2 n3; survives 1 failure\n"), "{text}");
        assert!(text.contains("must answer: 2 of n1 n2 n3, then 2 of n1 n2\n"), "{text}");
        assert!(text.ends_with("all would be needed afterwards\n"), "{text}");
        plan.dry_run = false;
        assert_eq!(plan.text(), "done: v3, voters n1 n2; survives no failure\n");
    }

    #[test]
    fn refusals_name_a_way_out() {
        let failure = refused("REFUSED newcomers have ever higher ids: take 5 or a higher one");
        assert_eq!(failure.message, "newcomers have ever higher ids: take 5 or a higher one");
        assert!(failure.next.contains("empty data directory"));
    }
}
