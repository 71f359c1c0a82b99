//! Lua's patterns, without recursion and with a price for every step.
//!
//! Lua's own matcher runs in C, where no hook can interrupt it: a pattern such as `.-.-.-.-x` on a
//! long text would keep the thread for hours, and a long pattern would overflow its stack. This one
//! tries the same possibilities in the same order, but keeps them in a list ([`Choice`]), and pays
//! for each step, so that whoever waits can end the script. Results and errors are those of Lua
//! 5.1, including what it says of patterns that make no sense, which it finds only on the way.

use mlua::{Error, Result};

/// Captures of one pattern, at most.
const CAPTURES_MAX: usize = 32;

/// Possibilities that are kept, at most: a bound for the memory that they take.
const CHOICES_MAX: usize = 1 << 20;

const ESCAPE: u8 = b'%';

/// Why a match cannot be made.
#[derive(Debug)]
pub enum PatternError {
    /// The pattern is wrong; an error of the script.
    Wrong(&'static str),
    /// The script has to end.
    Over(Error),
}

type Tried<T> = std::result::Result<T, PatternError>;

/// What a capture has caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// It is not closed.
    Open(usize),
    /// A place in the text, of `()`.
    Position(usize),
    /// A part of the text.
    Text(usize, usize),
}

/// What is tried next when a try fails; `s` is a place in the text, `p` one in the pattern.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// Go on behind an optional item that was there.
    Skip { s: usize, p: usize },
    /// One repetition less, of `count` from `s` on.
    Fewer { s: usize, count: usize, p: usize },
    /// One repetition more of the item that stands between `p` and `end`.
    More { s: usize, p: usize, end: usize },
    /// A capture was begun.
    Begun,
    /// This capture was closed; it began at `start`.
    Closed { number: usize, start: usize },
}

/// Matches one pattern against one text.
pub struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: [Capture; CAPTURES_MAX],
    level: usize,
    choices: Vec<Choice>,
    spend: &'a dyn Fn(u32) -> Result<()>,
}

impl<'a> Matcher<'a> {
    /// A matcher that pays by `spend`. The pattern ends at its first zero byte, as in Lua 5.1.
    pub fn new(text: &'a [u8], pattern: &'a [u8], spend: &'a dyn Fn(u32) -> Result<()>) -> Self {
        Self {
            text,
            pattern,
            captures: [Capture::Position(0); CAPTURES_MAX],
            level: 0,
            choices: Vec::new(),
            spend,
        }
    }

    /// The captures of the last match.
    pub fn captures(&self) -> &[Capture] {
        self.captures.get(..self.level).unwrap_or_default()
    }

    /// What capture `index` of a match from `start` to `end` has caught; the whole match when the
    /// pattern has no captures and `index` is 0.
    pub fn capture(&self, index: usize, start: usize, end: usize) -> Tried<Capture> {
        match self.captures().get(index) {
            Some(Capture::Open(_)) => Err(PatternError::Wrong("unfinished capture")),
            Some(capture) => Ok(*capture),
            None if index == 0 => Ok(Capture::Text(start, end)),
            None => Err(PatternError::Wrong("invalid capture index")),
        }
    }

    fn pay(&self, steps: usize) -> Tried<()> {
        (self.spend)(u32::try_from(steps).unwrap_or(u32::MAX)).map_err(PatternError::Over)
    }

    /// A byte of the pattern, 0 behind its end.
    #[inline]
    fn at(&self, p: usize) -> u8 {
        self.pattern.get(p).copied().unwrap_or(0)
    }

    /// The place behind the item that begins at `p`.
    fn item_end(&self, p: usize) -> Tried<usize> {
        match self.at(p) {
            ESCAPE if self.at(p + 1) == 0 => {
                Err(PatternError::Wrong("malformed pattern (ends with '%')"))
            }
            ESCAPE => Ok(p + 2),
            b'[' => self.set_end(p),
            _ => Ok(p + 1),
        }
    }

    fn set_end(&self, start: usize) -> Tried<usize> {
        let mut p = start + 1;
        if self.at(p) == b'^' {
            p += 1;
        }
        loop {
            let byte = self.at(p);
            if byte == 0 {
                return Err(PatternError::Wrong("malformed pattern (missing ']')"));
            }
            p += 1;
            if byte == ESCAPE && self.at(p) != 0 {
                p += 1;
            }
            if self.at(p) == b']' {
                return Ok(p + 1);
            }
        }
    }

