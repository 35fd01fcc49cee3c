//! Frames: the origins whose pages may show the dashboard in a frame. None may unless an operator
//! lists them, and then only a session that a portal link began works there.

use http::HeaderValue;
use url::{Host, Url};

/// The most origins: they go with every page.
const ORIGINS_MAX: usize = 20;

/// Nothing from other sites, no inline script or style.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'";

/// The origins of pages that may show ours in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrameAncestors(Vec<String>);

impl FrameAncestors {
    /// Reads origins, each such as `https://tickets.example.org`.
    ///
    /// # Errors
    /// What is wrong with one of them, or that there are too many.
    pub fn read<'a>(origins: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let origins: Vec<String> = origins.map(origin).collect::<Result<_, _>>()?;
        if origins.len() > ORIGINS_MAX {
            return Err(format!("at most {ORIGINS_MAX} origins are allowed"));
        }
        Ok(Self(origins))
    }

    /// Whether there is any.
    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The Content-Security-Policy of every page.
    pub(super) fn policy(&self) -> HeaderValue {
        let origins = match self.0.as_slice() {
            [] => "'none'".to_owned(),
            origins => origins.join(" "),
        };
        let text = format!("{POLICY}; frame-ancestors {origins}");
        // An origin that was read has letters, digits and `:/.-[]` only.
        HeaderValue::try_from(text)
            .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
    }
}

fn origin(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "\"{text}\" is not an origin such as https://tickets.example.org, without a path or a \
             wildcard; http:// is only for this machine itself"
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let own = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_scheme = url.scheme() == "https" || (url.scheme() == "http" && own);
    let origin = url.origin().ascii_serialization();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-[]".contains(&byte);
    // Whatever else a URL may have is not in its origin.
    let is_whole = text.trim_end_matches('/').eq_ignore_ascii_case(&origin);
    match is_scheme && is_whole && origin.bytes().all(plain) {
        true => Ok(origin),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_origins_nobody_frames_a_page_and_with_them_only_they_do() {
        let none = FrameAncestors::default().policy();
        assert!(none.to_str().unwrap().ends_with("; frame-ancestors 'none'"));
        let given = [
            "https://a.example",
            "HTTPS://B.example:8443/",
            "http://localhost:1",
        ];
        let some = FrameAncestors::read(given.into_iter()).unwrap().policy();
        let ending =
            "; frame-ancestors https://a.example https://b.example:8443 http://localhost:1";
        assert!(some.to_str().unwrap().ends_with(ending), "{some:?}");
    }

    #[test]
    fn what_is_no_origin_is_refused_in_words() {
        for text in [
            "",
            "a.example",
            "*",
            "https://*.example.org",
            "https://a.example/x",
            "https://a.example?x",
            "https://u:p@a.example",
            "http://a.example",
            "https://a.example; script-src *",
            "https://a.example https://b.example",
            "file:///etc",
            "'self'",
        ] {
            let refused = FrameAncestors::read([text].into_iter());
            assert!(refused.is_err(), "{text}");
        }
        assert!(FrameAncestors::read(std::iter::repeat_n("https://a.example", 21)).is_err());
    }
}
