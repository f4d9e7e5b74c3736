//! What the functions of the program come to, typed.
//!
//! Between functions that the verifier looks at one by one only plain numbers travel. [`Outcome::to_bits`] and
//! [`Outcome::from_bits`] are the two places that know how; `finish` in `main.rs` is the one that turns an outcome into
//! an XDP action.

use tracker_common::{abi::Verdict, policy::Rule};

/// What a function came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The packet is counted and dealt with: this is the XDP action.
    Act(u32),
    /// The daemon is to have it, for this reason.
    Pass(Verdict),
    /// It is over a limit, and to be throttled or dropped.
    Limit(Verdict),
    /// It is to be refused for a bad connection id.
    BadId,
    /// It is to be refused by this rule.
    Refuse(Rule),
    /// Another function goes on.
    Step(Step),
}

/// How far a request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// It is within its limits.
    Admitted,
    /// The hooks have nothing against it.
    Approved,
    /// The torrent's peers are in its entry. What to do is in the scratch space.
    Begun,
    /// The torrent's peers are elsewhere. What to do is in the scratch space.
    Spilled,
    /// The swarm is changed. What to reply is in the scratch space.
    Applied,
}

/// Kinds of outcomes as numbers: those above the value's eight bits.
const ACT: u32 = 0;
const PASS: u32 = 1 << 8;
const LIMIT: u32 = 2 << 8;
const BAD_ID: u32 = 3 << 8;
const REFUSE: u32 = 4 << 8;
const STEP: u32 = 5 << 8;
const VALUE: u32 = 0xff;

const STEPS: [Step; 5] =
    [Step::Admitted, Step::Approved, Step::Begun, Step::Spilled, Step::Applied];

impl Outcome {
    /// As a number, to be returned.
    #[inline(always)]
    pub const fn to_bits(self) -> u32 {
        match self {
            Self::Act(action) => ACT | action & VALUE,
            Self::Pass(verdict) => PASS | verdict as u32,
            Self::Limit(verdict) => LIMIT | verdict as u32,
            Self::BadId => BAD_ID,
            Self::Refuse(rule) => REFUSE | rule as u32,
            Self::Step(step) => STEP | step as u32,
        }
    }

    /// The opposite of [`Outcome::to_bits`]. What no function returns is for the daemon.
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        const STRANGE: Outcome = Outcome::Pass(Verdict::Unusual);
        let value = bits & VALUE;
        match bits & !VALUE {
            ACT => Self::Act(value),
            PASS => Verdict::from_number(value).map_or(STRANGE, Self::Pass),
            LIMIT => Verdict::from_number(value).map_or(STRANGE, Self::Limit),
            BAD_ID => Self::BadId,
            REFUSE => Rule::from_number(value).map_or(STRANGE, Self::Refuse),
            STEP => {
                STEPS.into_iter().find(|step| *step as u32 == value).map_or(STRANGE, Self::Step)
            }
            _ => STRANGE,
        }
    }
}
