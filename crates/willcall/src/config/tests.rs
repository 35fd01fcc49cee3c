//! Where settings come from, which wins, and the errors about wrong ones.

use super::*;

mod proxy;
mod settings_file;

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
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.socket_mode, 0o660);
    assert_eq!(config.private_targets, PrivateTargets::None);
    assert_eq!(config.retention, LogRetention::default());
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("willcall.toml");
    std::fs::write(
        &file,
        "max_concurrency_per_webhook = 3\nretention_days = 7\nallowed_hosts = [\"a.example\", \"b.example\"]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let config = load(
        &["--config", file, "--max-concurrency-per-webhook", "5"],
        &[
            ("WILLCALL_MAX_CONCURRENCY_PER_WEBHOOK", "4"),
            ("WILLCALL_RETENTION_DAYS", "9"),
        ],
    )
    .unwrap();
    assert_eq!(config.max_concurrency_per_webhook, 5);
    assert_eq!(config.retention.all_ms, Some(9 * 24 * 3_600_000));
    assert_eq!(config.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(
        load(&[], &[("WILLCALL_CONFIG", file)])
            .unwrap()
            .max_concurrency_per_webhook,
        3
    );
}

#[test]
fn those_who_come_by_a_socket_are_proxies_only_if_that_is_said() {
    for (proxies, trusted) in [("", false), ("10.0.0.0/8", false), ("10.0.0.1, unix", true)] {
        let config = load(&["--trusted-proxies", proxies], &[]).unwrap();
        assert_eq!(
            config.trusted_proxies.contains(SOCKET_PEER),
            trusted,
            "{proxies}"
        );
    }
}

#[test]
fn several_places_can_be_listened_on_and_links_need_one_with_an_address() {
    for (listen, own_url) in [
        ("unix:/run/a.sock", None),
        ("unix:/run/a.sock, 0.0.0.0:81", Some("http://localhost:81")),
        ("[::1]:80,127.0.0.1:80", Some("http://[::1]:80")),
    ] {
        let config = load(&["--listen", listen], &[]).unwrap();
        assert_eq!(config.own_url().as_deref(), own_url);
    }
}

#[test]
fn no_wildcard_is_taken_for_the_name_of_this_server_and_a_port_is_for_links_only() {
    for (hosts, name, host) in [
        ("", None, None),
        ("*.example.org", None, None),
        ("*.example.org:8443,localhost", None, None),
        (
            "*.A.example, localhost:80, B.example.:8443, c.example",
            Some("b.example"),
            Some("b.example:8443"),
        ),
        ("a.example", Some("a.example"), Some("a.example")),
    ] {
        let config = load(&["--allowed-hosts", hosts], &[]).unwrap();
        assert_eq!(
            (config.public_name(), config.public_host()),
            (name, host),
            "{hosts}"
        );
    }
    let config = load(&["--allowed-hosts", "*.a.example,b.example"], &[]).unwrap();
    assert_eq!(config.named_hosts().collect::<Vec<_>>(), ["b.example"]);
}

