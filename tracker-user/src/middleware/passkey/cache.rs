//! What a service has said about passkeys, for as long as that counts, and what it is still to say.
//!
//! An answer counts for its lifetime. That a key is admitted goes on counting for as long again,
//! while it is asked for anew: so whoever announces regularly does not wait. If the service cannot be
//! asked, what it said last counts.

use std::{
    collections::HashSet,
    mem,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use lru::LruCache;

use crate::pipeline::{Asking, Pending};

/// The most keys that one question is about.
pub(super) const BATCH_MAX: usize = 10_000;

/// How long to leave a key alone that could not be asked for.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How long answers count, and how many are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) admitted: Duration,
    pub(super) refused: Duration,
    pub(super) answers: NonZeroUsize,
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
    /// Nothing yet.
    Asking(Pending),
}

/// See the module.
pub(super) struct Cache {
    limits: Limits,
    state: Mutex<State>,
    /// Told that there is something to ask; one wake-up that waits is as good as many.
    wake: SyncSender<()>,
}

struct State {
    answers: LruCache<String, Answer>,
    /// What is to be asked next, and what ends with the answer.
    next: Vec<String>,
    asking: (Asking, Pending),
}

struct Answer {
    verdict: Verdict,
    /// The end of its life.
    until: Instant,
    /// Ends when there is a new answer.
    asking: Option<Pending>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Refused,
    Unknown,
}

/// A question that has not been asked yet.
pub(super) struct Question {
    pub(super) keys: Vec<String>,
    /// Dropped when the answer is there.
    _asking: Asking,
}

impl Cache {
    pub(super) fn new(limits: Limits, wake: SyncSender<()>) -> Self {
        let answers = LruCache::new(limits.answers);
        let state = State { answers, next: Vec::new(), asking: Pending::new() };
        Self { limits, state: Mutex::new(state), wake }
    }

    /// What is known of the key at `now`. Sees to it that it is asked for if need be.
    pub(super) fn look_up(&self, key: &str, now: Instant) -> Known {
        let State { answers, next, asking } = &mut *self.lock();
        let nothing = Answer { verdict: Verdict::Unknown, until: now, asking: None };
        let answer = answers.get_or_insert_mut_ref(key, || nothing);
        let is_fresh = now < answer.until;
        if !is_fresh && answer.asking.is_none() {
            if next.len() == BATCH_MAX {
                return Known::Overloaded;
            }
            next.push(key.to_owned());
            answer.asking = Some(asking.1.clone());
            // Full: a wake-up waits. Nobody listens: the hook is about to go.
            let _ = self.wake.try_send(());
        }
        let is_usable = is_fresh
            || answer.verdict == Verdict::Admitted && now < answer.until + self.limits.admitted;
        match (&answer.asking, answer.verdict) {
            (Some(pending), _) if !is_usable => Known::Asking(pending.clone()),
            (_, Verdict::Admitted) => Known::Admitted(answer.until),
            (_, Verdict::Refused) => Known::Refused,
            (_, Verdict::Unknown) => Known::Unknown,
        }
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
        let mut state = self.lock();
        for key in question.keys {
            let (verdict, lifetime) = if good.contains(&key) {
                (Verdict::Admitted, self.limits.admitted)
            } else {
                (Verdict::Refused, self.limits.refused)
            };
            state.answers.put(key, Answer { verdict, until: now + lifetime, asking: None });
        }
    }

    /// Takes note that there is no answer: what was known counts for a while longer.
    pub(super) fn give_up(&self, question: Question, now: Instant) {
        let mut state = self.lock();
        for key in &question.keys {
            // Keys that have been forgotten meanwhile are asked for again when they come.
            if let Some(answer) = state.answers.peek_mut(key) {
                answer.until = now + RETRY_PAUSE;
                answer.asking = None;
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
    use std::sync::mpsc;

    use super::*;

    const ADMITTED: Duration = Duration::from_secs(600);
    const REFUSED: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    struct Stage {
        cache: Cache,
        woken: mpsc::Receiver<()>,
        now: Instant,
    }

    impl Stage {
        fn new() -> Self {
            let answers = NonZeroUsize::new(3).unwrap();
            Self::remembering(answers)
        }

        fn remembering(answers: NonZeroUsize) -> Self {
            let limits = Limits { admitted: ADMITTED, refused: REFUSED, answers };
            let (wake, woken) = mpsc::sync_channel(1);
            Self { cache: Cache::new(limits, wake), woken, now: Instant::now() }
        }

        fn look_up(&self, key: &str) -> Known {
            self.cache.look_up(key, self.now)
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
        let stage = Stage::new();
        for key in ["a", "b", "c"] {
            stage.pending(key);
        }
        stage.answer(&["a", "b", "c"]);
        assert_eq!(stage.look_up("a"), stage.admitted_for(ADMITTED));
        stage.pending("d");
        assert_eq!(stage.look_up("a"), stage.admitted_for(ADMITTED));
        stage.pending("b");
    }

    #[test]
    fn a_question_has_its_bounds() {
        let answers = NonZeroUsize::new(2 * BATCH_MAX).unwrap();
        let stage = Stage::remembering(answers);
        for key in 0..BATCH_MAX {
            stage.pending(&key.to_string());
        }
        assert_eq!(stage.look_up("one more"), Known::Overloaded);
        stage.pending("0");
        stage.answer(&[]);
        stage.pending("one more");
    }
}
