//! Every fixed bound with its reason, and what must hold between them.
//!
//! A bound that an operator may move is a setting (`willcall/src/config.rs`); these are not.

/// One request body at intake. A thousand notifications of a few kilobytes fit.
pub const INTAKE_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One notification's body as it will be sent. Thin notifications are about 150 bytes; a whole
/// order with hundreds of positions stays below this.
pub const NOTIFICATION_BODY_BYTES_MAX: usize = 256 * 1024;

/// Notifications in one batch: one transaction of a few milliseconds.
pub const INTAKE_BATCH_MAX: usize = 1_000;

/// The key under which an application names its notification, where it is a text.
pub const NOTIFICATION_KEY_BYTES_MAX: usize = 190;

/// An action type, a topic, a scope, the slug of an event: names, not texts.
pub const NAME_BYTES_MAX: usize = 255;

/// Letters and digits of a token made by Willcall: 330 bits.
pub const TOKEN_LETTERS: usize = 64;

/// How long a former key signs if nobody says otherwise, and at most: a receiver changes its secret
/// in a day or, with a release of its own, in some weeks.
pub const FORMER_KEY_MS_DEFAULT: i64 = 24 * 3_600_000;
pub const FORMER_KEY_MS_MAX: i64 = 90 * 24 * 3_600_000;

const _: () = assert!(FORMER_KEY_MS_DEFAULT <= FORMER_KEY_MS_MAX);

/// Header lines that somebody may give a webhook.
pub const OWN_HEADERS_MAX: usize = 20;

pub const OWN_HEADER_NAME_BYTES_MAX: usize = 100;

/// A token with many claims. Servers take at least 8 KiB in a line.
pub const OWN_HEADER_VALUE_BYTES_MAX: usize = 4_096;

/// All names and values of a webhook: with what Willcall sends, what servers take in a head.
pub const OWN_HEADERS_BYTES_MAX: usize = 8_192;

const _: () =
    assert!(OWN_HEADER_NAME_BYTES_MAX + OWN_HEADER_VALUE_BYTES_MAX <= OWN_HEADERS_BYTES_MAX);

/// So many incidents of a kind are looked at in a round of the watch: those that began first.
pub const INCIDENTS_MAX: usize = 1_000;

/// So many webhooks are named in an alert; of more it has the number.
pub const ALERT_WEBHOOKS_MAX: usize = 20;

/// Incidents that ended are forgotten after this long.
pub const INCIDENT_RETENTION_MS: i64 = 7 * 24 * 3_600_000;

/// So many failing webhooks are looked at for a page, disabled ones included; then it goes on.
pub const FAILING_SCANNED_MAX: usize = 1_000;

/// So many deliveries that wait for a webhook are counted for lists and pages; then there are more.
pub const WAITING_COUNTED_MAX: usize = 1_000;

/// Certificates that somebody hands in together: a client's with those that issued it, or CAs'.
pub const CERTIFICATES_MAX: usize = 20;

/// All of them, in DER. Each node keeps those of a webhook that it calls in memory.
pub const CERTIFICATES_BYTES_MAX: usize = 48 * 1024;

/// The text of a private key. RSA with 8,192 bits takes 6 KiB.
pub const CLIENT_KEY_BYTES_MAX: usize = 16 * 1024;

/// How long the public half of a former key is published after its end: a call that it signed may
/// still be on its way, and receivers take one that is five minutes old.
pub const FORMER_KEY_PUBLISHED_MS: i64 = 10 * 60_000;

/// How long receivers may keep a set of public keys.
pub const KEY_SET_AGE_S: i64 = 600;

// Else most would not see a new key before it signs.
const _: () = assert!(KEY_SET_AGE_S * 1_000 <= FORMER_KEY_MS_DEFAULT / 2);

/// Any other request body: a webhook with every field at its limit is some 600 KiB.
pub const REQUEST_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Shows that one webhook may name: each answer about it names them all.
pub const SHOWS_NAMED_MAX: usize = 2_000;

/// Subscriptions that one webhook may have: the shows it names times its action types. Each is a
/// row to write when it changes (and one for each type beside the shows), and a page if many
/// webhooks name the same: so many take 20 to 200 ms in one transaction, for which all wait.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

const _: () = assert!(SHOWS_NAMED_MAX <= SUBSCRIPTIONS_MAX);

/// Webhooks that a tenant may have. One notification may be for all of them: a row each, written in
/// steps between which others have their turn.
pub const WEBHOOKS_MAX: usize = 10_000;

