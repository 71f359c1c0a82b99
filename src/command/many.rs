//! Answers with very many elements, which nobody else is to wait for.
//!
//! A handler runs under the locks of its keys and on the thread of other clients. With millions of
//! elements to write, those who want to change a key of the same shard would wait, and whoever is
//! served by the same thread. A large value is shared by counting references, so the answer is
//! written from such a reference once the locks are released, while the other tasks of the thread
//! move to another one. Whoever changes the value meanwhile copies what he changes.

use crate::command::context::Call;
use crate::command::dispatch::blocking;
use crate::command::spec::Outcome;
use crate::keyspace::{KeptKey, ReadView};
use crate::protocol::ReplyWriter;

/// More elements than this are many: some tenths of a millisecond.
pub const MANY: usize = 10_000;

/// Writes an answer that takes this many elements of a key.
pub(super) fn answer(
    view: &ReadView<'_>,
    call: &mut Call<'_>,
    elements: usize,
    answer: impl FnOnce(&ReadView<'_>, &mut ReplyWriter<'_>) -> Outcome + 'static,
) -> Outcome {
    if elements <= MANY {
        return answer(view, &mut call.reply);
    }
    let kept = view.keep();
    call.late = Some(Box::new(move |reply| blocking(|| answer(&kept.view(), reply))));
    Ok(())
}

/// The same of several keys.
pub(super) fn answer_of_all(
    views: &[ReadView<'_>],
    call: &mut Call<'_>,
    elements: usize,
    answer: impl FnOnce(&[ReadView<'_>], &mut ReplyWriter<'_>) -> Outcome + 'static,
) -> Outcome {
    if elements <= MANY {
        return answer(views, &mut call.reply);
    }
    let kept: Vec<KeptKey> = views.iter().map(ReadView::keep).collect();
    call.late = Some(Box::new(move |reply| {
        let views: Vec<ReadView<'_>> = kept.iter().map(KeptKey::view).collect();
        blocking(|| answer(&views, reply))
    }));
    Ok(())
}
