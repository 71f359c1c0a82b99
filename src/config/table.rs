//! The table of all options: CONFIG, the start of the server and docs/configuration.md read it.
//!
//! The options that do something come first. Behind them stand those of Redis that clients,
//! exporters and configuration tools ask for or set, although they have nothing to act on here:
//! they keep what they are given. An option whose other values would promise what is not kept,
//! such as appendonly, refuses them.

use crate::config::option::{Change, Effect, Kind, OptionSpec};
use crate::util::log::LEVEL_NAMES;
use Change::{AtStart, Live, Protected};
use Kind::{
    Bool, BufferLimits, Choice, Choices, EventClasses, MemoryOrPercent, Percentiles, SaveRules,
    Text,
};

const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn bytes(min: u64) -> Kind {
    Kind::Memory { min, max: i64::MAX as u64 }
}

const COUNT: Kind = int(0, i64::MAX);
const COUNT_32: Kind = int(0, i32::MAX as i64);
const SIZE: Kind = bytes(0);
/// An argument cannot be longer than a request.
const STRING: Kind = Kind::Memory { min: 1 << 20, max: 1 << 30 };
const MEMORY: Kind = Kind::Memory { min: 0, max: u64::MAX };

const POLICIES: Kind = Choice(&[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
]);
const SHUTDOWN: Kind = Choices(&["default", "save", "nosave", "now", "force"]);
const LIMITS: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";

const NO_LOG: &str = "my_redis_server keeps no append only file";
const NO_REPLICAS: &str = "my_redis_server has no replicas";
const NO_TLS: &str = "my_redis_server does not speak TLS";
const NO_DEFRAG: &str = "my_redis_server does not defragment its memory";

/// An option that does what it says.
const fn acts(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec { name, alias: "", kind, default, change, effect: Effect::Acts, summary }
}

/// An option of Redis that is kept and does nothing.
const fn kept(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec { name, alias: "", kind, default, change, effect: Effect::None, summary }
}

impl OptionSpec {
    const fn or(self, alias: &'static str) -> Self {
        Self { alias, ..self }
    }

    /// Only the default is possible.
    const fn fixed(self, reason: &'static str) -> Self {
        Self { effect: Effect::Fixed(reason), ..self }
    }
}

