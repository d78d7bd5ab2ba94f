//! Keys of pools and servers about the choice of a server.

use std::time::Duration;

use super::{Loading, emit};
use crate::model::{Algorithm, Config, Failback, HashType, Observe, OnError, OnMarkedUp, RefuseWith, ServerRef};

fn load(pool: &str, servers: &str) -> Result<Config, String> {
    let mut loading = Loading::new();
    let text = format!("[[service]]\nname = \"s\"\nlisten = \"192.0.2.1:80\"\n{pool}\nservers = [{servers}]\n");
    loading.text("test.toml", &text);
    let resolve = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    loading.finish(&resolve).map(|loaded| loaded.config).map_err(|failed| failed.to_string())
}

const PLAIN: &str = "\"10.0.0.1:80\"";

#[test]
fn every_key_of_a_pool_has_its_meaning() {
    let config = load(
        "balance = \"random(4)\"\nhash-type = \"map-based\"\nhash-balance-factor = 120\nredispatch-every = 2\n\
         queue-timeout = \"3s\"\nmax-queue = 10\nfull-load = 9\npersist = true\nabort-on-close = true\nfailback = \"drain\"\nrefuse-with = \"close\"\n\
         rdp-cookie = \"msts\"\nslow-start = \"20s\"",
        PLAIN,
    );
    let pool = &config.unwrap().pools[0];
    assert_eq!((pool.algorithm, pool.hash_type), (Algorithm::Random(4), HashType::MapBased));
    assert_eq!((pool.hash_balance_factor, pool.redispatch_every), (Some(120), Some(2)));
    assert_eq!((pool.queue_timeout, pool.max_queue), (Some(Duration::from_secs(3)), Some(10)));
    assert_eq!((pool.full_load, pool.rdp_cookie.as_deref()), (Some(9), Some("msts")));
    assert_eq!(
        (pool.persist, pool.abort_on_close, pool.failback, pool.refusal),
        (true, true, Failback::Drain, RefuseWith::Close)
    );
    assert_eq!(pool.servers[0].slow_start, Some(Duration::from_secs(20)));
}

#[test]
fn every_key_of_a_server_has_its_meaning() {
    let config = load(
        "check = true",
        "{ name = \"a\", address = \"10.0.0.1:80\", max-queue = 0, slow-start = \"1m\", error-limit = 5,\
         \x20 min-connections = 2, max-connections = 7 },\
         { address = \"10.0.0.2:80\", check = false, track = \"a\", non-stick = true, on-marked-up = \"reset-backups\" }",
    );
    let config = config.unwrap();
    let [a, b] = &config.pools[0].servers[..] else { panic!("two servers") };
    assert_eq!((a.max_queue, a.slow_start), (Some(0), Some(Duration::from_secs(60))));
    assert_eq!((a.min_connections, a.max_connections), (Some(2), Some(7)));
    assert_eq!(config.pools[0].full_load, None, "nothing bounds the service");
    assert_eq!(a.observe, Some(Observe { error_limit: 5, on_error: OnError::FailCheck }));
    assert_eq!(b.track, Some(ServerRef { pool: "s".into(), server: "a".into() }));
    assert_eq!((b.non_stick, b.on_marked_up), (true, OnMarkedUp::ShutdownBackupSessions));
}

#[test]
fn a_limit_follows_the_load_only_between_two_bounds() {
    let pool = |more: &str, server: &str| {
        let server = format!("{{ address = \"10.0.0.1:80\", {server} }}");
        load(&format!("max-connections = 95\n{more}"), &server).unwrap().pools[0].clone()
    };
    let follows = pool("", "min-connections = 2, max-connections = 7");
    assert_eq!(follows.full_load, Some(10), "a tenth, as in HAProxy");
    let fixed = pool("", "min-connections = 7, max-connections = 7");
    assert_eq!((fixed.servers[0].min_connections, fixed.servers[0].max_connections), (None, Some(7)));
    let alone = pool("full-load = 3", "min-connections = 4");
    assert_eq!((alone.servers[0].min_connections, alone.servers[0].max_connections), (None, Some(4)));
    assert_eq!(alone.full_load, Some(3));
}

#[test]
fn what_cannot_be_is_told() {
    for (pool, servers, words) in [
        ("balance = \"random(0)\"", PLAIN, "at least 1"),
        ("balance = \"randon\"", PLAIN, "did you mean `random`"),
        ("hash-balance-factor = 100", PLAIN, "hash-balance-factor"),
        ("redispatch-every = 0", PLAIN, "redispatch-every"),
        ("failback = \"later\"", PLAIN, "\"never\", \"new\", \"drain\""),
        ("", "{ address = \"10.0.0.1\", slow-start = \"0s\" }", "cannot be zero"),
        ("", "{ address = \"10.0.0.1\", track = \"x/y\" }", "there is no server `y` in a pool `x`"),
        ("", "{ name = \"a\", address = \"10.0.0.1\", track = \"s/a\" }", "tracks itself"),
        ("check = true", "{ name = \"a\", address = \"10.0.0.1:1\", track = \"a\" }", "not both"),
    ] {
        let said = load(pool, servers).map(|_| ()).unwrap_err();
        assert!(said.contains(words), "{pool} {servers}: {said}");
    }
}

#[test]
fn what_is_written_out_reads_the_same() {
    let mut loading = Loading::new();
    loading.text("all.toml", include_str!("../../config/all-options.toml"));
    let text = emit::emit(loading.raw());
    for key in super::decode::keys::ALL.iter().find(|keys| keys.table == "[[pool]]").unwrap().keys {
        assert!(text.contains(&format!("\n{key} = ")), "{key} is not written out:\n{text}");
    }
    assert!(text.contains("on-error = \"mark-down\"") && text.contains("track = \"files/fourth\""));
}
