//! All integration tests in one binary: it links once, and one list of modules shows the areas.

mod admin;
mod any_node;
mod catch_up;
mod chaos;
mod crash;
mod dev;
mod disk;
mod expiry;
mod foreign_clients;
mod hostile;
mod http;
mod membership;
mod mutants;
mod partition;
mod pause;
mod power;
mod protocol;
mod repair;
mod service;
mod settings;
mod stop;
mod tidy;
mod upgrade;
