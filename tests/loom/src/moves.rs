//! Announces that meet what the daemon moves, frees and gives to another torrent.

use loom::thread::JoinHandle;
use tracker_common::{
    announce::Event::{None, Started, Stopped},
    family::{Family, V4, V6},
    id::InfoHash,
    table::{Miss, index::find},
};

use crate::world::{HASH, NOW, OTHER_HASH, Order, Shared, World, announce, explore, failure_of};

/// Whether the daemon waits for runs of the program that are under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grace {
    Waits,
    Ends,
}

/// A processor with one run of the program at a time. In each grace period the run before it comes to
/// its end, and the next begins, which so sees all that was done before.
struct Runs<F: Family> {
    world: Shared<F>,
    order: Order,
    grace: Grace,
    info_hash: InfoHash,
    begun: u32,
    under_way: Vec<JoinHandle<Result<u32, Miss>>>,
    answers: Vec<Result<u32, Miss>>,
}

/// The first of those who announce in these runs.
const FIRST: u32 = 100;

impl<F: Family> Runs<F> {
    fn begin(world: &Shared<F>, order: Order, grace: Grace, info_hash: InfoHash) -> Self {
        let (under_way, answers) = (Vec::new(), Vec::new());
        let world = world.clone();
        let mut runs = Self { world, order, grace, info_hash, begun: 0, under_way, answers };
        runs.begin_next();
        runs
    }

    /// The next newcomer announces.
    fn begin_next(&mut self) {
        let (peer, info_hash) = (FIRST + self.begun, self.info_hash);
        self.begun += 1;
        let run = self.world.processor(self.order, move |world| {
            let (_, list) = world.kernel(&info_hash, &announce(peer, false, Started))?;
            assert!(!list.contains(&STRANGER), "a peer of another torrent");
            Ok(peer)
        });
        self.under_way.push(run);
    }

    fn grace_period(&mut self) {
        let earlier = self.under_way.len();
        self.begin_next();
        if self.grace == Grace::Waits {
            self.answers.extend(self.under_way.drain(..earlier).map(|run| run.join().unwrap()));
        }
    }

    /// All that were answered, and what the others missed.
    fn end(mut self) -> (Vec<u32>, Vec<Miss>) {
        self.answers.extend(self.under_way.drain(..).map(|run| run.join().unwrap()));
        let missed = self.answers.iter().filter_map(|answer| answer.err()).collect();
        let mut joined: Vec<_> = self.answers.into_iter().flatten().collect();
        joined.sort_unstable();
        (joined, missed)
    }
}

/// The peer of the other torrent.
const STRANGER: u32 = 99;

/// All peers of a torrent, which are leechers.
fn leechers<F: Family>(world: &World<F>, info_hash: &InfoHash) -> Vec<u32> {
    world.peers(info_hash).into_iter().map(|(peer, _)| peer).collect()
}

/// What the daemon moves, with its grace period.
type Move<F> = fn(&World<F>, &mut dyn FnMut());

fn grow<F: Family>(world: &World<F>, grace: &mut dyn FnMut()) {
    world.table.grow(NOW, grace);
}

fn compact<F: Family>(world: &World<F>, grace: &mut dyn FnMut()) {
    world.table.compact(NOW, grace);
}

/// The daemon moves the peers of a torrent of so many leechers, while the first completes its download, and
/// then another announces. What the program passes reaches the daemon afterwards.
fn moved<F: Family>(
    world: &Shared<F>,
    step: Move<F>,
    leechers: u32,
    (other, is_seeder): (u32, bool),
    order: Order,
    grace: Grace,
) {
    let begin = |peer, seeder| {
        let run = move |world: &World<F>| world.kernel(&HASH, &announce(peer, seeder, None)).err();
        Some((peer, seeder, world.processor(order, run)))
    };
    let end = |(peer, seeder, run): (_, _, JoinHandle<_>)| {
        let miss = run.join().unwrap()?;
        assert!(!matches!(miss, Miss::Unknown | Miss::Corrupt), "{miss:?}");
        Some((peer, seeder))
    };
    let (mut first, mut second) = (begin(1, true), Option::None);
    let mut passed = Vec::new();
    step(world, &mut || {
        second = begin(other, is_seeder);
        if grace == Grace::Waits {
            passed.extend(first.take().and_then(end));
        }
    });
    // Who left a slot in time has made room enough.
    let second = second.or_else(|| begin(other, is_seeder));
    passed.extend([second, first].into_iter().flatten().filter_map(end));
    for (peer, seeder) in passed {
        world.daemon(&HASH, &announce(peer, seeder, None));
    }
    world.table.grow(NOW, || {});
    let mut expected: Vec<_> =
        (1..=leechers).map(|peer| (peer, peer == 1)).filter(|&(peer, _)| peer != other).collect();
    expected.push((other, is_seeder));
    expected.sort_unstable();
    assert_eq!(world.peers(&HASH), expected, "peers are lost");
    let seeders = 1 + u32::from(is_seeder);
    assert_eq!(world.counts(&HASH), [seeders, expected.len() as u32 - seeders]);
}

