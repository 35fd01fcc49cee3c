//! Where settings come from, which wins, and what is said about wrong ones.

use super::*;

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config> {
    let command = clap::Command::new("willcall").args(arguments(&all_keys()));
    let matches = command.try_get_matches_from([&["willcall"], flags].concat())?;
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::gather(&matches, &variables)?.check()
}

fn refused(flags: &[&str], variables: &[(&str, &str)]) -> String {
    format!(
        "{:#}",
        load(flags, variables).expect_err("a wrong setting stops the start")
    )
}

#[test]
fn every_default_is_a_valid_value() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.private_targets, PrivateTargets::None);
    assert_eq!(config.kept, LogRetention::default());
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("willcall.toml");
    std::fs::write(
        &file,
        "lane_width = 3\nlog_days = 7\nhosts = [\"a.example\", \"b.example\"]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let config = load(
        &["--config", file, "--lane-width", "5"],
        &[("WILLCALL_LANE_WIDTH", "4"), ("WILLCALL_LOG_DAYS", "9")],
    )
    .unwrap();
    assert_eq!(config.max_concurrency_per_webhook, 5);
    assert_eq!(config.kept.all_ms, Some(9 * 24 * 3_600_000));
    assert_eq!(config.hosts, ["a.example", "b.example"]);
    assert_eq!(
        load(&[], &[("WILLCALL_CONFIG", file)])
            .unwrap()
            .max_concurrency_per_webhook,
        3
    );
}

#[test]
fn a_wrong_value_is_named_with_its_source() {
    for (key, value) in [
        ("listen", "localhost"),
        ("data_dir", ""),
        ("hosts", "https://example.org"),
        ("allow_private_targets", "10.0.0.0/99"),
        ("user_agent", "a\nb"),
        ("action_types", "nodots"),
        ("log_days", "0"),
        ("log_days", "7,8"),
        ("log_days", "nosuch=7"),
        ("log_days", "pretix="),
        ("triggers", "order"),
        ("triggers", "Order.placed"),
        ("triggers", "order.placed>"),
        ("triggers", "order.placed="),
        ("strict_triggers", "yes"),
        ("lane_width", "many"),
        ("flights_max", "-1"),
        ("connections_max", "0"),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ] {
        let words = refused(&[], &[(&variable(key), value)]);
        assert!(
            words.contains(key) && words.contains(&variable(key)),
            "{words}"
        );
    }
}

#[test]
fn the_log_is_kept_for_days_of_all_or_of_one_platform() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let kept = load(&["--log-days", "14, pretix=60"], &[]).unwrap().kept;
    assert_eq!(kept.all_ms, Some(14 * DAY_MS));
    assert_eq!(kept.own_ms["pretix"], 60 * DAY_MS);
}

#[test]
fn further_triggers_may_reach_related_things_and_have_a_name() {
    let config = load(
        &["--triggers", "order.placed>event=order.placed, x_y.go"],
        &[("WILLCALL_STRICT_TRIGGERS", "true")],
    )
    .unwrap();
    let text = |text: &str| Some(text.to_owned());
    let trigger = |resource: &str, trigger: &str, name, reaches| Trigger {
        resource: resource.to_owned(),
        trigger: trigger.to_owned(),
        name,
        reaches,
    };
    let expected = [
        trigger("order", "placed", text("order.placed"), text("event")),
        trigger("x_y", "go", None, None),
    ];
    assert_eq!(config.triggers, expected);
    assert!(config.strict_triggers);
}

#[test]
fn a_variable_that_names_no_setting_is_refused() {
    let words = refused(&[], &[("WILLCALL_LISTNE", "x")]);
    assert!(words.contains("WILLCALL_LISTNE"), "{words}");
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("willcall.toml");
    for (text, named) in [
        ("listne = \"x\"", "listne"),
        ("listen = 1.5", "listen"),
        ("listen = ", "TOML"),
        ("hosts = [\"a,b\"]", "hosts"),
    ] {
        std::fs::write(&file, text).unwrap();
        let words = refused(&["--config", file.to_str().unwrap()], &[]);
        assert!(
            words.contains("willcall.toml") && words.contains(named),
            "{words}"
        );
    }
    let words = refused(&["--config", "/nowhere/willcall.toml"], &[]);
    assert!(words.contains("/nowhere/willcall.toml"), "{words}");
}

#[test]
fn further_action_types_have_a_label() {
    let config = load(&["--action-types", "a.b=A and b, c.d.*"], &[]).unwrap();
    let expected = [("a.b", "A and b"), ("c.d.*", "c.d.*")];
    assert_eq!(
        config.action_types,
        expected.map(|(c, l)| (c.to_owned(), l.to_owned()))
    );
}
