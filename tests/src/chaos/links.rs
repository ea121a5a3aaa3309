//! Links between nodes that lose packets, one direction at a time.
//!
//! Each node filters what arrives in its own network namespace, so that the sender learns nothing,
//! as when a switch drops packets. Clients come from another address and always get through: what
//! a node that is cut off tells them is what matters.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::fault::Shape;
use crate::Network;

/// How many of a hundred packets each link loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// `lost[from][to]`, both counted from 0.
    lost: Vec<Vec<u16>>,
}

impl Links {
    /// All links whole.
    pub(super) fn whole(nodes: u16) -> Self {
        let nodes = usize::from(nodes);
        Self { lost: vec![vec![0; nodes]; nodes] }
    }

    /// Links of this shape; `target` is the node that it is about, if it is about one.
    pub(super) fn shaped(nodes: u16, shape: &Shape, target: u16) -> Self {
        let mut links = Self::whole(nodes);
        for from in 1..=nodes {
            for to in (1..=nodes).filter(|to| *to != from) {
                let lost = match shape {
                    Shape::Halves(half) => whether(half.contains(&from) != half.contains(&to)),
                    Shape::Deaf(_) => whether(to == target),
                    Shape::Mute(_) => whether(from == target),
                    Shape::Island(_) => whether(from == target || to == target),
                    Shape::Ring(order) => whether(!are_neighbours(order, from, to, true)),
                    Shape::Chain(order) => whether(!are_neighbours(order, from, to, false)),
                    Shape::Apart => 100,
                    Shape::Loss(percent) => *percent,
                };
                links.lost[usize::from(from) - 1][usize::from(to) - 1] = lost;
            }
        }
        links
    }

    /// Makes the links of a network such.
    ///
    /// # Panics
    /// If the filters cannot be changed.
    pub(super) fn apply(&self, network: &Network) {
        for to in (1..).take(self.lost.len()) {
            let rules = self.rules(network, to);
            let namespace = network.namespace(to);
            let mut child = Command::new("ip")
                .args(["netns", "exec", &namespace, "nft", "--file", "-"])
                .stdin(Stdio::piped())
                .spawn()
                .expect("ip can be started: it made the network");
            let mut input = child.stdin.take().expect("the input is a pipe");
            input.write_all(rules.as_bytes()).expect("nft reads rules: run scripts/setup");
            drop(input);
            let status = child.wait().expect("a child can be waited for");
            assert!(status.success(), "nft refuses:\n{rules}");
        }
    }

    /// What filters that which arrives at `to`; takes the place of what was there, at one moment.
    fn rules(&self, network: &Network, to: u16) -> String {
        let mut rules = "table inet chaos\ndelete table inet chaos\ntable inet chaos {\n\
                         chain arriving {\ntype filter hook input priority 0\n"
            .to_owned();
        for (from, lost) in (1..).zip(&self.lost) {
            let address = network.address(from);
            let dropped = match lost[usize::from(to) - 1] {
                0 => continue,
                100 => "drop".to_owned(),
                percent => format!("numgen random mod 100 < {percent} drop"),
            };
            writeln!(rules, "ip saddr {address} {dropped}").expect("a string takes everything");
        }
        rules + "}\n}\n"
    }
}

const fn whether(broken: bool) -> u16 {
    if broken { 100 } else { 0 }
}

fn are_neighbours(order: &[u16], one: u16, other: u16, closed: bool) -> bool {
    let position = |id| order.iter().position(|it| *it == id).expect("the order has all nodes");
    let distance = position(one).abs_diff(position(other));
    distance == 1 || (closed && distance == order.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::{Links, Shape};
    use crate::chaos::fault::Target;

    /// The links as a picture: a row for each sender, `#` for what is lost.
    fn picture(nodes: u16, shape: &Shape, target: u16) -> String {
        let row = |row: &Vec<u16>| -> String {
            row.iter().map(|lost| if *lost == 100 { '#' } else { '.' }).collect()
        };
        Links::shaped(nodes, shape, target).lost.iter().map(row).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn links_break_in_the_shape_that_was_drawn() {
        assert_eq!(picture(3, &Shape::Halves(vec![2]), 0), ".#. #.# .#.");
        assert_eq!(picture(3, &Shape::Deaf(Target::Master), 3), "..# ..# ...");
        assert_eq!(picture(3, &Shape::Mute(Target::Master), 3), "... ... ##.");
        assert_eq!(picture(3, &Shape::Island(Target::Master), 1), ".## #.. #..");
        assert_eq!(picture(3, &Shape::Chain(vec![1, 3, 2]), 0), ".#. #.. ...");
        assert_eq!(picture(3, &Shape::Apart, 0), ".## #.# ##.");
        let ring = picture(5, &Shape::Ring(vec![1, 2, 3, 4, 5]), 0);
        assert_eq!(ring, "..##. ...## #...# ##... .##..");
    }
}
