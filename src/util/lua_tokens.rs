//! The words and signs of a Lua 5.1 text, for those who want to know about a script without
//! running it.
//!
//! It is stricter than Lua: whatever it is not sure about is an error, and the caller assumes the
//! worst. Nothing nests here, so no text makes it recurse.

/// One word or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// A string, without quotes and with its escapes resolved.
    Text(Vec<u8>),
    /// A number as it is written.
    Number(&'a str),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// The text is not surely Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotLua;

/// All operators and brackets, each before those that it begins with.
const SIGNS: &[&str] = &[
    "...", "..", "==", "~=", "<=", ">=", "+", "-", "*", "/", "%", "^", "#", "<", ">", "=", "(",
    ")", "{", "}", "[", "]", ";", ":", ",", ".",
];

/// The tokens of `source`, without comments. Cost: O(bytes).
///
/// # Errors
/// For a byte that begins no token, or a string or comment without an end.
pub fn tokens(source: &[u8]) -> Result<Vec<Token<'_>>, NotLua> {
    let mut scanner = Scanner { source, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = scanner.next_token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Scanner<'a> {
    source: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn next_token(&mut self) -> Result<Option<Token<'a>>, NotLua> {
        self.skip_blanks()?;
        let Some(first) = self.byte(0) else { return Ok(None) };
        let is_fraction = first == b'.' && self.byte(1).is_some_and(|byte| byte.is_ascii_digit());
        Ok(Some(match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Token::Name(self.word(false)?),
            b'0'..=b'9' => Token::Number(self.word(true)?),
            _ if is_fraction => Token::Number(self.word(true)?),
            b'"' | b'\'' => Token::Text(self.quoted(first)?),
            b'[' if self.long_level().is_some() => Token::Text(self.long_text()?),
            _ => Token::Sign(self.sign()?),
        }))
    }

    fn skip_blanks(&mut self) -> Result<(), NotLua> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b' ' | b'\t' | b'\r' | b'\n' | 11 | 12), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) => {
                    self.at += 2;
                    if self.long_level().is_some() {
                        self.long_text()?;
                    } else {
                        let end = self.rest().iter().position(|byte| *byte == b'\n');
                        self.at = end.map_or(self.source.len(), |end| self.at + end);
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// A name, or a number: that is read as one word with its fraction, and whether it is a good
    /// one does not matter here.
    fn word(&mut self, is_number: bool) -> Result<&'a str, NotLua> {
        let belongs = |byte: &u8| {
            byte.is_ascii_alphanumeric() || *byte == b'_' || (is_number && *byte == b'.')
        };
        let rest = self.rest();
        let len = rest.iter().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        let word = rest.get(..len).and_then(|word| std::str::from_utf8(word).ok()).ok_or(NotLua)?;
        if word.contains("..") {
            // 1..2 is no number; what it is, is Lua's to say.
            return Err(NotLua);
        }
        self.at += len;
        Ok(word)
    }

    fn sign(&mut self) -> Result<&'static str, NotLua> {
        let rest = self.rest();
        let sign = SIGNS.iter().find(|sign| rest.starts_with(sign.as_bytes())).ok_or(NotLua)?;
        self.at += sign.len();
        Ok(sign)
    }

    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, NotLua> {
        let mut text = Vec::new();
        loop {
            self.at += 1;
            match self.byte(0).ok_or(NotLua)? {
                byte if byte == quote => break,
                b'\n' | b'\r' => return Err(NotLua),
                b'\\' => {
                    self.at += 1;
                    text.push(self.escaped()?);
                }
                byte => text.push(byte),
            }
        }
        self.at += 1;
        Ok(text)
    }

    /// What stands behind a backslash; its last byte is left to be passed.
    fn escaped(&mut self) -> Result<u8, NotLua> {
        Ok(match self.byte(0).ok_or(NotLua)? {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'9' => {
                let digits = self.rest().iter().take(3).take_while(|byte| byte.is_ascii_digit());
                let (count, value) = digits.fold((0, 0_u32), |(count, value), digit| {
                    (count + 1, value * 10 + u32::from(digit - b'0'))
                });
                self.at += count - 1;
                u8::try_from(value).map_err(|_| NotLua)?
            }
            // A line end in a string may be two bytes that count as one; other letters mean
            // something to other versions of Lua.
            b'\r' | b'\n' | b'a'..=b'z' | b'A'..=b'Z' => return Err(NotLua),
            byte => byte,
        })
    }

    /// How many `=` a long bracket has that begins here.
    fn long_level(&self) -> Option<usize> {
        let rest = self.rest().strip_prefix(b"[")?;
        let level = rest.iter().take_while(|byte| **byte == b'=').count();
        (rest.get(level) == Some(&b'[')).then_some(level)
    }

    fn long_text(&mut self) -> Result<Vec<u8>, NotLua> {
        let level = self.long_level().ok_or(NotLua)?;
        self.at += level + 2;
        let end = [&b"]"[..], &vec![b'='; level], b"]"].concat();
        let rest = self.rest();
        let len = memchr::memmem::find(rest, &end).ok_or(NotLua)?;
        let text = rest.get(..len).unwrap_or_default().to_vec();
        self.at += len + end.len();
        Ok(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_words_and_signs() {
        let source = br#"local x='a\'\10b' --[==[ no ]] ]==] y=[[long
]]..0x1F+.5 -- end
z[1]=#t~=nil ..."#;
        let shown: Vec<String> = tokens(source)
            .unwrap()
            .iter()
            .map(|token| match token {
                Token::Name(word) | Token::Number(word) => (*word).to_owned(),
                Token::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
                Token::Sign(sign) => (*sign).to_owned(),
            })
            .collect();
        let expected = r##"local x = "a'\nb" y = "long\n" .. 0x1F + .5 z [ 1 ] = # t ~= nil ..."##;
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn what_is_not_surely_lua_is_an_error() {
        for wrong in ["'a", "\"a\nb\"", "[[a", "--[[a", "a $ b", "'\\300'", "x = 1..2", "'\\\n'"] {
            assert_eq!(tokens(wrong.as_bytes()), Err(NotLua), "{wrong}");
        }
        assert_eq!(tokens(b"--[a\nx"), Ok(vec![Token::Name("x")]));
        assert_eq!(tokens(b""), Ok(Vec::new()));
    }
}
