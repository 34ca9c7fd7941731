//! A transaction that was acknowledged is found by its id for ever, also on a node that has since started from a snapshot
//! above it.

use crate::net::Net;

#[test]
fn what_lies_below_the_snapshot_that_nodes_start_from_is_still_found_by_its_id() {
    let net = Net::empty();
    net.ok("testnet --detach --snapshot-interval 10");
    let mut kept = vec![net.transfer("alice", "bob", 1)];
    while kept.last().unwrap().height < 25 {
        kept.push(net.transfer("alice", "bob", 1));
    }
    net.kill_all();
    net.ok("testnet --detach");
    net.assert_kept(&kept);
}
