//! Ranges given by two indices, of which a negative one counts from the end.
//!
//! LRANGE, LTRIM and ZRANGE share one rule; GETRANGE has another, older one: an end before the
//! first byte means the first byte, not nothing. Both live here, so that the clamping is written
//! and tested once. Every input is safe: nothing is added that could overflow.

/// Resolves the range `start..=stop` of a sequence of `len` elements by the rule of LRANGE.
///
/// Returns the first and the last index, both included, or `None` when the range is empty.
#[must_use]
pub fn normalize_range(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    let first = from_start(start, len).unwrap_or(0);
    let last = from_start(stop, len)?;
    inside(first, last, len)
}

/// Resolves the range `start..=stop` of a string of `len` bytes by the rule of GETRANGE.
///
/// Returns the first and the last index, both included, or `None` when the range is empty.
#[must_use]
pub fn normalize_byte_range(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    if start < 0 && stop < 0 && start > stop {
        return None;
    }
    let first = from_start(start, len).unwrap_or(0);
    let last = from_start(stop, len).unwrap_or(0);
    inside(first, last, len)
}

/// Resolves one index as LINDEX and LSET do; `None` when it lies outside.
#[must_use]
pub fn normalize_index(index: i64, len: usize) -> Option<usize> {
    from_start(index, len).filter(|&at| at < len)
}

/// Counts a negative index from the end; `None` when it lies before the start. A positive index
/// may lie behind the end.
fn from_start(index: i64, len: usize) -> Option<usize> {
    if index >= 0 {
        return Some(usize::try_from(index).unwrap_or(usize::MAX));
    }
    len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
}

fn inside(first: usize, last: usize, len: usize) -> Option<(usize, usize)> {
    let last = last.min(len.checked_sub(1)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// LRANGE as Redis computes it, in numbers wide enough for any sum.
    fn redis_list_range(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
        let (mut start, mut stop) = (i128::from(start), i128::from(stop));
        let len = len as i128;
        if start < 0 {
            start += len;
        }
        if stop < 0 {
            stop += len;
        }
        start = start.max(0);
        if start > stop || start >= len {
            return None;
        }
        Some((start as usize, stop.min(len - 1) as usize))
    }

    /// GETRANGE as Redis computes it.
    fn redis_byte_range(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
        if start < 0 && stop < 0 && start > stop {
            return None;
        }
        let (mut start, mut stop) = (i128::from(start), i128::from(stop));
        let len = len as i128;
        if start < 0 {
            start += len;
        }
        if stop < 0 {
            stop += len;
        }
        start = start.max(0);
        stop = stop.max(0).min(len - 1);
        if start > stop || len == 0 {
            return None;
        }
        Some((start as usize, stop as usize))
    }

    const EDGES: &[i64] = &[i64::MIN, i64::MIN + 1, -4, -3, -2, -1, 0, 1, 2, 3, 4, i64::MAX];

    #[test]
    fn every_pair_of_edges_is_resolved_as_redis_resolves_it() {
        for len in 0..5 {
            for &start in EDGES {
                for &stop in EDGES {
                    let list = redis_list_range(start, stop, len);
                    let bytes = redis_byte_range(start, stop, len);
                    assert_eq!(normalize_range(start, stop, len), list, "{start} {stop} {len}");
                    assert_eq!(normalize_byte_range(start, stop, len), bytes, "{start} {stop}");
                }
            }
        }
    }

    #[test]
    fn an_end_before_the_start_differs_between_lists_and_strings() {
        assert_eq!(normalize_range(0, -100, 5), None);
        assert_eq!(normalize_byte_range(0, -100, 5), Some((0, 0)));
    }

    #[test]
    fn one_index_is_inside_or_nothing() {
        assert_eq!(normalize_index(0, 3), Some(0));
        assert_eq!(normalize_index(2, 3), Some(2));
        assert_eq!(normalize_index(3, 3), None);
        assert_eq!(normalize_index(-1, 3), Some(2));
        assert_eq!(normalize_index(-3, 3), Some(0));
        assert_eq!(normalize_index(-4, 3), None);
        assert_eq!(normalize_index(i64::MIN, 3), None);
        assert_eq!(normalize_index(0, 0), None);
    }

    proptest! {
        #[test]
        fn any_range_is_resolved_as_redis_resolves_it(start: i64, stop: i64, len in 0_usize..99) {
            for (start, stop) in [(start, stop), (start % 200, stop % 200)] {
                let list = redis_list_range(start, stop, len);
                let bytes = redis_byte_range(start, stop, len);
                prop_assert_eq!(normalize_range(start, stop, len), list);
                prop_assert_eq!(normalize_byte_range(start, stop, len), bytes);
            }
        }
    }
}
