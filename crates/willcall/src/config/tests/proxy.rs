//! Which settings and variables name a proxy, which of them count, and that none shows a password.

use super::*;

const PROXY: &str = "http://ursula@proxy.test:3128";

/// The proxies for targets with https and http.
fn proxies(config: &Config) -> [Option<String>; 2] {
    let ProxyRules { https, http, .. } = &config.proxies;
    [https, http].map(|proxy| proxy.as_ref().map(ToString::to_string))
}

fn both(proxy: &str) -> [Option<String>; 2] {
    [Some(proxy.to_owned()), Some(proxy.to_owned())]
}

fn password(config: &Config) -> &str {
    let proxy = config.proxies.https.as_ref().unwrap();
    &proxy.credentials.as_ref().unwrap().password
}

#[test]
fn without_a_proxy_calls_go_out_directly() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(proxies(&config), [None, None]);
    assert_eq!(config.ignored_proxies, None);
}

#[test]
fn one_setting_is_the_proxy_of_all_calls_but_the_exceptions() {
    let config = load(
        &["--proxy", PROXY, "--no-proxy", "near.test,10.0.0.0/8"],
        &[],
    )
    .unwrap();
    assert_eq!(proxies(&config), both("http://proxy.test:3128"));
    assert!(config.proxies.choose(true, "far.test", 443).is_some());
    for host in ["near.test", "10.1.1.1"] {
        assert!(config.proxies.choose(true, host, 443).is_none(), "{host}");
    }
    assert!(config.warnings.is_empty());
}

#[test]
fn a_password_comes_from_the_url_or_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "s3cret/@:\n").unwrap();
    let file = file.to_str().unwrap();
    let config = load(&["--proxy", PROXY, "--proxy-password-file", file], &[]).unwrap();
    assert_eq!(password(&config), "s3cret/@:");
    let url = "http://ursula:s3cret@proxy.test:3128";
    let config = load(&[], &[("WILLCALL_PROXY", url)]).unwrap();
    assert_eq!(password(&config), "s3cret");
    assert!(config.warnings.is_empty());
    // A flag works as well, and is warned of without being shown.
    let config = load(&["--proxy", url], &[]).unwrap();
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings)
    };
    assert!(
        warning.contains("the flag --proxy can be read"),
        "{warning}"
    );
    assert!(!format!("{config:?}{warning}").contains("s3cret"));
}

#[test]
fn what_is_wrong_with_a_proxy_names_the_setting_and_shows_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (empty, lines) = (named("empty", "\n"), named("lines", "s3cret\nx\n"));
    let good = named("good", "s3cret");
    let url = "http://ursula:s3cret@proxy.test";
    for (flags, words) in [
        (
            vec!["--proxy", "socks4://ursula:s3cret@h"],
            "the setting proxy (from the flag --proxy) is wrong: its scheme",
        ),
        (vec!["--proxy", "http://ursula:s3c/ret@h"], "%2F"),
        (
            vec!["--proxy", ""],
            "the setting proxy (from the flag --proxy) is empty",
        ),
        (
            vec!["--proxy-password-file", &good],
            "the setting proxy_password_file (from the flag --proxy-password-file) is for a proxy, and there is no proxy",
        ),
        (
            vec!["--no-proxy", "near.test"],
            "the setting no_proxy (from the flag --no-proxy) is for a proxy",
        ),
        (
            vec!["--proxy", url, "--proxy-password-file", &good],
            "both have a password",
        ),
        (
            vec!["--proxy", "http://h", "--proxy-password-file", &good],
            "it names no user",
        ),
        (
            vec!["--proxy", PROXY, "--proxy-password-file", &empty],
            "that file is empty",
        ),
        (
            vec!["--proxy", PROXY, "--proxy-password-file", &lines],
            "no control characters",
        ),
        (
            vec!["--proxy", PROXY, "--proxy-password-file", "/nowhere"],
            "the setting proxy_password_file names /nowhere, and that file cannot be read",
        ),
        (
            vec!["--proxy", url, "--proxy-from-env"],
            "the settings proxy (from the flag --proxy) and proxy_from_env",
        ),
        (
            vec!["--no-proxy", "near.test", "--proxy-from-env"],
            "take it out",
        ),
    ] {
        let refused = refused(&flags, &[]);
        assert!(refused.contains(words), "{flags:?}: {refused}");
        assert!(!refused.contains("s3c"), "{refused}");
    }
}

#[test]
fn variables_of_other_programs_are_told_of_and_not_obeyed() {
    let variables = [
        ("HTTPS_PROXY", "http://ursula:s3cret@proxy.test:3128"),
        ("all_proxy", "nonsense://s3cret"),
        ("no_proxy", "near.test"),
    ];
    let config = load(&[], &variables).unwrap();
    assert_eq!(proxies(&config), [None, None]);
    assert_eq!(
        config.ignored_proxies.unwrap(),
        "the environment has HTTPS_PROXY (http://proxy.test:3128), all_proxy, which is not obeyed: \
         calls to receivers go out directly. With proxy_from_env it is"
    );
    let config = load(&["--proxy", "socks5://other.test"], &variables).unwrap();
    assert_eq!(proxies(&config), both("socks5://other.test:1080"));
    assert!(
        config
            .ignored_proxies
            .unwrap()
            .contains("the setting proxy counts")
    );
    // Who says only what needs no proxy names none.
    let config = load(&[], &[("NO_PROXY", "near.test")]).unwrap();
    assert_eq!(config.ignored_proxies, None);
}

#[test]
fn variables_are_obeyed_where_that_is_asked_for() {
    let from_env = |variables: &[(&str, &str)]| load(&["--proxy-from-env"], variables);
    let config = from_env(&[
        ("https_proxy", "proxy.test:3128"),
        ("HTTPS_PROXY", "http://unused.test"),
        ("HTTP_PROXY", " "),
        ("ALL_PROXY", "socks5h://all.test"),
        ("NO_PROXY", "localhost,127.0.0.1 .near.test"),
    ])
    .unwrap();
    assert_eq!(config.ignored_proxies, None);
    let expected = ["http://proxy.test:3128", "socks5h://all.test:1080"];
    assert_eq!(
        proxies(&config),
        expected.map(|proxy| Some(proxy.to_owned()))
    );
    for host in ["localhost", "a.near.test"] {
        assert!(config.proxies.choose(true, host, 443).is_none(), "{host}");
    }
    assert_eq!(proxies(&from_env(&[]).unwrap()), [None, None]);
    for (name, value) in [("all_proxy", "ftp://ursula:s3cret@h"), ("NO_PROXY", "a*b")] {
        let words = format!("{:#}", from_env(&[(name, value)]).unwrap_err());
        let named = format!("the variable {name}, which proxy_from_env obeys");
        assert!(
            words.contains(&named) && !words.contains("s3cret"),
            "{words}"
        );
    }
}