/// Deliveries of a tenant that are accepted but not yet listed: two of the largest batches, which
/// come to a third of a gigabyte. Beyond it the tenant has to wait, since a small request may owe
/// millions.
pub const UNMATERIALIZED_MAX: usize = 2 * INTAKE_BATCH_MAX * WEBHOOKS_MAX;

/// Shows that a tenant has when none registers itself any more: whoever hands in could make up any
/// number, nothing removes them, and forms and answers read all. That many take some megabytes.
pub const EVENTS_REGISTERED_MAX: usize = 10_000;

/// Nesting of JSON that is read. Deeper input is refused before it can exhaust a stack.
pub const JSON_DEPTH_MAX: usize = 128;

/// Of a receiver's answer this much body is read and kept, then the exchange ends.
pub const RESPONSE_BODY_BYTES_MAX: usize = 64 * 1024;

/// Of a receiver's answer this much head is read; a longer head fails the attempt.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Header lines of a receiver's answer; more fail the attempt.
pub const RESPONSE_HEADERS_MAX: usize = 100;

/// So much of a receiver's answer is held in any case. An interim answer (1xx) may not be longer.
pub const RESPONSE_FREE_BYTES: usize = 8 * 1024;

/// Room for what is longer of all answers that are being read, or not yet written down: many times
/// what honest receivers take, and thousands of others take no more.
pub const RESPONSES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Names of receivers that are looked up at the same time, each on a thread: the system's call can
/// neither be interrupted nor be waited for otherwise. Each takes one or two file descriptors.
pub const LOOKUPS_MAX: usize = 256;

/// Those of one tenant. Names that are found take a millisecond; of those that nobody answers for,
/// forty tenants together leave others a thread.
pub const LOOKUPS_TENANT_MAX: usize = 8;

/// Names of one tenant of which it is remembered whether they were found: as many as it can have
/// webhooks.
pub const NAMES_CACHED_TENANT_MAX: usize = WEBHOOKS_MAX;

/// Those of all tenants: some ten megabytes.
pub const NAMES_CACHED_MAX: usize = 4 * NAMES_CACHED_TENANT_MAX;

const _: () = assert!(40 * LOOKUPS_TENANT_MAX / 2 < LOOKUPS_MAX / 4 * 3);

/// Receivers of which it is remembered how long they keep idle connections: more than one process
/// calls within the hour for which it counts, at some hundred bytes each.
pub const RECEIVERS_REMEMBERED_MAX: usize = 10_000;

/// TLS sessions of receivers: enough for thousands of receivers. Counted is what a session can take
/// at most, which is more than it takes.
pub const TLS_SESSIONS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One session: its receiver's certificates are a part of it. A longer one is not remembered.
pub const TLS_SESSION_BYTES_MAX: usize = 16 * 1024;

/// A receiver has a second session only within this.
pub const TLS_ENDPOINT_BYTES_MAX: usize = 8 * 1024;

/// A target URL as stored. Dialects may draw the line lower.
pub const TARGET_URL_CHARS_MAX: usize = 2_048;

/// Parts of a target URL that can be marked as secret: lists of webhooks mask thousands of URLs.
pub const URL_MARKS_MAX: usize = 8;

/// Retries that a webhook may ask for.
pub const RETRIES_MAX: u32 = 25;

/// How long `Retry-After` may have a webhook left alone: an hour, so that no receiver can stop its
/// own deliveries for good.
pub const RETRY_AFTER_MAX_MS: i64 = 3_600_000;

/// Deliveries read from the store for one lane at a time.
pub const LANE_READ_MAX: usize = 64;

/// Deliveries that wait for a retry and are looked at in one read ahead of their time: few of
/// them may be what is looked for.
pub const RECOVERY_ROWS_MAX: usize = 256;

/// Deliveries a lane holds in memory; what does not fit stays in the store.
pub const LANE_BUFFERED_MAX: usize = 256;

/// Deliveries all lanes together hold in memory. With 1 KiB bodies about 16 MiB.
pub const BUFFERED_MAX: usize = 16_384;

/// Their bodies together, whatever their number: what 16,384 ordinary ones take, and more than
/// one read of the largest adds.
pub const BUFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Deliveries of one webhook that go before all others because somebody asked for them one by one;
/// further ones go in their turn, so that a script does not hammer a receiver that has failed.
pub const LANE_PRIORITY_MAX: usize = 4;

