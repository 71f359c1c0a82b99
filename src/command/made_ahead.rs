//! What a command stores, made before it takes its locks.
//!
//! SUNIONSTORE of a million members would keep everybody from its shards for as long as it makes
//! the result. So, if there is very much to read, its keys are kept by counted references, as for
//! an answer of many elements (`many.rs`), and the result is made while nothing is locked. Under
//! the locks it is stored if every key that was read still is what was kept, and that takes no
//! longer than for a small one. A change of a value that is kept makes another one of it, so one
//! look at a pointer tells. It is as if all of it had happened then, at one moment. Where somebody
//! has changed a key meanwhile, all is made again under the locks: so nobody tries for ever.

use crate::command::context::{Call, Decoded, Made};
use crate::command::dispatch::{Gate, blocking};
use crate::command::many::MANY;
use crate::command::spec::CommandSpec;
use crate::data::{Value, ValueRef};
use crate::keyspace::{DatabaseNumber, KeptKey, ReadView, Tally};
use crate::protocol::Args;
use smallvec::SmallVec;

/// Makes the value that is stored of the keys that are read.
type Make = fn(&[ReadView<'_>], Args<'_>) -> Option<Value>;

/// Elements of a key of a kind that results are made of.
fn elements(view: &ReadView<'_>) -> usize {
    match view.value() {
        Some(ValueRef::Set(set)) => set.len(),
        Some(ValueRef::SortedSet(set)) => set.len(),
        _ => 0,
    }
}

impl Gate {
    /// Makes what a command will store of all its keys but the first, or of its only one.
    pub(super) fn make_ahead(
        &self,
        database: DatabaseNumber,
        spec: &'static CommandSpec,
        make: Make,
        call: &mut Call<'_>,
    ) {
        let keys = self.locate_keys(spec, call.args, database);
        let sources = keys.get(1..).filter(|others| !others.is_empty()).unwrap_or(&keys);
        // The command itself counts what it finds, and tells of scripts that are in its way.
        let tally = Tally::default();
        let kept = self.keyspace().read_many(sources, call.now, &tally, |view| {
            let views: SmallVec<[ReadView<'_>; 4]> = view.iter().collect();
            let is_long = views.iter().map(elements).sum::<usize>() > MANY;
            is_long.then(|| views.iter().map(ReadView::keep).collect::<Vec<KeptKey>>())
        });
        let Ok(Some(kept)) = kept else { return };
        let views: Vec<ReadView<'_>> = kept.iter().map(KeptKey::view).collect();
        let made = blocking(|| make(&views, call.args));
        drop(views);
        call.decoded = made.map(|value| Decoded::Made(Box::new(Made { kept, value })));
    }
}
