//! What a service has said about passkeys, for as long as that counts, and what it is still to say.
//!
//! An answer counts for its lifetime. That a key is admitted goes on counting for as long again,
//! while it is asked for anew: so a client that announces regularly does not wait. If the service cannot
//! be asked, what it said last counts.
//!
//! Strangers can bring as many keys as they like. So keys that the service has called good have room of
//! their own, which no other key takes from them; keys that wait for an answer are in neither cache; and
//! how many unknown keys the service is asked about is bounded, for each source and for all of them.

use std::{
    collections::{HashMap, HashSet},
    mem,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use lru::LruCache;
use tracker_common::limit::{Meter, Rate};

use super::sources::Sources;
use crate::{
    config::PasskeyConfig,
    pipeline::{Asking, Pending},
};

/// The most keys that one question is about.
pub(super) const BATCH_MAX: usize = 10_000;

/// How many of them may be unknown. The others are there for good keys, which are asked for anew.
const UNKNOWN_MAX: usize = BATCH_MAX / 2;

/// For one answer that a key is not good there is room for so many that one is.
const GOOD_PER_REFUSED: usize = 4;

/// How long to leave a key alone that could not be asked for.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How long answers count, how many are kept, and how many keys are asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) admitted: Duration,
    pub(super) refused: Duration,
    /// Good keys that are remembered.
    pub(super) answers: NonZeroUsize,
    /// Unknown keys that the service is asked about each second; 0 for no limit.
    pub(super) unknown_per_second: u32,
    /// Those of one source each minute; 0 for no limit.
    pub(super) unknown_per_source: u32,
}

impl Limits {
    /// Those of the configuration. None where no answer could be kept.
    pub(super) fn of(config: &PasskeyConfig) -> Option<Self> {
        Some(Self {
            admitted: *config.admitted_lifetime,
            refused: *config.refused_lifetime,
            answers: NonZeroUsize::new(config.answers_max as usize)?,
            unknown_per_second: config.unknown_keys,
            unknown_per_source: config.unknown_keys_per_source,
        })
    }
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is good, and can be taken for good until then.
    Admitted(Instant),
    /// It is no good.
    Refused,
    /// Nothing: the service cannot be asked.
    Unknown,
    /// Nothing: too much is to be asked already.
    Overloaded,
    /// Nothing: the source has brought too many unknown keys.
    SourceLimited,
    /// Nothing yet.
    Asking(Pending),
}

/// See the module.
pub(super) struct Cache {
    limits: Limits,
    sources: Sources,
    unknown_rate: Rate,
    /// Unknown keys of all sources.
    unknown: Meter,
    /// When the meters' time began.
    began: Instant,
    state: Mutex<State>,
    /// Told that there is something to ask; one wake-up that waits is as good as many.
    wake: SyncSender<()>,
}

struct State {
    /// Good keys, each with the end of the answer's life.
    admitted: LruCache<String, Instant>,
    /// Keys that are no good, and those that could not be asked for.
    others: LruCache<String, Other>,
    /// Keys that have been asked for and not been answered, each with the wait for its answer: at most
    /// [`BATCH_MAX`] that are under way, and as many that come next.
    asked: HashMap<String, Pending>,
    /// What is to be asked next, and what ends with the answer.
    next: Vec<String>,
    asking: (Asking, Pending),
}

struct Other {
    is_refused: bool,
    /// The end of the answer's life.
    until: Instant,
}

/// A question that has not been asked yet.
pub(super) struct Question {
    pub(super) keys: Vec<String>,
    /// Dropped when the answer is there.
    _asking: Asking,
}

impl Cache {
    pub(super) fn new(limits: Limits, wake: SyncSender<()>) -> Self {
        let others = NonZeroUsize::new(limits.answers.get() / GOOD_PER_REFUSED);
        let state = State {
            admitted: LruCache::new(limits.answers),
            others: LruCache::new(others.unwrap_or(NonZeroUsize::MIN)),
            asked: HashMap::new(),
            next: Vec::new(),
            asking: Pending::new(),
        };
        Self {
            limits,
            sources: Sources::new(limits.unknown_per_source),
            unknown_rate: Rate::per_second(limits.unknown_per_second.into()),
            unknown: Meter::default(),
            began: Instant::now(),
            state: Mutex::new(state),
            wake,
        }
    }

