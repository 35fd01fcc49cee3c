//! This machine runs short of what a call takes: nobody's deliveries pay for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::attempt::{Failure, FailureKind};
use model::delivery::DeliveryState;

use super::world::{Net, World, seconds};
use crate::transport::{Deadline, Dial, DialFuture, Endpoint, LookupContext};

/// The network of the world, except when descriptors are short.
struct Cramped {
    net: Arc<Net>,
    short: AtomicBool,
    tried: AtomicUsize,
}

impl Dial for Cramped {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        asker: LookupContext,
        limit: Deadline,
    ) -> DialFuture<'a> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        if self.short.load(Ordering::Relaxed) {
            let failure = Failure::new(FailureKind::Short, "descriptors");
            return Box::pin(std::future::ready(Err(failure)));
        }
        self.net.dial(endpoint, asker, limit)
    }
}

async fn cramped() -> (World, Arc<Cramped>) {
    let mut world = World::new().await;
    let dial = Arc::new(Cramped {
        net: Arc::clone(&world.net),
        short: AtomicBool::new(true),
        tried: AtomicUsize::new(0),
    });
    world.start_with(Arc::clone(&dial) as Arc<dyn Dial>);
    (world, dial)
}

#[tokio::test(start_paused = true)]
async fn what_we_lack_uses_no_attempt_and_delivers_once_we_have_it() {
    let (world, dial) = cramped().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let ids = world.hand_in("paid", 200).await;
    seconds(600).await;
    for id in &ids {
        let story = world.story(*id, webhook).await;
        let found = (story.row.state, story.row.attempts, story.attempts.len());
        assert_eq!(found, (DeliveryState::Pending, 0, 0));
    }
    let words = world.health().unwrap_err();
    assert!(words.contains("short of descriptors"), "{words}");
    // It is tried again and again, and not in a hurry.
    let tried = dial.tried.load(Ordering::Relaxed);
    assert!((100..20_000).contains(&tried), "{tried}");

    dial.short.store(false, Ordering::Relaxed);
    seconds(60).await;
    for id in &ids {
        let story = world.story(*id, webhook).await;
        let found = (story.row.state, story.row.attempts, story.attempts.len());
        assert_eq!(found, (DeliveryState::Delivered, 1, 1));
    }
    assert_eq!(world.net.calls().len(), ids.len());
    assert_eq!(world.health(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_we_lack_is_not_held_against_a_receiver() {
    let (world, dial) = cramped().await;
    world.webhook("http://a.test/", "paid").await;
    world.hand_in("paid", 1).await;
    seconds(900).await;
    dial.short.store(false, Ordering::Relaxed);
    seconds(30).await;
    let before = world.net.calls().len();
    assert_eq!(before, 1);
    // A receiver that is thought to have failed for long gets one call in ten seconds.
    world.hand_in("paid", 50).await;
    seconds(2).await;
    assert_eq!(world.net.calls().len(), before + 50);
}
