//! Every page with something on it: whether it is accessible (axe-core, WCAG 2.2 A and AA), fits
//! into 320 CSS pixels, and how it looks.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use super::charts::counted;
use super::driver::{Browser, Wants};
use super::{House, PAID};
use crate::harness::apply;

/// Pages by the name of their picture.
const PAGES: &[(&str, &str)] = &[
    ("tenants", "/"),
    ("failing", "/failing"),
    ("webhooks", "/t/1"),
    ("webhooks-none", "/t/2"),
    ("webhook", "/t/1/webhooks/2"),
    ("webhook-disabled", "/t/1/webhooks/3"),
    ("statistics", "/t/1/statistics?period=7d"),
    ("webhook-new", "/t/1/webhooks/new"),
    ("webhook-new-company", "/t/2/webhooks/new"),
    ("webhook-edit", "/t/1/webhooks/1/edit"),
    ("webhook-disable", "/t/1/webhooks/1/disable"),
    ("calls", "/t/1/webhooks/2/calls"),
    ("pause", "/t/1/webhooks/2/pause"),
    ("secrets", "/t/1/webhooks/2/secrets"),
    ("secrets-none", "/t/1/webhooks/1/secrets"),
    ("key-rotate", "/t/1/webhooks/2/signatures/github/rotate"),
    (
        "signature-remove",
        "/t/1/webhooks/2/signatures/standard/remove",
    ),
    ("header", "/t/1/webhooks/2/headers/Authorization"),
    (
        "client-certificate",
        "/t/1/webhooks/2/tls/client_certificate",
    ),
    (
        "client-certificate-none",
        "/t/1/webhooks/1/tls/client_certificate",
    ),
    ("ca-certificates", "/t/1/webhooks/2/tls/ca_certificates"),
    ("test", "/t/1/webhooks/1/test"),
    ("log", "/t/1/log"),
    ("log-of-webhook", "/t/1/webhooks/2/log"),
    ("log-nothing-found", "/t/1/log?text=nowhere"),
    ("delivery-delivered", "/t/1/deliveries/dlv_1_1"),
    ("delivery-retrying", "/t/1/deliveries/dlv_1_2"),
    ("delivery-cancelled", "/t/1/deliveries/dlv_1_3"),
    ("retry-all", "/t/1/webhooks/2/retry"),
    ("replay", "/t/1/replay?response=5xx"),
    ("replay-nothing", "/t/1/webhooks/1/replay?status=pending"),
    ("stop-all", "/t/1/webhooks/2/stop"),
    ("notifications", "/t/1/notifications"),
    ("why", "/t/1/notifications/1"),
    ("settings", "/t/1/settings"),
    ("audit", "/t/1/settings/audit"),
    ("token-new", "/t/1/settings/tokens/new"),
    ("users", "/users"),
    ("user-new", "/users/new"),
    ("account", "/account"),
    ("alerts", "/t/3"),
    ("alerts-webhook", "/t/3/webhooks/4"),
    ("alerts-new", "/t/3/webhooks/new"),
    ("alerts-settings", "/t/3/settings"),
    ("not-found", "/t/99"),
];

/// Who is told of the first tenant.
const ALERTS: &str = r#"
[[alerts]]
tenant = "pretix/bigevents"
[[alerts.webhook]]
key = "night-shift"
name = "Night shift"
format = "chat"
to = "https://chat.example.org/hooks/token#secret:/2"
"#;

