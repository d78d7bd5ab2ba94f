//! The commands: their words, what a client must be allowed to give them, and who answers.

use std::fmt::Write as _;

use super::checks::Asker;
use super::conversation::Client;
use super::lists::{Deed, Of};
use super::{change, checks, fronts, info, lists, resolvers, servers, sessions, show, tables};
use crate::model::AccessLevel;
use crate::stats::ServiceState;

/// What comes of a command.
pub(super) enum Turn {
    /// This, and the next command.
    Say(String),
    /// This, and the end.
    HangUp(String),
}

/// A command as `help` shows it.
struct Verb {
    /// Its first words.
    words: &'static [&'static str],
    level: AccessLevel,
    usage: &'static str,
    help: &'static str,
    call: Call,
}

/// Who answers.
#[derive(Clone, Copy)]
enum Call {
    ClearCounters,
    ClearTable,
    GetWeight,
    List(Of, Deed),
    Lower(AccessLevel),
    SetMaxconnFrontend,
    SetMaxconnGlobal,
    SetMaxconnServer,
    SetServer,
    SetTable,
    SetTimeout,
    SetWeight,
    SwitchChecks(Asker, bool),
    SwitchFrontend(ServiceState),
    SwitchServer(&'static str),
    ShowActivity,
    ShowBackend,
    ShowCliLevel,
    ShowCliSockets,
    ShowEnv,
    ShowErrors,
    ShowInfo,
    ShowPeers,
    ShowResolvers,
    ShowServersConn,
    ShowServersState,
    ShowSessions,
    ShowStat,
    ShowTable,
    ShowVersion,
    EndSession,
    EndSessions,
    Help,
    Prompt,
    Quit,
}

/// In the order of `help`. The last three are always shown.
#[rustfmt::skip]
const VERBS: &[Verb] = &[
    verb(&["add", "acl"], AccessLevel::User, "add acl [@<ver>] <acl> <pattern>", "add an acl entry", Call::List(Of::Acls, Deed::Add)),
    verb(&["add", "map"], AccessLevel::User, "add map [@<ver>] <map> <key> <val>", "add a map entry (payload supported instead of key/val)", Call::List(Of::Maps, Deed::Add)),
    verb(&["clear", "acl"], AccessLevel::User, "clear acl [@<ver>] <acl>", "clear the contents of this acl", Call::List(Of::Acls, Deed::Clear)),
    verb(&["clear", "counters"], AccessLevel::Operator, "clear counters [all]", "clear max statistics counters (or all counters)", Call::ClearCounters),
    verb(&["clear", "map"], AccessLevel::User, "clear map [@<ver>] <map>", "clear the contents of this map", Call::List(Of::Maps, Deed::Clear)),
    verb(&["clear", "table"], AccessLevel::Operator, "clear table <table> [<filter>]*", "remove an entry from a table (filter: data/key)", Call::ClearTable),
    verb(&["commit", "acl"], AccessLevel::User, "commit acl @<ver> <acl>", "commit the ACL at this version", Call::List(Of::Acls, Deed::Commit)),
    verb(&["commit", "map"], AccessLevel::User, "commit map @<ver> <map>", "commit the map at this version", Call::List(Of::Maps, Deed::Commit)),
    verb(&["del", "acl"], AccessLevel::User, "del acl <acl> [<key>|#<ref>]", "delete acl entries matching <key>", Call::List(Of::Acls, Deed::Remove)),
    verb(&["del", "map"], AccessLevel::User, "del map <map> [<key>|#<ref>]", "delete map entries matching <key>", Call::List(Of::Maps, Deed::Remove)),
    verb(&["disable", "agent"], AccessLevel::Admin, "disable agent", "disable agent checks", Call::SwitchChecks(Asker::Agent, false)),
    verb(&["disable", "frontend"], AccessLevel::Admin, "disable frontend <frontend>", "temporarily disable specific frontend", Call::SwitchFrontend(ServiceState::Paused)),
    verb(&["disable", "health"], AccessLevel::Admin, "disable health", "disable health checks", Call::SwitchChecks(Asker::Check, false)),
    verb(&["disable", "server"], AccessLevel::Admin, "disable server (DEPRECATED)", "disable a server for maintenance (use 'set server' instead)", Call::SwitchServer("maint")),
    verb(&["enable", "agent"], AccessLevel::Admin, "enable agent", "enable agent checks", Call::SwitchChecks(Asker::Agent, true)),
    verb(&["enable", "frontend"], AccessLevel::Admin, "enable frontend <frontend>", "re-enable specific frontend", Call::SwitchFrontend(ServiceState::Open)),
    verb(&["enable", "health"], AccessLevel::Admin, "enable health", "enable health checks", Call::SwitchChecks(Asker::Check, true)),
    verb(&["enable", "server"], AccessLevel::Admin, "enable server  (DEPRECATED)", "enable a disabled server (use 'set server' instead)", Call::SwitchServer("ready")),
    verb(&["get", "acl"], AccessLevel::User, "get acl <acl> <value>", "report the patterns matching a sample for an ACL", Call::List(Of::Acls, Deed::Find)),
    verb(&["get", "map"], AccessLevel::User, "get map <acl> <value>", "report the keys and values matching a sample for a map", Call::List(Of::Maps, Deed::Find)),
    verb(&["get", "weight"], AccessLevel::User, "get weight <bk>/<srv>", "report a server's current weight", Call::GetWeight),
    verb(&["operator"], AccessLevel::Operator, "operator", "lower the level of the current CLI session to operator", Call::Lower(AccessLevel::Operator)),
    verb(&["prepare", "acl"], AccessLevel::User, "prepare acl <acl>", "prepare a new version for atomic ACL replacement", Call::List(Of::Acls, Deed::Prepare)),
    verb(&["prepare", "map"], AccessLevel::User, "prepare map <acl>", "prepare a new version for atomic map replacement", Call::List(Of::Maps, Deed::Prepare)),
    verb(&["set", "map"], AccessLevel::User, "set map <map> [<key>|#<ref>] <value>", "modify a map entry", Call::List(Of::Maps, Deed::Set)),
    verb(&["set", "maxconn", "frontend"], AccessLevel::Admin, "set maxconn frontend <frontend> <value>", "change a frontend's maxconn setting", Call::SetMaxconnFrontend),
    verb(&["set", "maxconn", "global"], AccessLevel::Admin, "set maxconn global <value>", "change the per-process maxconn setting", Call::SetMaxconnGlobal),
    verb(&["set", "maxconn", "server"], AccessLevel::Admin, "set maxconn server <bk>/<srv>", "change a server's maxconn setting", Call::SetMaxconnServer),
    verb(&["set", "server"], AccessLevel::Admin, "set server <bk>/<srv> [opts]", "change a server's state, weight or address", Call::SetServer),
    verb(&["set", "table"], AccessLevel::Operator, "set table <table> key <k> [data.* <v>]*", "update or create a table entry's data", Call::SetTable),
    verb(&["set", "timeout"], AccessLevel::User, "set timeout [cli] <delay>", "change a timeout setting", Call::SetTimeout),
    verb(&["set", "weight"], AccessLevel::Admin, "set weight <bk>/<srv>  (DEPRECATED)", "change a server's weight (use 'set server' instead)", Call::SetWeight),
    verb(&["show", "acl"], AccessLevel::User, "show acl [@<ver>] <acl>]", "report available acls or dump an acl's contents", Call::List(Of::Acls, Deed::Show)),
    verb(&["show", "activity"], AccessLevel::User, "show activity", "show per-thread activity stats (for support/developers)", Call::ShowActivity),
    verb(&["show", "backend"], AccessLevel::User, "show backend", "list backends in the current running config", Call::ShowBackend),
    verb(&["show", "cli", "level"], AccessLevel::User, "show cli level", "display the level of the current CLI session", Call::ShowCliLevel),
    verb(&["show", "cli", "sockets"], AccessLevel::User, "show cli sockets", "dump list of cli sockets", Call::ShowCliSockets),
    verb(&["show", "env"], AccessLevel::Operator, "show env [var]", "dump environment variables known to the process", Call::ShowEnv),
    verb(&["show", "errors"], AccessLevel::Operator, "show errors [<px>] [request|response]", "report last request and/or response errors for each proxy", Call::ShowErrors),
    verb(&["show", "info"], AccessLevel::User, "show info [desc|json|typed|float]*", "report information about the running process", Call::ShowInfo),
    verb(&["show", "map"], AccessLevel::User, "show map [@ver] [map]", "report available maps or dump a map's contents", Call::List(Of::Maps, Deed::Show)),
    verb(&["show", "peers"], AccessLevel::User, "show peers [dict|-] [section]", "dump some information about all the peers or this peers section", Call::ShowPeers),
    verb(&["show", "resolvers"], AccessLevel::User, "show resolvers [id]", "dumps counters from all resolvers section and associated name servers", Call::ShowResolvers),
    verb(&["show", "servers", "conn"], AccessLevel::User, "show servers conn [<backend>]", "dump server connections status (all or for a single backend)", Call::ShowServersConn),
    verb(&["show", "servers", "state"], AccessLevel::User, "show servers state [<backend>]", "dump volatile server information (all or for a single backend)", Call::ShowServersState),
    verb(&["show", "sess"], AccessLevel::Operator, "show sess [id]", "report the list of current sessions or dump this exact session", Call::ShowSessions),
    verb(&["show", "stat"], AccessLevel::User, "show stat [desc|json|no-maint|typed|up]*", "report counters for each proxy and server", Call::ShowStat),
    verb(&["show", "table"], AccessLevel::User, "show table <table> [<filter>]*", "report table usage stats or dump this table's contents (filter: data/key)", Call::ShowTable),
    verb(&["show", "version"], AccessLevel::User, "show version", "show version of the current process", Call::ShowVersion),
    verb(&["shutdown", "frontend"], AccessLevel::Admin, "shutdown frontend <frontend>", "stop a specific frontend", Call::SwitchFrontend(ServiceState::Stopped)),
    verb(&["shutdown", "session"], AccessLevel::Admin, "shutdown session [id]", "kill a specific session", Call::EndSession),
    verb(&["shutdown", "sessions", "server"], AccessLevel::Admin, "shutdown sessions server <bk>/<srv>", "kill sessions on a server", Call::EndSessions),
    verb(&["user"], AccessLevel::User, "user", "lower the level of the current CLI session to user", Call::Lower(AccessLevel::User)),
    verb(&["help"], AccessLevel::User, "help [<command>]", "list matching or all commands", Call::Help),
    verb(&["prompt"], AccessLevel::User, "prompt", "toggle interactive mode with prompt", Call::Prompt),
    verb(&["quit"], AccessLevel::User, "quit", "disconnect", Call::Quit),
];
/// How many of the last are shown whatever was asked.
const ALWAYS: usize = 3;
/// Better matches shown for a word that is none.
const SUGGESTIONS: usize = 5;

const fn verb(
    words: &'static [&'static str],
    level: AccessLevel,
    usage: &'static str,
    help: &'static str,
    call: Call,
) -> Verb {
    Verb { words, level, usage, help, call }
}

