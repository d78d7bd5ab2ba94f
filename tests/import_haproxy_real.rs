//! What files in use write, and HAProxy takes.
#![expect(clippy::unwrap_used, reason = "a helper of tests: it fails them")]

mod import_support;

use import_support::{World, haproxy_in};
use vipgate::config::raw::Host;

#[test]
fn variables_stand_in_addresses_whatever_the_quotes() {
    let world = World::default().variable("HOST", "192.0.2.7").variable("PORT", "8080").variable("NAME", "web");
    let text = "global\n setenv PEER 192.0.2.9\n log $HOST:514 local0\n stats socket $HOST:9000\n\
        resolvers r\n nameserver n ${PEER}:53\n\
        listen l\n bind '*:$PORT',$HOST:81\n source $PEER\n option tcp-check\n tcp-check connect addr $HOST port 1\n\
         server a $NAME.example:${PORT} check addr ${HOST} source $PEER\n\
         server-template t 2 $HOST:80\n";
    let raw = haproxy_in(&world, text).clean().raw;
    let listen = &raw.services[0].listen;
    assert_eq!(listen[0].ports.value.to_string(), "8080");
    assert_eq!(listen[1].host.value, Host::Address("192.0.2.7".parse().unwrap()));
    let servers = &raw.pools[0].servers;
    assert_eq!(servers[0].host.value, Host::Name("web.example".to_owned(), None));
    assert_eq!(servers[1].host.value, Host::Address("192.0.2.7".parse().unwrap()));
    assert_eq!(raw.log.unwrap().targets[0].to.as_ref().unwrap().value, "192.0.2.7:514");
    assert_eq!(raw.stats_sockets[0].address.as_ref().unwrap().value, "192.0.2.7:9000");
    assert!(format!("{:?}", raw.resolvers).contains("192.0.2.9"), "{:?}", raw.resolvers);

    // Numbers that are no addresses stay as they are written.
    let number = haproxy_in(&world, "listen l\n bind *:80\n maxconn $PORT\n server a 192.0.2.1:80\n").errors();
    assert_eq!(number, ["error 3: `$PORT` is not a whole number from 0 to 4294967295"]);
}

#[test]
fn a_variable_that_is_not_set_is_empty_and_told() {
    let found = haproxy_in(&World::default(), "listen l\n bind $HOST:80\n server a 192.0.2.1:80\n");
    assert_eq!(found.findings(), ["warning 2: the variable `HOST` is not set: nothing is put in its place"]);
    assert_eq!(found.raw.services[0].listen[0].host.value, Host::Address("0.0.0.0".parse().unwrap()));
}
