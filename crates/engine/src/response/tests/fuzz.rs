//! Responses as receivers do not send them, or not often.

use super::*;

/// Where a response is split, told by its own bytes.
fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    let mut at: usize = bytes.len();
    while !rest.is_empty() {
        at = at.wrapping_mul(31).wrapping_add(usize::from(rest[0]));
        let (piece, behind) = rest.split_at((at % 97 + 1).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn within_bounds(read: &ParsedResponse, held: usize) {
    assert!(held <= 2 * limits::RESPONSE_HEAD_BYTES_MAX, "{held}");
    assert!(!read.outcome.words().is_empty());
    if let Outcome::Answered(answer) = &read.outcome {
        assert!((100..=999).contains(&answer.status));
        assert!(answer.body.len() <= limits::RESPONSE_BODY_BYTES_MAX);
        assert!(!read.keeps || answer.body_end == BodyEnd::Whole);
    } else {
        assert!(!read.keeps);
    }
}

#[test]
fn in_any_pieces_a_response_is_the_same_within_bounds() {
    ::fuzz::run("response", 4_000, |bytes| {
        for then in [Then::Closed, Then::Reset, Then::TimeUp] {
            let (whole, held) = read_pieces([bytes].into_iter(), then);
            within_bounds(&whole, held.saturating_sub(bytes.len()));
            let (pieces, held) = read_pieces(cut(bytes).into_iter(), then);
            within_bounds(&pieces, held);
            assert_eq!(pieces.outcome, whole.outcome, "{then:?}");
        }
        // The same where there is no memory to share, if what came at once is no longer than a
        // read of the network.
        let (tight, held) = read_within(STEP_BYTES - 1, cut(bytes).into_iter(), Then::Closed);
        within_bounds(&tight, held);
        let (single, _) = read_within(STEP_BYTES - 1, bytes.chunks(1), Then::Closed);
        assert_eq!(single.outcome, tight.outcome);
        // A short one needs none of the memory that all share.
        if bytes.len() <= RESPONSE_FREE_BYTES / 2 {
            let (roomy, _) = read_pieces(cut(bytes).into_iter(), Then::Closed);
            assert_eq!(roomy.outcome, tight.outcome);
        }
    });
}
