//! A mail server for tests: the whole dialogue, and the ways in which real ones fail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// How the server behaves at one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Good,
    /// Every answer takes this long.
    Slow(Duration),
    /// Answers `code` to RCPT of this recipient.
    Rejects(&'static str, u16),
    /// Answers 550 to MAIL.
    RefusesSender,
    /// Accepts the connection and says nothing.
    Silent,
    /// Says nothing after DATA's final dot.
    Hangs,
    /// Closes in the middle of the message.
    Disappears,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) helo: String,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Its lines, dots unstuffed.
    pub(crate) lines: Vec<String>,
    /// A line arrived with a stuffed dot.
    pub(crate) stuffed: bool,
}

pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
}

impl Sink {
    /// Behaves at the first connections as `manners` say, well at the others.
    pub(crate) async fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), mails: Arc::default(), connections: Arc::default() };
        let (mails, connections) = (Arc::clone(&sink.mails), Arc::clone(&sink.connections));
        let manners = manners.to_vec();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut count = connections.lock().unwrap();
                    *count += 1;
                    *count - 1
                };
                let manner = manners.get(number).copied().unwrap_or(Manner::Good);
                let mails = Arc::clone(&mails);
                tokio::spawn(async move {
                    let _ = Dialogue::new(stream, manner).hold(&mails).await;
                });
            }
        });
        sink
    }

    pub(crate) fn mails(&self) -> Vec<Received> {
        self.mails.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

struct Dialogue {
    lines: Lines<BufReader<OwnedReadHalf>>,
    answers: OwnedWriteHalf,
    manner: Manner,
}

impl Dialogue {
    fn new(stream: TcpStream, manner: Manner) -> Self {
        let (read, answers) = stream.into_split();
        Self { lines: BufReader::new(read).lines(), answers, manner }
    }

    async fn hold(mut self, mails: &Mutex<Vec<Received>>) -> std::io::Result<()> {
        if self.manner == Manner::Silent {
            return std::future::pending().await;
        }
        self.say("220 sink ESMTP").await?;
        let mut mail = Received::default();
        while let Some(line) = self.lines.next_line().await? {
            let (verb, rest) = line.split_once([' ', ':']).unwrap_or((&line, ""));
            match verb {
                "EHLO" => {
                    mail.helo = rest.to_owned();
                    self.say("250-sink greets you\r\n250 8BITMIME").await?;
                }
                "MAIL" if self.manner == Manner::RefusesSender => self.say("550 5.7.1 not from you").await?,
                "MAIL" => {
                    mail.from = rest.to_owned();
                    self.say("250 ok").await?;
                }
                "RCPT" => match self.manner {
                    Manner::Rejects(who, code) if rest.contains(who) => self.say(&format!("{code} not now")).await?,
                    _ => {
                        mail.to.push(rest.trim_start_matches("TO:<").trim_end_matches('>').to_owned());
                        self.say("250 ok").await?;
                    }
                },
                "DATA" => {
                    self.say("354 go on").await?;
                    if !self.receive(&mut mail).await? {
                        return Ok(());
                    }
                    if self.manner == Manner::Hangs {
                        return std::future::pending().await;
                    }
                    mails.lock().unwrap().push(std::mem::take(&mut mail));
                    self.say("250 taken").await?;
                }
                "QUIT" => return self.say("221 bye").await,
                other => panic!("unexpected {other}"),
            }
        }
        Ok(())
    }

    /// The message up to its final dot. False: the server has gone.
    async fn receive(&mut self, mail: &mut Received) -> std::io::Result<bool> {
        while let Some(line) = self.lines.next_line().await? {
            if self.manner == Manner::Disappears {
                return Ok(false);
            }
            if line == "." {
                return Ok(true);
            }
            mail.stuffed |= line.starts_with("..");
            mail.lines.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
        }
        Ok(false)
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        if let Manner::Slow(time) = self.manner {
            tokio::time::sleep(time).await;
        }
        self.answers.write_all(format!("{text}\r\n").as_bytes()).await
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> String {
        let head: Vec<&String> = self.lines.iter().take_while(|line| !line.is_empty()).collect();
        let start = head.iter().position(|line| line.starts_with(&format!("{name}: "))).unwrap();
        let folded = head[start + 1..].iter().take_while(|line| line.starts_with(' '));
        folded.fold(head[start][name.len() + 2..].to_owned(), |text, line| text + line)
    }

    /// The body, with quoted-printable undone.
    pub(crate) fn body(&self) -> String {
        let body: Vec<&str> =
            self.lines.iter().skip_while(|line| !line.is_empty()).skip(1).map(String::as_str).collect();
        let text = body.join("\n");
        match self.header("Content-Transfer-Encoding").as_str() {
            "7bit" => text,
            "quoted-printable" => text.replace("=\n", "").replace("=3D", "="),
            other => panic!("{other}"),
        }
    }
}
