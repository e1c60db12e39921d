//! The join: intended × declared × observed → state and finding. Total.

use super::{Class, Reason};
use crate::finding::Code;
use crate::matrix::Expect;
use crate::policy::Declared;

/// The state of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// As intended.
    Ok,
    /// Not known to be wrong yet: a forbidden edge that is open before policies were ever enforced, or what a pod saw before they can have been.
    Pending,
    /// Something is missing to say; never shown green.
    Unknown,
    /// Not as intended.
    Violated,
}

impl State {
    /// All states, best first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Pending, Self::Unknown, Self::Violated];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Violated => "violated",
        }
    }
}

/// Whether policies were ever enforced for this matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Before the first Enforce: an open forbidden edge is expected.
    Audit,
    /// Enforced, or a judgement outside any roll-out.
    Enforce,
}

/// What the three facts together say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The state.
    pub state: State,
    /// The finding, if there is something to say. With `State::Ok` it is a warning.
    pub finding: Option<Code>,
}

impl Judgement {
    /// The same, of what was seen before the policies can be taken to be in force: that they are not is no finding yet.
    pub(super) fn early(self) -> Self {
        match (self.state, self.finding) {
            (State::Violated, Some(Code::NotEnforced | Code::BlockedElsewhere)) => {
                Self { state: State::Pending, finding: None }
            }
            (State::Ok, Some(Code::NotEnforced)) => Self { finding: None, ..self },
            _ => self,
        }
    }

    /// The same, of what was seen before the target became Ready: only what the policies deny is certain to go on.
    pub(super) fn outdated(self) -> Self {
        match (self.state, self.finding) {
            (State::Violated, Some(code)) if code != Code::PolicyBlocks => {
                Self { state: State::Pending, finding: None }
            }
            _ => self,
        }
    }
}

/// Joins the three facts (the table of product.md §1).
pub fn judge(expect: Expect, declared: Declared, class: Class, reason: Reason, mode: Mode) -> Judgement {
    let say = |state, finding| Judgement { state, finding };
    match (expect, declared, class) {
        (_, _, Class::Unknown) | (Expect::Deny, _, Class::Down) => say(State::Unknown, None),
        (Expect::Allow, Declared::Denied, Class::Reachable) => say(State::Ok, Some(Code::NotEnforced)),
        (Expect::Allow, Declared::Allowed | Declared::Unknown, Class::Reachable) => say(State::Ok, None),
        (Expect::Allow, Declared::Denied, Class::Blocked) => say(State::Violated, Some(Code::PolicyBlocks)),
        (Expect::Allow, Declared::Allowed | Declared::Unknown, Class::Blocked) => {
            say(State::Violated, Some(Code::BlockedElsewhere))
        }
        (Expect::Allow, _, Class::Down) => say(State::Violated, Some(down(reason))),
        (Expect::Deny, Declared::Denied | Declared::Unknown, Class::Blocked) => say(State::Ok, None),
        (Expect::Deny, Declared::Allowed, Class::Blocked) => say(State::Ok, Some(Code::ClosedByLuck)),
        (Expect::Deny, Declared::Denied, Class::Reachable) => say(State::Violated, Some(Code::NotEnforced)),
        (Expect::Deny, Declared::Allowed | Declared::Unknown, Class::Reachable) => {
            let state = if mode == Mode::Audit { State::Pending } else { State::Violated };
            say(state, Some(Code::ForbiddenOpen))
        }
    }
}

/// The name of what is wrong with a target that does not serve.
fn down(reason: Reason) -> Code {
    match reason {
        Reason::DnsNxdomain | Reason::DnsServfail | Reason::DnsRefused | Reason::DnsTimeout => Code::NameNotResolved,
        Reason::TlsHandshake
        | Reason::TlsExpired
        | Reason::TlsNotYetValid
        | Reason::TlsNameMismatch
        | Reason::TlsUntrusted
        | Reason::TlsVersion => Code::TlsInvalid,
        Reason::ProtoMismatch | Reason::HttpStatus | Reason::HttpBody => Code::ProtocolMismatch,
        Reason::ProtoAuth => Code::AuthRejected,
        Reason::Ok
        | Reason::NoEndpoints
        | Reason::ConnectTimeout
        | Reason::ConnectRefusedRst
        | Reason::IcmpPortUnreachable
        | Reason::IcmpAdminProhibited
        | Reason::IcmpNoRoute
        | Reason::LocalDenied
        | Reason::RelayFailed
        | Reason::FirstByteTimeout
        | Reason::ClosedEarly
        | Reason::ProberError => Code::TargetDown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Blocked, Down, Reachable};
    use Declared::{Allowed, Denied};
    use Expect::{Allow, Deny};

    #[track_caller]
    fn check(expect: Expect, declared: Declared, class: Class, state: State, finding: Option<Code>) {
        let got = judge(expect, declared, class, Reason::ConnectRefusedRst, Mode::Enforce);
        assert_eq!(got, Judgement { state, finding }, "{expect:?} {declared:?} {class:?}");
    }

    /// The table of product.md §1, row by row.
    #[test]
    fn the_table() {
        let unknown = Declared::Unknown;
        check(Allow, Allowed, Reachable, State::Ok, None);
        check(Allow, unknown, Reachable, State::Ok, None);
        check(Allow, Denied, Reachable, State::Ok, Some(Code::NotEnforced));
        check(Allow, Denied, Blocked, State::Violated, Some(Code::PolicyBlocks));
        check(Allow, Allowed, Blocked, State::Violated, Some(Code::BlockedElsewhere));
        check(Allow, unknown, Blocked, State::Violated, Some(Code::BlockedElsewhere));
        for declared in Declared::ALL {
            check(Allow, declared, Down, State::Violated, Some(Code::TargetDown));
            check(Deny, declared, Down, State::Unknown, None);
            check(Allow, declared, Class::Unknown, State::Unknown, None);
            check(Deny, declared, Class::Unknown, State::Unknown, None);
        }
        check(Deny, Denied, Blocked, State::Ok, None);
        check(Deny, unknown, Blocked, State::Ok, None);
        check(Deny, Allowed, Blocked, State::Ok, Some(Code::ClosedByLuck));
        check(Deny, Allowed, Reachable, State::Violated, Some(Code::ForbiddenOpen));
        check(Deny, unknown, Reachable, State::Violated, Some(Code::ForbiddenOpen));
        check(Deny, Denied, Reachable, State::Violated, Some(Code::NotEnforced));
    }

    /// Every combination has an answer, unknown is never green, and only the two warnings of the table stand beside `ok`.
    #[test]
    fn the_join_is_total() {
        for expect in [Allow, Deny] {
            for declared in Declared::ALL {
                for class in Class::ALL {
                    for reason in Reason::ALL {
                        for mode in [Mode::Audit, Mode::Enforce] {
                            let got = judge(expect, declared, class, reason, mode);
                            assert_eq!(
                                got.state == State::Unknown,
                                class == Class::Unknown || (expect, class) == (Deny, Down)
                            );
                            assert_eq!(
                                got.state == State::Pending,
                                mode == Mode::Audit && got.finding == Some(Code::ForbiddenOpen)
                            );
                            if got.state == State::Violated {
                                assert!(got.finding.is_some());
                            }
                            if got.state == State::Ok {
                                assert!(matches!(got.finding, None | Some(Code::NotEnforced | Code::ClosedByLuck)));
                            }
                        }
                    }
                }
            }
        }
    }
}
