//! The checks of known protocols as conversations, after the protocols' public documents.

use super::check::{
    Action, Answer, Connect, Conversation, DatabaseRole, Expect, HttpExpect, HttpRequest, Pattern, PostgresLogin,
};

/// An LDAPv3 bind request without name and password, message 1 (RFC 4511, section 4.2).
const LDAP_BIND: [u8; 14] = [0x30, 0x0c, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0];
/// MySQL's COM_QUIT in a packet of its own.
const MYSQL_QUIT: [u8; 5] = [1, 0, 0, 0, 1];
/// PostgreSQL's protocol 3.0.
const POSTGRES_PROTOCOL: [u8; 4] = [0, 3, 0, 0];

impl Conversation {
    /// An HTTP request, whose answer is judged.
    #[must_use]
    pub fn http(connect: Connect, request: HttpRequest, expect: Vec<HttpExpect>) -> Self {
        let judged = expect.into_iter().map(Action::Response);
        Self::of([Action::Connect(connect), Action::Request(request)].into_iter().chain(judged).collect())
    }

    /// Redis: AUTH where there is a password, then PING, or ROLE where one is wanted (HAProxy's `option redis-check`).
    #[must_use]
    pub fn redis(connect: Connect, user: Option<&str>, password: Option<&str>, role: Option<DatabaseRole>) -> Self {
        let mut actions = vec![Action::Connect(connect)];
        if let Some(password) = password {
            let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password]).collect();
            actions.extend(exchange(redis_command(&words), Answer::RedisOk));
        }
        actions.extend(match role {
            None => exchange(redis_command(&["PING"]), Answer::RedisPong),
            Some(DatabaseRole::Primary) => exchange(redis_command(&["ROLE"]), Answer::RedisPrimary),
            Some(DatabaseRole::Replica) => exchange(redis_command(&["ROLE"]), Answer::RedisReplica),
        });
        Self::of(actions)
    }

    /// SMTP: the greeting, HELO or EHLO, QUIT (HAProxy's `option smtpchk`).
    #[must_use]
    pub fn smtp(connect: Connect, hello: &str, domain: &str) -> Self {
        let mut actions = vec![Action::Connect(connect), answer(Answer::Smtp)];
        actions.extend(exchange(format!("{hello} {domain}\r\n").into_bytes(), Answer::Smtp));
        actions.extend(exchange(b"QUIT\r\n".to_vec(), Answer::Smtp));
        Self::of(actions)
    }

    /// MySQL: its greeting, and as a user a login without password (HAProxy's `option mysql-check`). `before_41` writes
    /// the login as clients before version 4.1 did.
    #[must_use]
    pub fn mysql(connect: Connect, user: Option<&str>, before_41: bool) -> Self {
        let mut actions = vec![Action::Connect(connect), answer(Answer::MysqlGreeting)];
        if let Some(user) = user {
            let mut login = mysql_login(user, before_41);
            login.extend(MYSQL_QUIT);
            actions.extend(exchange(login, Answer::MysqlLogin));
        }
        Self::of(actions)
    }

    /// PostgreSQL: a startup message, which must be answered by a request to authenticate (HAProxy's `option
    /// pgsql-check`).
    #[must_use]
    pub fn postgres_startup(connect: Connect, user: &str) -> Self {
        let mut actions = vec![Action::Connect(connect)];
        actions.extend(exchange(postgres_startup(&[("user", user)]), Answer::PostgresStartup));
        Self::of(actions)
    }

    /// PostgreSQL: a login, and whether the server takes writes.
    #[must_use]
    pub fn postgres(connect: Connect, login: PostgresLogin) -> Self {
        Self::of(vec![Action::Connect(connect), Action::Postgres(login)])
    }

    /// LDAP: an anonymous bind (HAProxy's `option ldap-check`).
    #[must_use]
    pub fn ldap(connect: Connect) -> Self {
        let mut actions = vec![Action::Connect(connect)];
        actions.extend(exchange(LDAP_BIND.to_vec(), Answer::LdapBind));
        Self::of(actions)
    }

    /// TLS: a hello, which must be answered by a handshake message or an alert (HAProxy's `option ssl-hello-chk`).
    #[must_use]
    pub fn tls_hello(connect: Connect) -> Self {
        let mut actions = vec![Action::Connect(connect)];
        actions.extend(exchange(tls_hello(), Answer::TlsHello));
        Self::of(actions)
    }

    /// SSH: its identification.
    #[must_use]
    pub fn ssh(connect: Connect) -> Self {
        Self::of(vec![Action::Connect(connect), answer(Answer::Ssh)])
    }

    /// FTP: its greeting, QUIT.
    #[must_use]
    pub fn ftp(connect: Connect) -> Self {
        let mut actions = vec![Action::Connect(connect), answer(Answer::Ftp)];
        actions.extend(exchange(b"QUIT\r\n".to_vec(), Answer::Smtp));
        Self::of(actions)
    }
}

fn answer(answer: Answer) -> Action {
    Action::Expect(Expect::new(Pattern::Answer(answer)))
}

