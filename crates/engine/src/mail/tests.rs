//! Mail against a mail server on this machine that says what a test has it say.

use std::sync::Mutex;

use model::delivery::Delivery;
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::time::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the server answers to each command, by how it begins; the rest is 250.
type Answers = &'static [(&'static str, &'static str)];

/// A mail server for one connection, and what it heard.
struct MailServerOfTest {
    listener: TcpListener,
    answers: Answers,
    heard: Mutex<Vec<String>>,
}

impl MailServerOfTest {
    async fn with(answers: Answers) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a mail server on the loopback")]
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            listener,
            answers,
            heard: Mutex::default(),
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Whether the answer went out.
    async fn answer(&self, stream: &mut BufStream<TcpStream>, command: &str) -> bool {
        let mut known = self.answers.iter();
        let own = known.find(|(begin, _)| command.starts_with(begin));
        let usual = match command {
            "DATA" => "354 go on",
            _ => "250 2.0.0 Ok",
        };
        let line = format!("{}\r\n", own.map_or(usual, |(_, line)| line));
        stream.write_all(line.as_bytes()).await.is_ok() && stream.flush().await.is_ok()
    }

    async fn serve(&self) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut stream = BufStream::new(stream);
        let mut is_there = self.answer(&mut stream, "greeting").await;
        let mut is_data = false;
        while is_there {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_owned();
            self.heard.lock().unwrap().push(line.clone());
            if is_data && line != "." {
                continue;
            }
            is_there = match is_data {
                true => self.answer(&mut stream, "taken").await,
                false => self.answer(&mut stream, &line).await,
            };
            is_data = line == "DATA" && is_there;
        }
    }

    /// While it serves, does this. It serves until it is hung up on.
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let (done, ()) = tokio::join!(work, self.serve());
        done
    }
}

fn client(port: u16) -> MailClient {
    let server = MailServer {
        host: "127.0.0.1".to_owned(),
        port,
        security: MailSecurity::Plain,
        credentials: None,
        from: "willcall@example.org".parse().unwrap(),
    };
    MailClient::new(&server, &[]).unwrap()
}

fn due(subject: &str, body: &'static str) -> DueDelivery {
    DueDelivery {
        delivery: Delivery {
            id: DeliveryId {
                notification: NotificationId(7),
                webhook: WebhookId(3),
            },
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: Timestamp::EPOCH,
        },
        key: "a".into(),
        action_type: "willcall.webhook.failing".into(),
        accepted_at: Timestamp::EPOCH,
        headers: Headers::from_pairs([(SUBJECT, subject.as_bytes())]),
        body: Bytes::from_static(body.as_bytes()),
    }
}

async fn send(port: u16, due: &DueDelivery) -> Outcome {
    let to = "ops@example.org".parse().unwrap();
    client(port)
        .send(&to, due, Deadline::from_here(30_000))
        .await
}

fn answer_of(outcome: &Outcome) -> (u16, String) {
    match outcome {
        Outcome::Answered(answer) => {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            (answer.status, body)
        }
        Outcome::Failed(failure) => (0, format!("{:?}: {}", failure.kind, failure.detail)),
    }
}

#[tokio::test]
async fn a_mail_that_is_taken_is_delivered_with_its_lines_and_its_text() {
    let server = MailServerOfTest::with(&[("taken", "250 2.0.0 queued as 4F2")]).await;
    let due = due(
        "\u{201c}Till\u{201d} began failing\r\nBcc: x@example.org",
        "One.\n.\nTwo.\n",
    );
    let outcome = server.during(send(server.port(), &due)).await;
    assert_eq!(answer_of(&outcome), (250, "2.0.0 queued as 4F2".to_owned()));
    assert!(outcome.is_success());
    let heard = server.heard.lock().unwrap();
    for line in [
        "EHLO example.org",
        "MAIL FROM:<willcall@example.org>",
        "RCPT TO:<ops@example.org>",
        "From: willcall@example.org",
        "To: ops@example.org",
        "Message-ID: <7.3@example.org>",
        "Auto-Submitted: auto-generated",
        "One.",
        "..",
        "Two.",
    ] {
        assert!(heard.iter().any(|own| own == line), "{line}: {heard:?}");
    }
    assert!(
        !heard.iter().any(|line| line.starts_with("Bcc")),
        "{heard:?}"
    );
    let to = heard.iter().filter(|line| line.starts_with("RCPT"));
    assert_eq!(to.count(), 1);
}

#[tokio::test]
async fn what_the_mail_server_refuses_is_an_answer_that_is_tried_again() {
    let cases: [(Answers, u16); 4] = [
        (&[("RCPT", "550 5.1.1 no such user")], 550),
        (&[("taken", "451 4.3.0 try later")], 451),
        (&[("MAIL", "530 5.7.0 authenticate first")], 530),
        (&[("greeting", "421 4.3.2 closing")], 421),
    ];
    for (answers, status) in cases {
        let server = MailServerOfTest::with(answers).await;
        let due = due("a", "b");
        let outcome = server.during(send(server.port(), &due)).await;
        let (found, words) = answer_of(&outcome);
        assert_eq!(found, status, "{words}");
        assert!(!outcome.is_success());
    }
}

#[tokio::test]
async fn a_mail_server_that_is_no_mail_server_is_a_failure_in_words() {
    let server = MailServerOfTest::with(&[("greeting", "HTTP/1.1 400 Bad Request")]).await;
    let (port, due) = (server.port(), due("a", "b"));
    let (status, words) = answer_of(&server.during(send(port, &due)).await);
    assert_eq!(status, 0);
    assert!(words.starts_with("Garbled: "), "{words}");
    drop(server);
    let (status, words) = answer_of(&send(port, &due).await);
    assert_eq!(status, 0);
    assert!(
        words.starts_with("Connect: ") && words.contains("refused"),
        "{words}"
    );
}

#[tokio::test]
async fn a_server_is_tried_out_without_a_mail() {
    let server = MailServerOfTest::with(&[]).await;
    let client = client(server.port());
    let tried = server.during(client.try_out(Deadline::from_here(30_000)));
    assert_eq!(tried.await, Ok(()));
    drop(client);
    let heard = server.heard.lock().unwrap();
    assert!(
        !heard.iter().any(|line| line.starts_with("MAIL")),
        "{heard:?}"
    );
}

#[test]
fn what_is_written_of_a_mail_is_to_whom_and_about_what() {
    let to = "ops@example.org".parse().unwrap();
    let written = recorded(&to, &due("a", "b").headers);
    let lines: Vec<_> = written.iter().collect();
    let each: [(&[u8], &[u8]); 2] = [(b"To", b"ops@example.org"), (b"Subject", b"a")];
    assert_eq!(lines, each);
}
