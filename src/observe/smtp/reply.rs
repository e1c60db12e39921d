//! SMTP replies out of bytes (RFC 5321 §4.2).

/// Most bytes of a line, its end included. RFC 5321 §4.5.3.1.5 allows 512; servers overstep it.
pub(super) const MOST_LINE: usize = 1024;
/// Most lines of one reply.
pub(super) const MOST_LINES: usize = 100;

/// Why a reply cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    NotSmtp,
    LineTooLong,
    TooManyLines,
}

/// One whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// The text of each line, without the code.
    pub(super) lines: Vec<Vec<u8>>,
}

impl Reply {
    /// Whether a reply to EHLO lists this keyword, in any line after the first: also in the last, `250 STARTTLS`.
    pub(super) fn offers(&self, keyword: &str) -> bool {
        self.lines.iter().skip(1).any(|line| {
            // `AUTH=LOGIN` is an old spelling of `AUTH LOGIN` that is still around.
            let word = line.split(|byte| matches!(byte, b' ' | b'=')).next().unwrap_or_default();
            word.eq_ignore_ascii_case(keyword.as_bytes())
        })
    }
}

/// Collects bytes until a reply is whole.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Lines of the reply that is under way, and its code.
    lines: Vec<Vec<u8>>,
    code: Option<u16>,
}

impl Reader {
    /// Takes bytes in. To be called only when [`Reader::next`] has none left, so at most one line is kept beside them.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing is left over: neither bytes nor half a reply.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, Fault> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            if end >= MOST_LINE {
                return Err(Fault::LineTooLong);
            }
            let rest = self.bytes.split_off(end + 1);
            let line = std::mem::replace(&mut self.bytes, rest);
            if let Some(code) = self.line(line.trim_ascii_end())? {
                self.code = None;
                return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
            }
        }
        if self.bytes.len() >= MOST_LINE {
            return Err(Fault::LineTooLong);
        }
        // Told by the first bytes already: another protocol need not send a line's end.
        if self.bytes.iter().take(3).enumerate().all(|(place, byte)| is_code_digit(place, *byte)) {
            Ok(None)
        } else {
            Err(Fault::NotSmtp)
        }
    }

    /// Takes one line; the code when it is the reply's last.
    fn line(&mut self, line: &[u8]) -> Result<Option<u16>, Fault> {
        let (digits, rest) = line.split_at_checked(3).ok_or(Fault::NotSmtp)?;
        if !digits.iter().enumerate().all(|(place, byte)| is_code_digit(place, *byte)) {
            return Err(Fault::NotSmtp);
        }
        let code = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        // RFC 5321 §4.2.1: every line of a reply has the same code.
        if *self.code.get_or_insert(code) != code {
            return Err(Fault::NotSmtp);
        }
        if self.lines.len() == MOST_LINES {
            return Err(Fault::TooManyLines);
        }
        let (last, text) = match rest.split_first() {
            None => (true, &[][..]),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(Fault::NotSmtp),
        };
        self.lines.push(text.to_vec());
        Ok(last.then_some(code))
    }
}

/// RFC 5321 §4.2: the first digit is 2 to 5; the second, by the grammar, 0 to 5, which servers do not keep.
fn is_code_digit(place: usize, byte: u8) -> bool {
    if place == 0 { (b'2'..=b'5').contains(&byte) } else { byte.is_ascii_digit() }
}