/// A server with something on every page: webhooks that work, fail and are gone.
fn lived_in(more: &[&str]) -> House {
    let app = House::furnished(more, |folder| counted(folder, 2));
    let client = app.server.client();
    for path in ["/ok", "/bad", "/gone"] {
        client.webhook(&app.receiver.url(path), &[PAID]);
    }
    app.hand_in(1);
    for _ in 0..3 {
        app.receiver.next();
    }
    let applied = apply(app.folder.path(), ALERTS);
    assert!(applied.status.success(), "{applied:?}");
    let own = format!("{}/webhooks/2/willcall", crate::harness::API);
    for (path, fields) in [
        (
            "signatures/",
            json!({ "profile": "standard", "svix": true }),
        ),
        ("signatures/standard/rotate/", json!({})),
        ("signatures/", json!({ "profile": "standard_ed25519" })),
        ("signatures/", json!({ "profile": "github" })),
        (
            "headers/",
            json!({ "name": "Authorization", "value": "Bearer secret" }),
        ),
        (
            "headers/",
            json!({ "name": "X-Api-Key", "value": "secret" }),
        ),
    ] {
        let (status, answer) = client.post(&format!("{own}/{path}"), &fields.to_string());
        assert!([200, 201].contains(&status), "{answer}");
    }
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let names = &mut params.distinguished_name;
    names.push(DnType::CommonName, "box office");
    names.push(DnType::OrganizationName, "Example Tickets");
    let certificate = params.self_signed(&key).unwrap().pem();
    let of_client = json!({ "certificates": certificate, "private_key": key.serialize_pem() });
    for (of, fields) in [
        ("client_certificate", of_client),
        ("ca_certificates", json!({ "certificates": certificate })),
    ] {
        let path = format!("{own}/{of}/");
        let (status, answer) = client.call("PUT", &path, &fields.to_string()).unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let path = format!("{}/webhooks/3/", crate::harness::API);
    // Settled right after the receiver has answered; polling is cheap.
    while client.get(&path).1["enabled"] == json!(true) {}
    app
}

#[test]
fn every_page_is_accessible_and_as_wide_as_the_smallest_screen() {
    let (app, browser) = (lived_in(&[]), Browser::open(Wants::default()));
    let mut faults = Vec::new();
    browser.go(&app.url("/sign-in"));
    faults.extend(judge(&browser, "sign-in"));
    app.sign_in(&browser);
    for (name, path) in PAGES {
        browser.go(&app.url(path));
        faults.extend(judge(&browser, name));
    }
    browser.go(&app.url("/t/1/webhooks/new"));
    browser.fill("#target_url", "example");
    browser.click("#webhook-form button.primary");
    browser.find("#faults");
    faults.extend(judge(&browser, "webhook-new-faults"));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_platforms_own_look_is_accessible_and_no_script_of_its_logo_runs() {
    let folder = tempfile::tempdir().unwrap();
    let logo = folder.path().join("logo.svg");
    let script = "document.documentElement.setAttribute('ran', 'yes')";
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='60' height='20'>\
         <rect width='60' height='20'/><script>{script}</script></svg>"
    );
    std::fs::write(&logo, svg).unwrap();
    // A color that nobody could read on white.
    let app = lived_in(&[
        "--brand-name",
        "Box Office",
        "--brand-color",
        "#ffee00",
        "--brand-logo-file",
        logo.to_str().unwrap(),
    ]);
    let browser = Browser::open(Wants::default());
    browser.go(&app.url("/sign-in"));
    let mut faults = judge(&browser, "sign-in");
    app.sign_in(&browser);
    for (name, path) in PAGES.iter().take(9) {
        browser.go(&app.url(path));
        faults.extend(judge(&browser, name));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(browser.text(".brand"), "Box Office");
    let image = "const image = document.querySelector('.brand img');
        return [image.naturalWidth, image.src];";
    let image = browser.run(image, &[]);
    assert_eq!(image[0], 60);
    browser.go(image[1].as_str().unwrap());
    browser.find("rect");
    assert_eq!(browser.count("[ran]"), 0);
}

/// The accessibility violations of the open page.
fn judge(browser: &Browser, name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let source = root().join("crates/willcall/tests/browser/node_modules/axe-core/axe.min.js");
    let axe =
        std::fs::read_to_string(&source).expect("axe-core is there (./test.sh gets it from npm)");
    browser.run(&axe, &[]);
    let check = "const done = arguments[arguments.length - 1];
        axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
          'best-practice']}).then((found) => done(found.violations));";
    for scheme in ["light", "dark"] {
        browser.dress(1280, scheme);
        let found = browser.run_async(check, &[]);
        for fault in found.as_array().expect("a list of faults") {
            let places: Vec<String> = fault["nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(place)
                .collect();
            faults.push(format!(
                "{name} ({scheme}): {}: {}",
                fault["help"],
                places.join(", ")
            ));
        }
    }
    browser.dress(320, "light");
    let width = browser.run("return document.documentElement.scrollWidth", &[]);
    if width.as_u64() > Some(320) {
        faults.push(format!("{name}: {width} pixels wide on a screen of 320"));
    }
    browser.undress();
    faults
}

fn place(node: &Value) -> String {
    node["html"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .take(160)
        .collect()
}

/// Pictures of all pages. They go to `docs/screens` if `SCREENS` is set, else to the
/// target folder: times differ with every run, and a test changes no file that git knows.
#[test]
fn every_page_has_its_picture() {
    let (app, browser) = (lived_in(&[]), Browser::open(Wants::default()));
    let kept = root().join("docs/screens");
    let folder = match std::env::var_os("SCREENS") {
        Some(_) => kept.clone(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens"),
    };
    std::fs::create_dir_all(&folder).unwrap();
    browser.go(&app.url("/sign-in"));
    take(&browser, &folder, "sign-in");
    app.sign_in(&browser);
    for (name, path) in PAGES {
        browser.go(&app.url(path));
        take(&browser, &folder, name);
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            kept.join(&name).exists(),
            "docs/screens lacks {}: run this test with SCREENS=1",
            name.display()
        );
    }
}

fn take(browser: &Browser, folder: &Path, name: &str) {
    for (suffix, width, scheme) in [
        ("light", 1280, "light"),
        ("dark", 1280, "dark"),
        ("360", 360, "light"),
    ] {
        let picture = browser.picture(width, scheme);
        assert!(picture.starts_with(b"\x89PNG"));
        std::fs::write(folder.join(format!("{name}-{suffix}.png")), picture).unwrap();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