/// All options.
#[rustfmt::skip]
pub static OPTIONS: &[OptionSpec] = &[
    acts("port", int(0, 65535), "6379", AtStart, "Port to listen on; 0 lets the system choose one."),
    acts("bind", Text, "127.0.0.1 -::1", AtStart, "Addresses to listen on; one after a minus sign may be missing on the machine."),
    acts("tcp-backlog", COUNT_32, "4096", AtStart, "Connections that may wait to be accepted."),
    acts("protected-mode", Bool, "yes", Live, "Without a password, serve only clients on this machine."),
    acts("requirepass", Text, "", Live, "Password of the default user; empty for none."),
    acts("aclfile", Text, "", AtStart, "File of users, which ACL LOAD and ACL SAVE read and write; with it there are none in the configuration file."),
    acts("acl-pubsub-default", Choice(&["allchannels", "resetchannels"]), "resetchannels", Live, "Whether a new user may use all channels or none."),
    acts("acllog-max-len", COUNT, "128", Live, "Entries that ACL LOG keeps."),
    acts("maxclients", int(1, u32::MAX as i64), "10000", Live, "Clients that may be connected at the same time."),
    acts("timeout", COUNT_32, "0", Live, "Seconds without a request after which a client is disconnected; 0 for never."),
    acts("tcp-keepalive", COUNT_32, "300", Live, "Seconds of silence after which a peer is asked whether it is still there; 0 for never."),
    acts("proto-max-bulk-len", STRING, "536870912", Live, "Bytes that one argument and one string may have."),
    acts("client-query-buffer-limit", STRING, "1073741824", Live, "Bytes that one request may have; a longer one closes the connection."),
    acts("hll-sparse-max-bytes", SIZE, "3000", Live, "Size up to which a HyperLogLog is sparse."),
    acts("stream-node-max-bytes", SIZE, "4096", Live, "Bytes up to which a block of a stream takes entries; 0 for any number."),
    acts("stream-node-max-entries", COUNT, "100", Live, "Entries that a block of a stream takes; 0 for any number."),
    acts("dir", Text, ".", Protected, "Folder of the dump."),
    acts("dbfilename", Text, "dump.my_rdb", Protected, "File name of the dump."),
    acts("save", SaveRules, "300 1", Live, "When to save: pairs of seconds and the changes that must have happened; empty for never."),
    acts("stop-writes-on-bgsave-error", Bool, "yes", Live, "Refuse writes while the last save has failed and saving is configured."),
    acts("rdbcompression", Bool, "yes", Live, "Pack long strings in the dump."),
    acts("rdbchecksum", Bool, "yes", AtStart, "End the dump with a checksum."),
    acts("enable-debug-command", Choice(&["no", "yes", "local"]), "no", AtStart, "Who may use DEBUG: nobody, clients on this machine, or all."),
    acts("enable-protected-configs", Choice(&["no", "yes", "local"]), "no", AtStart, "Who may change `protected` options: nobody, clients on this machine, or all."),
    acts("my-redis-snapshot-memory", SIZE, "0", Live, "Bytes that a save may need beside the data (`--snapshot-memory`), or it is given up; 0 for a quarter of the memory in use and at least 64 MB."),
    acts("loglevel", Choice(LEVEL_NAMES), "notice", Live, "How much is logged."),
    acts("logfile", Text, "", AtStart, "File of the log; empty for standard error. It is opened for each line, so it can be moved away at any time."),
    acts("syslog-enabled", Bool, "no", AtStart, "Write the log to the system's log as well."),
    acts("syslog-ident", Text, "my_redis", AtStart, "Name of the server in the system's log."),
    acts("syslog-facility", Choice(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]), "local0", AtStart, "Facility of the server in the system's log."),
    acts("pidfile", Text, "", AtStart, "File of the process number; empty for none."),
    acts("daemonize", Bool, "no", AtStart, "Go into the background."),
    acts("supervised", Choice(&["no", "systemd", "auto"]), "no", AtStart, "Whom to tell when the server is ready and ends: nobody, systemd, or systemd if it has started the server."),
    acts("my-redis-metrics-port", int(0, 65535), "0", AtStart, "Port at which metrics can be read (`--metrics-port`), at the addresses of bind; 0 for none."),
    acts("slowlog-log-slower-than", int(-1, i64::MAX), "10000", Live, "Microseconds from which a command is in the slow log; -1 for never."),
    acts("slowlog-max-len", COUNT, "128", Live, "Commands that the slow log keeps."),
    acts("latency-monitor-threshold", COUNT, "0", Live, "Milliseconds from which LATENCY records an event; 0 for never."),
    acts("latency-tracking", Bool, "yes", Live, "Whether durations of commands are counted, for LATENCY HISTOGRAM and INFO."),
    acts("latency-tracking-info-percentiles", Percentiles, "50 99 99.9", Live, "Percentiles of latency in INFO."),
    acts("busy-reply-threshold", COUNT, "5000", Live, "Milliseconds after which a script is busy: who needs its keys is refused, and SCRIPT KILL works; 0 for never.").or("lua-time-limit"),
    acts("maxmemory", MEMORY, "0", Live, "Bytes of memory that may be used, then keys give way or what needs more is refused; 0 for all."),
    acts("maxmemory-policy", POLICIES, "noeviction", Live, "Which keys give way when memory is short."),
    acts("maxmemory-samples", int(1, i32::MAX as i64), "5", Live, "Keys that are compared to find one that gives way."),
    acts("maxmemory-eviction-tenacity", int(0, 100), "10", Live, "How long a command may make room before it runs: up to 10 a twentieth of a millisecond for each, 100 without limit."),
    acts("maxmemory-clients", MemoryOrPercent, "0", Live, "Bytes that all clients together may use, or the part of maxmemory; 0 for all. Those that use most are disconnected."),
    acts("lfu-log-factor", COUNT_32, "10", Live, "How slowly the count of uses of a key grows (policies of least frequent use)."),
    acts("lfu-decay-time", COUNT_32, "1", Live, "Minutes after which the count of uses of a key is one less; 0 for never."),
    acts("lazyfree-lazy-eviction", Bool, "no", Live, "Whether large values of keys that gave way are freed in the background."),
    acts("databases", int(1, 16384), "1", AtStart, "Number of databases (`--databases`)."),
    acts("disable-thp", Bool, "yes", AtStart, "Doing without transparent huge pages, the first touch of which takes milliseconds."),
    acts("my-redis-shards", int(0, 4096), "0", AtStart, "Shards of the keyspace (`--shards`), rounded up to a power of two; 0 for 16 for each core and at least 64."),
    acts("my-redis-threads", int(0, 1024), "0", AtStart, "Threads that serve clients (`--threads`); 0 for one for each core."),

    kept("appendonly", Bool, "no", Live, "Append only file.").fixed(NO_LOG),
    kept("appendfsync", Choice(&["everysec", "always", "no"]), "everysec", Live, "When the append only file is synced."),
    kept("appendfilename", Text, "appendonly.aof", AtStart, "Name of the append only file."),
    kept("appenddirname", Text, "appendonlydir", AtStart, "Folder of the append only file."),
    kept("auto-aof-rewrite-percentage", COUNT_32, "100", Live, "Growth after which the append only file is rewritten."),
    kept("auto-aof-rewrite-min-size", SIZE, "67108864", Live, "Size below which the append only file is not rewritten."),
    kept("no-appendfsync-on-rewrite", Bool, "no", Live, "Syncing of the append only file during a rewrite."),
    kept("aof-load-truncated", Bool, "yes", Live, "Loading an append only file that ends early."),
    kept("aof-use-rdb-preamble", Bool, "yes", Live, "Beginning of the append only file."),
    kept("aof-rewrite-incremental-fsync", Bool, "yes", Live, "Syncing of the append only file while it is rewritten."),
    kept("aof-timestamp-enabled", Bool, "no", Live, "Times in the append only file."),
    kept("rdb-save-incremental-fsync", Bool, "yes", Live, "Syncing of the dump while it is written, which is always done."),
    kept("rdb-del-sync-files", Bool, "no", Live, "Removal of dumps of replication."),
    kept("sanitize-dump-payload", Choice(&["no", "yes", "clients"]), "no", Live, "Checking of dumps, which is always done."),

    kept("lazyfree-lazy-expire", Bool, "no", Live, "Freeing expired keys in the background; large values always are."),
    kept("lazyfree-lazy-server-del", Bool, "no", Live, "Freeing overwritten values in the background; large ones always are."),
    kept("lazyfree-lazy-user-del", Bool, "no", Live, "Freeing deleted values in the background; large ones always are."),
    kept("lazyfree-lazy-user-flush", Bool, "no", Live, "Flushing in the background; the memory always is freed there."),
    kept("active-expire-effort", int(1, 10), "1", Live, "Effort to find expired keys; they are found exactly."),
    kept("activedefrag", Bool, "no", Live, "Defragmentation of memory.").fixed(NO_DEFRAG),
    kept("activerehashing", Bool, "yes", Live, "Rehashing in the background; tables never rehash as a whole."),

    kept("hash-max-listpack-entries", COUNT, "512", Live, "Fields up to which Redis packs a hash.").or("hash-max-ziplist-entries"),
    kept("hash-max-listpack-value", SIZE, "64", Live, "Length up to which Redis packs a hash.").or("hash-max-ziplist-value"),
    kept("list-max-listpack-size", int(i32::MIN as i64, i32::MAX as i64), "-2", Live, "Size of the pieces of a list.").or("list-max-ziplist-size"),
    kept("list-compress-depth", COUNT_32, "0", Live, "Compression of the middle of a list."),
    kept("set-max-intset-entries", COUNT, "512", Live, "Numbers up to which Redis packs a set."),
    kept("zset-max-listpack-entries", COUNT, "128", Live, "Members up to which Redis packs a sorted set.").or("zset-max-ziplist-entries"),
    kept("zset-max-listpack-value", SIZE, "64", Live, "Length up to which Redis packs a sorted set.").or("zset-max-ziplist-value"),

    acts("notify-keyspace-events", EventClasses, "", Live, "Events of keys that are published."),
    acts("tracking-table-max-keys", COUNT, "1000000", Live, "Keys that are remembered for clients that keep copies of them (CLIENT TRACKING); 0 for no limit."),
    acts("client-output-buffer-limit", BufferLimits, LIMITS, Live, "Bytes of messages that may wait for a client that subscribes (pubsub), or is told of anything else (normal, where 0 means 1073741824); no limit is needed for replies, as a client is not served on while they wait."),

    kept("hz", COUNT_32, "10", Live, "How often Redis looks after things; work is done when it is due."),
    kept("dynamic-hz", Bool, "yes", Live, "Adapting hz to the number of clients."),
    kept("io-threads", int(1, 128), "1", AtStart, "Threads for input and output of Redis; see my-redis-threads."),
    kept("io-threads-do-reads", Bool, "no", AtStart, "Whether these threads read."),
    kept("shutdown-timeout", COUNT_32, "10", Live, "Seconds to wait for replicas at the end."),
    kept("shutdown-on-sigint", SHUTDOWN, "default", Live, "What SIGINT does: always the default.").fixed("my_redis_server saves when it ends if saving is configured"),
    kept("shutdown-on-sigterm", SHUTDOWN, "default", Live, "What SIGTERM does: always the default.").fixed("my_redis_server saves when it ends if saving is configured"),
    kept("always-show-logo", Bool, "no", AtStart, "A picture in the log."),
    kept("set-proc-title", Bool, "yes", AtStart, "Title of the process."),
    kept("proc-title-template", Text, "{title} {listen-addr} {server-mode}", Live, "Title of the process."),
    kept("oom-score-adj", Choice(&["no", "yes", "relative", "absolute"]), "no", Live, "Rank when the system is out of memory."),
    kept("oom-score-adj-values", Text, "0 200 800", Live, "These ranks."),
    kept("jemalloc-bg-thread", Bool, "yes", Live, "Thread of another allocator."),
    kept("crash-log-enabled", Bool, "yes", Live, "Report of a crash."),
    kept("crash-memcheck-enabled", Bool, "yes", Live, "Test of the memory after a crash."),
    kept("enable-module-command", Choice(&["no", "yes", "local"]), "no", AtStart, "The command MODULE."),
    kept("unixsocket", Text, "", AtStart, "Socket in the file system.").fixed("my_redis_server does not listen on Unix sockets"),
    kept("unixsocketperm", COUNT_32, "0", AtStart, "Permissions of that socket."),
    kept("tls-port", int(0, 65535), "0", Live, "Port for TLS.").fixed(NO_TLS),
    kept("tls-replication", Bool, "no", Live, "Replication over TLS.").fixed(NO_TLS),
    kept("tls-cluster", Bool, "no", Live, "Cluster over TLS.").fixed(NO_TLS),

    kept("cluster-enabled", Bool, "no", AtStart, "Cluster mode.").fixed("my_redis_server has no cluster mode"),
    kept("replicaof", Text, "", AtStart, "The server that this one follows.").or("slaveof").fixed("my_redis_server cannot follow another server"),
    kept("masterauth", Text, "", Live, "Password at that server."),
    kept("masteruser", Text, "", Live, "User at that server."),
    kept("replica-read-only", Bool, "yes", Live, "Whether a replica refuses writes.").or("slave-read-only"),
    kept("replica-serve-stale-data", Bool, "yes", Live, "Whether a replica answers when it is cut off.").or("slave-serve-stale-data"),
    kept("replica-priority", COUNT_32, "100", Live, "Rank among replicas.").or("slave-priority"),
    kept("replica-lazy-flush", Bool, "no", Live, "How a replica flushes.").or("slave-lazy-flush"),
    kept("replica-ignore-maxmemory", Bool, "yes", Live, "Whether a replica lets keys give way.").or("slave-ignore-maxmemory"),
    kept("replica-announce-ip", Text, "", Live, "Address that a replica tells.").or("slave-announce-ip"),
    kept("replica-announce-port", int(0, 65535), "0", Live, "Port that a replica tells.").or("slave-announce-port"),
    kept("replica-announced", Bool, "yes", Live, "Whether a sentinel tells of a replica."),
    kept("min-replicas-to-write", COUNT_32, "0", Live, "Replicas without which writes are refused.").or("min-slaves-to-write").fixed(NO_REPLICAS),
    kept("min-replicas-max-lag", COUNT_32, "10", Live, "Seconds by which these may be behind.").or("min-slaves-max-lag"),
    kept("repl-backlog-size", bytes(1), "1048576", Live, "Bytes kept for replicas that were cut off."),
    kept("repl-backlog-ttl", COUNT, "3600", Live, "Seconds for which they are kept."),
    kept("repl-timeout", int(1, i32::MAX as i64), "60", Live, "Seconds after which replication is given up."),
    kept("repl-ping-replica-period", int(1, i32::MAX as i64), "10", Live, "Seconds between two pings of replicas.").or("repl-ping-slave-period"),
    kept("repl-diskless-sync", Bool, "yes", Live, "Replication without a file."),
    kept("repl-diskless-sync-delay", COUNT_32, "5", Live, "Seconds to wait for further replicas."),
    kept("repl-diskless-sync-max-replicas", COUNT_32, "0", Live, "Replicas for which nobody waits longer."),
    kept("repl-diskless-load", Choice(&["disabled", "on-empty-db", "swapdb"]), "disabled", Live, "Loading without a file."),
    kept("repl-disable-tcp-nodelay", Bool, "no", Live, "Delaying packets to replicas."),
];

/// The number of the option with this name or alias, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<usize> {
    OPTIONS
        .iter()
        .position(|option| option.names().any(|own| name.eq_ignore_ascii_case(own.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole_and_its_default_is_a_value() {
        let mut names: Vec<_> = OPTIONS.iter().flat_map(OptionSpec::names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands twice");
        for option in OPTIONS {
            let name = option.name;
            assert!(option.summary.ends_with('.'), "{name}");
            let read = option.read(option.default.as_bytes(), option.default.as_bytes());
            assert_eq!(read.as_deref(), Ok(option.default.as_bytes()), "{name}");
            assert!(find(name.to_uppercase().as_bytes()).is_some(), "{name}");
        }
        assert!(find(b"nosuch").is_none());
        assert!(find(b"").is_none());
    }
}
