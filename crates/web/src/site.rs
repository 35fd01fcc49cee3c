//! Site: all that the floor answers, as one value that is called with a request. It tells apart
//! who answers: the dashboard, a dialect, or what an operator's tools ask for; and adds what holds
//! for every answer. It needs no socket: tests call it as `willcall` does.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use prometheus_client::registry::Registry;

use crate::dashboard::{self, Pages};
use crate::state::{Parts, Shared};
use crate::transport::body::Body;
use crate::{health, route};

/// Every dialect's places, the dashboard, and what an operator's tools ask for.
#[derive(Clone)]
pub struct Site {
    shared: Arc<Shared>,
    pages: Arc<Pages>,
    /// What is connected.
    peer: Option<IpAddr>,
}

/// The whole of the floor.
pub fn build(parts: Parts, meters: &mut Registry) -> Site {
    Site {
        shared: Arc::new(Shared::new(parts, meters)),
        pages: Arc::new(Pages::all()),
        peer: None,
    }
}

impl Site {
    /// The same for requests from this address.
    #[must_use]
    pub fn asked_from(self, peer: IpAddr) -> Self {
        let peer = Some(peer);
        Self { peer, ..self }
    }

    /// Whether an operator's tools ask for this path.
    pub fn is_for_tools(path: &str) -> bool {
        health::at(path).is_some()
    }

    /// What the request is answered with. It never fails: whatever is wrong is an answer, too.
    ///
    /// What is returned is moved about by whoever waits for it, so it is kept small.
    pub fn answer(
        self,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let is_head = request.method() == Method::HEAD;
        let answering = self.begin(request);
        async move {
            let answer = match answering {
                SiteFuture::Place(answer) => answer.await,
                SiteFuture::Other(answer) => answer.await,
            };
            finished(answer, is_head)
        }
    }

    fn begin(
        self,
        request: Request<Body>,
    ) -> SiteFuture<impl Future<Output = Response<Body>> + Send + 'static> {
        let path = request.uri().path();
        if let Some(endpoint) = health::at(path) {
            SiteFuture::Other(Box::pin(health::serve(self.shared, endpoint, request)))
        } else if dashboard::is_for_pages(request.method(), path) {
            let visiting = dashboard::serve(self.shared, self.pages, self.peer, request);
            SiteFuture::Other(Box::pin(visiting))
        } else {
            SiteFuture::Place(route::serve(self.shared, request))
        }
    }
}

/// An answer that is being made.
enum SiteFuture<P> {
    Place(P),
    Other(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// Says how long the answer is, unless only its end will tell, and takes the body from an answer
/// to HEAD.
fn finished(mut answer: Response<Body>, is_head: bool) -> Response<Body> {
    if !answer.headers().contains_key(CONTENT_LENGTH)
        && let Some(length) = answer.body().size_hint().exact()
    {
        let length = HeaderValue::from(length);
        answer.headers_mut().insert(CONTENT_LENGTH, length);
    }
    if is_head {
        *answer.body_mut() = Body::empty();
    }
    answer
}
