//! Databases that cannot be used: each stops a start, and every other command, with one sentence
//! that says what to do, and nothing in the database was changed by then.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use crate::database::{apply, database_of, done, run, said};
use crate::harness::{Server, TENANT, willcall};
use crate::postgres_server::{PostgresServer, SUPERUSER, programs, run as output_of};

/// All that is in a database, as SQL.
fn contents(url: &str) -> String {
    let server = PostgresServer::shared();
    let mut dump = Command::new(programs().join("pg_dump"));
    dump.args(["-U", SUPERUSER, "-d", database_of(url), "-h"]);
    dump.arg(&server.folder)
        .args(["-p", &server.port.to_string()]);
    let text = output_of(dump);
    // These have a new word in each dump.
    let lines = text.lines().filter(|line| !line.contains("restrict "));
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// Runs every command that opens the store. Each ends with one sentence, which is returned.
fn refused_by_all(options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, data_dir) = (path("tenants.toml"), path("data"));
    std::fs::write(&file, TENANT).unwrap();
    let mut sentences = Vec::new();
    for command in [
        &["serve", "--listen", "127.0.0.1:0"] as &[&str],
        &["migrate"],
        &["apply", &file],
        &["token", "list", "--administrator"],
        &["user", "list"],
    ] {
        let more = [options, &["--data-dir", &data_dir]].concat();
        let (status, printed, complaint) = said(&willcall(&[command, &more].concat()));
        assert_eq!(status, Some(1), "{command:?}: {printed}{complaint}");
        assert_eq!(printed, "", "{command:?}");
        // Whoever started the tests may have had signals ignored, which is logged.
        let complaints = complaint.lines().filter(|line| !line.starts_with('{'));
        let [complaint] = complaints.collect::<Vec<_>>()[..] else {
            panic!("{command:?}: {complaint}");
        };
        sentences.push(complaint.strip_prefix("willcall: ").unwrap().to_owned());
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(!path("data").is_empty() && !folder.path().join("data").exists());
    sentences.remove(0)
}

fn refused(url: &str) -> String {
    refused_by_all(&["--database-url", url])
}

#[test]
fn a_url_with_a_wrong_word_is_refused_without_its_password() {
    for (url, words) in [
        (
            "mysql://willcall@db/willcall",
            "must begin with postgres://",
        ),
        ("postgres://willcall:s3cret@/willcall", "names no host"),
        (
            "postgres://willcall:s3cret@db/willcall?sslmode=maybe",
            "sslmode",
        ),
        (
            "postgres://willcall:s3cret@db/willcall?pasword=s3cret",
            "did you mean password?",
        ),
        ("postgres://willcall:s3c@ret@db/willcall", "%40"),
        (
            "postgres://willcall:s3cret@db/willcall?target_session_attrs=any",
            "target_session_attrs",
        ),
    ] {
        let sentence = refused(url);
        let begin = "the setting database_url (from the flag --database-url) is wrong: ";
        assert!(sentence.starts_with(begin), "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
        assert!(!sentence.contains("s3c"), "{sentence}");
    }
}

#[test]
fn no_help_and_no_usage_error_shows_the_url() {
    let url = "postgres://willcall:s3cret@db/willcall";
    for arguments in [
        vec!["serve", "--help"],
        vec!["doctor", "-h"],
        vec!["demo", "--database-url", url],
        vec![
            "demo",
            "--database-url=postgres://willcall:s3cret@db/willcall",
        ],
        vec!["serve", "--database-url", url, "--database-url", url],
        vec!["serve", "--database-url", url, "--no-such-flag"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
        command.args(&arguments).env("WILLCALL_DATABASE_URL", url);
        let (_, printed, complaint) = said(&command.output().unwrap());
        let all = printed + &complaint;
        assert!(
            !all.is_empty() && !all.contains("s3cret"),
            "{arguments:?}: {all}"
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let sentence = refused(&format!("postgres://willcall@{address}/willcall"));
    assert!(sentence.contains(&address.to_string()), "{sentence}");
    assert!(sentence.contains("cannot be reached"), "{sentence}");
}

#[test]
fn a_wrong_password_is_not_accepted_and_not_shown() {
    let postgres = PostgresServer::start(&[("fsync", "off")]);
    let made = "CREATE ROLE secretive LOGIN PASSWORD 'right'; \
                CREATE DATABASE house OWNER secretive";
    for sql in made.split("; ") {
        postgres.run_sql(SUPERUSER, sql);
    }
    let admission = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(postgres.data().join("pg_hba.conf"), admission).unwrap();
    postgres.end("fast");
    postgres.begin();
    let url = format!("postgres://secretive@127.0.0.1:{}/house", postgres.port);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let file = file.to_str().unwrap();
    let options = ["--database-url", &url, "--database-password-file", file];
    let sentence = refused_by_all(&options);
    assert!(sentence.contains("does not accept this password for user secretive"));
    assert!(!sentence.contains("s3cret"), "{sentence}");
    let sentence = refused(&url);
    assert!(
        sentence.contains("asks user secretive for a password"),
        "{sentence}"
    );

    std::fs::write(file, "right\n").unwrap();
    let migrated = willcall(&[&["migrate"], options.as_slice()].concat());
    assert_eq!(said(&migrated).0, Some(0), "{migrated:?}");
    let unused = folder.path().join("unused");
    let server = Server::start(&unused, &options);
    assert_eq!(server.client().get("/readyz").0, 200);
    let doctor = willcall(&[&["doctor"], options.as_slice()].concat());
    let (_, words, _) = said(&doctor);
    assert!(words.contains("good   database"), "{words}");
    assert!(!(words + &server.log()).contains("right\n"));
}

#[test]
fn a_database_that_is_not_ours_to_change_is_left_as_it_is() {
    let postgres = PostgresServer::shared();
    let newer = postgres.create_database();
    apply(&newer);
    let version = "UPDATE willcall SET version = 99, oldest = 98";
    postgres.run_sql(database_of(&newer), version);
    let foreign = postgres.create_database();
    postgres.run_sql(database_of(&foreign), "CREATE TABLE tenant (x int)");
    let barred = postgres.create_database();
    let owned = format!("ALTER DATABASE {} OWNER TO postgres", database_of(&barred));
    postgres.run_sql(SUPERUSER, &owned);
    for (url, words) in [
        (newer, "start the newer program"),
        (foreign, "make a schema or a database for Willcall"),
        (barred, "grant CREATE on it"),
    ] {
        let before = contents(&url);
        let sentence = refused(&url);
        assert!(sentence.contains(words), "{sentence}");
        let (status, printed, _) = said(&run(&["doctor", "--listen", "127.0.0.1:0"], &url));
        assert_eq!(status, Some(1), "{printed}");
        assert!(printed.contains("WRONG  store"), "{printed}");
        assert!(printed.contains(words), "{printed}");
        assert_eq!(contents(&url), before);
    }
}

#[test]
fn a_database_without_a_store_gets_none_from_those_who_only_look() {
    let url = PostgresServer::shared().create_database();
    let before = contents(&url);
    for command in [
        &["token", "list", "--administrator"] as &[&str],
        &["user", "list"],
        &["token", "create", "--administrator", "--name", "x"],
    ] {
        let (status, printed, complaint) = said(&run(command, &url));
        assert_eq!(status, Some(1), "{printed}");
        assert!(
            complaint.contains("there is no store in the database"),
            "{complaint}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[[organizer]]\nslgu = \"x\"\n").unwrap();
    let (status, _, complaint) = said(&run(&["apply", file.to_str().unwrap()], &url));
    assert_eq!(status, Some(1));
    assert!(complaint.contains("line 2"), "{complaint}");
    let words = done(&["doctor", "--listen", "127.0.0.1:0"], &url);
    assert!(
        words.contains("there is none yet; the first start creates it"),
        "{words}"
    );
    assert_eq!(contents(&url), before);
}

#[test]
fn commands_for_files_say_what_to_do_with_a_database_instead() {
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let (file, data_dir) = (folder.path().join("backup.db"), folder.path().join("data"));
    for (command, words) in [
        (vec!["backup", file.to_str().unwrap()], "pg_basebackup"),
        (vec!["restore", file.to_str().unwrap()], "pg_restore"),
        (vec!["recover"], "recovers by itself"),
    ] {
        let more = ["--data-dir", data_dir.to_str().unwrap()];
        let (status, printed, complaint) = said(&run(&[command.as_slice(), &more].concat(), &url));
        assert_eq!((status, printed.as_str()), (Some(1), ""));
        assert!(complaint.contains(words), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(!file.exists() && !data_dir.exists());
    }
}

#[test]
fn the_schema_is_made_once_whatever_the_store_is_in() {
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let data_dir = data_dir.to_str().unwrap();
    for place in [["--database-url", &url], ["--data-dir", data_dir]] {
        let migrate = || said(&willcall(&[&["migrate"], place.as_slice()].concat()));
        let (status, words, _) = migrate();
        assert_eq!(status, Some(0));
        assert!(words.starts_with("Made a store in "), "{words}");
        let (status, words, _) = migrate();
        assert_eq!(status, Some(0));
        assert!(words.ends_with(" already; nothing was done.\n"), "{words}");
    }
    let _server = Server::start(std::path::Path::new(data_dir), &[]);
    let (status, _, words) = said(&willcall(&["migrate", "--data-dir", data_dir]));
    assert_eq!(status, Some(1));
    assert!(words.contains("another willcall runs"), "{words}");
}
