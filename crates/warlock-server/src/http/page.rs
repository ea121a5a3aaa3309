//! The status page: one table, no scripts, nothing loaded from elsewhere.

use std::fmt::{self, Write as _};

use warlock_node::status::{NodeStatus, Role, State, Status};

const HEAD: &str = "\
<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta http-equiv=\"refresh\" content=\"2\">
<title>Warlock</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.25rem; margin-bottom: 0; }
p { margin: .25rem 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .4rem .75rem .4rem 0; text-align: left; }
th { font-weight: 600; }
.number { font-variant-numeric: tabular-nums; text-align: right; }
.up { color: #2a7f3f; }
.down { color: #c0392b; font-weight: 600; }
.recovering { color: #b8860b; }
.master td:first-child { font-weight: 600; }
footer { font-size: .875rem; margin-top: 1rem; opacity: .7; }
</style>
</head>
<body>
";

/// The page; `unready` says why this node cannot serve, if so.
pub(super) fn render(status: &Status, unready: Option<&str>) -> String {
    let mut html = String::with_capacity(8 * 1024);
    write(&mut html, status, unready).expect("writing to a string cannot fail");
    html
}

fn write(html: &mut String, status: &Status, unready: Option<&str>) -> fmt::Result {
    html.push_str(HEAD);
    writeln!(html, "<h1>Cluster {}</h1>", Escaped(&status.cluster))?;
    html.push_str("<p>");
    match status.master {
        Some(master) => write!(html, "Master n{master} <code>{}</code>", Escaped(&status.ballot))?,
        None => html.push_str("<span class=\"down\">No master with a quorum</span>"),
    }
    write!(html, " &middot; view v{} &middot; seen by n{}", status.view, status.local)?;
    if let Some(reason) = unready {
        write!(html, " &middot; <span class=\"down\">not ready: {}</span>", Escaped(reason))?;
    }
    html.push_str(
        "</p>\n<table>\n<thead><tr><th>Node</th><th>Role</th><th>State</th><th>Clients</th>\
         <th>Peers</th><th class=\"number\">Applied</th><th class=\"number\">Lag</th>\
         <th class=\"number\">Lease left</th><th>Version</th></tr></thead>\n<tbody>\n",
    );
    for node in &status.nodes {
        write_row(html, node)?;
    }
    html.push_str(
        "</tbody>\n</table>\n<footer>Renewed every 2 seconds. <a href=\"/metrics\">Metrics</a> \
         &middot; <a href=\"/readyz\">Ready</a></footer>\n</body>\n</html>\n",
    );
    Ok(())
}

fn write_row(html: &mut String, node: &NodeStatus) -> fmt::Result {
    let role = match node.role {
        Role::Master => "master",
        Role::Follower => "follower",
        Role::Observer => "observer",
    };
    let state = match node.state {
        State::Up => "up",
        State::Down => "down",
        State::Recovering => "recovering",
    };
    let lease = node.lease_ms_left.map_or_else(String::new, |left| format!("{left} ms"));
    writeln!(
        html,
        "<tr class=\"{role}\"><td>n{}</td><td>{role}</td><td class=\"{state}\">{state}</td>\
         <td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{lease}</td><td>{}</td></tr>",
        node.id,
        Escaped(&node.addr),
        Escaped(&node.peer),
        node.applied,
        node.lag,
        Escaped(&node.version),
    )
}

/// Text that cannot become markup, whoever sent it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