/// A full entry is moved into leaves.
fn entry_that_is_spilled<F: Family>(order: Order, grace: Grace) {
    let world = World::<F>::new();
    for peer in 1..=F::INLINE_PEERS + 1 {
        world.daemon(&HASH, &announce(peer, false, Started));
    }
    let world = world.share(1, 2 * F::GROUP_UNITS as usize);
    moved(&world, grow, F::INLINE_PEERS + 1, (FIRST, false), order, grace);
}

/// A full leaf is moved into a bigger one.
fn leaf_that_grows(order: Order, grace: Grace) {
    let world = World::<V4>::new();
    for peer in 1..=6 {
        world.daemon(&HASH, &announce(peer, false, Started));
    }
    world.table.grow(NOW, || {});
    for peer in 7..=9 {
        world.daemon(&HASH, &announce(peer, false, Started));
    }
    moved(&world.share(1, 6), grow, 9, (2, true), order, grace);
}

/// A leaf that peers have left is moved into a smaller one.
fn leaf_that_shrinks(order: Order, grace: Grace) {
    let world = World::<V4>::new();
    for peer in 1..=9 {
        world.daemon(&HASH, &announce(peer, false, Started));
        world.table.grow(NOW, || {});
    }
    for peer in 7..=9 {
        world.daemon(&HASH, &announce(peer, false, Stopped));
    }
    world.table.sweep(NOW, || {});
    assert!(world.table.is_loose(), "there is nothing to shrink");
    moved(&world.share(1, 6), compact, 6, (FIRST, false), order, grace);
}

#[test]
fn nobody_is_lost_when_an_entry_is_spilled() {
    explore(3, || entry_that_is_spilled::<V4>(Order::Strong, Grace::Waits));
    explore(3, || entry_that_is_spilled::<V6>(Order::Strong, Grace::Waits));
}

#[test]
fn without_a_grace_period_an_entry_spills_under_somebody() {
    let failure = failure_of(3, || entry_that_is_spilled::<V4>(Order::Strong, Grace::Ends));
    assert!(failure.contains("out of the model"), "{failure}");
}

#[test]
fn an_entry_may_be_taken_for_spilled_too_early_where_loads_are_reordered() {
    let failure = failure_of(3, || entry_that_is_spilled::<V4>(Order::Weak, Grace::Waits));
    assert!(failure.contains("out of the model"), "{failure}");
}

#[test]
fn nobody_is_lost_when_a_leaf_grows() {
    explore(3, || leaf_that_grows(Order::Strong, Grace::Waits));
}

#[test]
fn nobody_is_lost_when_a_leaf_shrinks() {
    explore(3, || leaf_that_shrinks(Order::Strong, Grace::Waits));
}

#[test]
fn without_a_grace_period_a_leaf_shrinks_under_somebody() {
    let failure = failure_of(2, || leaf_that_shrinks(Order::Strong, Grace::Ends));
    assert!(failure.contains("peers are lost"), "{failure}");
}

#[test]
fn without_a_grace_period_a_leaf_grows_under_somebody() {
    let failure = failure_of(2, || leaf_that_grows(Order::Strong, Grace::Ends));
    assert!(failure.contains("peers are lost"), "{failure}");
}

/// When the daemon admits another torrent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// At the beginning of the grace period that the entry which is given up rests for.
    Meanwhile,
    /// When it has rested.
    After,
}

