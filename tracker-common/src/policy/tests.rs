use proptest::prelude::*;

use super::*;

const SUBJECT: Subject = Subject { client: ClientId(*b"TR4050"), port: 6881 };

/// A hook as a test makes it.
#[derive(Clone, Copy, Debug)]
enum Hook {
    List {
        rule: Rule,
        admits_listed: bool,
        /// Whether what is asked for is on the list.
        has: bool,
    },
    Grants,
    Daemon,
}

/// What one hook says, as the daemon's hooks would say it one by one.
fn says(hook: Hook, is_granted: bool) -> Decision {
    match hook {
        Hook::List { rule, admits_listed, has } if has != admits_listed => Decision::Refuse(rule),
        Hook::Grants if !is_granted => Decision::Pass,
        Hook::Daemon => Decision::Pass,
        Hook::List { .. } | Hook::Grants => Decision::Serve,
    }
}

/// The view of a request by the lists of hooks.
#[derive(Default)]
struct Lists {
    clients: Ranks,
    ports: Ranks,
    networks: Option<Ranks>,
    is_granted: bool,
}

impl SourceView for Lists {
    fn refused_network(&self) -> Option<Ranks> {
        self.networks
    }
}

impl View for Lists {
    fn listed(&self, key: Key) -> Ranks {
        if key == Key::of_client(SUBJECT.client) { self.clients } else { self.ports }
    }

    fn is_granted(&self) -> bool {
        self.is_granted
    }
}

/// Compiles hooks, as the daemon does. Returns the gate of the torrent, too.
fn compile(hooks: &[Hook], is_granted: bool) -> (Policy, Lists, Gate) {
    let mut policy = Policy::default();
    let mut lists = Lists { is_granted, ..Lists::default() };
    let mut gate = Gate::Open;
    for &hook in hooks {
        match hook {
            Hook::Grants => policy.add_grants(),
            Hook::Daemon => policy.add_daemon(),
            Hook::List { rule, admits_listed, has } => {
                let rank = policy.add_list(rule, admits_listed).unwrap();
                let refuses = has != admits_listed;
                match rule {
                    Rule::Client if has => lists.clients |= rank,
                    Rule::Port if has => lists.ports |= rank,
                    Rule::Client | Rule::Port => {}
                    Rule::Network => {
                        let networks = lists.networks.get_or_insert(0);
                        *networks |= if refuses { rank } else { 0 };
                    }
                    Rule::Torrent if refuses => gate = Gate::Refuse,
                    Rule::Torrent => {}
                }
            }
        }
    }
    (policy, lists, gate)
}

fn any_hook() -> impl Strategy<Value = Hook> {
    let list = (0..RULES, any::<bool>(), any::<bool>()).prop_map(|(rule, admits_listed, has)| {
        Hook::List { rule: Rule::ALL[rule], admits_listed, has }
    });
    prop_oneof![6 => list, 1 => Just(Hook::Grants), 1 => Just(Hook::Daemon)]
}

proptest! {
    #[test]
    fn the_first_hook_that_objects_decides(
        hooks in proptest::collection::vec(any_hook(), 0..8), is_granted: bool,
    ) {
        let (policy, lists, gate) = compile(&hooks, is_granted);
        let decision = policy.decide(policy.object(&lists, &SUBJECT), gate);
        let said = hooks.iter().map(|&hook| says(hook, is_granted));
        let expected = said.into_iter().find(|said| *said != Decision::Serve);
        let expected = expected.unwrap_or(Decision::Serve);
        // To pass is never wrong, and right where grants of two hooks or lists of torrents apart from each other meet.
        let grants = hooks.iter().filter(|hook| matches!(hook, Hook::Grants)).count();
        let torrents = policy.ranks[Rule::Torrent as usize];
        let is_plain = grants < 2 && among(torrents) == 0;
        if is_plain || decision != Decision::Pass {
            prop_assert_eq!(decision, expected);
        }
    }

    #[test]
    fn a_scrape_is_judged_by_networks_alone(
        hooks in proptest::collection::vec(any_hook(), 0..8),
    ) {
        let (policy, lists, _) = compile(&hooks, false);
        let decision = policy.decide_on_scrape(policy.object_to_scrape(&lists));
        let expected = hooks.iter().find_map(|&hook| match hook {
            Hook::Daemon => Some(Decision::Pass),
            Hook::List { rule: Rule::Network, .. } => {
                Some(says(hook, false)).filter(|said| *said != Decision::Serve)
            }
            _ => None,
        });
        prop_assert_eq!(decision, expected.unwrap_or(Decision::Serve));
    }

    #[test]
    fn objections_survive_as_a_word(refused: u32, undecided: u32) {
        let objections = Objections { refused, undecided };
        prop_assert_eq!(Objections::from_word(objections.to_word()), objections);
    }

    #[test]
    fn ranks_among_others_are_those_between_the_lowest_and_the_highest(ranks: u32) {
        let expected = (0..32).filter(|rank| {
            let (below, above) = ((1_u64 << rank) - 1, !0_u64 << (rank + 1));
            let ranks = u64::from(ranks);
            ranks >> rank & 1 == 0 && ranks & below != 0 && ranks & above != 0
        });
        prop_assert_eq!(among(ranks), expected.fold(0, |all, rank| all | 1 << rank));
    }
}

#[test]
fn a_torrent_that_changes_its_list_passes_with_hooks_and_without() {
    let mut policy = Policy::default();
    assert_eq!(policy.decide(Objections::default(), Gate::Pass), Decision::Pass);
    let client = policy.add_list(Rule::Client, false).unwrap();
    policy.add_list(Rule::Torrent, true).unwrap();
    assert_eq!(policy.decide(Objections::default(), Gate::Pass), Decision::Pass);
    let refused = Objections { refused: client, undecided: 0 };
    assert_eq!(policy.decide(refused, Gate::Pass), Decision::Refuse(Rule::Client));
}

#[test]
fn without_a_rank_left_the_daemon_judges() {
    let mut policy = Policy::default();
    let added = (0..RANKS).filter_map(|_| policy.add_list(Rule::Client, false)).count();
    assert_eq!(added, RANKS as usize);
    assert_eq!(policy.add_list(Rule::Port, false), None);
    policy.add_daemon();
    assert_eq!(policy.decide(Objections::default(), Gate::Open), Decision::Serve);
    let objections = policy.object(&Lists::default(), &SUBJECT);
    assert_eq!(policy.decide(objections, Gate::Open), Decision::Pass);
}

#[test]
fn keys_of_different_rules_differ() {
    let client = ClientId([0, 80, 0, 0, 0, 0]);
    assert_ne!(Key::of_client(client), Key::of_port(80));
}