/// Outcomes written in one transaction.
pub const SETTLE_BATCH_MAX: usize = 512;

/// How long an outcome that says *delivered* may wait to be written down together with others, and
/// in a commit that is made anyway. A crash repeats the calls of that time: at twenty notifications
/// a second five, and never more than `DELAYED_OUTCOMES_MAX`.
pub const OUTCOME_DELAY_MAX_MS: u64 = 250;

/// So much of it a batch of them waits in the store for a commit that is made anyway.
pub const COMMIT_DELAY_MAX_MS: u64 = 60;

/// So many outcomes wait for no other commit.
pub const DELAYED_OUTCOMES_MAX: usize = 64;

/// Deliveries that a cancelling, replaying or pruning step touches in one transaction, so that
/// intake never waits longer than some ten milliseconds for it.
pub const BULK_STEP_MAX: usize = 5_000;

/// Jobs waiting for the store's writer before callers are told that it is full.
pub const WRITER_QUEUE_MAX: usize = 10_000;

/// Rows of one page of a list.
pub const PAGE_ROWS_MAX: usize = 50;

/// Rows that a page of the log looks at before it says how far it came: some ten milliseconds.
pub const SCANNED_ROWS_MAX: usize = 10_000;

/// A page of the dashboard: a second on a slow line, whatever a receiver answered.
pub const PAGE_BYTES_MAX: usize = 100 * 1024;

/// Pages that are followed live at once, by everybody: each asks the store once a second while
/// something changes, which takes a millisecond.
pub const LIVE_STREAMS_MAX: usize = 128;

/// Those of one session. Browsers open six connections to a server, and pages need some, too.
pub const LIVE_STREAMS_SESSION_MAX: usize = 4;

/// Those of one user, in however many sessions: nobody alone takes them from the others.
pub const LIVE_STREAMS_USER_MAX: usize = 16;

/// The circuit of a receiver opens after failures in a row for this long.
pub const CIRCUIT_OPENS_AFTER_MS: i64 = 5 * 60_000;

/// From the end of a probe of an open circuit to the next.
pub const PROBE_INTERVAL_MS: i64 = 10_000;

/// A delivery that an open circuit has kept waiting for so long is tried anyway, so that it ends.
pub const OVERDUE_AFTER_MS: i64 = 3_600_000;

/// Exports of logs that run at once: each reads a page of the log at a time and then lets others
/// ask for as long as that took, so that all of them together keep some readers of the store busy.
pub const EXPORTS_MAX: usize = 4;

/// Those of one tenant: nobody alone takes them from the others.
pub const EXPORTS_TENANT_MAX: usize = 2;

/// Deliveries counted before somebody is told "more than".
pub const COUNTED_MAX: usize = 10_000;

/// A token's last use is noted again after this long.
pub const TOKEN_USE_RESOLUTION_MS: i64 = 60_000;

/// A password, in bytes: more than anybody types, less than what hashing could be abused with.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// A password, in characters: OWASP ASVS 5.0 (6.2.1) asks for 8 and recommends 15.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// The name of a user, in characters.
pub const USER_NAME_CHARS_MAX: usize = 100;

/// How long a session holds after signing in: a working day.
pub const SESSION_MS: i64 = 12 * 3_600_000;

/// How long a link that signs in holds.
pub const LINK_MS: i64 = 15 * 60_000;

/// How long a portal link holds unless it says otherwise: a browser follows it at once. And the
/// least and the most: the same as any link, so that all are put right alike after a clock step.
pub const PORTAL_LINK_MS_DEFAULT: i64 = 60_000;
pub const PORTAL_LINK_MS_MIN: i64 = 10_000;
pub const PORTAL_LINK_MS_MAX: i64 = LINK_MS;
const _: () = assert!(PORTAL_LINK_MS_MIN <= PORTAL_LINK_MS_DEFAULT);
const _: () = assert!(PORTAL_LINK_MS_DEFAULT <= PORTAL_LINK_MS_MAX);

/// Errors in a file, or in a body that stands for a part of one, that are named: people read them.
pub const FILE_ERRORS_MAX: usize = 100;

/// How long a failure to sign in is remembered: a day, as `Failures::open_at` counts on.
pub const SIGN_IN_FAILURE_RETENTION_MS: i64 = 24 * 3_600_000;

/// Names for which failures to sign in are remembered: some ten megabytes, whoever guesses.
pub const FAILURES_MAX: usize = 100_000;

