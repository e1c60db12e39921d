//! PostgreSQL's startup message and what the server decides, without any credential (PostgreSQL protocol 3.0, "Start-up" and "Message Formats").
//!
//! A server that asks for a password takes connections: that is what `pg_isready` is content with, too. A client that leaves at this point is not complained about: libpq itself does so when it has no password ("not much point in logging the failure", `auth_failed` in `src/backend/libpq/auth.c`).

use crate::judge::Reason;
use crate::matrix::Login;
use crate::observe::failure::Failure;

/// Longest message that is read. A real first word has some hundred bytes.
const MOST: usize = 16 * 1024;
/// Messages that are read. A session that begins well takes about 17: its settings are told one by one.
const MOST_MESSAGES: usize = 64;

/// The name that is sent where nobody knows MAS's own.
const MADE_UP: &str = "portreeve";

/// The startup message.
pub(super) fn message(login: Option<&Login>) -> Result<Vec<u8>, Failure> {
    let (user, database) = login.map_or((MADE_UP, MADE_UP), |login| (&*login.user, &*login.database));
    let pairs = [("user", user), ("database", database), ("application_name", MADE_UP)];
    if pairs.iter().any(|(_, value)| value.is_empty() || value.contains('\0') || value.len() > 255) {
        return Err(Failure::new(Reason::ProberError, "the user's or the database's name cannot be sent"));
    }
    // Protocol 3.0.
    let mut body = vec![0, 3, 0, 0];
    for (key, value) in pairs {
        body.extend_from_slice(key.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    Ok([&length.to_be_bytes()[..], &body].concat())
}

/// The server's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// `R` with another code than 0: it wants a proof of identity.
    Question,
    /// `Z` after `R` with code 0: a session has begun without one.
    Welcome,
    /// `E` with its SQLSTATE.
    Error([u8; 5]),
}

/// Reads the decision; `None` while it is not whole.
///
/// `R` with code 0 is none: PostgreSQL looks for the role and the database after it (`InitPostgres` in `src/backend/utils/init/postinit.c`).
pub(super) fn read(mut bytes: &[u8]) -> Result<Option<Word>, Failure> {
    let strange = || Failure::new(Reason::ProtoMismatch, "the answer to the startup message is not PostgreSQL's");
    let mut let_in = false;
    for _ in 0..MOST_MESSAGES {
        let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
        // R: authentication, E: error, N: notice, v: another minor version of the protocol; S, K, Z: a session's settings, its key, and that it is ready.
        if !matches!(kind, b'R' | b'E' | b'N' | b'v' | b'S' | b'K' | b'Z') {
            return Err(strange());
        }
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        // The length counts itself.
        let Some(length) = length.checked_sub(4).filter(|length| *length <= MOST) else { return Err(strange()) };
        let Some((body, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        match kind {
            b'R' if body.starts_with(&[0; 4]) => let_in = true,
            b'R' if body.len() >= 4 => return Ok(Some(Word::Question)),
            b'E' => return sqlstate(body).map(Word::Error).map(Some).ok_or_else(strange),
            b'Z' if let_in => return Ok(Some(Word::Welcome)),
            b'S' | b'K' if let_in => {}
            b'N' | b'v' => {}
            _ => return Err(strange()),
        }
        bytes = rest;
    }
    Err(strange())
}

/// What pgbouncer says when it is full. Its code is 08P01, as for nearly everything else that it refuses.
const POOLER_FULL: &[u8] = b"no more connections allowed";

/// Field `C` of an error: always there, five letters or digits.
fn sqlstate(body: &[u8]) -> Option<[u8; 5]> {
    let field = |key: u8| body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[key]));
    let code: [u8; 5] = field(b'C')?.try_into().ok()?;
    if &code == b"08P01" && field(b'M').is_some_and(|text| text.starts_with(POOLER_FULL)) {
        return Some(*b"53300");
    }
    code.iter().all(u8::is_ascii_alphanumeric).then_some(code)
}

/// `Terminate`: how a session ends that has begun.
pub(super) const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// What the decision means. With a made-up user (`known` false) a refusal of that user says nothing about MAS, and that the server decides about users proves that it serves.
pub(super) fn meaning(word: Word, known: bool) -> Result<&'static str, Failure> {
    let Word::Error(code) = word else { return Ok("it takes connections") };
    let state = String::from_utf8_lossy(&code).into_owned();
    // PostgreSQL, Appendix A. pgbouncer answers an unknown user or database with 08P01.
    match &code {
        b"57P03" => {
            Err(Failure::new(Reason::ProtoMismatch, "PostgreSQL is starting up, shutting down or recovering (57P03)"))
        }
        b"53300" => {
            Err(Failure::new(Reason::ProtoMismatch, "PostgreSQL has no connection left: too many clients (53300)"))
        }
        b"28000" | b"28P01" | b"3D000" | b"08P01" | b"42501" if !known => {
            Ok("it decides about users, and refuses a made-up one")
        }
        b"28000" | b"28P01" | b"42501" => {
            let detail = format!("PostgreSQL refuses this user from here, as it comes ({state}): see pg_hba.conf");
            Err(Failure::new(Reason::ProtoAuth, detail))
        }
        b"08P01" => Err(Failure::new(
            Reason::ProtoMismatch,
            "pgbouncer refuses the connection (08P01): it has no such user or database, or its own way to PostgreSQL fails",
        )),
        b"3D000" => Err(Failure::new(Reason::ProtoAuth, "PostgreSQL has no such database (3D000)")),
        _ => Err(Failure::new(Reason::ProtoMismatch, format!("PostgreSQL refuses the connection with {state}"))),
    }
}

