//! A network of its own for every node: namespaces joined by a bridge, with cables to cut.
//!
//! ```text
//! host:  bridge wl<pid>b  198.18.x.254
//!          |- wl<pid>v1 ---- eth0 of namespace wl<pid>n1  198.18.x.1
//!          |- wl<pid>v2 ---- eth0 of namespace wl<pid>n2  198.18.x.2 ...
//! ```

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::machine::{require_root, run, run_ok};

/// Where `ip` keeps the names of network namespaces.
const NAMESPACES: &str = "/run/netns";

/// Longest time that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The network of a cluster. Taken apart when dropped.
#[derive(Debug)]
pub struct Network {
    nodes: u16,
    prefix: String,
}

impl Network {
    /// Builds a network for nodes 1 to `nodes`, all cables whole.
    ///
    /// # Panics
    /// If the test does not run as root, or `ip` is missing.
    #[must_use]
    pub fn new(nodes: u16) -> Self {
        require_root("a network of namespaces");
        assert!(
            Command::new("ip").arg("-Version").output().is_ok(),
            "there is no program `ip`: install iproute2 (scripts/setup does)"
        );
        remove_leftovers();
        let network = Self { nodes, prefix: format!("wl{}", process::id()) };
        let bridge = network.bridge();
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("addr add {}/24 dev {bridge}", network.address(254)));
        ip(&format!("link set {bridge} up"));
        for id in 1..=nodes {
            let (name, cable) = (network.namespace(id), network.cable(id));
            ip(&format!("netns add {name}"));
            ip(&format!("link add {cable} type veth peer name eth0 netns {name}"));
            ip(&format!("link set {cable} master {bridge} up"));
            ip(&format!("-n {name} addr add {}/24 dev eth0", network.address(id)));
            ip(&format!("-n {name} link set eth0 up"));
            ip(&format!("-n {name} link set lo up"));
        }
        network
    }

    /// The address of a node. The block is set aside for tests of networks (RFC 2544).
    #[must_use]
    pub fn address(&self, id: u16) -> IpAddr {
        let [.., low] = process::id().to_be_bytes();
        let host = u8::try_from(id).expect("a network has at most 254 addresses");
        Ipv4Addr::new(198, 18, low, host).into()
    }

    /// Pulls the cable of a node: it and all others no longer reach each other.
    pub fn cut(&self, id: u16) {
        ip(&format!("link set {} down", self.cable(id)));
    }

    /// Plugs the cable in again.
    pub fn heal(&self, id: u16) {
        ip(&format!("link set {} up", self.cable(id)));
    }

    /// Drops what `from` sends to `to`; what `to` sends still arrives.
    pub fn mute(&self, from: u16, to: u16) {
        let to = self.address(to);
        ip(&format!("-n {} route add blackhole {to}/32", self.namespace(from)));
    }

    /// Ends [`Network::mute`].
    pub fn unmute(&self, from: u16, to: u16) {
        let to = self.address(to);
        ip(&format!("-n {} route del blackhole {to}/32", self.namespace(from)));
    }

    /// A command that runs `program` in the network of a node.
    pub(crate) fn command(&self, id: u16, program: &Path) -> Command {
        // `ip` becomes the program, so that its process id is that of the program.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(id)]).arg(program);
        command
    }

    /// Connects to `address` as a program in the network of a node does. A socket belongs to the
    /// network in which it was made, whoever uses it.
    pub(crate) fn connect_inside(&self, id: u16, address: SocketAddr) -> io::Result<TcpStream> {
        let namespace = File::open(format!("{NAMESPACES}/{}", self.namespace(id)))?;
        thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network)?;
                TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
            });
            connecting.join().expect("connecting does not panic")
        })
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    /// The name of the network namespace of a node.
    pub(crate) fn namespace(&self, id: u16) -> String {
        format!("{}n{id}", self.prefix)
    }

    fn cable(&self, id: u16) -> String {
        format!("{}v{id}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What does not exist need not be removed; a failure must not hide that of the test.
        for id in 1..=self.nodes {
            let _ = run("ip", &["link", "del", &self.cable(id)]);
            let _ = run("ip", &["netns", "del", &self.namespace(id)]);
        }
        let _ = run("ip", &["link", "del", &self.bridge()]);
    }
}

/// Removes networks of tests that were killed.
fn remove_leftovers() {
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    for name in names(NAMESPACES).iter().filter(|name| is_leftover(name)) {
        let _ = run("ip", &["netns", "del", name]);
    }
    for name in names("/sys/class/net").iter().filter(|name| is_leftover(name)) {
        let _ = run("ip", &["link", "del", name]);
    }
}

/// Whether this is the name of something of a test whose process is gone.
fn is_leftover(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("wl") else { return false };
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let (owner, kind) = rest.split_at(digits);
    let ours = !owner.is_empty() && kind.starts_with(['b', 'n', 'v']);
    ours && !Path::new("/proc").join(owner).exists()
}

#[track_caller]
fn ip(arguments: &str) {
    let words: Vec<&str> = arguments.split(' ').collect();
    run_ok("ip", &words);
}

#[cfg(test)]
mod tests {
    use super::is_leftover;

    #[test]
    fn only_names_of_dead_tests_are_leftovers() {
        assert!(is_leftover("wl4194305b"));
        assert!(is_leftover("wl4194305n1"));
        assert!(!is_leftover("wl1b"), "process 1 lives");
        assert!(!is_leftover("wlan0"));
        assert!(!is_leftover("wlp2s0"));
        assert!(!is_leftover("eth0"));
    }
}
