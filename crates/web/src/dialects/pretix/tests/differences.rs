//! Where Willcall answers otherwise than the recorded pretix, exchange by exchange, in their order.

#[derive(Clone, Copy)]
pub(super) struct Difference {
    /// The recorded exchange.
    pub(super) name: &'static str,
    /// The line of `docs/pretix.md` that says so, as it begins.
    pub(super) decision: &'static str,
    pub(super) status: u16,
    pub(super) body: &'static str,
    /// Whether Willcall changes something where pretix did not: tried on a store of its own.
    pub(super) aside: bool,
}

const HTML: &str = "HTML error pages";
const TYPES: &str = "`action_types` a string, number, bool or object";
const SLASH: &str = "POST, PUT, PATCH, DELETE without trailing slash";
const PUT: &str = "PUT without an optional field";
const ALL_EVENTS: &str = "POST or PUT without `all_events`";
const KEY_REUSED: &str = "idempotency key: other method, path or body";
const PORT: &str = "port 0 or above 65535";
const LANGUAGE: &str = "Accept-Language";

const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;
const NOT_A_LIST: &str = r#"{"action_types":["Expected a list of items but got type \"str\"."]}"#;
const NO_URL: &str = r#"{"target_url":["Enter a valid URL."]}"#;
const REUSED: &str = r#"{"detail":"This idempotency key was used for a different request."}"#;

const fn differs(
    name: &'static str,
    decision: &'static str,
    status: u16,
    body: &'static str,
) -> Difference {
    Difference {
        name,
        decision,
        status,
        body,
        aside: false,
    }
}

const fn aside(difference: Difference) -> Difference {
    Difference {
        aside: true,
        ..difference
    }
}

#[rustfmt::skip]
pub(super) const DIFFERENCES: &[Difference] = &[
    differs(
        "post_noauth_invalid_json",
        "unauthenticated request with a bad body",
        401,
        r#"{"detail":"Authentication credentials were not provided."}"#,
    ),
    differs(
        "create_no_all_events",
        ALL_EVENTS,
        201,
        "{\"id\":5,\"enabled\":true,\"target_url\":\"https://example.org/hook\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \",\"pretix.event.order.placed\"],\"comment\":\"first\"}",
    ),
    differs("create_action_types_string", TYPES, 400, NOT_A_LIST),
    differs("create_action_types_string_empty", TYPES, 400, NOT_A_LIST),
    differs(
        "create_action_types_number",
        TYPES,
        400,
        r#"{"action_types":["Expected a list of items but got type \"int\"."]}"#,
    ),
    differs(
        "create_action_types_object",
        TYPES,
        400,
        r#"{"action_types":["Expected a list of items but got type \"dict\"."]}"#,
    ),
    differs(
        "create_action_types_object_empty",
        TYPES,
        400,
        r#"{"action_types":["Expected a list of items but got type \"dict\"."]}"#,
    ),
    differs(
        "create_action_types_duplicate",
        "duplicates in `action_types`",
        201,
        "{\"id\":12,\"enabled\":true,\"target_url\":\"https://example.org/hook\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \"],\"comment\":\"first\"}",
    ),
    differs(
        "create_limit_object",
        "`limit_events` an object",
        400,
        r#"{"limit_events":["Expected a list of items but got type \"dict\"."]}"#,
    ),
    differs("url_ftp", "`ftp://`, `ftps://` target", 400, NO_URL),
    differs("url_port_bad", PORT, 400, NO_URL),
    differs("url_port_zero", PORT, 400, NO_URL),
    differs("ctype_form", TYPES, 400, NOT_A_LIST),
    differs(
        "lang_de_list_err",
        LANGUAGE,
        400,
        "{\"target_url\":[\"Enter a valid URL.\"],\"limit_events\":[\"Object with slug=nope d\
         oes not exist.\"],\"action_types\":[\"Invalid action type \\\"foo\\\".\"]}",
    ),
    differs(
        "lang_de_missing",
        LANGUAGE,
        400,
        "{\"target_url\":[\"This field is required.\"],\"limit_events\":[\"This field is requ\
         ired.\"],\"action_types\":[\"This field is required.\"]}",
    ),
    aside(differs(
        "post_list_no_slash",
        SLASH,
        201,
        "{\"id\":2,\"enabled\":true,\"target_url\":\"https://example.org/hook\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \",\"pretix.event.order.placed\"],\"comment\":\"first\"}",
    )),
    aside(differs(
        "patch_detail_no_slash",
        SLASH,
        200,
        "{\"id\":1,\"enabled\":true,\"target_url\":\"https://example.org/hook\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \",\"pretix.event.order.placed\"],\"comment\":\"x\"}",
    )),
    aside(differs("delete_detail_no_slash", SLASH, 204, "")),
    differs("get_subpath", HTML, 404, NOT_FOUND),
    aside(differs("get_doc_typo_singular", "`DELETE .../webhook/{id}/`", 204, "")),
    differs("patch_action_types_string", TYPES, 400, NOT_A_LIST),
    differs(
        "put_without_optional",
        PUT,
        200,
        "{\"id\":1,\"enabled\":true,\"target_url\":\"https://example.org/put2\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \"],\"comment\":null}",
    ),
    differs(
        "put_without_all_events_empty_limit",
        ALL_EVENTS,
        200,
        "{\"id\":1,\"enabled\":true,\"target_url\":\"https://example.org/put2\",\"all_events\
         \":true,\"limit_events\":[],\"action_types\":[],\"comment\":null}",
    ),
    differs(
        "put_after_disabled_no_enabled_no_comment",
        PUT,
        200,
        "{\"id\":1,\"enabled\":true,\"target_url\":\"https://example.org/put3\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \"],\"comment\":null}",
    ),
    aside(differs(
        "put_all_events_omitted_with_limit",
        ALL_EVENTS,
        200,
        "{\"id\":1,\"enabled\":true,\"target_url\":\"https://example.org/hook\",\"all_events\
         \":false,\"limit_events\":[\"democon\"],\"action_types\":[\"pretix.event.order.paid\
         \",\"pretix.event.order.placed\"],\"comment\":\"first\"}",
    )),
    differs("idem_post_3_other_body", KEY_REUSED, 422, REUSED),
    differs("idem_other_path_same_key", KEY_REUSED, 422, REUSED),
    differs("idem_error_2_fixed", KEY_REUSED, 422, REUSED),
    differs(
        "idem_long_key",
        "idempotency key longer than 190",
        400,
        "{\"detail\":\"The header X-Idempotency-Key may have at most 190 characters.\"}",
    ),
    differs("api_unknown", HTML, 404, NOT_FOUND),
    differs("api_unknown_noauth", HTML, 404, NOT_FOUND),
    differs("api_v2", HTML, 404, NOT_FOUND),
    differs(
        "query_nul",
        HTML,
        400,
        r#"{"detail":"Null characters are not allowed in the query."}"#,
    ),
    differs("path_double_slash", HTML, 404, NOT_FOUND),
    differs(
        "http_host_wrong",
        HTML,
        400,
        "{\"detail\":\"This server does not answer to the host \\\"evil.example\\\". If it sh\
         ould, its operator adds that name to the setting \\\"allowed_hosts\\\".\"}",
    ),
];