    /// What is known at `now` of the key that this source has brought. Sees to it that it is asked for if
    /// need be.
    pub(super) fn look_up(&self, key: &str, source: IpAddr, now: Instant) -> Known {
        let state = &mut *self.lock();
        if let Some(&until) = state.admitted.get(key) {
            return self.look_up_admitted(state, key, until, now);
        }
        match state.others.get(key) {
            Some(Other { is_refused: true, until }) if now < *until => return Known::Refused,
            Some(Other { is_refused: false, until }) if now < *until => return Known::Unknown,
            _ => {}
        }
        if let Some(pending) = state.asked.get(key) {
            return Known::Asking(pending.clone());
        }
        let now_ns = now.saturating_duration_since(self.began).as_nanos() as u64;
        if !self.sources.take(source, now_ns) {
            return Known::SourceLimited;
        }
        let has_room = state.next.len() < UNKNOWN_MAX;
        if !has_room || !self.unknown.take(&self.unknown_rate, now_ns) {
            return Known::Overloaded;
        }
        self.ask(state, key).map_or(Known::Overloaded, Known::Asking)
    }

    /// The same of a key that was good until `until`.
    fn look_up_admitted(
        &self,
        state: &mut State,
        key: &str,
        until: Instant,
        now: Instant,
    ) -> Known {
        if now < until {
            return Known::Admitted(until);
        }
        match self.ask(state, key) {
            Some(pending) if now >= until + self.limits.admitted => Known::Asking(pending),
            // Also where too much is to be asked already: what the service said last counts.
            _ => Known::Admitted(until),
        }
    }

    /// Puts the key into the next question, unless it is in one. `None` when there is no room in that.
    fn ask(&self, state: &mut State, key: &str) -> Option<Pending> {
        if let Some(pending) = state.asked.get(key) {
            return Some(pending.clone());
        }
        if state.next.len() >= BATCH_MAX {
            return None;
        }
        let pending = state.asking.1.clone();
        state.next.push(key.to_owned());
        state.asked.insert(key.to_owned(), pending.clone());
        // Full: a wake-up waits. Closed: the hook is about to go.
        let _ = self.wake.try_send(());
        Some(pending)
    }

    /// All that is to be asked, if there is something.
    pub(super) fn question(&self) -> Option<Question> {
        let mut state = self.lock();
        if state.next.is_empty() {
            return None;
        }
        let keys = mem::take(&mut state.next);
        let (asking, _) = mem::replace(&mut state.asking, Pending::new());
        Some(Question { keys, _asking: asking })
    }

    /// Takes note of the answer, which came at `now`: those of the keys that are good.
    pub(super) fn answer(&self, question: Question, good: &HashSet<String>, now: Instant) {
        let State { admitted, others, asked, .. } = &mut *self.lock();
        for key in question.keys {
            asked.remove(&key);
            if good.contains(&key) {
                others.pop(&key);
                admitted.put(key, now + self.limits.admitted);
            } else {
                admitted.pop(&key);
                others.put(key, Other { is_refused: true, until: now + self.limits.refused });
            }
        }
    }

    /// Takes note that there is no answer: what was known counts for a while longer.
    pub(super) fn give_up(&self, question: Question, now: Instant) {
        let State { admitted, others, asked, .. } = &mut *self.lock();
        let later = now + RETRY_PAUSE;
        for key in question.keys {
            asked.remove(&key);
            if let Some(until) = admitted.peek_mut(&key) {
                *until = later;
            } else if let Some(other) = others.peek_mut(&key) {
                other.until = later;
            } else {
                others.put(key, Other { is_refused: false, until: later });
            }
        }
    }

