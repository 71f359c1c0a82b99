//! What the figures are to be, and whether they are.

use crate::support::figure::Figure;

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// By that of Redis.
    RatioAtMost(f64),
    /// By that of Redis.
    RatioAtLeast(f64),
    /// In its own unit.
    AtMost(f64),
    /// In its own unit.
    AtLeast(f64),
    /// Below the third server's.
    BelowRedis8,
}

/// A target of one figure, or of all whose names begin with what stands before `*`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The figure's name.
    pub figure: &'static str,
    /// What it is to be.
    pub bound: Bound,
}

const fn target(figure: &'static str, bound: Bound) -> Target {
    Target { figure, bound }
}

/// All targets; what is not here is measured for its own sake.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    target("compare/one/cpu/1/*", Bound::RatioAtMost(0.85)),
    target("compare/one/cpu/16/set", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/get", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/incr", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/lpush", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/lpop", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/rpush", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/rpop", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/hset", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/16/hget", Bound::RatioAtMost(0.40)),
    target("compare/one/cpu/64/*", Bound::RatioAtMost(0.35)),
    target("compare/both/rate/64/*", Bound::RatioAtLeast(3.0)),
    target("walk/slower", Bound::AtMost(0.0)),
    target("clients/cpu/50/*", Bound::RatioAtMost(0.85)),
    target("clients/limit/set", Bound::AtMost(1.15)),
    target("clients/limit/get", Bound::AtMost(1.15)),
    target("clients/cpu/1000/*", Bound::RatioAtMost(0.85)),
    target("clients/cpu/10000/*", Bound::RatioAtMost(0.85)),
    target("clients/cpu/10000-1000/*", Bound::RatioAtMost(0.85)),
    target("clients/rate/one-1/*", Bound::RatioAtLeast(1.0)),
    target("clients/rate/one-64/*", Bound::RatioAtLeast(1.0)),
    target("clients/rate/one-1000/*", Bound::RatioAtLeast(1.0)),
    target("clients/half/set/p999", Bound::RatioAtMost(1.0)),
    target("clients/half/get/p999", Bound::RatioAtMost(1.0)),
    target("clients/cpu/lrange600", Bound::RatioAtMost(0.7)),
    target("clients/cpu/hgetall100", Bound::RatioAtMost(0.7)),
    target("clients/cpu/mget100", Bound::RatioAtMost(0.7)),
    target("clients/cpu/set10k", Bound::RatioAtMost(0.7)),
    target("clients/cpu/get10k", Bound::RatioAtMost(0.7)),
    target("clients/cpu/set1m", Bound::RatioAtMost(0.7)),
    target("clients/cpu/get1m", Bound::RatioAtMost(0.7)),
    target("clients/threads/*", Bound::AtLeast(1.8)),
    target("shard/gain/64/*", Bound::AtLeast(1.8)),
    target("clients/start", Bound::AtMost(50.0)),
    target("clients/idle", Bound::AtMost(5.0)),
    target("pubsub/latency/*", Bound::RatioAtMost(1.0)),
    target("memory/string3", Bound::AtMost(45.0)),
    target("memory/string32", Bound::AtMost(45.0)),
    target("memory/hash8", Bound::AtMost(80.0)),
    target("memory/list8", Bound::AtMost(65.0)),
    target("memory/set8", Bound::BelowRedis8),
    target("memory/intset8", Bound::BelowRedis8),
    target("memory/zset8", Bound::BelowRedis8),
    target("memory/deadline", Bound::AtMost(24.0)),
    target("memory/deleted/*", Bound::AtMost(10.0)),
    target("eviction/allkeys-lru/same-keys", Bound::RatioAtLeast(1.0)),
    target("eviction/allkeys-lfu/same-keys", Bound::RatioAtLeast(1.0)),
    target("eviction/allkeys-lru/cpu", Bound::RatioAtMost(1.0)),
    target("eviction/allkeys-lfu/cpu", Bound::RatioAtMost(1.0)),
    target("even/inside/*", Bound::AtMost(1.0)),
    target("even/p99/expire", Bound::AtMost(10.0)),
    target("even/p99/keys/keys", Bound::AtMost(10.0)),
    target("even/p99/keys/flushall", Bound::AtMost(10.0)),
    target("even/p99/list/*", Bound::AtMost(10.0)),
    target("even/p99/hash/*", Bound::AtMost(10.0)),
    target("even/p99/set/*", Bound::AtMost(10.0)),
    target("even/p99/zset/*", Bound::AtMost(10.0)),
];

impl Target {
    /// Whether it is about this figure.
    pub fn is_of(&self, figure: &Figure) -> bool {
        match self.figure.strip_suffix('*') {
            Some(start) => figure.name.starts_with(start),
            None => figure.name == self.figure,
        }
    }
}

impl Bound {
    /// Whether the figure is so; `None` if the figure lacks what that takes.
    pub fn is_met(self, figure: &Figure) -> Option<bool> {
        Some(match self {
            Self::RatioAtMost(most) => figure.ratio? <= most,
            Self::RatioAtLeast(least) => figure.ratio? >= least,
            Self::AtMost(most) => figure.ours <= most,
            Self::AtLeast(least) => figure.ours >= least,
            Self::BelowRedis8 => figure.ours < figure.redis8?,
        })
    }

    /// How it is said in a table.
    pub fn text(self) -> String {
        match self {
            Self::RatioAtMost(most) => format!("ratio ≤ {most:.2}"),
            Self::RatioAtLeast(least) => format!("ratio ≥ {least:.2}"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::BelowRedis8 => "below Redis 8".to_owned(),
        }
    }
}

/// The target of a figure, if it has one.
pub fn target_of(figure: &Figure) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.is_of(figure))
}

/// The targets that no figure is about.
pub fn without_figure(figures: &[Figure]) -> Vec<&'static str> {
    let is_without = |target: &&Target| !figures.iter().any(|figure| target.is_of(figure));
    TARGETS.iter().filter(is_without).map(|target| target.figure).collect()
}
