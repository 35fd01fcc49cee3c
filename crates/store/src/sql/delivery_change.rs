//! What is done to many deliveries at once.

/// What is done to deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryChange {
    /// What is pending becomes due.
    RetryNow,
    /// What has ended becomes due in another round.
    Replay,
    /// What is pending is cancelled on request.
    Cancel,
}
