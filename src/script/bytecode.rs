//! Looking through compiled code for what it may do to global variables.
//!
//! The form is that of Lua 5.1, as `string.dump` writes it, for this machine. It comes from Lua's
//! own compiler; what is not understood is taken for code that may do anything.

/// What stands before the code: signature, version, format and the sizes of what follows.
const HEAD_BYTES: usize = 12;
/// Functions within functions; Lua's own limit is 200.
const DEPTH_MAX: u32 = 250;
/// The operation that gives a global variable a value, in the low bits of an instruction.
const SET_GLOBAL: u32 = 7;
const OPERATION_BITS: u32 = 6;
/// First line, last line, and four numbers of a byte each.
const ABOUT_BYTES: usize = 4 + 4 + 4;

/// True when the code, or a function in it, may give a global variable a value by its name.
pub fn sets_globals(dumped: &[u8]) -> bool {
    let mut code = Code { rest: dumped };
    let sets = code.skip(HEAD_BYTES).and_then(|()| code.function(0));
    sets.unwrap_or(true) || !code.rest.is_empty()
}

struct Code<'a> {
    rest: &'a [u8],
}

impl<'a> Code<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.bytes(len).map(|_| ())
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.bytes(size_of::<u32>())?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    }

    fn skip_string(&mut self) -> Option<()> {
        let len = self.bytes(size_of::<usize>())?.try_into().ok()?;
        self.skip(usize::from_ne_bytes(len))
    }

    fn skip_numbers(&mut self) -> Option<()> {
        let count = self.number()?;
        self.skip(count.checked_mul(size_of::<u32>())?)
    }

    /// Reads one function; `None` when it is not understood.
    fn function(&mut self, depth: u32) -> Option<bool> {
        self.skip_string()?;
        self.skip(ABOUT_BYTES)?;
        let count = self.number()?;
        let (instructions, _) =
            self.bytes(count.checked_mul(size_of::<u32>())?)?.as_chunks::<{ size_of::<u32>() }>();
        let operation = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes) % (1 << OPERATION_BITS);
        let mut sets = instructions.iter().any(|bytes| operation(bytes) == SET_GLOBAL);
        for _ in 0..self.number()? {
            match self.bytes(1)? {
                [0] => {}
                [1] => self.skip(1)?,
                [3] => self.skip(size_of::<f64>())?,
                [4] => self.skip_string()?,
                _ => return None,
            }
        }
        for _ in 0..self.number()? {
            if depth == DEPTH_MAX {
                return None;
            }
            sets |= self.function(depth + 1)?;
        }
        // Lines, and the names of variables.
        self.skip_numbers()?;
        for _ in 0..self.number()? {
            self.skip_string()?;
            self.skip(2 * size_of::<u32>())?;
        }
        for _ in 0..self.number()? {
            self.skip_string()?;
        }
        Some(sets)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn dump(source: &str, strip: bool) -> Vec<u8> {
        mlua::Lua::new().load(source).into_function().unwrap().dump(strip)
    }

    #[test]
    fn code_that_sets_globals_is_found_out() {
        let setting = [
            "x = 1",
            "local function f() return function() x = 1 end end",
            "function f() end",
            "return function(a) for i = 1, 3 do local b = a x, a = 1, 2 end end",
            "if nil then KEYS = {} end",
            "local t = {} t.a, x = 1, 2",
        ];
        let others = [
            "",
            "return x",
            "local x = 1 x = 2 return x",
            "x.y = 1",
            "local function f(a) local b = a return function() b = a a = 'text' end end",
            "redis.call('set', KEYS[1], ARGV[1]) return {1.5, true, nil, 'a', -1}",
            "return ...",
            "return {[1] = function() return function() return y end end, 2, 3; z = 4}",
        ];
        for strip in [true, false] {
            for source in setting {
                assert!(sets_globals(&dump(source, strip)), "{source}");
            }
            for source in others {
                assert!(!sets_globals(&dump(source, strip)), "{source}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_may_do_anything() {
        let whole = dump("local function f(a) return a + 1, 'text', x end return f", false);
        assert!(!sets_globals(&whole));
        for len in 0..whole.len() {
            assert!(sets_globals(&whole[..len]), "{len}");
        }
        assert!(sets_globals(&[&whole[..], b"x"].concat()));
        let deep = format!("return {}1{}", "function() return ".repeat(60), " end".repeat(60));
        assert!(!sets_globals(&dump(&deep, true)));
    }
}
