//! How far away a packet came from, by its time to live.

/// Values that stacks begin with: Linux and most others, Windows, routers and some Unixes.
const BEGINNINGS: [u8; 3] = [64, 128, 255];

/// Routers that a packet passed before it had this TTL, if it began with one of the usual values; 0: it was sent on
/// this very link.
#[must_use]
pub(super) fn hops(ttl: u8) -> u8 {
    BEGINNINGS.into_iter().find_map(|begin| begin.checked_sub(ttl)).unwrap_or(0)
}

/// `from this network segment`, `1 router away`, `12 routers away`.
#[must_use]
pub(super) fn away(ttl: u8) -> String {
    match hops(ttl) {
        0 => "from this network segment".to_owned(),
        1 => "1 router away".to_owned(),
        hops => format!("{hops} routers away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_counted_from_the_next_usual_beginning() {
        assert_eq!([64, 63, 52, 128, 116, 255, 243, 1].map(hops), [0, 1, 12, 0, 12, 0, 12, 63]);
        assert_eq!(away(64), "from this network segment");
        assert_eq!(away(63), "1 router away");
        assert_eq!(away(116), "12 routers away");
    }
}
