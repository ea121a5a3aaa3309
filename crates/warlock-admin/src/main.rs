//! `warlock-admin`: looks at a cluster and operates it, with nothing but the public protocol.

mod arguments;
mod changes;
mod commands;
mod failure;
mod manual;
mod output;
mod reply;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::of_this_process(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system lets a process wait for sockets");
    match runtime.block_on(commands::run(&arguments, &output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.fail(&failure);
            failure.kind.exit_code()
        }
    }
}