    /// Each change is complete before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::mpsc};

    use super::*;

    const ADMITTED: Duration = Duration::from_secs(600);
    const REFUSED: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    const UNLIMITED: Limits = Limits {
        admitted: ADMITTED,
        refused: REFUSED,
        answers: NonZeroUsize::new(8).unwrap(),
        unknown_per_second: 0,
        unknown_per_source: 0,
    };

    struct Stage {
        cache: Cache,
        woken: mpsc::Receiver<()>,
        now: Instant,
    }

    impl Stage {
        fn new() -> Self {
            Self::with(UNLIMITED)
        }

        fn remembering(answers: NonZeroUsize) -> Self {
            Self::with(Limits { answers, ..UNLIMITED })
        }

        fn with(limits: Limits) -> Self {
            let (wake, woken) = mpsc::sync_channel(1);
            Self { cache: Cache::new(limits, wake), woken, now: Instant::now() }
        }

        fn look_up(&self, key: &str) -> Known {
            self.look_up_from(0, key)
        }

        fn look_up_from(&self, source: u32, key: &str) -> Known {
            self.cache.look_up(key, Ipv4Addr::from_bits(source).into(), self.now)
        }

        /// Has the service answer what there is to answer: keys that begin with `m` are good. Returns how
        /// many others it was asked about.
        fn serve(&self) -> usize {
            let Some(question) = self.cache.question() else { return 0 };
            let members = question.keys.iter().filter(|key| key.starts_with('m'));
            let good: HashSet<_> = members.cloned().collect();
            let others = question.keys.len() - good.len();
            self.cache.answer(question, &good, self.now);
            others
        }

        /// Looks up a key that has to be asked for.
        fn pending(&self, key: &str) -> Pending {
            match self.look_up(key) {
                Known::Asking(pending) => pending,
                other => panic!("{other:?}"),
            }
        }

        /// The keys that were to be asked; the service says that `good` are good.
        fn answer(&self, good: &[&str]) -> Vec<String> {
            self.woken.try_recv().unwrap();
            let question = self.cache.question().unwrap();
            let keys = question.keys.clone();
            self.cache.answer(question, &set(good), self.now);
            keys
        }

        fn give_up(&self) {
            self.cache.give_up(self.cache.question().unwrap(), self.now);
        }

        fn admitted_for(&self, lifetime: Duration) -> Known {
            Known::Admitted(self.now + lifetime)
        }
    }