/// Carries a command out.
pub(super) async fn answer(command: &[String], client: &mut Client) -> Turn {
    let begins = |verb: &&Verb| {
        command.len() >= verb.words.len() && verb.words.iter().zip(command).all(|(verb, word)| *verb == word.as_str())
    };
    let Some(verb) = VERBS.iter().filter(begins).max_by_key(|verb| verb.words.len()) else {
        return Turn::Say(unknown(command));
    };
    if !client.access.allows(verb.level) {
        return Turn::Say("Permission denied\n".to_owned());
    }
    let arguments: Vec<&str> = command.iter().skip(verb.words.len()).map(String::as_str).collect();
    call(verb.call, &arguments, client).await
}

async fn call(call: Call, arguments: &[&str], client: &mut Client) -> Turn {
    let shared = &client.shared;
    Turn::Say(match call {
        Call::List(of, deed) => lists::answer(of, deed, arguments, client.payload.as_deref(), shared).await,
        Call::Quit => return Turn::HangUp(String::new()),
        Call::Prompt => {
            client.prompt = !client.prompt;
            return if client.prompt { Turn::Say(String::new()) } else { Turn::HangUp("\n".to_owned()) };
        }
        Call::Lower(level) => {
            client.access.lower(level);
            String::new()
        }
        Call::Help => help(arguments),
        Call::SetTimeout => match change::timeout(arguments) {
            Ok(timeout) => {
                client.timeout = timeout;
                String::new()
            }
            Err(text) => text,
        },
        Call::ClearCounters => match arguments.first() {
            Some(&"all") if !client.access.allows(AccessLevel::Admin) => "Permission denied\n".to_owned(),
            word => change::clear_counters(word == Some(&"all"), shared).await,
        },
        Call::ShowCliLevel => format!("{}\n", client.access.level().label()),
        Call::ShowCliSockets => show::cli_sockets(&shared.sockets()),
        Call::ShowEnv => show::environment(arguments),
        Call::ShowVersion => format!("{}\n", env!("CARGO_PKG_VERSION")),
        Call::ShowActivity => show::look(shared, |_, snapshot| show::activity(snapshot)).await,
        Call::ShowBackend => show::look(shared, |_, snapshot| show::backends(snapshot)).await,
        Call::ShowErrors => {
            let proxy = arguments.first().map(|name| (*name).to_owned());
            show::look(shared, move |_, snapshot| show::errors(proxy.as_deref(), snapshot)).await
        }
        Call::ShowInfo => {
            let form = info::Form::of(arguments);
            show::look(shared, move |config, snapshot| info::render(form, config, snapshot)).await
        }
        Call::ShowStat => {
            let wanted = show::Wanted::of(arguments, !client.access.allows(AccessLevel::Operator));
            show::look(shared, move |config, snapshot| show::statistics(&wanted, config, snapshot)).await
        }
        Call::ShowServersConn => {
            let pool = arguments.first().map(|name| (*name).to_owned());
            show::look(shared, move |config, snapshot| servers::connections(pool.as_deref(), config, snapshot)).await
        }
        Call::ShowServersState => {
            let pool = arguments.first().map(|name| (*name).to_owned());
            show::look(shared, move |config, snapshot| servers::state(pool.as_deref(), config, snapshot)).await
        }
        Call::GetWeight => {
            let server = arguments.first().map(|name| (*name).to_owned());
            show::look(shared, move |config, snapshot| servers::weight(server.as_deref(), config, snapshot)).await
        }
        Call::SetServer => change::server(arguments, shared).await,
        Call::SetWeight => change::weight(arguments, shared).await,
        Call::SwitchServer(state) => change::switch(arguments, state, shared).await,
        Call::SwitchChecks(asker, on) => checks::switch(arguments, asker, on, shared).await,
        Call::SwitchFrontend(state) => fronts::switch(arguments, state, shared).await,
        Call::SetMaxconnFrontend => fronts::limit(arguments, shared).await,
        Call::SetMaxconnServer => change::server_limit(arguments, shared).await,
        Call::SetMaxconnGlobal => change::max_connections(arguments, shared).await,
        Call::ShowSessions => sessions::show(arguments, shared).await,
        Call::EndSession => sessions::end(arguments, shared).await,
        Call::EndSessions => sessions::end_of_server(arguments, shared).await,
        Call::ShowPeers => tables::peers(shared).await,
        Call::ShowResolvers => resolvers::show(arguments, shared).await,
        Call::ShowTable => tables::show(arguments, shared).await,
        Call::SetTable => tables::set(arguments, shared).await,
        Call::ClearTable => tables::clear(arguments, shared).await,
    })
}