#[test]
fn a_wrong_value_is_named_with_its_source() {
    for (key, value) in [
        ("listen", "localhost"),
        ("listen", ""),
        ("listen", "127.0.0.1:80,127.0.0.1:80"),
        ("listen", "127.0.0.1:80,unix:a"),
        ("socket_mode", "777"),
        ("socket_mode", "060"),
        ("socket_mode", "rw"),
        ("trusted_proxies", "unix:/a"),
        ("data_dir", ""),
        ("allowed_hosts", "https://example.org"),
        ("allowed_hosts", "*"),
        ("allowed_hosts", "*."),
        ("allowed_hosts", ".example.org"),
        ("allowed_hosts", "a.*.example.org"),
        ("allowed_hosts", "*a.example.org"),
        ("allowed_hosts", "example.org:"),
        ("allowed_hosts", "example.org:0"),
        ("allowed_hosts", "example.org:65536"),
        ("allowed_hosts", "example.org/a"),
        ("allowed_hosts", ":80"),
        ("allow_private_targets", "10.0.0.0/99"),
        ("proxy", "proxy.example.org:3128"),
        ("no_proxy", "http://example.org"),
        ("proxy_from_env", "yes"),
        ("user_agent", "a\nb"),
        ("action_types", "nodots"),
        ("retention_days", "0"),
        ("retention_days", "7,8"),
        ("retention_days", "nosuch=7"),
        ("retention_days", "pretix="),
        ("triggers", "order"),
        ("triggers", "Order.placed"),
        ("triggers", "order.placed>"),
        ("triggers", "order.placed="),
        ("strict_triggers", "yes"),
        ("max_concurrency_per_webhook", "many"),
        ("max_in_flight", "-1"),
        ("max_connections", "0"),
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

const URL: &str = "postgres://willcall@db.example.org/willcall?sslmode=disable";

fn database(config: &Config) -> &::store::DatabaseSettings {
    match &config.store {
        StoreLocation::Database(settings) => settings,
        StoreLocation::Folder(folder) => panic!("{folder:?}"),
    }
}

#[test]
fn the_store_is_in_the_database_that_is_named_and_else_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("database_url = \"{URL}\"\ndatabase_password_file = \"/secret\"");
    for config in [
        load(&["--database-url", URL], &[]),
        load(&[], &[("WILLCALL_DATABASE_URL", URL)]),
        load_file(folder.path(), &text, &["--data-dir", "/elsewhere"]),
    ] {
        let config = config.unwrap();
        let address = "db.example.org:5432/willcall";
        assert_eq!(database(&config).address(), address);
        assert_eq!(config.store.to_string(), format!("the database {address}"));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
    let config = load(&["--data-dir", "/elsewhere"], &[]).unwrap();
    assert_eq!(config.store.to_string(), "/elsewhere/willcall.db");
}

#[test]
fn a_database_that_is_named_by_halves_is_no_folder() {
    let words = refused(&[], &[("WILLCALL_DATABASE_URL", " ")]);
    assert!(words.contains("database_url"), "{words}");
    assert!(words.contains("WILLCALL_DATABASE_URL"), "{words}");
    let words = refused(&["--database-password-file", "/secret"], &[]);
    assert!(words.contains("there is no database_url"), "{words}");
    let words = refused(&["--database-url", URL, "--database-password-file="], &[]);
    assert!(words.contains("database_password_file"), "{words}");
    let words = refused(&["--database-url", URL, "--data-dir="], &[]);
    assert!(words.contains("data_dir"), "{words}");
}

#[test]
fn no_error_and_no_warning_shows_the_password_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    for url in [
        "mysql://willcall:s3cret@db.example.org/willcall",
        "postgres://willcall:s3cret@db.example.org",
        "postgres://willcall:s3cret@db.example.org/willcall?sslmode=maybe",
        "postgres://willcall:s3cret@db.example.org/willcall?passwort=s3cret",
        "postgres://willcall:s3c@ret@db.example.org/willcall",
        "postgres://willcall:s3c/s3cret@db.example.org/willcall",
        "postgres://willcall@db.example.org/willcall?password=s3cret&password=s3cret",
        "s3cret",
    ] {
        let text = format!("database_url = \"{url}\"");
        for (read, place) in [
            (load(&["--database-url", url], &[]), "--database-url"),
            (
                load(&[], &[("WILLCALL_DATABASE_URL", url)]),
                "WILLCALL_DATABASE_URL",
            ),
            (load_file(folder.path(), &text, &[]), "willcall.toml"),
        ] {
            let words = format!("{:#}", read.expect_err(url));
            assert!(words.contains("database_url"), "{words}");
            assert!(words.contains(place), "{words}");
            assert!(!words.contains("s3c"), "{words}");
        }
    }
    for text in [
        "database_url = \"postgres://a:s3cret@b/c",
        "database_url = s3cret",
    ] {
        let read = load_file(folder.path(), text, &[]);
        let words = format!("{:#}", read.expect_err(text));
        assert!(words.contains("in line 1"), "{words}");
        assert!(!words.contains("s3c"), "{words}");
    }
    let url = "postgres://willcall:s3cret@db.example.org/willcall";
    let config = load(&["--database-url", url], &[]).unwrap();
    let shown = format!("{config:?} {}", config.store);
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_password_in_the_list_of_processes_is_warned_about() {
    let url = "postgres://willcall:s3cret@db.example.org/willcall";
    let warnings = load(&["--database-url", url], &[]).unwrap().warnings;
    let [warning] = &<[String; 1]>::try_from(warnings).unwrap();
    assert!(warning.contains("--database-url"), "{warning}");
    assert!(warning.contains("database_password_file"), "{warning}");
    let variable = load(&[], &[("WILLCALL_DATABASE_URL", url)]).unwrap();
    assert!(variable.warnings.is_empty(), "{:?}", variable.warnings);
}

#[test]
fn the_log_is_kept_for_days_of_all_or_of_one_platform() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let retention = load(&["--retention-days", "14, pretix=60"], &[])
        .unwrap()
        .retention;
    assert_eq!(retention.all_ms, Some(14 * DAY_MS));
    assert_eq!(retention.own_ms["pretix"], 60 * DAY_MS);
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
        ("allowed_hosts = [\"a,b\"]", "allowed_hosts"),
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

/// Loads with the file as `--config`.
fn load_file(folder: &Path, text: &str, flags: &[&str]) -> Result<Config> {
    let file = folder.join("willcall.toml");
    std::fs::write(&file, text).unwrap();
    load(
        &[&["--config", file.to_str().unwrap()], flags].concat(),
        &[],
    )
}

/// Each former name with a value, and the name it has now.
const FORMERLY: [[&str; 3]; 5] = [
    ["hosts", "a.example", "allowed_hosts"],
    ["log_days", "9", "retention_days"],
    ["lane_width", "5", "max_concurrency_per_webhook"],
    ["flights_max", "77", "max_in_flight"],
    ["connections_max", "88", "max_connections"],
];

#[test]
fn a_former_name_means_the_same_wherever_it_is_written_and_is_warned_about_once() {
    let folder = tempfile::tempdir().unwrap();
    for [former, value, now] in FORMERLY {
        let flag = |name: &str| format!("--{}", dashed(name));
        let text = format!("{former} = \"{value}\"");
        let meant = load(&[&flag(now), value], &[]).unwrap();
        assert!(meant.warnings.is_empty(), "{now}");
        for (read, place) in [
            (load(&[&flag(former), value], &[]), flag(former)),
            (load(&[], &[(&variable(former), value)]), variable(former)),
            (
                load_file(folder.path(), &text, &[]),
                "willcall.toml".to_owned(),
            ),
        ] {
            let mut read = read.unwrap();
            let [warning] = &<[String; 1]>::try_from(std::mem::take(&mut read.warnings)).unwrap();
            assert!(warning.contains(former), "{warning}");
            assert!(warning.contains(now), "{warning}");
            assert!(warning.contains(&place), "{warning}");
            assert!(read.changed[0].contains(&place), "{:?}", read.changed);
            read.changed.clone_from(&meant.changed);
            assert_eq!(format!("{read:?}"), format!("{meant:?}"));
        }
    }
}

#[test]
fn both_names_of_a_setting_in_one_place_are_an_error_that_names_both() {
    let folder = tempfile::tempdir().unwrap();
    for [former, value, now] in FORMERLY {
        let flag = |name: &str| format!("--{}", dashed(name));
        let text = format!("{former} = \"{value}\"\n{now} = \"{value}\"");
        for refused in [
            load(&[&flag(former), value, &flag(now), value], &[]),
            load(&[], &[(&variable(former), value), (&variable(now), value)]),
            load_file(folder.path(), &text, &[]),
        ] {
            let words = format!("{:#}", refused.expect_err("two values for one setting"));
            assert!(words.contains(&format!("{now} (from ")), "{words}");
            assert!(words.contains(&format!(" {former} (from ")), "{words}");
        }
    }
}

#[test]
fn a_former_name_ranks_as_the_place_does_in_which_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--flights-max", "3"];
    let config = load_file(folder.path(), "max_in_flight = 2", &flags).unwrap();
    assert_eq!(config.max_in_flight, 3);
    let flags = ["--max-in-flight", "3"];
    let config = load_file(folder.path(), "flights_max = 2", &flags).unwrap();
    assert_eq!(config.max_in_flight, 3);
    assert_eq!(config.warnings.len(), 1, "the file is still to be changed");
}

#[test]
fn a_wrong_value_is_named_as_it_was_written() {
    let words = refused(&["--flights-max", "many"], &[]);
    assert!(words.contains("flights_max is \"many\""), "{words}");
    assert!(words.contains("--flights-max"), "{words}");
}

#[test]
fn a_setting_that_is_gone_changes_nothing_and_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    for read in [
        load(&["--own-processors"], &[]),
        load(&["--own-processors=false"], &[]),
        load(&[], &[("WILLCALL_OWN_PROCESSORS", "true")]),
        load_file(folder.path(), "own_processors = true", &[]),
    ] {
        let warnings = read.unwrap().warnings;
        let [warning] = &<[String; 1]>::try_from(warnings).unwrap();
        assert!(warning.contains("own_processors"), "{warning}");
        assert!(warning.contains("no effect"), "{warning}");
    }
}

