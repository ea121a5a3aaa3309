//! Metrics, health and the status page, for operators and their tools.
//!
//! Served by a thread of its own, which only reads what others published: whatever a client of this
//! port does, the core does not wait for it.

mod facts;
mod limited;
mod page;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use warlock_paxos::Span;

use crate::metrics::{Metrics, PREFIX};

pub(crate) use facts::Facts;
#[cfg(test)]
pub(crate) use facts::Totals;

use facts::FactsCollector;
use limited::LimitedListener;

/// Age from which on the status says nothing about now.
const STATUS_AGE_MAX: Span = Span::from_millis(1000);

/// The thread that serves HTTP. Dropping it stops it.
pub(crate) struct HttpServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the handlers look at.
struct Sources {
    facts: Arc<dyn Facts>,
    metrics: Arc<Metrics>,
    /// Has the collector of `facts`.
    registry: Registry,
}

/// Starts serving on `listener`.
///
/// # Errors
/// If the system refuses a thread or a runtime.
pub(crate) fn start(
    listener: TcpListener,
    facts: Arc<impl Facts>,
    metrics: Arc<Metrics>,
) -> io::Result<HttpServer> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        LimitedListener::new(tokio::net::TcpListener::from_std(listener)?)
    };
    let facts: Arc<dyn Facts> = facts;
    let router = router(facts, metrics);
    let (stop, stopped) = oneshot::channel();
    let serve = async move {
        tokio::select! {
            ended = async { axum::serve(listener, router).await } => {
                tracing::error!(?ended, "HTTP ended by itself");
            }
            _ = stopped => {}
        }
    };
    let thread =
        std::thread::Builder::new().name("http".into()).spawn(move || runtime.block_on(serve))?;
    Ok(HttpServer { stop: Some(stop), thread: Some(thread) })
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

fn router(facts: Arc<dyn Facts>, metrics: Arc<Metrics>) -> Router {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(FactsCollector(Arc::clone(&facts))));
    let sources = Arc::new(Sources { facts, metrics, registry });
    Router::new()
        .route("/", get(status_page))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(sources)
}

async fn status_page(State(sources): State<Arc<Sources>>) -> Response {
    let ready = unready(&*sources.facts);
    let html = page::render(&sources.facts.status(), ready);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

async fn metrics_text(State(sources): State<Arc<Sources>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match sources.metrics.encode(&sources.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The process runs and answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 if linearizable requests can be served, with the master; else 503 with the reason.
async fn readyz(State(sources): State<Arc<Sources>>) -> Response {
    if let Some(reason) = unready(&*sources.facts) {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response();
    }
    let status = sources.facts.status();
    let master = status.master.unwrap_or_default();
    format!("ready\nmaster n{master} {}\n", status.ballot).into_response()
}

/// Why linearizable requests cannot be served, if they cannot.
pub(crate) fn unready(facts: &dyn Facts) -> Option<&'static str> {
    if facts.stopping() {
        Some("this node is stopping")
    } else if !facts.recovered() {
        Some("this node recovers from its disk")
    } else {
        let status = facts.status();
        // The core renews it many times in this span, unless it hangs.
        if facts.now().since(status.at) > STATUS_AGE_MAX {
            Some("the core of this node does not answer")
        } else if status.master.is_none() {
            Some("no master with a quorum is known")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