/// Bulk jobs of one tenant that run at a time; the next one is refused.
pub const BULK_JOBS_RUNNING_MAX: usize = 100;

/// How long a bulk job that ended can be looked at. What it was, the audit log keeps.
pub const BULK_JOB_RETENTION_MS: i64 = 7 * 24 * 3_600_000;

/// Bodies up to this size are read whatever else is held: 1,024 connections have 64 MiB at most.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

/// All longer bodies that are held at the same time: two of the longest, dozens of usual batches.
/// What is made of a body takes some times as much.
pub const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Of these, what those of one sharer (a tenant, say) may have together: one of the longest. As
/// much is always left for others.
pub const BODIES_SHARE_BYTES_MAX: usize = BODIES_BYTES_MAX / 2;

/// Bodies of one sharer that wait for room and have none yet: each holds what a small one does, and
/// a piece of at most as much. Those beyond are refused at once.
pub const BODIES_WAITING_OWNER_MAX: usize = 16;

/// So much is taken at a time, as a body comes: not every piece of it has to ask.
pub const BODY_STEP_BYTES: usize = 64 * 1024;

/// Action types that nobody can subscribe to, of one tenant, that are named in the log: an
/// application has some dozens. What is said of each is kept, a few hundred bytes.
pub const UNKNOWN_TYPES_MAX: usize = 100;

/// Webhooks of which is remembered how often the log said that they fail: some 200 bytes each.
pub const LOGGED_RECEIVERS_MAX: usize = 4_096;

/// Tenants of whose mistakes is remembered that they were said, and kinds of refusal: with all
/// their unknown types less than 100 MiB in the worst case, and some KiB in any other.
pub const INTAKE_WARNINGS_MAX: usize = 2_048;

/// Parameters of a query, and of a form: 48 bytes and more are held for each of two. A form that
/// names the most shows and every action type has some 2,100.
pub const PARAMETERS_MAX: usize = 4_096;

/// An answer kept for an idempotency key; larger ones are not kept.
pub const STORED_RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// An idempotency key: what clients of the platforms that have them may count on.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 190;

/// How long an answer is kept for an idempotency key: 24 h, as the platforms that have them do.
pub const IDEMPOTENCY_RETENTION_MS: i64 = 24 * 3_600_000;

/// How much the log of a store may grow while it is backed up: what is written meanwhile waits
/// there. At 50 MiB a second, full load, that is 20 s, in which a disk copies some GiB.
pub const BACKUP_LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long a lease of slots holds without being renewed: far longer than clocks, networks and the
/// store take for a renewal.
pub const LEASE_MS: i64 = 10_000;

/// A lease is renewed so often.
pub const LEASE_RENEWAL_MS: i64 = 3_000;

/// Nothing begins under a lease that holds for less: after one renewal that failed and one that is
/// late.
pub const LEASE_MARGIN_MS: u64 = 2_000;

/// A wall clock that moves by so much beside the steady one was set: more than a leap second, and
/// more than drift comes to within `CLOCK_DISTRUST_MS`.
pub const CLOCK_STEP_MS: i64 = 1_500;

/// For so long after it was set a clock is not trusted with what cannot be undone: whoever set it
/// wrongly, or their time service, has set it right by then.
pub const CLOCK_DISTRUST_MS: i64 = 3_600_000;

/// A clock that is so far ahead of the newest time in the store when the process begins may be
/// wrong, or Willcall did not run for as long.
pub const CLOCK_FAR_MS: i64 = 3_600_000;

/// What lies so far ahead of now was written by a wrong clock. Longer than any request takes, and
/// than any wait after a failure to sign in.
pub const CLOCK_AHEAD_MAX_MS: i64 = 120_000;

/// Times at which the clock was set back that the log is searched by time beyond: some
/// milliseconds for each page.
pub const CLOCK_SETBACKS_MAX: usize = 64;

/// While something waits, the time is written down at most so often: a crash makes waits longer by
/// what lies between two heartbeats. Costs the disk one sync if nothing else is written.
pub const HEARTBEAT_MS: i64 = 10_000;

/// While the first wait is long, a heartbeat stays for this part of it (a twentieth), up to
/// [`IDLE_HEARTBEAT_MS`].
pub const HEARTBEAT_PART: i64 = 20;

/// The same while nothing waits, for the next start to know what time it was at least.
pub const IDLE_HEARTBEAT_MS: i64 = 60_000;

