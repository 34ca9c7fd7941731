//! The address book: what a liar can push into it, and what it gives up.

use super::*;

fn address(port: u16) -> Multiaddr {
    format!("/ip4/10.0.0.1/tcp/{port}").parse().expect("valid")
}

fn book() -> Book {
    Book::new(Backoff {
        first: Duration::from_secs(1),
        max: Duration::from_secs(8),
    })
}

fn due(book: &mut Book, now: Instant) -> Vec<PeerId> {
    let due = book.due(1000, now, 1.0, |_| true);
    due.into_iter().map(|(peer, _)| peer).collect()
}

#[test]
fn pauses_double_up_to_their_bound_and_vary() {
    let backoff = book().backoff;
    let pauses: Vec<_> = (0..6).map(|n| backoff.pause(n, 1.0).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
    assert_eq!(backoff.pause(u32::MAX, 0.0), Duration::from_secs(4));
}

#[test]
fn one_peer_cannot_fill_the_book() {
    let (mut book, now, liar) = (book(), Instant::now(), PeerId::random());
    for port in 1..1000 {
        book.hear(liar, PeerId::random(), address(port), now);
    }
    assert_eq!(book.entries.len(), UNREACHED_PER_SOURCE_MAX);
    let other = PeerId::random();
    book.hear(PeerId::random(), other, address(1), now);
    assert!(book.entries.contains_key(&other));
}

#[test]
fn many_liars_push_out_no_peer_that_was_reached() {
    let (mut book, now, friend) = (book(), Instant::now(), PeerId::random());
    book.meet(friend, vec![address(1)], now);
    for _ in 0..100 {
        let liar = PeerId::random();
        for port in 1..40 {
            book.hear(liar, PeerId::random(), address(port), now);
        }
    }
    assert_eq!(book.entries.len(), PEERS_MAX);
    assert!(book.entries.contains_key(&friend));
}

#[test]
fn what_was_never_reached_is_given_up_and_what_was_is_not() {
    let (mut book, now) = (book(), Instant::now());
    let (rumour, friend) = (PeerId::random(), PeerId::random());
    book.hear(friend, rumour, address(1), now);
    book.meet(friend, vec![address(2)], now);
    for day in 0..ATTEMPTS_MAX {
        let now = now + Duration::from_secs(86400) * day;
        assert_eq!(due(&mut book, now).len(), 2, "day {day}");
        assert!(due(&mut book, now).is_empty(), "a pause lies between dials");
        book.failed(&rumour);
        book.failed(&friend);
    }
    assert_eq!(
        due(&mut book, now + Duration::from_secs(86400) * 9),
        [friend]
    );
}

#[test]
fn a_rumour_changes_nothing_about_a_peer_that_was_met() {
    let (mut book, now, friend) = (book(), Instant::now(), PeerId::random());
    book.meet(friend, vec![address(1)], now);
    book.hear(PeerId::random(), friend, address(2), now);
    let due = book.due(9, now, 1.0, |_| true);
    assert_eq!(due, [(friend, vec![address(1)])]);
}
