use super::*;
use proptest::prelude::*;

const NOW: u64 = 1_793_019_797 << 32;
const YEAR: u64 = 31_536_000 << 32;
const MINUTE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
enum Act {
    Tick(u64),
    Observe(u64, u64),
    Restart,
    Clone,
}

fn times() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0..1_u64 << 34).prop_map(|ahead| NOW + ahead),
        2 => any::<u64>(),
        1 => (0..20_u64).prop_map(|below| u64::MAX - below),
        1 => 0..20_u64,
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => times().prop_map(Act::Tick),
        4 => (times(), times()).prop_map(|(timestamp, now)| Act::Observe(timestamp, now)),
        1 => Just(Act::Restart),
        1 => Just(Act::Clone),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #[test]
    fn i1_never_backwards_whatever_the_wall_clock_peers_and_restarts_do(acts in acts()) {
        let mut clock = Clock::new([7; 16]);
        let mut greatest = 0;
        for act in acts {
            match act {
                Act::Tick(now) => {
                    let issued = clock.tick(now);
                    prop_assert!(issued > greatest || (issued == u64::MAX && greatest == u64::MAX));
                    greatest = issued;
                }
                Act::Observe(timestamp, now) => {
                    let limit = now.saturating_add(60 << 32);
                    let followed = clock.observe(timestamp, now, MINUTE);
                    prop_assert_eq!(followed.is_ok(), timestamp <= limit);
                    if followed.is_ok() {
                        greatest = greatest.max(timestamp);
                    }
                }
                Act::Restart => {
                    let last = clock.last();
                    clock = Clock::new([7; 16]);
                    clock.restore(last);
                }
                Act::Clone => clock = clock.clone(),
            }
            prop_assert_eq!(clock.last(), greatest);
        }
    }
}

#[test]
fn the_wall_clock_is_followed_when_it_is_ahead() {
    let mut clock = Clock::new([1; 16]);
    assert_eq!(clock.tick(NOW), NOW);
    assert_eq!(clock.tick(NOW), NOW + 1);
    assert_eq!(clock.tick(NOW + YEAR), NOW + YEAR);
    // The wall clock steps back by years.
    assert_eq!(clock.tick(NOW - 5 * YEAR), NOW + YEAR + 1);
}

#[test]
fn a_restored_clock_goes_on_after_a_step_back_of_years() {
    let mut clock = Clock::new([1; 16]);
    clock.restore(NOW + 3 * YEAR);
    assert!(clock.tick(NOW) > NOW + 3 * YEAR);
}

#[test]
fn i2_drift_is_measured_against_the_wall_clock() {
    let mut clock = Clock::new([1; 16]);
    // Fifty-nine seconds at a time, the logical clock would be dragged on for ever.
    assert_eq!(clock.observe(NOW + (59 << 32), NOW, MINUTE), Ok(()));
    let ahead = Duration::from_secs(118);
    assert_eq!(clock.observe(NOW + (118 << 32), NOW, MINUTE), Err(Drift { ahead }));
    assert_eq!(clock.last(), NOW + (59 << 32));
    let far = clock.observe(u64::MAX, 0, MINUTE).map_err(|drift| drift.ahead.as_secs());
    assert!(far.is_err_and(|seconds| seconds >= u32::MAX.into()));
}

#[test]
fn i3_the_end_of_time_neither_panics_nor_wraps() {
    for last in [u64::MAX, u64::MAX - 1, u64::MAX - 2, u64::MAX - 3, u64::MAX - 4] {
        let mut clock = Clock::new([0; 16]);
        clock.restore(last);
        let mut before = last;
        for _ in 0..6 {
            let issued = clock.tick(0);
            assert!(issued > before || issued == u64::MAX);
            before = issued;
        }
        assert_eq!(clock.tick(u64::MAX), u64::MAX);
        assert_eq!(clock.observe(u64::MAX, u64::MAX, MINUTE), Ok(()));
    }
}

#[test]
fn ntp64_of_durations() {
    assert_eq!(ntp64(Duration::ZERO), 0);
    assert_eq!(ntp64(Duration::from_millis(1_500)), (1 << 32) + (1 << 31));
    assert_eq!(ntp64(Duration::from_secs(u32::MAX.into())), u64::from(u32::MAX) << 32);
    assert_eq!(ntp64(Duration::from_secs(1 << 32)), u64::MAX);
    assert_eq!(ntp64(Duration::MAX), u64::MAX);
}

#[test]
fn i1_a_peer_repeating_itself_does_not_run_the_clock_up() {
    let mut clock = Clock::new([1; 16]);
    for _ in 0..1_000 {
        assert_eq!(clock.observe(NOW, NOW, MINUTE), Ok(()));
    }
    assert!(clock.tick(NOW) <= NOW + 2);
}

#[test]
fn milliseconds_are_those_of_the_duration() {
    for time in [0, 1, 1_500, 1_763_740_000_123] {
        let back = milliseconds(ntp64(Duration::from_millis(time)));
        assert!(time - back <= 1, "{time} came back as {back}");
    }
}
