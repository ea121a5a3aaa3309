//! What an operator asks of a node that is its own cluster.

use warlock_wal::FaultyDisk;

use crate::rig::Rig;

fn rig() -> Rig {
    let mut rig = Rig::start(FaultyDisk::new(1), 7, u64::MAX);
    rig.expect("SET k v\r\n", "+OK\r\n");
    rig
}

#[test]
fn a_change_that_cannot_be_is_refused_with_the_reason() {
    let mut rig = rig();
    rig.expect("WARLOCK LEAVE\r\n", "-REFUSED there would be no voter left\r\n");
    rig.expect("WARLOCK REMOVE 1 DRYRUN\r\n", "-REFUSED there would be no voter left\r\n");
    rig.expect("WARLOCK PROMOTE 9\r\n", "-REFUSED n9 is no member\r\n");
    rig.expect(
        "WARLOCK REPLACE 2 1\r\n",
        "-REFUSED n2 has no vote that another node could get\r\n",
    );
    rig.expect("WARLOCK REMOVE 1 VIEW 7\r\n", "-REFUSED v1 is in force, look again\r\n");
    rig.expect("WARLOCK TRANSFER 1\r\n", "-REFUSED n1 is the master already\r\n");
    rig.expect("WARLOCK TRANSFER\r\n", "-REFUSED there is no other voter\r\n");
    rig.expect("WARLOCK PROMOTE x\r\n", "-ERR a node is a number from 1 to 65535\r\n");
    let alone = "-REFUSED of the other voters fewer answer than are a quorum, which is 1: what \
                 only this node holds would be lost\r\n";
    rig.expect("WARLOCK RESET\r\n", alone);
    let member = "-REFUSED this node belongs to a cluster already: v1[n1]; a node of a new data \
                  directory can join\r\n";
    rig.expect("WARLOCK JOIN host:1\r\n", member);
}

#[test]
fn replies_keep_their_order_around_an_operation() {
    let mut rig = rig();
    rig.expect(
        "SET k w\r\nWARLOCK LEAVE\r\nGET k\r\n",
        "+OK\r\n-REFUSED there would be no voter left\r\n$1\r\nw\r\n",
    );
}

#[test]
fn the_membership_is_told_as_json() {
    let member = r#"{"id":1,"seat":"voter","peer":"","incarnation":null}"#;
    let members = format!(r#"{{"node":1,"view":1,"transitional":false,"members":[{member}]}}"#);
    let expected = format!("${}\r\n{members}\r\n", members.len());
    rig().expect("WARLOCK MEMBERSHIP\r\n", &expected);
}