/// Any bytes as replies: bounded, and the same in one piece and byte by byte.
#[cfg(fuzzing)]
pub(in crate::observe) fn fuzz(bytes: &[u8]) {
    let read = |size: usize| {
        let mut reader = Reader::default();
        let mut replies = Vec::new();
        for piece in bytes.chunks(size.max(1)) {
            reader.push(piece);
            loop {
                match reader.next() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(fault) => return (replies, false, Some(fault)),
                }
                assert!(reader.lines.len() <= MOST_LINES);
            }
            assert!(reader.bytes.len() < MOST_LINE);
        }
        (replies, reader.is_empty(), None)
    };
    let whole = read(bytes.len());
    assert!(whole.0.iter().all(|reply| (200..600).contains(&reply.code) && !reply.lines.is_empty()));
    let _ = whole.0.iter().any(|reply| reply.offers("STARTTLS"));
    let pieces = read(1);
    // A fault may be told earlier in pieces, but never another kind of ending.
    assert_eq!(whole.2.is_some(), pieces.2.is_some(), "pieces matter");
    if whole.2.is_none() {
        assert_eq!(whole, pieces, "pieces matter");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All replies of some bytes, whether something is left over, and the fault.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, bool, Option<Fault>) {
        let mut reader = Reader::default();
        let mut replies = Vec::new();
        for piece in pieces {
            reader.push(piece);
            loop {
                match reader.next() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(fault) => return (replies, false, Some(fault)),
                }
            }
        }
        (replies, !reader.is_empty(), None)
    }

    #[track_caller]
    fn check(text: &str, expect: Result<&[(u16, usize)], Fault>) {
        let (replies, left, fault) = read([text.as_bytes()]);
        let got: Vec<_> = replies.iter().map(|reply| (reply.code, reply.lines.len())).collect();
        match expect {
            Ok(expect) => assert_eq!((got.as_slice(), left, fault), (expect, false, None), "{text:?}"),
            Err(expect) => assert_eq!(fault, Some(expect), "{text:?}"),
        }
    }

    #[test]
    fn replies() {
        check("220 mail.example.org ESMTP\r\n", Ok(&[(220, 1)]));
        check("220-a\r\n220-b\r\n220 c\r\n", Ok(&[(220, 3)]));
        check("250\r\n", Ok(&[(250, 1)]));
        check("250 ok\n", Ok(&[(250, 1)]));
        check("220 go\r\n250 injected\r\n", Ok(&[(220, 1), (250, 1)]));
        check("SSH-2.0-OpenSSH_9\r\n", Err(Fault::NotSmtp));
        check("H", Err(Fault::NotSmtp));
        check("22x", Err(Fault::NotSmtp));
        check("22\r\n", Err(Fault::NotSmtp));
        check("220_a\r\n", Err(Fault::NotSmtp));
        check("120 early\r\n", Err(Fault::NotSmtp));
        check("250-a\r\n251 b\r\n", Err(Fault::NotSmtp));
        check(&format!("220 {}", "x".repeat(MOST_LINE)), Err(Fault::LineTooLong));
        check(&format!("220 {}\r\n", "x".repeat(MOST_LINE)), Err(Fault::LineTooLong));
        check(&"220-x\r\n".repeat(MOST_LINES + 1), Err(Fault::TooManyLines));
    }

    #[test]
    fn offers_are_found_in_any_line_but_the_first() {
        let (replies, ..) =
            read([&b"250-STARTTLS.example.org greets\r\n250-SIZE 1\r\n250-auth=LOGIN\r\n250 starttls\r\n"[..]]);
        assert!(replies[0].offers("STARTTLS") && replies[0].offers("AUTH"));
        let (replies, ..) = read([&b"250-STARTTLS hello\r\n250-AUTHOR\r\n250 X-STARTTLS\r\n"[..]]);
        assert!(!replies[0].offers("STARTTLS") && !replies[0].offers("AUTH"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            read([&bytes[..]]);
        }

        /// However the bytes are cut, they read the same, as long as no fault comes in between.
        #[test]
        fn pieces_do_not_matter(
            parts in proptest::collection::vec(prop_oneof![
                Just("220 a\r\n"), Just("250-b\r\n"), Just("250 STARTTLS\r\n"), Just("2"), Just("\r\n"), Just("x"), Just("5"),
            ], 0..10),
            size in 1usize..9,
        ) {
            let text = parts.concat();
            let (whole, pieces) = (read([text.as_bytes()]), read(text.as_bytes().chunks(size)));
            prop_assert_eq!(whole, pieces);
        }
    }
}
