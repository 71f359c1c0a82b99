//! Functions of `string` that can be interrupted, or that know what their result would weigh:
//! `find`, `match`, `gmatch`, `gsub`, `rep`.

use crate::script::arguments::{Arguments, type_name};
use crate::script::pattern::{Capture, Matcher, PatternError};
use crate::script::raised::{Raised, text_error};
use crate::script::state::{State, out_of_memory};
use crate::util::text::until_zero_byte;
use memchr::memmem;
use mlua::{Error, Function, Lua, MultiValue, Result, Table, Value};
use std::rc::Rc;

/// What makes a text a pattern, for `find`.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// The functions. `guarded` calls a function and returns what it raises, as `pcall` of Lua.
///
/// # Errors
/// No memory.
pub fn table(lua: &Lua, state: &Rc<State>) -> Result<Table> {
    let table = lua.create_table()?;
    type Named = (&'static str, fn(&Lua, &State, MultiValue) -> Result<MultiValue>);
    let functions: [Named; 4] =
        [("find", find), ("match", match_), ("gmatch_step", gmatch_step), ("rep", rep)];
    for (name, function) in functions {
        let state = Rc::clone(state);
        let function = lua.create_function(move |lua, values| function(lua, &state, values))?;
        table.raw_set(name, function)?;
    }
    let state = Rc::clone(state);
    let guarded: Function = lua.globals().raw_get("pcall")?;
    let gsub = move |lua: &Lua, values| Substitution::new(lua, &state, &guarded, values)?.all();
    table.raw_set("gsub", lua.create_function(gsub)?)?;
    Ok(table)
}

fn raised(lua: &Lua, error: PatternError) -> Error {
    match error {
        PatternError::Wrong(text) => text_error(lua, text),
        PatternError::Over(error) => error,
    }
}

/// A position as Lua counts it, from the end if it is negative; 0-based.
fn start_of(position: i64, len: usize) -> usize {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_start = if position < 0 { (position + len + 1).max(0) } else { position };
    usize::try_from((from_start - 1).clamp(0, len)).unwrap_or(0)
}

fn number(position: usize) -> Value {
    Value::Number(position as f64)
}

fn captured(lua: &Lua, text: &[u8], capture: Capture) -> Result<Value> {
    match capture {
        Capture::Position(at) | Capture::Open(at) => Ok(number(at + 1)),
        Capture::Text(start, end) => {
            let text = text.get(start..end).unwrap_or_default();
            lua.create_string(text).map(Value::String)
        }
    }
}

/// Adds all captures of a match, or the match itself when there is none and `whole` is told.
fn push_captures(
    lua: &Lua,
    matcher: &Matcher<'_>,
    text: &[u8],
    whole: Option<(usize, usize)>,
    values: &mut MultiValue,
) -> Result<()> {
    let (start, end) = whole.unwrap_or_default();
    let count = matcher.captures().len().max(usize::from(whole.is_some()));
    for index in 0..count {
        let capture = matcher.capture(index, start, end).map_err(|error| raised(lua, error))?;
        values.push_back(captured(lua, text, capture)?);
    }
    Ok(())
}

fn find(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    search(lua, state, values, true)
}

fn match_(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    search(lua, state, values, false)
}

fn search(lua: &Lua, state: &State, values: MultiValue, finds: bool) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let (text, pattern) = (arguments.string(1)?, arguments.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let start = start_of(arguments.integer_or(3, 1)?, text.len());
    let terminated = until_zero_byte(&pattern);
    let is_plain = || {
        let is_asked = arguments
            .get(4)
            .is_some_and(|value| !matches!(value, Value::Nil | Value::Boolean(false)));
        is_asked || !terminated.iter().any(|byte| SPECIALS.contains(byte))
    };
    let mut found = MultiValue::new();
    if finds && is_plain() {
        let rest = text.get(start..).unwrap_or_default();
        state.spend(u32::try_from(rest.len() / 16).unwrap_or(u32::MAX))?;
        match memmem::find(rest, &pattern) {
            Some(at) => {
                found.push_back(number(start + at + 1));
                found.push_back(number(start + at + pattern.len()));
            }
            None => found.push_back(Value::Nil),
        }
        return Ok(found);
    }
    let spend = |steps| state.spend(steps);
    let mut matcher = Matcher::new(&text, terminated, &spend);
    let is_anchored = terminated.first() == Some(&b'^');
    let first = usize::from(is_anchored);
    for at in start..=text.len() {
        if let Some(end) = matcher.matches(at, first).map_err(|error| raised(lua, error))? {
            if finds {
                found.push_back(number(at + 1));
                found.push_back(number(end));
                push_captures(lua, &matcher, &text, None, &mut found)?;
            } else {
                push_captures(lua, &matcher, &text, Some((at, end)), &mut found)?;
            }
            return Ok(found);
        }
        if is_anchored {
            break;
        }
    }
    found.push_back(Value::Nil);
    Ok(found)
}

/// One step of `gmatch`: text, pattern and where to begin; where to go on and the captures, or
/// nothing. The prelude keeps the place.
fn gmatch_step(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let (text, pattern) = (arguments.string(1)?, arguments.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let start = usize::try_from(arguments.integer(3)?).unwrap_or(0);
    let spend = |steps| state.spend(steps);
    let mut matcher = Matcher::new(&text, until_zero_byte(&pattern), &spend);
    let mut found = MultiValue::new();
    for at in start..=text.len() {
        if let Some(end) = matcher.matches(at, 0).map_err(|error| raised(lua, error))? {
            found.push_back(number(end + usize::from(end == at)));
            push_captures(lua, &matcher, &text, Some((at, end)), &mut found)?;
            break;
        }
    }
    Ok(found)
}

fn rep(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let count = usize::try_from(arguments.integer(2)? as i32).unwrap_or(0);
    let bytes = text.len().checked_mul(count).ok_or_else(out_of_memory)?;
    state.check_output(bytes)?;
    state.spend(u32::try_from(bytes / 64).unwrap_or(u32::MAX))?;
    let repeated = lua.create_string(text.repeat(if text.is_empty() { 0 } else { count }))?;
    Ok(MultiValue::from_vec(vec![Value::String(repeated)]))
}

/// One call of `gsub`.
struct Substitution<'a> {
    lua: &'a Lua,
    state: &'a State,
    guarded: &'a Function,
    arguments: Arguments<'a>,
    result: Vec<u8>,
}

impl<'a> Substitution<'a> {
    fn new(
        lua: &'a Lua,
        state: &'a State,
        guarded: &'a Function,
        values: MultiValue,
    ) -> Result<Self> {
        let arguments = Arguments::new(lua, values);
        Ok(Self { lua, state, guarded, arguments, result: Vec::new() })
    }

    fn all(mut self) -> Result<MultiValue> {
        let (text, pattern) = (self.arguments.string(1)?, self.arguments.string(2)?);
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        let pattern = until_zero_byte(&pattern);
        let len = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let count_max = self.arguments.integer_or(4, len.saturating_add(1))?;
        let replacement = self.replacement()?;
        let is_anchored = pattern.first() == Some(&b'^');
        let state = self.state;
        let spend = |steps| state.spend(steps);
        let mut matcher = Matcher::new(&text, pattern, &spend);
        let (mut at, mut count) = (0, 0);
        while count < count_max {
            let matched = matcher.matches(at, usize::from(is_anchored));
            let end = matched.map_err(|error| raised(self.lua, error))?;
            if let Some(end) = end {
                count += 1;
                self.replace(&replacement, &matcher, &text, at, end)?;
            }
            match (end, text.get(at)) {
                (Some(end), _) if end > at => at = end,
                (_, Some(byte)) => {
                    self.result.push(*byte);
                    at += 1;
                }
                (_, None) => break,
            }
            self.state.check_output(self.result.len())?;
            if is_anchored {
                break;
            }
        }
        self.result.extend_from_slice(text.get(at..).unwrap_or_default());
        self.state.check_output(self.result.len())?;
        let result = self.lua.create_string(&self.result)?;
        Ok(MultiValue::from_vec(vec![Value::String(result), Value::Number(count as f64)]))
    }

    fn replacement(&self) -> Result<Value> {
        match self.arguments.get(3) {
            Some(value @ (Value::String(_) | Value::Function(_) | Value::Table(_))) => {
                Ok(value.clone())
            }
            Some(Value::Integer(_) | Value::Number(_)) => {
                self.arguments.string(3).map(Value::String)
            }
            _ => Err(self.arguments.bad(3, "string/function/table expected")),
        }
    }

    /// Adds what stands for one match.
    fn replace(
        &mut self,
        replacement: &Value,
        matcher: &Matcher<'_>,
        text: &[u8],
        start: usize,
        end: usize,
    ) -> Result<()> {
        let value = match replacement {
            Value::String(template) => {
                return self.fill(&template.as_bytes(), matcher, text, start, end);
            }
            Value::Function(function) => {
                let mut values = MultiValue::new();
                values.push_back(Value::Function(function.clone()));
                push_captures(self.lua, matcher, text, Some((start, end)), &mut values)?;
                self.call(values)?
            }
            Value::Table(table) => {
                let capture = matcher.capture(0, start, end);
                let capture = capture.map_err(|error| raised(self.lua, error))?;
                let key = captured(self.lua, text, capture)?;
                if table.metatable().is_none() {
                    table.raw_get(key)?
                } else {
                    let index: Function = self.lua.named_registry_value("index")?;
                    let table = Value::Table(table.clone());
                    self.call(MultiValue::from_vec(vec![Value::Function(index), table, key]))?
                }
            }
            _ => Value::Nil,
        };
        match value {
            Value::Nil | Value::Boolean(false) => {
                self.result.extend_from_slice(text.get(start..end).unwrap_or_default());
            }
            Value::String(text) => self.result.extend_from_slice(&text.as_bytes()),
            value @ (Value::Integer(_) | Value::Number(_)) => {
                if let Some(text) = self.lua.coerce_string(value)? {
                    self.result.extend_from_slice(&text.as_bytes());
                }
            }
            other => {
                let text = format!("invalid replacement value (a {})", type_name(&other));
                return Err(text_error(self.lua, text));
            }
        }
        Ok(())
    }

    /// Calls a function of the script; its error stays what it is.
    fn call(&self, values: MultiValue) -> Result<Value> {
        let (is_fine, value): (bool, Value) = self.guarded.call(values)?;
        if is_fine { Ok(value) } else { Err(Raised::Again(value).into()) }
    }

    /// Adds a text in which `%0` to `%9` stand for captures.
    fn fill(
        &mut self,
        template: &[u8],
        matcher: &Matcher<'_>,
        text: &[u8],
        start: usize,
        end: usize,
    ) -> Result<()> {
        let mut bytes = template.iter();
        while let Some(&byte) = bytes.next() {
            if byte != b'%' {
                self.result.push(byte);
                continue;
            }
            match bytes.next().copied().unwrap_or(0) {
                b'0' => self.result.extend_from_slice(text.get(start..end).unwrap_or_default()),
                digit @ b'1'..=b'9' => {
                    let capture = matcher.capture(usize::from(digit - b'1'), start, end);
                    match capture.map_err(|error| raised(self.lua, error))? {
                        Capture::Text(start, end) => {
                            self.result.extend_from_slice(text.get(start..end).unwrap_or_default());
                        }
                        Capture::Position(at) | Capture::Open(at) => {
                            let mut digits = itoa::Buffer::new();
                            self.result.extend_from_slice(digits.format(at + 1).as_bytes());
                        }
                    }
                }
                other => self.result.push(other),
            }
            self.state.check_output(self.result.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::script::raised::value_of;
    use proptest::prelude::*;

    /// Pieces that make patterns, good ones and bad ones.
    const PIECES: [&str; 42] = [
        "a", "b", ".", "%a", "%d", "%s", "%w", "%W", "%z", "%%", "%.", "[ab]", "[^a]", "[a-c]",
        "[%w_]", "[]a]", "[^]", "[a-]", "*", "+", "-", "?", "(", ")", "()", "^", "$", "%b()",
        "%bab", "%f[%w]", "%f[^a]", "%1", "%2", "%0", "%", "[", "]", "a*", "b-", ".-", "(a*)",
        "(.-)",
    ];

    fn pattern() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(PIECES.to_vec());
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(b"aaabbc1 ()_\0.".to_vec());
        prop::collection::vec(byte, 0..14)
    }

    /// What a function returns, or the text that it raises.
    fn outcome(lua: &Lua, state: &State, function: &Function, arguments: MultiValue) -> String {
        match function.call::<MultiValue>(arguments) {
            Ok(values) => format!("{:?}", values.iter().map(shown).collect::<Vec<_>>()),
            Err(error) => {
                let raised = value_of(lua, state, Value::Error(Box::new(error))).unwrap();
                let text = shown(&raised);
                let text = text.strip_prefix("runtime error: ").unwrap_or(&text);
                text.split("stack traceback").next().unwrap().trim_end().to_owned()
            }
        }
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::String(text) => text.as_bytes().escape_ascii().to_string().replace("\\n", "\n"),
            Value::Integer(number) => (*number as f64).to_string(),
            Value::Number(number) => number.to_string(),
            other => type_name(other).to_owned(),
        }
    }

    fn assert_same(name: &str, arguments: &[Value], lua: &Lua, state: &Rc<State>) {
        let theirs: Table = lua.globals().raw_get("string").unwrap();
        let ours = table(lua, state).unwrap();
        let arguments = MultiValue::from_vec(arguments.to_vec());
        let expected = outcome(lua, state, &theirs.raw_get(name).unwrap(), arguments.clone());
        let found = outcome(lua, state, &ours.raw_get(name).unwrap(), arguments);
        // Without a name, because nobody's Lua code calls.
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn patterns_find_what_those_of_lua_find(
            text in text(), pattern in pattern(), start in -3_i64..6
        ) {
            let lua = Lua::new();
            let state = Rc::new(State::new());
            let text = Value::String(lua.create_string(&text).unwrap());
            let pattern = Value::String(lua.create_string(&pattern).unwrap());
            let start = Value::Integer(start);
            for name in ["find", "match"] {
                assert_same(name, &[text.clone(), pattern.clone(), start.clone()], &lua, &state);
            }
            let template = Value::String(lua.create_string("<%0%1>").unwrap());
            for count in [Value::Nil, Value::Integer(2)] {
                let arguments = [text.clone(), pattern.clone(), template.clone(), count];
                assert_same("gsub", &arguments, &lua, &state);
            }
        }

        #[test]
        fn templates_are_filled_as_by_lua(
            text in text(), template in "[a%0-9]{0,6}"
        ) {
            let lua = Lua::new();
            let state = Rc::new(State::new());
            let text = Value::String(lua.create_string(&text).unwrap());
            let template = Value::String(lua.create_string(&template).unwrap());
            for pattern in ["a", "(a)(b?)", "()b", ""] {
                let pattern = Value::String(lua.create_string(pattern).unwrap());
                let arguments = [text.clone(), pattern, template.clone()];
                assert_same("gsub", &arguments, &lua, &state);
            }
        }
    }
}