/// What is noticed so late was not held up by work: the process was stopped, or the machine stood
/// still. Whoever was waited for meanwhile is not at fault.
pub const STALL_DETECTED_MS: u64 = 1_000;

/// So long the runtime has then to learn what has come meanwhile.
pub const STALL_GRACE_MS: u64 = 100;

/// Less room than this on the store's disk is as good as none: its log alone takes up to half.
pub const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Less room than this is said, so that somebody makes some while all still goes on.
pub const FREE_BYTES_LOW: u64 = 256 * 1024 * 1024;

/// The least and the most calls that a webhook may have in a million seconds: one in 17 minutes,
/// and as many as timers of a millisecond tell apart.
pub const CALL_RATE_MICROS_MIN: u32 = 1_000;
pub const CALL_RATE_MICROS_MAX: u32 = 1_000_000_000;

/// A meter that wakes so late still counts from when it was to wake, in ms: else a timer's grain
/// takes calls away from fast webhooks.
pub const METER_LATE_MS: u64 = 5;

/// Webhooks without a lane whose latest call is remembered for their rate: some megabytes.
pub const METERS_REMEMBERED_MAX: usize = 100_000;

/// Schedules that an operator may name, and how long a name is.
pub const NAMED_SCHEDULES_MAX: usize = 100;
pub const SCHEDULE_NAME_BYTES_MAX: usize = 50;

/// Waits of a named schedule, and their sum in ms: 30 days.
pub const SCHEDULE_WAITS_MAX: usize = 100;
pub const SCHEDULE_MS_MAX: i64 = 30 * 86_400_000;

/// Tallies that are written down at once: some milliseconds of work.
pub const TALLY_ROWS_MAX: usize = 500;

/// What the tallies of a running period may take: a webhook is this many cells, and each range of
/// response times that it had is one more. Some megabytes; what is more is written down early.
pub const TALLY_CELLS_MAX: usize = 262_144;
pub const TALLY_WEBHOOK_CELLS: usize = 8;

/// Tallies of five minutes are kept for so long behind their hour: the chart of a day shows half
/// hours. Then they become tallies of hours.
pub const TALLIES_FINE_MS: i64 = 26 * 3_600_000;

/// Tallies are kept for so long: the chart of 30 days, and the half day that it may begin before.
pub const TALLIES_KEPT_MS: i64 = 31 * 86_400_000;

/// Rows of one webhook or tenant in one period that are read: each node writes one, more after a
/// restart, or with so many webhooks that tallies are written down early.
pub const TALLY_PARTS_MAX: usize = 1_024;

const _: () = assert!(TALLIES_FINE_MS < TALLIES_KEPT_MS);
const _: () = assert!(CALL_RATE_MICROS_MIN < CALL_RATE_MICROS_MAX);
const _: () = assert!(FREE_BYTES_MIN < FREE_BYTES_LOW);
const _: () = assert!(NOTIFICATION_BODY_BYTES_MAX <= INTAKE_BODY_BYTES_MAX);
const _: () = assert!(INTAKE_BODY_BYTES_MAX <= BODIES_SHARE_BYTES_MAX);
const _: () = assert!(INTAKE_BODY_BYTES_MAX.is_multiple_of(BODY_STEP_BYTES));
const _: () = assert!(LANE_READ_MAX <= LANE_BUFFERED_MAX);
const _: () = assert!(LANE_BUFFERED_MAX <= BUFFERED_MAX);
const _: () = assert!(LANE_READ_MAX * NOTIFICATION_BODY_BYTES_MAX <= BUFFERED_BYTES_MAX);
const _: () = assert!(SETTLE_BATCH_MAX <= BUFFERED_MAX);
const _: () = assert!(DELAYED_OUTCOMES_MAX <= SETTLE_BATCH_MAX);
const _: () = assert!(LIVE_STREAMS_SESSION_MAX <= LIVE_STREAMS_USER_MAX);
const _: () = assert!(LIVE_STREAMS_USER_MAX <= LIVE_STREAMS_MAX);
const _: () = assert!(EXPORTS_TENANT_MAX < EXPORTS_MAX);
const _: () = assert!(INTAKE_BATCH_MAX <= WRITER_QUEUE_MAX);
const _: () = assert!(HEARTBEAT_MS <= IDLE_HEARTBEAT_MS);
const _: () = assert!(CLOCK_STEP_MS < CLOCK_FAR_MS);
