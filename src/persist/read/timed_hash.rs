//! Reading hashes whose fields have deadlines, as Redis 7.4 and later write them.

use crate::persist::compact;
use crate::persist::error::{RdbError, Reason};
use crate::persist::read::{RdbReader, Result};
use crate::persist::value::Pairs;
use crate::util::number::parse_i64;
use std::io::Read;

impl<R: Read> RdbReader<R> {
    /// A hash whose fields have deadlines, each as its distance from the earliest one.
    pub(super) fn timed_hash(
        &mut self,
        left: &mut Option<u64>,
        base_ms: &mut u64,
        part_bytes: usize,
    ) -> Result<Pairs> {
        if left.is_none() {
            *base_ms = u64::from_le_bytes(self.source.array()?);
        }
        let mut count = self.count(*left, 3)?;
        let mut pairs = Pairs::default();
        while count > 0 && pairs.elements.bytes() < part_bytes {
            let deadline_ms = match self.length()? {
                0 => 0,
                distance => base_ms.saturating_add(distance - 1),
            };
            pairs.deadlines_ms.push(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
            self.element(&mut pairs.elements)?;
            self.element(&mut pairs.elements)?;
            count -= 1;
        }
        *left = Some(count);
        Ok(pairs)
    }

    /// The same as one listpack of fields, values and deadlines.
    pub(super) fn timed_listpack(&mut self) -> Result<Pairs> {
        let _earliest: [u8; 8] = self.source.array()?;
        let offset = self.source.offset();
        let elements = self.compact("listpack", compact::read_listpack)?;
        if elements.len() % 3 != 0 {
            return Err(RdbError::new(offset, Reason::OddElementCount));
        }
        let mut pairs = Pairs::default();
        let mut elements = elements.iter();
        while let (Some(field), Some(value), Some(deadline)) =
            (elements.next(), elements.next(), elements.next())
        {
            let deadline_ms = parse_i64(deadline).filter(|deadline_ms| *deadline_ms >= 0);
            let fault = || RdbError::new(offset, Reason::BadFieldDeadline);
            pairs.deadlines_ms.push(deadline_ms.ok_or_else(fault)?);
            pairs.push(field, value);
        }
        Ok(pairs)
    }
}
