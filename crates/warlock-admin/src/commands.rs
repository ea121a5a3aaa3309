//! What each action asks the node, and how it shows the answer.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::sleep;
use warlock_client::{Client, Command, Error, Options, Value};

use crate::arguments::{Action, Arguments};
use crate::changes::Operator;
use crate::failure::{Failure, Kind};
use crate::manual;
use crate::output::Output;
use crate::reply;
use crate::status::{Members, Node, Status, known};

/// Longest wait for one node to accept a connection, so that the next one has its chance.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// How long one question of `wait-ready` may take.
const READY_QUESTION_MAX: Duration = Duration::from_secs(1);
/// Pause between two questions of `wait-ready`.
const READY_PAUSE: Duration = Duration::from_millis(100);

/// Does what the arguments say.
pub(crate) async fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let mut options = Options::new(arguments.addr.clone());
    options.name = Some("warlock-admin".to_owned());
    options.call_timeout = arguments.timeout();
    options.connect_timeout = arguments.timeout().min(CONNECT_TIMEOUT_MAX);
    let mut operator = Operator::new(options.clone(), output, arguments.timeout());
    let client = Client::new(options);
    match &arguments.action {
        Action::Join { member, observer } => operator.join(member, *observer).await?,
        Action::Leave { dry } => operator.leave(dry.dry_run).await?,
        Action::Remove { node, dry } => {
            operator.change(&["REMOVE".to_owned(), node.to_string()], dry.dry_run).await?;
        }
        Action::Replace { old, new, dry } => {
            let words = ["REPLACE".to_owned(), old.to_string(), new.to_string()];
            operator.change(&words, dry.dry_run).await?;
        }
        Action::Promote { node, dry } => {
            operator.change(&["PROMOTE".to_owned(), node.to_string()], dry.dry_run).await?;
        }
        Action::Readdress { node, peer, dry } => {
            let words = ["READDRESS".to_owned(), node.to_string(), peer.clone()];
            operator.change(&words, dry.dry_run).await?;
            if !output.json {
                let is = if dry.dry_run { "would be" } else { "is" };
                output.print(format!("n{node} {is} reached at {peer}\n").as_bytes());
            }
        }
        Action::Reset => operator.reset().await?,
        Action::TransferMaster { node } => operator.transfer(node.map(u64::from)).await?,
        Action::Status => {
            let status: Status = describe(&client, "STATUS").await?;
            show(output, &status, || status.print(output));
        }
        Action::Members => {
            let members = Members { nodes: describe(&client, "MEMBERS").await? };
            show(output, &members, || members.print(output));
        }
        Action::WaitReady => wait_ready(arguments, &client, output).await?,
        Action::Digest => digest(&client, output).await?,
        Action::Snapshot => snapshot(&client, output).await?,
        Action::Version => version(&client, output).await?,
        Action::Exec { command } => exec(&client, command, output).await?,
        Action::Completions { shell } => {
            output.print(&manual::completions(Arguments::command(), *shell));
        }
        Action::Man { directory } => write_manual(directory)?,
    }
    Ok(())
}

fn write_manual(directory: &Path) -> Result<(), Failure> {
    manual::write_pages(Arguments::command(), directory).map_err(|error| Failure {
        kind: Kind::Refused,
        message: format!("cannot write manual pages into {}: {error}", directory.display()),
        next: "name a directory that you may write",
    })
}

/// The object for programs, or the text for people.
fn show(output: &Output, object: &impl Serialize, text: impl FnOnce()) {
    if output.json { output.print_json(object) } else { text() }
}

/// Asks for something that a node describes in JSON.
async fn describe<T: DeserializeOwned>(client: &Client, what: &str) -> Result<T, Failure> {
    let Value::Bulk(text) = ask(client, what).await? else {
        return Err(Failure::not_understood(what));
    };
    serde_json::from_slice(&text).map_err(|_| Failure::not_understood(what))
}

/// Asks something that every Warlock answers.
async fn ask(client: &Client, what: &str) -> Result<Value, Failure> {
    client.call(&warlock(what)).await.map_err(|error| {
        let refused = matches!(error, Error::Server(_));
        let failure = Failure::from(error);
        match refused {
            true => Failure { next: "check that a Warlock of this version runs there", ..failure },
            false => failure,
        }
    })
}

fn warlock(what: &str) -> Command {
    Command::new("WARLOCK").arg(what)
}

async fn wait_ready(
    arguments: &Arguments,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let began = Instant::now();
    let timeout = arguments.timeout();
    let place = arguments.addr.join(",");
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let reason = match client.call_within(&warlock("READY"), left.min(READY_QUESTION_MAX)).await
        {
            Ok(_ready) => break,
            Err(error) => reason(error)?,
        };
        let left = timeout.saturating_sub(began.elapsed());
        if left <= READY_PAUSE {
            output.progress_end();
            return Err(Failure {
                kind: Kind::TimedOut,
                message: format!("{place} is not ready after {timeout:?}: {reason}"),
                next: "look at the log of the node, or give it more time with --timeout",
            });
        }
        output.progress(&format!("waiting for {place}, {} s left: {reason}", left.as_secs()));
        sleep(READY_PAUSE).await;
    }
    output.progress_end();
    let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let object = json!({ "ready": true, "waited_ms": waited });
    show(output, &object, || output.print(format!("{place} is ready\n").as_bytes()));
    Ok(())
}

/// Why a node is not ready yet; the failure if it never will be.
fn reason(error: Error) -> Result<String, Failure> {
    match error {
        // The question can be repeated whatever became of it.
        Error::Connect { .. } | Error::Unknown(_) => Ok(error.to_string()),
        Error::Refused(text) => Ok(text),
        Error::Server(_) | Error::Protocol(_) | Error::Usage(_) => Err(error.into()),
    }
}

async fn digest(client: &Client, output: &Output) -> Result<(), Failure> {
    let object = reply::json(&ask(client, "DIGEST").await?);
    let (Some(applied), Some(digest)) = (object["applied"].as_u64(), object["digest"].as_str())
    else {
        return Err(Failure::not_understood("DIGEST"));
    };
    let object = json!({ "applied": applied, "digest": digest });
    show(output, &object, || output.print(format!("s{applied} {digest}\n").as_bytes()));
    Ok(())
}

async fn snapshot(client: &Client, output: &Output) -> Result<(), Failure> {
    ask(client, "SNAPSHOT").await?;
    let object = json!({ "snapshot": "begun" });
    show(output, &object, || output.print(b"the node takes a snapshot\n"));
    Ok(())
}

async fn version(client: &Client, output: &Output) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let status: Status = describe(client, "STATUS").await?;
    let nodes = &status.nodes;
    let versions: Vec<_> =
        nodes.iter().map(|node| json!({ "id": node.id, "version": node.version })).collect();
    let object = json!({ "admin": own, "nodes": versions });
    show(output, &object, || {
        let line = |node: &Node| format!("n{} {}\n", node.id, known(&node.version));
        let lines: String = nodes.iter().map(line).collect();
        output.print(format!("warlock-admin {own}\n{lines}").as_bytes());
    });
    Ok(())
}

async fn exec(client: &Client, words: &[String], output: &Output) -> Result<(), Failure> {
    let (name, arguments) = words.split_first().expect("clap requires a command");
    let value = client.call(&Command::new(name).args(arguments)).await?;
    show(output, &json!({ "reply": reply::json(&value) }), || match output.terminal {
        true => output.print(reply::typed(&value).as_bytes()),
        false => output.print(&reply::raw(&value)),
    });
    Ok(())
}