fn exchange(question: Vec<u8>, expected: Answer) -> [Action; 2] {
    [Action::Send(question), answer(expected)]
}

/// A command in Redis's serialization protocol: an array of bulk strings.
fn redis_command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    command.into_bytes()
}

/// A login without a password: HandshakeResponse41, or HandshakeResponse320 (MySQL's internals manual).
fn mysql_login(user: &str, before_41: bool) -> Vec<u8> {
    let mut body: Vec<u8> = if before_41 {
        // CLIENT_SECURE_CONNECTION off, CLIENT_CONNECT_WITH_DB off, CLIENT_INTERACTIVE off; packets up to 65,536 bytes.
        vec![0x00, 0x80, 0x00, 0x00, 0x01]
    } else {
        // CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION; packets up to 16 MB; character set 33, UTF-8.
        let mut head = vec![0x00, 0x82, 0x00, 0x00, 0x00, 0x80, 0x00, 0x01, 33];
        head.extend([0; 23]);
        head
    };
    body.extend(user.bytes());
    body.extend([0, 0]);
    // The length in three bytes, then the sequence number.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], 1];
    packet.append(&mut body);
    packet
}

/// A startup message of these parameters.
pub(crate) fn postgres_startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = POSTGRES_PROTOCOL.to_vec();
    for (name, value) in parameters {
        for word in [name, value] {
            body.extend(word.bytes());
            body.push(0);
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &body].concat()
}

/// A TLS 1.2 hello (RFC 5246, section 7.4.1.2) that every server of the last twenty years understands, or answers with an
/// alert. Its random bytes are not: nothing comes of the handshake.
fn tls_hello() -> Vec<u8> {
    const SUITES: [u16; 11] = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035, 0x000a];
    const GROUPS: [u16; 3] = [0x001d, 0x0017, 0x0018];
    const SIGNATURES: [u16; 8] = [0x0403, 0x0503, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0201];
    let mut hello = vec![3, 3];
    hello.extend(b"vipgate health check: no secret.");
    hello.push(0);
    hello.extend(list(&SUITES));
    hello.extend([1, 0]);
    let mut extensions = Vec::new();
    for (kind, values) in [(10u16, GROUPS.as_slice()), (13, SIGNATURES.as_slice())] {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(sized(list(values)));
    }
    // Uncompressed points only.
    extensions.extend([0, 11, 0, 2, 1, 0]);
    hello.extend(sized(extensions));
    let mut handshake = vec![1, 0];
    handshake.extend(sized(hello));
    let mut record = vec![22, 3, 1];
    record.extend(sized(handshake));
    record
}

fn list(values: &[u16]) -> Vec<u8> {
    sized(values.iter().flat_map(|value| value.to_be_bytes()).collect())
}

/// With its length in two bytes before it.
fn sized(bytes: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [length.to_be_bytes().as_slice(), &bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(conversation: &Conversation) -> Vec<&[u8]> {
        let sent = conversation.steps.iter().filter_map(|step| match &step.action {
            Action::Send(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        sent.collect()
    }

    /// What HAProxy 2.6 was seen to send.
    #[test]
    fn the_bytes_are_haproxys() {
        let connect = Connect::default;
        let mut post41 = b"\x24\0\0\x01\0\x82\0\0\0\x80\0\x01!".to_vec();
        post41.extend([0; 23]);
        post41.extend(b"u1\0\0\x01\0\0\0\x01");
        assert_eq!(sent(&Conversation::mysql(connect(), Some("u1"), false)), [post41]);
        let pre41 = b"\x09\0\0\x01\0\x80\0\0\x01u1\0\0\x01\0\0\0\x01".as_slice();
        assert_eq!(sent(&Conversation::mysql(connect(), Some("u1"), true)), [pre41]);
        assert!(sent(&Conversation::mysql(connect(), None, false)).is_empty());
        assert_eq!(
            sent(&Conversation::postgres_startup(connect(), "u1")),
            [b"\0\0\0\x11\0\x03\0\0user\0u1\0\0".as_slice()]
        );
        assert_eq!(sent(&Conversation::redis(connect(), None, None, None)), [b"*1\r\n$4\r\nPING\r\n".as_slice()]);
        assert_eq!(sent(&Conversation::smtp(connect(), "EHLO", "a.example"))[0], b"EHLO a.example\r\n");
        assert_eq!(
            sent(&Conversation::ldap(connect())),
            [b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\0\x80\0".as_slice()]
        );
    }

    #[test]
    fn redis_logs_in_first() {
        let conversation = Conversation::redis(Connect::default(), Some("u"), Some("p w"), Some(DatabaseRole::Primary));
        let commands = sent(&conversation);
        assert_eq!(commands, [b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np w\r\n".as_slice(), b"*1\r\n$4\r\nROLE\r\n"]);
    }

    #[test]
    fn the_hello_agrees_with_its_lengths() {
        let hello = tls_hello();
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
        assert_eq!(usize::from(u16::from_be_bytes([hello[7], hello[8]])), hello.len() - 9);
        assert_eq!(&hello[9..11], [3, 3]);
    }
}