#[test]
fn help_shows_no_former_name() {
    let mut command = clap::Command::new("willcall").args(arguments(&all_keys()));
    let help = command.render_long_help().to_string();
    for [former, _, now] in FORMERLY {
        assert!(help.contains(&format!("--{} ", dashed(now))), "{now}");
        let hidden = format!("--{} ", dashed(former));
        assert!(!help.contains(&hidden), "{former}");
    }
    assert!(!help.contains("own-processors"));
}

#[test]
fn master_keys_come_from_a_file_or_a_variable_and_no_error_shows_one() {
    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const OTHER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.key");
    std::fs::write(&file, format!("{KEY}\n{OTHER}\n")).unwrap();
    let file = file.to_str().unwrap();
    let both = format!("{KEY},{OTHER}");
    let of_file = load(&["--master-key-file", file], &[]).unwrap();
    let of_variable = load(&[], &[("WILLCALL_MASTER_KEY", &both)]).unwrap();
    assert!(of_file.keyring.current_id().is_some());
    assert_eq!(
        of_file.keyring.current_id(),
        of_variable.keyring.current_id()
    );
    assert!(load(&[], &[]).unwrap().keyring.is_empty());
    let twice = refused(
        &["--master-key-file", file],
        &[("WILLCALL_MASTER_KEY", KEY)],
    );
    assert!(twice.contains("both set the master key"), "{twice}");
    let exposed = refused(&["--master-key", KEY], &[]);
    assert!(exposed.contains("lists of processes"), "{exposed}");
    let missing = refused(&["--master-key-file", "/nowhere/at/all"], &[]);
    assert!(
        missing.contains("/nowhere/at/all, and that file cannot be read"),
        "{missing}"
    );
    let wrong = refused(&[], &[("WILLCALL_MASTER_KEY", "hunter2hunter2")]);
    assert!(wrong.contains("line 1 is no master key"), "{wrong}");
    for words in [twice, exposed, wrong] {
        assert!(
            !words.contains(KEY) && !words.contains("hunter2"),
            "{words}"
        );
    }
}