    fn set(keys: &[&str]) -> HashSet<String> {
        keys.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn a_key_is_asked_for_once_and_whoever_waits_is_woken() {
        let stage = Stage::new();
        let first = stage.pending("a");
        assert_eq!(first, stage.pending("a"));
        assert_eq!(stage.answer(&["a"]), ["a"]);
        assert!(first.has_ended());
        assert!(stage.cache.question().is_none());
        assert_eq!(stage.look_up("a"), stage.admitted_for(ADMITTED));
    }

    #[test]
    fn keys_that_come_together_are_asked_for_together() {
        let stage = Stage::new();
        assert_eq!(stage.pending("a"), stage.pending("b"));
        assert_eq!(stage.answer(&["b"]), ["a", "b"]);
        assert_eq!(stage.look_up("a"), Known::Refused);
        assert_eq!(stage.look_up("b"), stage.admitted_for(ADMITTED));
    }

    #[test]
    fn a_key_that_is_being_asked_for_is_not_put_into_the_next_question() {
        let stage = Stage::new();
        let pending = stage.pending("a");
        let question = stage.cache.question().unwrap();
        assert_eq!(pending, stage.pending("a"));
        assert_ne!(pending, stage.pending("b"));
        stage.cache.answer(question, &set(&["a"]), stage.now);
        assert!(pending.has_ended());
        assert_eq!(stage.answer(&[]), ["b"]);
    }

    #[test]
    fn an_admitted_key_is_renewed_in_the_background_during_a_second_lifetime() {
        let mut stage = Stage::new();
        stage.pending("a");
        stage.answer(&["a"]);
        stage.now += ADMITTED - SECOND;
        assert_eq!(stage.look_up("a"), stage.admitted_for(SECOND));
        assert!(stage.cache.question().is_none());
        stage.now += SECOND;
        assert_eq!(stage.look_up("a"), stage.admitted_for(Duration::ZERO));
        stage.answer(&[]);
        assert_eq!(stage.look_up("a"), Known::Refused);
    }

    #[test]
    fn after_its_second_lifetime_an_admitted_key_is_asked_for_first() {
        let mut stage = Stage::new();
        stage.pending("a");
        stage.answer(&["a"]);
        stage.now += 2 * ADMITTED;
        stage.pending("a");
    }

    #[test]
    fn a_refused_key_is_asked_for_again_when_its_lifetime_is_over() {
        let mut stage = Stage::new();
        stage.pending("a");
        stage.answer(&[]);
        stage.now += REFUSED - SECOND;
        assert_eq!(stage.look_up("a"), Known::Refused);
        stage.now += SECOND;
        stage.pending("a");
    }

    #[test]
    fn while_the_service_cannot_be_asked_what_it_said_last_counts() {
        let mut stage = Stage::new();
        stage.pending("good");
        stage.pending("bad");
        stage.answer(&["good"]);
        stage.now += 3 * ADMITTED;
        for key in ["good", "bad", "new"] {
            stage.pending(key);
        }
        stage.give_up();
        assert_eq!(stage.look_up("good"), stage.admitted_for(RETRY_PAUSE));
        assert_eq!(stage.look_up("bad"), Known::Refused);
        assert_eq!(stage.look_up("new"), Known::Unknown);
        assert!(stage.cache.question().is_none());
        stage.now += RETRY_PAUSE;
        stage.pending("new");
    }

    #[test]
    fn the_answers_least_lately_needed_are_forgotten() {
        let stage = Stage::remembering(NonZeroUsize::new(3).unwrap());
        for key in ["a", "b", "c"] {
            stage.pending(key);
        }
        stage.answer(&["a", "b", "c"]);
        assert_eq!(stage.look_up("a"), stage.admitted_for(ADMITTED));
        stage.pending("d");
        stage.answer(&["d"]);
        assert_eq!(stage.look_up("a"), stage.admitted_for(ADMITTED));
        stage.pending("b");
    }

    #[test]
    fn keys_that_are_no_good_take_no_room_from_those_that_are() {
        let stage = Stage::remembering(NonZeroUsize::new(4).unwrap());
        let members = ["a", "b", "c", "d"];
        members.iter().for_each(|key| drop(stage.pending(key)));
        stage.answer(&members);
        for key in 0..100 {
            stage.pending(&key.to_string());
        }
        stage.answer(&[]);
        assert_eq!(stage.look_up("99"), Known::Refused);
        for key in members {
            assert_eq!(stage.look_up(key), stage.admitted_for(ADMITTED));
        }
    }

    #[test]
    fn a_question_has_its_bounds_and_room_for_keys_that_were_good() {
        let mut stage = Stage::remembering(NonZeroUsize::new(2 * BATCH_MAX).unwrap());
        for key in ["good", "gone"] {
            stage.pending(key);
        }
        stage.answer(&["good", "gone"]);
        for key in 0..UNKNOWN_MAX {
            stage.pending(&key.to_string());
        }
        assert_eq!(stage.look_up("one more"), Known::Overloaded);
        stage.pending("0");
        stage.now += ADMITTED;
        assert_eq!(stage.look_up("good"), stage.admitted_for(Duration::ZERO));
        assert_eq!(stage.answer(&["good"]).last().unwrap(), "good");
        assert_eq!(stage.look_up("good"), stage.admitted_for(ADMITTED));
        stage.pending("one more");
        stage.now += 2 * ADMITTED;
        stage.pending("gone");
    }

    /// The keys in the caches, of either kind, and those that are asked for.
    fn sizes(stage: &Stage) -> [usize; 3] {
        let state = stage.cache.lock();
        [state.admitted.len(), state.others.len(), state.asked.len()]
    }

    #[test]
    fn a_key_for_which_there_is_no_room_is_not_remembered() {
        let stage = Stage::with(Limits { unknown_per_second: 10, ..UNLIMITED });
        for key in 0..1000 {
            stage.look_up(&key.to_string());
        }
        assert_eq!(sizes(&stage), [0, 0, 11]);
        assert_eq!(stage.look_up("999"), Known::Overloaded);
        assert_eq!(sizes(&stage), [0, 0, 11]);
    }

    #[test]
    fn a_source_with_too_many_unknown_keys_is_refused_them_and_nothing_else() {
        let stage = Stage::with(Limits { unknown_per_source: 100, ..UNLIMITED });
        stage.pending("m");
        stage.answer(&["m"]);
        for key in 0..100 {
            stage.look_up(&key.to_string());
        }
        assert_eq!(stage.look_up("new"), Known::SourceLimited);
        assert_eq!(stage.look_up("m"), stage.admitted_for(ADMITTED));
        // Another source may ask, and that answer is everybody's.
        assert!(matches!(stage.look_up_from(1, "new"), Known::Asking(_)));
        assert!(matches!(stage.look_up("new"), Known::Asking(_)));
    }

    /// Random keys from ten addresses, sixty thousand a second at a hundredth of the scale, for longer than
    /// two lifetimes of the members' answers.
    #[test]
    fn random_keys_push_out_no_member_and_reach_the_service_at_a_bounded_rate() {
        let limits = Limits {
            admitted: 60 * SECOND,
            answers: NonZeroUsize::new(1000).unwrap(),
            unknown_per_second: 20,
            unknown_per_source: 10,
            ..UNLIMITED
        };
        let mut stage = Stage::with(limits);
        let members: Vec<_> = (0..1000).map(|member| format!("m{member}")).collect();
        for (at, member) in members.iter().enumerate() {
            stage.look_up_from(at as u32, member);
            stage.serve();
            stage.now += SECOND / 20;
        }
        let mut keys = 0..;
        let mut strangers = 0;
        for second in 0..150 {
            stage.now += SECOND;
            for key in keys.by_ref().take(600) {
                stage.look_up_from((1 << 16) + key % 10, &key.to_string());
            }
            // Each of the members comes every ten seconds.
            for (at, member) in members.iter().enumerate().skip(second % 10).step_by(10) {
                let known = stage.look_up_from(at as u32, member);
                assert!(
                    matches!(known, Known::Admitted(_)),
                    "second {second}: {member}: {known:?}"
                );
            }
            strangers += stage.serve();
        }
        // Ten sources have ten keys a minute each, and as many at once.
        assert!(strangers <= 10 * 10 * 150 / 60 + 110, "{strangers}");
        assert_eq!(sizes(&stage)[0], members.len());
    }

    #[test]
    fn while_the_service_is_overloaded_members_are_admitted_by_what_it_said_last() {
        let mut stage = Stage::remembering(NonZeroUsize::new(2 * BATCH_MAX).unwrap());
        let members: Vec<_> = (0..UNKNOWN_MAX + 1).map(|member| format!("m{member}")).collect();
        for part in members.chunks(UNKNOWN_MAX) {
            part.iter().for_each(|member| drop(stage.look_up(member)));
            stage.serve();
        }
        // The service does not take the question that waits, which is full.
        stage.now += 3 * ADMITTED;
        for key in 0..UNKNOWN_MAX {
            stage.look_up(&key.to_string());
        }
        for member in &members[..UNKNOWN_MAX] {
            assert!(matches!(stage.look_up(member), Known::Asking(_)));
        }
        assert!(matches!(stage.look_up(&members[UNKNOWN_MAX]), Known::Admitted(_)));
        assert_eq!(stage.look_up("stranger"), Known::Overloaded);
    }
}
