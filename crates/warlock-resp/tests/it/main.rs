//! The codec as its users see it: requests and replies over a connection that is cut anywhere.

mod connection;
mod limits;
mod oracle;
mod replies;
mod requests;
mod round_trip;