fn help(words: &[&str]) -> String {
    let shown = similar(words);
    list("The following commands are valid at this level:", if words.is_empty() { VERBS } else { &[] }, &shown)
}

fn unknown(command: &[String]) -> String {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    if words.is_empty() {
        return list("Unknown command. Please enter one of the following commands only:", VERBS, &[]);
    }
    let shown = similar(&words);
    list("Unknown command, but maybe one of the following ones is a better match:", &[], &shown)
}

/// The commands that begin so; if there is none, those that are spelled nearest.
fn similar(words: &[&str]) -> Vec<&'static Verb> {
    let choice = &VERBS[..VERBS.len() - ALWAYS];
    let begins = |verb: &&Verb| {
        let common = verb.words.iter().zip(words).take_while(|(verb, word)| verb == word).count();
        common > 0 && common == words.len().min(verb.words.len())
    };
    let beginning: Vec<&Verb> = choice.iter().filter(begins).collect();
    if !beginning.is_empty() || words.is_empty() {
        return beginning;
    }
    // A word of kilobytes is no slip.
    let text: String = words.join(" ").chars().take(64).collect();
    let distance = |verb: &&Verb| {
        let spelled = verb.words.join(" ");
        strsim::damerau_levenshtein(&text, &spelled)
    };
    let mut near: Vec<&Verb> = choice.iter().filter(|verb| distance(verb) <= text.len().max(4) / 2 + 2).collect();
    near.sort_by_key(distance);
    near.truncate(SUGGESTIONS);
    near
}

fn list(head: &str, all: &'static [Verb], some: &[&'static Verb]) -> String {
    let always = if all.is_empty() { &VERBS[VERBS.len() - ALWAYS..] } else { &[] };
    let mut out = format!("{head}\n");
    for verb in all.iter().chain(some.iter().copied()).chain(always) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {:<40}: {}", verb.usage, verb.help);
    }
    out
}
