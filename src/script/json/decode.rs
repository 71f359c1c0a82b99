//! JSON into Lua values.
//!
//! What is decoded comes from anywhere. Tables that are being filled are kept in a list, and what
//! is built is compared with the limit of memory on the way.

use crate::script::json::{STACK_SLOTS_MAX, Settings, number};
use crate::script::raised::text_error;
use crate::script::state::{State, out_of_memory};
use mlua::{Error, Lua, LuaString, Result, Table, Value};

/// Slots of the stack in use before.
const STACK_SLOTS_AT_FIRST: usize = 1;

/// Decodes one text.
///
/// # Errors
/// It is not JSON, too deep, or too large.
pub fn decode(lua: &Lua, state: &State, settings: Settings, text: &[u8]) -> Result<Value> {
    if let [first, second, ..] = text
        && (*first == 0 || *second == 0)
    {
        return Err(text_error(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let open = Vec::new();
    let slots = STACK_SLOTS_AT_FIRST;
    let mut decoder =
        Decoder { lua, state, settings, text, at: 0, open, slots, string: Vec::new() };
    let value = decoder.whole().map_err(|error| match error {
        // mlua ran out of room for references before Lua would have.
        Error::StackError => decoder.too_deep(),
        other => other,
    })?;
    let token = decoder.token()?;
    match token.kind {
        Kind::End => Ok(value),
        _ => Err(decoder.unexpected("the end", &token)),
    }
}

/// What stands at one place of the text.
enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Comma,
    Colon,
    End,
    String(LuaString),
    Number(f64),
    Boolean(bool),
    Null,
    Wrong(&'static str),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Comma => "T_COMMA",
            Self::Colon => "T_COLON",
            Self::End => "T_END",
            Self::String(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Wrong(why) => why,
        }
    }
}

struct Token {
    kind: Kind,
    at: usize,
}

/// A table that is being filled.
enum Open {
    Array { table: Table, next: usize },
    Object { table: Table, key: LuaString },
}

struct Decoder<'a> {
    lua: &'a Lua,
    state: &'a State,
    settings: Settings,
    text: &'a [u8],
    at: usize,
    open: Vec<Open>,
    slots: usize,
    /// A text with escapes, while it is put together.
    string: Vec<u8>,
}

impl Decoder<'_> {
    /// A byte of the text, 0 behind its end.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn unexpected(&self, expected: &str, token: &Token) -> Error {
        let text = format!(
            "Expected {expected} but found {} at character {}",
            token.kind.name(),
            token.at + 1
        );
        text_error(self.lua, text)
    }

    /// One value with all that is in it.
    fn whole(&mut self) -> Result<Value> {
        let mut token = self.token()?;
        loop {
            let limit = self.state.memory_bytes_max.get();
            if limit > 0 && self.lua.used_memory() > limit {
                return Err(out_of_memory());
            }
            let mut value = match token.kind {
                Kind::String(text) => Value::String(text),
                Kind::Number(number) => Value::Number(number),
                Kind::Boolean(value) => Value::Boolean(value),
                Kind::Null => Value::NULL,
                Kind::ObjectBegin => match self.begin_object()? {
                    Some(empty) => empty,
                    None => {
                        token = self.token()?;
                        continue;
                    }
                },
                Kind::ArrayBegin => match self.begin_array()? {
                    Ok(empty) => empty,
                    Err(first) => {
                        token = first;
                        continue;
                    }
                },
                _ => return Err(self.unexpected("value", &token)),
            };
            // The value ends its table, and that the next one, as long as they close.
            loop {
                let Some(last) = self.open.pop() else { return Ok(value) };
                match self.add(last, value)? {
                    Added::Closed(table) => value = Value::Table(table),
                    Added::Next => break,
                }
            }
            token = self.token()?;
        }
    }

    fn descend(&mut self, slots: usize) -> Result<()> {
        let depth = self.open.len() + 1;
        let is_too_deep = i64::try_from(depth).unwrap_or(i64::MAX) > self.settings.decode_depth_max;
        if is_too_deep || self.slots + slots > STACK_SLOTS_MAX {
            return Err(self.too_deep());
        }
        Ok(())
    }

    fn too_deep(&self) -> Error {
        let depth = self.open.len() + 1;
        let text =
            format!("Found too many nested data structures ({depth}) at character {}", self.at);
        text_error(self.lua, text)
    }

    /// The empty table, or nothing when the value of the first key comes next.
    fn begin_object(&mut self) -> Result<Option<Value>> {
        self.descend(3)?;
        let table = self.lua.create_table()?;
        let token = self.token()?;
        if let Kind::ObjectEnd = token.kind {
            return Ok(Some(Value::Table(table)));
        }
        let key = self.key(token)?;
        self.slots += 2;
        self.open.push(Open::Object { table, key });
        Ok(None)
    }

    fn key(&mut self, token: Token) -> Result<LuaString> {
        let Kind::String(key) = token.kind else {
            return Err(self.unexpected("object key string", &token));
        };
        let colon = self.token()?;
        match colon.kind {
            Kind::Colon => Ok(key),
            _ => Err(self.unexpected("colon", &colon)),
        }
    }

    /// The empty table, or the token with which the first element begins.
    fn begin_array(&mut self) -> Result<std::result::Result<Value, Token>> {
        self.descend(2)?;
        let table = self.lua.create_table()?;
        let token = self.token()?;
        if let Kind::ArrayEnd = token.kind {
            return Ok(Ok(Value::Table(table)));
        }
        self.slots += 1;
        self.open.push(Open::Array { table, next: 1 });
        Ok(Err(token))
    }

    /// Puts a value into its table and reads on to the next one, or to the end of the table.
    fn add(&mut self, last: Open, value: Value) -> Result<Added> {
        match last {
            Open::Array { table, next } => {
                table.raw_set(next, value)?;
                let token = self.token()?;
                match token.kind {
                    Kind::ArrayEnd => {
                        self.slots -= 1;
                        Ok(Added::Closed(table))
                    }
                    Kind::Comma => {
                        self.open.push(Open::Array { table, next: next + 1 });
                        Ok(Added::Next)
                    }
                    _ => Err(self.unexpected("comma or array end", &token)),
                }
            }
            Open::Object { table, key } => {
                table.raw_set(key, value)?;
                let token = self.token()?;
                match token.kind {
                    Kind::ObjectEnd => {
                        self.slots -= 2;
                        Ok(Added::Closed(table))
                    }
                    Kind::Comma => {
                        let token = self.token()?;
                        let key = self.key(token)?;
                        self.open.push(Open::Object { table, key });
                        Ok(Added::Next)
                    }
                    _ => Err(self.unexpected("comma or object end", &token)),
                }
            }
        }
    }

    fn token(&mut self) -> Result<Token> {
        self.state.spend(1)?;
        while let b' ' | b'\t' | b'\n' | b'\r' = self.byte(self.at) {
            self.at += 1;
        }
        let at = self.at;
        let single = match self.byte(at) {
            b'{' => Kind::ObjectBegin,
            b'}' => Kind::ObjectEnd,
            b'[' => Kind::ArrayBegin,
            b']' => Kind::ArrayEnd,
            b',' => Kind::Comma,
            b':' => Kind::Colon,
            0 => return Ok(Token { kind: Kind::End, at }),
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid_numbers && self.is_invalid_number() {
                    return Ok(Token { kind: Kind::Wrong("invalid number"), at });
                }
                return Ok(self.number());
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return Ok(self.word()),
            _ => return Ok(Token { kind: Kind::Wrong("invalid token"), at }),
        };
        self.at += 1;
        Ok(Token { kind: single, at })
    }

    fn word(&mut self) -> Token {
        let at = self.at;
        let words: [(&[u8], Kind); 3] = [
            (b"true", Kind::Boolean(true)),
            (b"false", Kind::Boolean(false)),
            (b"null", Kind::Null),
        ];
        for (word, kind) in words {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Token { kind, at };
            }
        }
        if self.settings.decode_invalid_numbers && self.is_invalid_number() {
            return self.number();
        }
        Token { kind: Kind::Wrong("invalid token"), at }
    }

    fn number(&mut self) -> Token {
        let at = self.at;
        match number::read(self.rest()) {
            Some((number, len)) => {
                self.at += len;
                Token { kind: Kind::Number(number), at }
            }
            None => Token { kind: Kind::Wrong("invalid number"), at },
        }
    }

    /// True for what C reads as a number and JSON does not.
    fn is_invalid_number(&self) -> bool {
        let rest = self.rest();
        if rest.first() == Some(&b'+') {
            return true;
        }
        let rest = rest.strip_prefix(b"-").unwrap_or(rest);
        let starts = |word: &[u8]| {
            rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        match rest {
            [b'0', second, ..] => matches!(second, b'x' | b'X' | b'0'..=b'9'),
            [first, ..] if *first <= b'9' => false,
            _ => starts(b"inf") || starts(b"nan"),
        }
    }

    /// A text, whose first quotation mark stands here.
    fn string(&mut self) -> Result<Token> {
        let at = self.at;
        self.at += 1;
        self.string.clear();
        loop {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0);
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(is_special).unwrap_or(rest.len());
            let (plain, special) = rest.split_at_checked(plain).unwrap_or_default();
            self.at += plain.len();
            match special.first() {
                Some(b'"') => {
                    let text = if self.string.is_empty() {
                        self.lua.create_string(plain)?
                    } else {
                        self.string.extend_from_slice(plain);
                        self.lua.create_string(&self.string)?
                    };
                    self.at += 1;
                    return Ok(Token { kind: Kind::String(text), at });
                }
                Some(b'\\') => {
                    self.string.extend_from_slice(plain);
                    if let Err(why) = self.escape() {
                        return Ok(Token { kind: Kind::Wrong(why), at: self.at });
                    }
                }
                _ => {
                    let kind = Kind::Wrong("unexpected end of string");
                    return Ok(Token { kind, at: self.at });
                }
            }
        }
    }

    /// Appends what the escape stands for whose backslash stands here.
    fn escape(&mut self) -> std::result::Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'u' => return self.unicode().ok_or("invalid unicode escape code"),
            _ => return Err("invalid escape code"),
        };
        self.string.push(byte);
        self.at += 2;
        Ok(())
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.iter().try_fold(0, |sum, digit| Some((sum << 4) | char::from(*digit).to_digit(16)?))
    }

    fn unicode(&mut self) -> Option<()> {
        let mut code = self.hex4(self.at + 2)?;
        let mut len = 6;
        if code & 0xf800 == 0xd800 {
            let is_pair = code & 0x400 == 0
                && self.byte(self.at + 6) == b'\\'
                && self.byte(self.at + 7) == b'u';
            let low = self.hex4(self.at + 8).filter(|low| is_pair && low & 0xfc00 == 0xdc00)?;
            code = (((code & 0x3ff) << 10) | (low & 0x3ff)) + 0x1_0000;
            len = 12;
        }
        let letter = char::from_u32(code)?;
        self.string.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += len;
        Some(())
    }
}

enum Added {
    Closed(Table),
    Next,
}
