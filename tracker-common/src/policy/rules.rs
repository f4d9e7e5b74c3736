//! The rules, each declared once: from here come its name in the configuration, the text of its refusals, the
//! verdict that the program counts and, from both, its metrics labels.

use crate::abi::Verdict;

/// Declares the rules. A rule is an approval hook: one list of what is admitted, or of what is refused.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident: $name:literal, refuses $text:literal, counted as $verdict:ident;)*) => {
        /// A kind of list by which announces are admitted or refused.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: [Self; RULES] = [$(Self::$rule,)*];

            /// The rule of a number.
            #[inline(always)]
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                $(if number == Self::$rule as u32 {
                    return Some(Self::$rule);
                })*
                None
            }

            /// The name of its hook in the configuration.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// What a refused client is told. It is a metrics label, too.
            #[inline(always)]
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$rule => $text,)* }
            }

            /// What the program counts when it refuses by this rule.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$rule => Verdict::$verdict,)* }
            }
        }

        /// How many rules there are.
        pub const RULES: usize = [$($name,)*].len();

        /// Runs an expression in which the constant `$constant` is the rule that is matched, for what depends on the
        /// rule at compile time.
        #[macro_export]
        macro_rules! match_rule {
            ($matched:expr, $constant:ident => $body:expr) => {
                match $matched {
                    $($crate::policy::Rule::$rule => {
                        const $constant: $crate::policy::Rule = $crate::policy::Rule::$rule;
                        $body
                    })*
                }
            };
        }
    };
}

rules! {
    /// By info-hash. The table keeps what its lists say with each torrent (`Gate`).
    Torrent: "torrent approval", refuses "unapproved torrent", counted as TorrentRefused;
    /// By the software that the peer id names.
    Client: "client approval", refuses "unapproved client", counted as ClientRefused;
    /// By the network of the source address. The only rule that scrapes are judged by, too.
    Network: "ip approval", refuses "unapproved ip", counted as SourceRefused;
    /// By the port that the client accepts connections on.
    Port: "port approval", refuses "unapproved port", counted as PortRefused;
}
