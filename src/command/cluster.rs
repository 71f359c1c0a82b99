//! CLUSTER: the answer of a server that is in no cluster, which clients match.

use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, Outcome, Run};

const STALE: Flags = Flags::STALE;
const ANY_TIME: Flags = Flags::STALE.and(Flags::LOADING);
const ADMIN: Flags = Flags::STALE.and(Flags::ADMIN);
const CHANGES: Flags = ADMIN.and(Flags::NO_ASYNC_LOADING);
const RESETS: Flags = ADMIN.and(Flags::NO_SCRIPT);

const UNSTEADY: &[&str] = &["nondeterministic_output"];

/// The subcommands, of which none does anything.
#[rustfmt::skip]
pub(super) static SUBCOMMANDS: &[CommandSpec] = &[
    refused("ADDSLOTS", Arity::AtLeast(3), CHANGES, &[], "3.0.0",
        "CLUSTER ADDSLOTS slot [slot ...]",
        "Assign new hash slots to receiving node."),
    refused("ADDSLOTSRANGE", Arity::AtLeast(4), CHANGES, &[], "7.0.0",
        "CLUSTER ADDSLOTSRANGE start-slot end-slot [start-slot end-slot ...]",
        "Assign new hash slots to receiving node."),
    refused("BUMPEPOCH", Arity::Exact(2), CHANGES, UNSTEADY, "3.0.0",
        "CLUSTER BUMPEPOCH",
        "Advance the cluster config epoch."),
    refused("COUNT-FAILURE-REPORTS", Arity::Exact(3), ADMIN, UNSTEADY, "3.0.0",
        "CLUSTER COUNT-FAILURE-REPORTS node-id",
        "Return the number of failure reports active for a given node."),
    refused("COUNTKEYSINSLOT", Arity::Exact(3), STALE, &[], "3.0.0",
        "CLUSTER COUNTKEYSINSLOT slot",
        "Return the number of local keys in the specified hash slot."),
    refused("DELSLOTS", Arity::AtLeast(3), CHANGES, &[], "3.0.0",
        "CLUSTER DELSLOTS slot [slot ...]",
        "Set hash slots as unbound in receiving node."),
    refused("DELSLOTSRANGE", Arity::AtLeast(4), CHANGES, &[], "7.0.0",
        "CLUSTER DELSLOTSRANGE start-slot end-slot [start-slot end-slot ...]",
        "Set hash slots as unbound in receiving node."),
    refused("FAILOVER", Arity::AtLeast(2), CHANGES, &[], "3.0.0",
        "CLUSTER FAILOVER [FORCE | TAKEOVER]",
        "Forces a replica to perform a manual failover of its master."),
    refused("FLUSHSLOTS", Arity::Exact(2), CHANGES, &[], "3.0.0",
        "CLUSTER FLUSHSLOTS",
        "Delete a node's own slots information."),
    refused("FORGET", Arity::Exact(3), CHANGES, &[], "3.0.0",
        "CLUSTER FORGET node-id",
        "Remove a node from the nodes table."),
    refused("GETKEYSINSLOT", Arity::Exact(4), STALE, UNSTEADY, "3.0.0",
        "CLUSTER GETKEYSINSLOT slot count",
        "Return local key names in the specified hash slot."),
    refused("HELP", Arity::Exact(2), ANY_TIME, &[], "5.0.0",
        "CLUSTER HELP",
        "Show helpful text about the different subcommands."),
    refused("INFO", Arity::Exact(2), STALE, UNSTEADY, "3.0.0",
        "CLUSTER INFO",
        "Provides info about Redis Cluster node state."),
    refused("KEYSLOT", Arity::Exact(3), STALE, &[], "3.0.0",
        "CLUSTER KEYSLOT key",
        "Returns the hash slot of the specified key."),
    refused("LINKS", Arity::Exact(2), STALE, UNSTEADY, "7.0.0",
        "CLUSTER LINKS",
        "Returns a list of all TCP links to and from peer nodes in cluster."),
    refused("MEET", Arity::AtLeast(4), CHANGES, &[], "3.0.0",
        "CLUSTER MEET ip port [cluster_bus_port]",
        "Force a node cluster to handshake with another node."),
    refused("MYID", Arity::Exact(2), STALE, &[], "3.0.0",
        "CLUSTER MYID",
        "Return the node id."),
    refused("NODES", Arity::Exact(2), STALE, UNSTEADY, "3.0.0",
        "CLUSTER NODES",
        "Get Cluster config for the node."),
    refused("REPLICAS", Arity::Exact(3), ADMIN, UNSTEADY, "5.0.0",
        "CLUSTER REPLICAS node-id",
        "List replica nodes of the specified master node."),
    refused("REPLICATE", Arity::Exact(3), CHANGES, &[], "3.0.0",
        "CLUSTER REPLICATE node-id",
        "Reconfigure a node as a replica of the specified master node."),
    refused("RESET", Arity::AtLeast(2), RESETS, &[], "3.0.0",
        "CLUSTER RESET [HARD | SOFT]",
        "Reset a Redis Cluster node."),
    refused("SAVECONFIG", Arity::Exact(2), CHANGES, &[], "3.0.0",
        "CLUSTER SAVECONFIG",
        "Forces the node to save cluster state on disk."),
    refused("SET-CONFIG-EPOCH", Arity::Exact(3), CHANGES, &[], "3.0.0",
        "CLUSTER SET-CONFIG-EPOCH config-epoch",
        "Set the configuration epoch in a new node."),
    refused("SETSLOT", Arity::AtLeast(4), CHANGES, &[], "3.0.0",
        "CLUSTER SETSLOT slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        "Bind a hash slot to a specific node."),
    refused("SHARDS", Arity::Exact(2), STALE, UNSTEADY, "7.0.0",
        "CLUSTER SHARDS",
        "Get array of cluster slots to node mappings."),
    refused("SLAVES", Arity::Exact(3), ADMIN, UNSTEADY, "3.0.0",
        "CLUSTER SLAVES node-id",
        "List replica nodes of the specified master node."),
    refused("SLOTS", Arity::Exact(2), STALE, UNSTEADY, "3.0.0",
        "CLUSTER SLOTS",
        "Get array of Cluster slot to node mappings."),
];

/// What clients of a cluster send on connections of their own.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    connection("ASKING", Flags::FAST, "ASKING", "Sent by cluster clients after an -ASK redirect."),
    connection("READONLY", ANY_TIME.and(Flags::FAST), "READONLY",
        "Enables read queries for a connection to a cluster replica node."),
    connection("READWRITE", ANY_TIME.and(Flags::FAST), "READWRITE",
        "Disables read queries for a connection to a cluster replica node."),
];

const fn connection(
    name: &'static str,
    flags: Flags,
    syntax: &'static str,
    summary: &'static str,
) -> CommandSpec {
    let row = refused(name, Arity::Exact(1), flags, &[], "3.0.0", syntax, summary);
    CommandSpec { categories: &["connection"], ..row }
}

const fn refused(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    tips: &'static [&'static str],
    since: &'static str,
    syntax: &'static str,
    summary: &'static str,
) -> CommandSpec {
    let compat = Compat::Differs("Answers that there is no cluster.");
    let run = Run::Client(disabled);
    let group = Group::Cluster;
    CommandSpec {
        name,
        group,
        arity,
        flags,
        tips,
        since,
        syntax,
        summary,
        compat,
        run,
        ..CommandSpec::BASE
    }
}

fn disabled(_context: &mut Context, _call: &mut Call<'_>) -> Outcome {
    Err(CommandError::Text("ERR This instance has cluster support disabled"))
}
