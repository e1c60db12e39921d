//! The answer's bytes → status and body, in pieces of any size (RFC 9112).

/// Most bytes of all heads together, interim ones and trailers included.
pub(super) const MOST_HEAD: usize = 16 * 1024;
/// Most bytes of a body.
pub(super) const MOST_BODY: usize = 256 * 1024;
/// Most bytes of a chunk's size line.
const MOST_CHUNK_LINE: usize = 1024;

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    NotHttp,
    HeadTooLong,
    BodyTooLong,
    BadFraming(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes are still to come.
    Length(usize),
    Chunk(Chunk),
    UntilClose,
    Done,
}

/// Where in the chunked coding (RFC 9112 §7.1) the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size { value: usize, digits: bool, extension: bool, line: usize },
    Data(usize),
    End { cr: bool },
    Trailer { empty: bool },
}

impl Chunk {
    const START: Self = Self::Size { value: 0, digits: false, extension: false, line: 0 };
}

/// One answer being read.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    body_for: &'static [u16],
    head: Vec<u8>,
    heads: usize,
    status: Option<u16>,
    body: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(body_for: &'static [u16]) -> Self {
        Self { state: State::Head, body_for, head: Vec::new(), heads: 0, status: None, body: Vec::new() }
    }

    /// Whether any byte came.
    pub(super) fn begun(&self) -> bool {
        self.heads > 0
    }

    /// The final status, once its head is whole.
    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// The answer, once it is whole.
    pub(super) fn take(&mut self) -> Option<(u16, Vec<u8>)> {
        let status = self.status.filter(|_| self.state == State::Done)?;
        Some((status, std::mem::take(&mut self.body)))
    }

    /// The peer closed; true when that ends the answer in order.
    pub(super) fn close(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.state == State::Done
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.state {
                State::Done => return Ok(()),
                State::Head => {
                    self.head_byte(first)?;
                    bytes = rest;
                }
                State::UntilClose => {
                    self.body(bytes)?;
                    return Ok(());
                }
                State::Length(left) => {
                    let taken = left.min(bytes.len());
                    self.body(&bytes[..taken])?;
                    self.state = if taken == left { State::Done } else { State::Length(left - taken) };
                    bytes = &bytes[taken..];
                }
                State::Chunk(Chunk::Data(left)) => {
                    let taken = left.min(bytes.len());
                    self.body(&bytes[..taken])?;
                    let next = if taken == left { Chunk::End { cr: false } } else { Chunk::Data(left - taken) };
                    self.state = State::Chunk(next);
                    bytes = &bytes[taken..];
                }
                State::Chunk(chunk) => {
                    self.state = self.chunk_byte(chunk, first)?;
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.body.len() + bytes.len() > MOST_BODY {
            return Err(Fault::BodyTooLong);
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn head_byte(&mut self, byte: u8) -> Result<(), Fault> {
        const BEGINNING: &[u8] = b"HTTP/1.";
        if BEGINNING.get(self.head.len()).is_some_and(|expected| *expected != byte) {
            // Told at the first wrong byte: another protocol need not send a whole head.
            self.heads += 1;
            return Err(Fault::NotHttp);
        }
        self.count_head()?;
        self.head.push(byte);
        // RFC 9112 §2.2: a bare LF may be taken as the end of a line.
        if byte == b'\n' && (self.head.ends_with(b"\n\n") || self.head.ends_with(b"\n\r\n")) {
            self.state = self.read_head()?;
            self.head.clear();
        }
        Ok(())
    }

    fn count_head(&mut self) -> Result<(), Fault> {
        self.heads += 1;
        if self.heads > MOST_HEAD { Err(Fault::HeadTooLong) } else { Ok(()) }
    }

    fn read_head(&mut self) -> Result<State, Fault> {
        let mut lines = self.head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status = status_line(lines.next().unwrap_or_default()).ok_or(Fault::NotHttp)?;
        if status < 200 {
            // An interim answer (RFC 9110 §15.2); nobody asked for 101.
            return if status == 101 {
                Err(Fault::BadFraming("an upgrade that was not asked for"))
            } else {
                Ok(State::Head)
            };
        }
        self.status = Some(status);
        if !self.body_for.contains(&status) || matches!(status, 204 | 304) {
            return Ok(State::Done);
        }
        framing(lines)
    }

    fn chunk_byte(&mut self, chunk: Chunk, byte: u8) -> Result<State, Fault> {
        Ok(State::Chunk(match (chunk, byte) {
            (Chunk::Size { value: 0, digits: true, .. }, b'\n') => Chunk::Trailer { empty: true },
            (Chunk::Size { value, digits: true, .. }, b'\n') => Chunk::Data(value),
            (Chunk::Size { line: MOST_CHUNK_LINE.., .. }, _) => return Err(Fault::BadFraming("an endless chunk size")),
            (Chunk::Size { value, extension: false, line, .. }, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).map_or(0, |digit| digit as usize);
                let value = value.saturating_mul(16).saturating_add(digit);
                if value > MOST_BODY {
                    return Err(Fault::BodyTooLong);
                }
                Chunk::Size { value, digits: true, extension: false, line: line + 1 }
            }
            (Chunk::Size { value, digits: true, extension, line }, byte) => {
                if !extension && !matches!(byte, b';' | b'\r' | b' ' | b'\t') {
                    return Err(Fault::BadFraming("a chunk without a size"));
                }
                Chunk::Size { value, digits: true, extension: true, line: line + 1 }
            }
            (Chunk::Size { .. }, _) => return Err(Fault::BadFraming("a chunk without a size")),
            (Chunk::End { cr: false }, b'\r') => Chunk::End { cr: true },
            (Chunk::End { .. }, b'\n') => Chunk::START,
            (Chunk::End { .. } | Chunk::Data(_), _) => return Err(Fault::BadFraming("a chunk without an end")),
            (Chunk::Trailer { empty }, byte) => {
                self.count_head()?;
                match byte {
                    b'\n' if empty => return Ok(State::Done),
                    b'\n' => Chunk::Trailer { empty: true },
                    b'\r' => Chunk::Trailer { empty },
                    _ => Chunk::Trailer { empty: false },
                }
            }
        }))
    }
}

/// `HTTP/1.1 200 OK` → 200. Some servers leave the space after the status out.
fn status_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (version, rest) = rest.split_first()?;
    let rest = rest.strip_prefix(b" ")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let ends = rest.is_empty() || rest.starts_with(b" ");
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (version.is_ascii_digit() && ends && (100..=599).contains(&status)).then_some(status)
}

/// How the body ends (RFC 9112 §6.3).
fn framing<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Result<State, Fault> {
    let mut length: Option<usize> = None;
    let mut chunked = None;
    for line in headers.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::BadFraming("a header without a colon"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let value = std::str::from_utf8(value).ok().filter(|_| digits).ok_or(Fault::BadFraming("a bad length"))?;
            // Too many digits for a number are too many bytes for us.
            let value = value.parse().unwrap_or(usize::MAX);
            if length.is_some_and(|other| other != value) {
                return Err(Fault::BadFraming("two lengths"));
            }
            length = Some(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = Some(chunked.is_none() && value.eq_ignore_ascii_case(b"chunked"));
        }
    }
    match (chunked, length) {
        (Some(true), _) => Ok(State::Chunk(Chunk::START)),
        (Some(false), _) => Err(Fault::BadFraming("a transfer coding that was not offered")),
        (None, Some(length)) if length > MOST_BODY => Err(Fault::BodyTooLong),
        (None, Some(0)) => Ok(State::Done),
        (None, Some(length)) => Ok(State::Length(length)),
        (None, None) => Ok(State::UntilClose),
    }
}

/// Any bytes as an answer: bounded, and the same in one piece and byte by byte.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let read = |size: usize| {
        let mut decoder = Decoder::new(&[200, 401]);
        for piece in bytes.chunks(size.max(1)) {
            decoder.push(piece)?;
            assert!(decoder.head.len() <= MOST_HEAD && decoder.body.len() <= MOST_BODY);
        }
        decoder.close();
        Ok::<_, Fault>((decoder.begun(), decoder.status(), decoder.take()))
    };
    let whole = read(bytes.len());
    assert_eq!(whole, read(1), "pieces matter");
    assert_eq!(whole, read(7), "pieces matter");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How reading an answer ends.
    #[derive(Debug, PartialEq, Eq)]
    enum End {
        Whole(u16, Vec<u8>),
        /// Status if the head was whole.
        Cut(Option<u16>),
        Fault(Fault),
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> End {
        let mut decoder = Decoder::new(&[200, 401]);
        for piece in pieces {
            if let Err(fault) = decoder.push(piece) {
                return End::Fault(fault);
            }
        }
        decoder.close();
        match decoder.take() {
            Some((status, body)) => End::Whole(status, body),
            None => End::Cut(decoder.status()),
        }
    }

    #[track_caller]
    fn check(answer: &str, expect: &End) {
        assert_eq!(&read([answer.as_bytes()]), expect, "{answer:?}");
        assert_eq!(&read(answer.as_bytes().chunks(1)), expect, "byte by byte: {answer:?}");
    }

    fn whole(status: u16, body: &str) -> End {
        End::Whole(status, body.as_bytes().to_vec())
    }

    #[test]
    fn framings() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", &whole(200, "{}"));
        check("HTTP/1.0 200 OK\r\n\r\n{}", &whole(200, "{}"));
        check("HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", &whole(200, ""));
        check("HTTP/1.1 200 OK\nContent-Length: 1\n\nx", &whole(200, "x"));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: x\r\n\r\n",
            &whole(200, "abcd"),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{} and more", &whole(200, "{}"));
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            &whole(200, "x"),
        );
        // A body that nobody wants is not waited for.
        check("HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\n", &whole(404, ""));
    }

    #[test]
    fn cuts() {
        check("", &End::Cut(None));
        check("HTTP/1.1 200 OK\r\nContent-Le", &End::Cut(None));
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", &End::Cut(Some(200)));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", &End::Cut(Some(200)));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", &End::Cut(Some(200)));
    }

    #[test]
    fn faults() {
        for answer in [
            "220 mail.example ESMTP\r\n",
            "<html>",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0\r\n\r\n",
            "HTTP/1.1 099\r\n\r\n",
        ] {
            check(answer, &End::Fault(Fault::NotHttp));
        }
        let chunked = |rest: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
        check(&chunked("x\r\n"), &End::Fault(Fault::BadFraming("a chunk without a size")));
        check(&chunked("\r\n"), &End::Fault(Fault::BadFraming("a chunk without a size")));
        check(&chunked("1\r\nabc"), &End::Fault(Fault::BadFraming("a chunk without an end")));
        check(&chunked("FFFFFFFFFFFFFFFFFFFF\r\n"), &End::Fault(Fault::BodyTooLong));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            &End::Fault(Fault::BadFraming("two lengths")),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", &End::Fault(Fault::BadFraming("a bad length")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", &End::Fault(Fault::BodyTooLong));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            &End::Fault(Fault::BadFraming("a transfer coding that was not offered")),
        );
        check("HTTP/1.1 101 Switching\r\n\r\n", &End::Fault(Fault::BadFraming("an upgrade that was not asked for")));
    }

    #[test]
    fn bounds() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MOST_HEAD));
        assert_eq!(read([endless.as_bytes()]), End::Fault(Fault::HeadTooLong));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        assert_eq!(read([interim.as_bytes()]), End::Fault(Fault::HeadTooLong));
        let trailer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}", "a: b\r\n".repeat(4000));
        assert_eq!(read([trailer.as_bytes()]), End::Fault(Fault::HeadTooLong));
        let line = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(2000));
        assert_eq!(read([line.as_bytes()]), End::Fault(Fault::BadFraming("an endless chunk size")));
        let body = vec![b'x'; MOST_BODY];
        let head: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(read([head, &body]), End::Whole(200, body.clone()));
        assert_eq!(read([head, &body, b"x"]), End::Fault(Fault::BodyTooLong));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            read([&bytes[..]]);
        }

        /// However an answer is cut into pieces, it reads the same.
        #[test]
        fn pieces_do_not_matter(
            parts in proptest::collection::vec(prop_oneof![
                Just("HTTP/1.1 200 OK\r\n"), Just("Content-Length: 12\r\n"), Just("Transfer-Encoding: chunked\r\n"),
                Just("\r\n"), Just("5\r\nhello\r\n"), Just("0\r\n\r\n"), Just("0\r\n"), Just("a"), Just(";"), Just("\n"),
            ], 0..12),
            size in 1usize..9,
        ) {
            let answer = parts.concat();
            prop_assert_eq!(read([answer.as_bytes()]), read(answer.as_bytes().chunks(size)));
        }
    }
}