/// A torrent without peers is freed, and another admitted, while newcomers join the first.
fn entry_that_is_given_up(order: Order, grace: Grace, admission: Admission) {
    let world = World::<V4>::new();
    world.daemon(&HASH, &announce(1, false, Started));
    world.daemon(&HASH, &announce(1, false, Stopped));
    let world = world.share(2, 0);
    let admit = || world.daemon(&OTHER_HASH, &announce(STRANGER, false, Started));
    let mut runs = Runs::begin(&world, order, grace, HASH);
    let mut grace_periods = 0;
    world.table.sweep(NOW, || {
        grace_periods += 1;
        if grace_periods == 2 && admission == Admission::Meanwhile {
            admit();
        }
        runs.grace_period();
    });
    if admission == Admission::After {
        admit();
    }
    let (joined, _) = runs.end();
    let others = leechers(&world, &OTHER_HASH);
    assert!(others.iter().all(|&peer| peer == STRANGER), "in another torrent: {others:?}");
    assert_eq!(leechers(&world, &HASH), joined, "peers are lost");
}

#[test]
fn nobody_joins_the_torrent_that_gets_an_entry_next() {
    let model = |admission| entry_that_is_given_up(Order::Strong, Grace::Waits, admission);
    explore(2, move || model(Admission::After));
    explore(1, move || model(Admission::Meanwhile));
}

#[test]
fn without_grace_periods_somebody_joins_the_torrent_that_gets_an_entry_next() {
    let model = || entry_that_is_given_up(Order::Strong, Grace::Ends, Admission::After);
    let failure = failure_of(2, model);
    assert!(failure.contains("in another torrent"), "{failure}");
}

#[test]
fn a_torrent_may_be_taken_for_the_one_before_it_where_loads_are_reordered() {
    let model = || entry_that_is_given_up(Order::Weak, Grace::Waits, Admission::After);
    let failure = failure_of(2, model);
    assert!(failure.contains("in another torrent"), "{failure}");
}

/// A table of two buckets, of which one is full and has a newcomer waiting, and the torrent that is going to
/// make way for it.
fn crowded() -> (World<V4>, InfoHash) {
    let hash = |first: u8, nth: u8| {
        InfoHash([first.wrapping_mul(31).wrapping_add(nth.wrapping_mul(97)); 20])
    };
    let crowd = |first| {
        let world = World::<V4>::with_buckets(2);
        let mut nth = 0;
        while !world.table.has_work() && nth < 8 {
            world.daemon(&hash(first, nth), &announce(1, false, Started));
            nth += 1;
        }
        (world, nth)
    };
    let entry = |world: &World<V4>, of: &InfoHash| {
        find::<V4, _>(world.table.memory(), world.table.shape(), of).map(|(number, _)| number)
    };
    let found = (0..=255).find_map(|first| {
        let ((before, torrents), (after, _)) = (crowd(first), crowd(first));
        after.table.grow(NOW, || {});
        let mut torrents = (0..torrents - 1).map(|nth| hash(first, nth));
        let moved = torrents.find(|of| entry(&before, of) != entry(&after, of))?;
        Some((before, moved))
    });
    found.expect("hashes that crowd one bucket")
}

/// A torrent makes way for another while newcomers join it.
fn torrent_that_makes_way(order: Order, grace: Grace) {
    let (world, moved) = crowded();
    let world = world.share(4, 0);
    let mut runs = Runs::begin(&world, order, grace, moved);
    world.table.grow(NOW, || runs.grace_period());
    let (joined, missed) = runs.end();
    assert!(
        missed.iter().all(|miss| matches!(miss, Miss::Frozen | Miss::Contended)),
        "not found: {missed:?}"
    );
    let expected: Vec<_> = [1].into_iter().chain(joined).collect();
    assert_eq!(leechers(&world, &moved), expected, "peers are lost");
}

#[test]
fn a_torrent_that_makes_way_is_always_found() {
    explore(1, || torrent_that_makes_way(Order::Strong, Grace::Waits));
}

#[test]
fn without_grace_periods_a_torrent_makes_way_under_somebody() {
    let failure = failure_of(1, || torrent_that_makes_way(Order::Strong, Grace::Ends));
    assert!(failure.contains("peers are lost"), "{failure}");
}

#[test]
fn a_torrent_that_makes_way_may_be_mistaken_where_loads_are_reordered() {
    let failure = failure_of(1, || torrent_that_makes_way(Order::Weak, Grace::Waits));
    assert!(failure.contains("peers are lost"), "{failure}");
}