    /// True when `byte` is in the set that begins at `p` and whose bracket closes at `close`.
    fn set_holds(&self, byte: u8, mut p: usize, close: usize) -> bool {
        let is_plain = self.at(p + 1) != b'^';
        if !is_plain {
            p += 1;
        }
        loop {
            p += 1;
            if p >= close {
                return !is_plain;
            }
            let holds = if self.at(p) == ESCAPE {
                p += 1;
                class_holds(byte, self.at(p))
            } else if self.at(p + 1) == b'-' && p + 2 < close {
                p += 2;
                (self.at(p - 2)..=self.at(p)).contains(&byte)
            } else {
                self.at(p) == byte
            };
            if holds {
                return is_plain;
            }
        }
    }

    /// True when the byte at `s` is one of the item between `p` and `end`.
    #[inline]
    fn item_holds(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.text.get(s) else { return false };
        match self.at(p) {
            b'.' => true,
            ESCAPE => class_holds(byte, self.at(p + 1)),
            b'[' => self.set_holds(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Matches the pattern from `p` on against the text from `s` on; the end of the match.
    pub fn matches(&mut self, s: usize, p: usize) -> Tried<Option<usize>> {
        self.level = 0;
        self.choices.clear();
        let mut next = Some((s, p));
        loop {
            self.pay(1)?;
            let Some((s, p)) = next else {
                match self.choices.pop() {
                    Some(choice) => next = self.other(choice),
                    None => return Ok(None),
                }
                continue;
            };
            match self.step(s, p)? {
                Step::Matched => return Ok(Some(s)),
                Step::Go(s, p) => next = Some((s, p)),
                Step::Failed => next = None,
            }
        }
    }

    /// Where a choice leads.
    fn other(&mut self, choice: Choice) -> Option<(usize, usize)> {
        match choice {
            Choice::Skip { s, p } => Some((s, p)),
            Choice::Fewer { s, count, p } => {
                let count = count.checked_sub(1)?;
                if count > 0 {
                    self.choices.push(Choice::Fewer { s, count, p });
                }
                Some((s + count, p))
            }
            Choice::More { s, p, end } => {
                if !self.item_holds(s, p, end) {
                    return None;
                }
                self.choices.push(Choice::More { s: s + 1, p, end });
                Some((s + 1, end + 1))
            }
            Choice::Begun => {
                self.level -= 1;
                None
            }
            Choice::Closed { number, start } => {
                if let Some(capture) = self.captures.get_mut(number) {
                    *capture = Capture::Open(start);
                }
                None
            }
        }
    }

    fn keep(&mut self, choice: Choice) -> Tried<()> {
        if self.choices.len() >= CHOICES_MAX {
            return Err(PatternError::Wrong("pattern too complex"));
        }
        self.choices.push(choice);
        Ok(())
    }

    fn step(&mut self, s: usize, p: usize) -> Tried<Step> {
        match self.at(p) {
            0 => Ok(Step::Matched),
            b'(' if self.at(p + 1) == b')' => self.begin(Capture::Position(s), s, p + 2),
            b'(' => self.begin(Capture::Open(s), s, p + 1),
            b')' => self.close(s, p + 1),
            b'$' if self.at(p + 1) == 0 => {
                Ok(if s == self.text.len() { Step::Matched } else { Step::Failed })
            }
            ESCAPE => match self.at(p + 1) {
                b'b' => self.balanced(s, p + 2),
                b'f' => self.frontier(s, p + 2),
                digit if digit.is_ascii_digit() => self.repeated(s, digit, p + 2),
                _ => self.item(s, p),
            },
            _ => self.item(s, p),
        }
    }

    /// An item and what stands behind it.
    fn item(&mut self, s: usize, p: usize) -> Tried<Step> {
        let end = self.item_end(p)?;
        match self.at(end) {
            b'?' => {
                if !self.item_holds(s, p, end) {
                    return Ok(Step::Go(s, end + 1));
                }
                self.keep(Choice::Skip { s, p: end + 1 })?;
                Ok(Step::Go(s + 1, end + 1))
            }
            b'*' => self.most(s, p, end),
            b'+' if self.item_holds(s, p, end) => self.most(s + 1, p, end),
            b'-' => {
                self.keep(Choice::More { s, p, end })?;
                Ok(Step::Go(s, end + 1))
            }
            b'+' => Ok(Step::Failed),
            _ if self.item_holds(s, p, end) => Ok(Step::Go(s + 1, end)),
            _ => Ok(Step::Failed),
        }
    }

    /// As many repetitions as there are, then fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Tried<Step> {
        let mut count = 0;
        while self.item_holds(s + count, p, end) {
            count += 1;
        }
        self.pay(count)?;
        if count > 0 {
            self.keep(Choice::Fewer { s, count, p: end + 1 })?;
        }
        Ok(Step::Go(s + count, end + 1))
    }

    fn begin(&mut self, capture: Capture, s: usize, p: usize) -> Tried<Step> {
        let Some(place) = self.captures.get_mut(self.level) else {
            return Err(PatternError::Wrong("too many captures"));
        };
        *place = capture;
        self.level += 1;
        self.keep(Choice::Begun)?;
        Ok(Step::Go(s, p))
    }

    fn close(&mut self, s: usize, p: usize) -> Tried<Step> {
        let last_open = |capture: &Capture| matches!(capture, Capture::Open(_));
        let Some(number) = self.captures().iter().rposition(last_open) else {
            return Err(PatternError::Wrong("invalid pattern capture"));
        };
        if let Some(capture) = self.captures.get_mut(number)
            && let Capture::Open(start) = *capture
        {
            *capture = Capture::Text(start, s);
            self.keep(Choice::Closed { number, start })?;
        }
        Ok(Step::Go(s, p))
    }

    fn balanced(&mut self, s: usize, p: usize) -> Tried<Step> {
        let (open, close) = (self.at(p), self.at(p + 1));
        if open == 0 || close == 0 {
            return Err(PatternError::Wrong("unbalanced pattern"));
        }
        // Behind its end Lua sees a zero byte, which is none of the two.
        if self.text.get(s) != Some(&open) {
            return Ok(Step::Failed);
        }
        let mut depth = 1_usize;
        let rest = self.text.get(s + 1..).unwrap_or_default();
        for (index, byte) in rest.iter().enumerate() {
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    self.pay(index)?;
                    return Ok(Step::Go(s + index + 2, p + 2));
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        self.pay(rest.len())?;
        Ok(Step::Failed)
    }

    fn frontier(&mut self, s: usize, p: usize) -> Tried<Step> {
        if self.at(p) != b'[' {
            return Err(PatternError::Wrong("missing '[' after '%f' in pattern"));
        }
        let end = self.item_end(p)?;
        let before = s.checked_sub(1).and_then(|before| self.text.get(before)).copied();
        let here = self.text.get(s).copied();
        let is_frontier = !self.set_holds(before.unwrap_or(0), p, end - 1)
            && self.set_holds(here.unwrap_or(0), p, end - 1);
        Ok(if is_frontier { Step::Go(s, end) } else { Step::Failed })
    }

    /// The same text as a capture has caught.
    fn repeated(&mut self, s: usize, digit: u8, p: usize) -> Tried<Step> {
        let number = usize::from(digit).checked_sub(usize::from(b'1'));
        let captured = number.and_then(|number| self.captures().get(number)).copied();
        let (start, end) = match captured {
            Some(Capture::Text(start, end)) => (start, end),
            // Its length is -2 in Lua, which no rest of a text has.
            Some(Capture::Position(_)) => return Ok(Step::Failed),
            _ => return Err(PatternError::Wrong("invalid capture index")),
        };
        let caught = self.text.get(start..end).unwrap_or_default();
        self.pay(caught.len())?;
        let rest = self.text.get(s..).unwrap_or_default();
        Ok(if rest.starts_with(caught) { Step::Go(s + caught.len(), p) } else { Step::Failed })
    }
}

enum Step {
    Matched,
    Go(usize, usize),
    Failed,
}

/// True when the class, the letter behind `%`, holds `byte`; another character stands for itself.
fn class_holds(byte: u8, class: u8) -> bool {
    let holds = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    holds == class.is_ascii_lowercase()
}