/// Any bytes as the server's decision: a word that is whole stays the same whatever follows.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let Ok(Some(word)) = read(bytes) else { return };
    let first = (0..=bytes.len()).find_map(|end| read(&bytes[..end]).ok().flatten());
    assert_eq!(first, Some(word), "more bytes change a word");
    for known in [false, true] {
        let _ = meaning(word, known);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(code: &str) -> Vec<u8> {
        error_with(code, "no")
    }

    fn error_with(code: &str, text: &str) -> Vec<u8> {
        let body = format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0");
        let length = u32::try_from(body.len() + 4).unwrap();
        [&b"E"[..], &length.to_be_bytes(), body.as_bytes()].concat()
    }

    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

    const LET_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0";

    #[track_caller]
    fn check(bytes: &[u8], known: bool, expect: Result<(), Reason>) {
        let got = read(bytes).and_then(|word| meaning(word.unwrap(), known));
        assert_eq!(got.map(drop).map_err(|failure| failure.reason), expect, "{bytes:?}");
    }

    #[test]
    fn first_words() {
        check(SASL, false, Ok(()));
        check(&[LET_IN, b"S\0\0\0\x08a\0b\0K\0\0\0\x0c12345678Z\0\0\0\x05I"].concat(), true, Ok(()));
        assert_eq!(read(LET_IN), Ok(None), "the role and the database may still be refused");
        check(&[LET_IN, &error("3D000")].concat(), true, Err(Reason::ProtoAuth));
        for known in [false, true] {
            check(&error("57P03"), known, Err(Reason::ProtoMismatch));
            check(&error("53300"), known, Err(Reason::ProtoMismatch));
            check(&error("XX000"), known, Err(Reason::ProtoMismatch));
        }
        for (code, text) in [("53300", "no"), ("08P01", "no more connections allowed (max_client_conn)")] {
            check(&error_with(code, text), false, Err(Reason::ProtoMismatch));
        }
        check(&error_with("08P01", "no such database: mas"), false, Ok(()));
        for code in ["28000", "28P01", "3D000"] {
            check(&error(code), true, Err(Reason::ProtoAuth));
            check(&error(code), false, Ok(()));
        }
        check(&[b"N\0\0\0\x05\0".to_vec(), SASL.to_vec()].concat(), false, Ok(()));
    }

    #[test]
    fn what_is_no_first_word() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request"[..],
            b"R\0\0\0\x03",
            b"R\0\0\0\x04",
            b"R\xff\xff\xff\xff",
            b"E\0\0\0\x05\0",
            &error("5"),
            &error("57P0\n"),
            &b"N\0\0\0\x05\0".repeat(MOST_MESSAGES + 1),
            b"Z\0\0\0\x05I",
            b"S\0\0\0\x08a\0b\0",
        ] {
            assert_eq!(read(bytes).map_err(|failure| failure.reason), Err(Reason::ProtoMismatch), "{bytes:?}");
        }
        for length in 0..SASL.len() {
            assert_eq!(read(&SASL[..length]), Ok(None));
        }
    }

    #[test]
    fn the_message_names_no_password_and_takes_no_zero() {
        let sent = message(None).unwrap();
        assert_eq!(sent[..8], [0, 0, 0, u8::try_from(sent.len()).unwrap(), 0, 3, 0, 0]);
        assert!(sent.ends_with(b"user\0portreeve\0database\0portreeve\0application_name\0portreeve\0\0"));
        let login = Login { user: "mas\0superuser".to_owned(), database: "mas".to_owned() };
        assert_eq!(message(Some(&login)).map_err(|failure| failure.reason), Err(Reason::ProberError));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[b"E", &bytes[..]].concat());
        }

        /// A longer input never changes a word that was whole.
        #[test]
        fn more_bytes_change_nothing(more in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(read(&[SASL, &more].concat()), Ok(Some(Word::Question)));
        }
    }
}
