//! The load of a run: which kinds of work there are, and whose turn it is.

use crate::stress::channels::Channels;
use crate::stress::counters::Counters;
use crate::stress::options::Mix;
use crate::stress::pairs::Pairs;
use crate::stress::peer::Peer;
use crate::stress::queues::Queues;
use crate::stress::registers::Registers;
use crate::stress::run::{Run, Stop};
use crate::stress::tokens::Tokens;
use crate::util::random::Random;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Keys that are removed by one request.
const REMOVED_AT_ONCE: usize = 500;

/// Kinds of work.
#[derive(Debug, Clone, Copy)]
enum Work {
    Registers,
    Pairs,
    Tokens,
    Queues,
    Counters,
    Channels,
}

/// All work of a run; what its mix does not have is not there.
#[derive(Debug)]
pub struct Load {
    run: Arc<Run>,
    /// Single keys.
    pub registers: Option<Registers>,
    /// Pairs of keys.
    pub pairs: Option<Pairs>,
    /// What moves between keys.
    pub tokens: Option<Tokens>,
    /// Lists and streams.
    pub queues: Option<Queues>,
    /// Counters.
    pub counters: Option<Counters>,
    /// Channels.
    pub channels: Option<Arc<Channels>>,
    /// Each kind as often as it has its turn.
    turns: Vec<Work>,
}

impl Load {
    /// The work of a mix, before anything of it is there.
    pub fn new(run: &Arc<Run>) -> Self {
        let has = |part| run.settings.mix.has(part);
        let mut turns = Vec::new();
        for (part, works) in [
            (Mix::Cache, &[Work::Registers, Work::Registers, Work::Registers, Work::Pairs][..]),
            (Mix::Counter, &[Work::Counters, Work::Tokens]),
            (Mix::Queue, &[Work::Queues, Work::Queues]),
            (Mix::PubSub, &[Work::Channels]),
        ] {
            if has(part) {
                turns.extend_from_slice(works);
            }
        }
        Self {
            run: Arc::clone(run),
            registers: has(Mix::Cache).then(|| Registers::new(run)),
            pairs: has(Mix::Cache).then(|| Pairs::new(run)),
            tokens: has(Mix::Counter).then(|| Tokens::new(run)),
            queues: has(Mix::Queue).then(|| Queues::new(run)),
            counters: has(Mix::Counter).then(|| Counters::new(run)),
            channels: has(Mix::PubSub).then(|| Arc::new(Channels::new(run))),
            turns,
        }
    }

    /// Removes what an earlier run may have left, and puts everything in its place.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn prepare(&self, peer: &mut Peer) -> Result<(), Stop> {
        self.remove_keys(peer).await?;
        if let Some(tokens) = &self.tokens {
            tokens.prepare(peer).await?;
        }
        if let Some(queues) = &self.queues {
            queues.prepare(peer).await?;
        }
        if let Some(channels) = &self.channels {
            channels.prepare().await?;
        }
        Ok(())
    }

    /// Has one client work until the run is over.
    pub async fn work(self: Arc<Self>, client: usize) -> Result<(), Stop> {
        let run = &self.run;
        let mut peer = Peer::connect(run, client).await?;
        let mut random = Random::new(run.settings.seed ^ (client as u64 + 1) << 40);
        let pause = match run.settings.rate {
            0 => None,
            rate => {
                let requests = (run.settings.clients * run.settings.pipeline) as f64;
                Some(Duration::from_secs_f64(requests / rate as f64))
            }
        };
        let mut due = Instant::now();
        while !run.is_over() {
            run.begin_turn(client);
            let before = peer.asked();
            self.turn(&mut peer, &mut random).await?;
            run.end_turn(client);
            if let Some(pause) = pause {
                let asked = (peer.asked() - before).max(1) as f64;
                due += pause.mul_f64(asked / run.settings.pipeline as f64);
                // Who is late does not make up for it.
                due = due.max(Instant::now() - pause);
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = run.wait_until_over() => {}
                }
            }
        }
        Ok(())
    }

    async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        let work = self.turns.get(random.below(self.turns.len()));
        match work {
            Some(Work::Registers) => match &self.registers {
                Some(registers) => registers.turn(peer, random).await,
                None => Ok(()),
            },
            Some(Work::Pairs) => match &self.pairs {
                Some(pairs) => pairs.turn(peer, random).await,
                None => Ok(()),
            },
            Some(Work::Tokens) => match &self.tokens {
                Some(tokens) => tokens.turn(peer, random).await,
                None => Ok(()),
            },
            Some(Work::Queues) => match &self.queues {
                Some(queues) => queues.turn(peer, random).await,
                None => Ok(()),
            },
            Some(Work::Counters) => match &self.counters {
                Some(counters) => counters.turn(peer, random).await,
                None => Ok(()),
            },
            Some(Work::Channels) => match &self.channels {
                Some(channels) => channels.turn(peer, random).await,
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Looks for what is missing by now.
    ///
    /// # Errors
    /// `Stop`.
    pub fn look(&self) -> Result<(), Stop> {
        if let Some(queues) = &self.queues {
            queues.look()?;
        }
        self.counters.as_ref().map_or(Ok(()), Counters::look)
    }

    /// Checks what is left once all clients have ended.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn finish(&self, peer: &mut Peer) -> Result<(), Stop> {
        if let Some(channels) = &self.channels {
            channels.finish().await?;
        }
        if let Some(registers) = &self.registers {
            registers.finish(peer).await?;
        }
        if let Some(tokens) = &self.tokens {
            tokens.finish(peer).await?;
        }
        if let Some(queues) = &self.queues {
            queues.finish(peer).await?;
        }
        if let Some(counters) = &self.counters {
            counters.finish(peer).await?;
        }
        Ok(())
    }

    /// Removes all keys of the run.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn remove_keys(&self, peer: &mut Peer) -> Result<(), Stop> {
        let mut keys = Vec::new();
        keys.extend(self.registers.iter().flat_map(Registers::keys));
        keys.extend(self.pairs.iter().flat_map(Pairs::keys));
        keys.extend(self.tokens.iter().flat_map(Tokens::keys));
        keys.extend(self.queues.iter().flat_map(Queues::keys));
        keys.extend(self.counters.iter().flat_map(Counters::keys));
        for keys in keys.chunks(REMOVED_AT_ONCE) {
            let keys = keys.iter().map(Vec::as_slice);
            let words: Vec<&[u8]> = [&b"UNLINK"[..]].into_iter().chain(keys).collect();
            peer.setup(&words).await?;
        }
        Ok(())
    }
}
