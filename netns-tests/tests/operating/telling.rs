//! Who is told of transitions, in keepalived's words: scripts and named pipes.

use std::fs;
use std::path::Path;

use netns_tests::lan::Cut;
use netns_tests::report::line;
use netns_tests::wait::until_true;

use crate::support::{PATIENCE, Scene, Words, in_both_words};

/// Each state of node `a` and the state before, in the order of the story below.
const STORY: [(&str, &str); 8] = [
    ("", "BACKUP"),
    ("BACKUP", "MASTER"),
    ("MASTER", "FAULT"),
    ("FAULT", "BACKUP"),
    ("BACKUP", "MASTER"),
    ("MASTER", "BACKUP"),
    ("BACKUP", "MASTER"),
    ("MASTER", "STOP"),
];

#[test]
fn scripts_and_pipes_are_told_every_transition_in_order_and_in_keepalived_s_words() {
    in_both_words("told", |mut scene| {
        let told = scene.nodes[0].dir().join("told");
        let pipe = scene.nodes[0].dir().join("pipe");
        let (inside, outside) = words(&scene, &told, &pipe);
        scene.start(0, 150, &inside, &outside);
        until_true("the named pipe", PATIENCE, || pipe.exists());
        let reader = scene.nodes[0].spawn("reader", scene.nodes[0].command("cat").arg(&pipe));
        scene.wait_owner(0);
        let lines = || fs::read_to_string(&told).unwrap_or_default();
        let wait = |count: usize| {
            let all = || format!("{count} transitions: {}", lines());
            until_true(all(), PATIENCE, || lines().lines().filter(|line| line.starts_with("any")).count() >= count);
        };
        wait(2);
        scene.links[0].cut(Cut::Carrier);
        wait(3);
        scene.links[0].restore();
        wait(5);
        scene.start(1, 200, "", "");
        wait(6);
        scene.stop(1);
        wait(7);
        let _ended = scene.stop(0);
        until_true("the reader to come to the end", PATIENCE, || !reader.alive());

        let mut expected = Vec::new();
        for (from, to) in STORY {
            let environment = format!("INSTANCE front {from}>{to} 150 a");
            expected.push(format!("{}: {environment}", to.to_lowercase()));
            expected.push(format!("any INSTANCE front {to} 150: {environment}"));
        }
        let (seen, mut sequence) = without_sequence(&lines());
        assert_eq!(seen, expected, "{:?}", scene.words);
        // Each transition has a number of its own.
        sequence.dedup();
        assert!(sequence.is_sorted() && sequence.len() == STORY.len(), "{sequence:?}");
        let piped: Vec<String> = STORY.iter().map(|(_, to)| format!("INSTANCE \"front\" {to} 150")).collect();
        assert_eq!(reader.log().lines().collect::<Vec<_>>(), piped, "{:?}", scene.words);
        assert!(!pipe.exists(), "made by vipgate, removed by vipgate");
        line(&format!("{:?}: {} runs, {} lines, in order", scene.words, seen.len(), piped.len()));
    });
}

/// What node `a` is told: every script writes its arguments and its environment into `told`.
fn words(scene: &Scene, told: &Path, pipe: &Path) -> (String, String) {
    let environment = "$VIPGATE_KIND $VIPGATE_NAME $VIPGATE_FROM>$VIPGATE_STATE $VIPGATE_PRIORITY $VIPGATE_NODE";
    let text = format!("echo \"$*: {environment} #$VIPGATE_SEQUENCE\" >> {}", told.display());
    let (script, pipe) = (scene.script(0, "tell", &text), pipe.display());
    let script = script.display();
    let mut inside = String::new();
    match scene.words {
        Words::Toml => {
            let of = |event: &str| format!("{event} = \"{script} {event}\"");
            inside.push_str(&format!(
                "notify = {{ {} }}\n",
                ["master", "backup", "fault", "stop", "any"].map(of).join(", ")
            ));
            (inside, format!("[notify]\nfifo = [\"{pipe}\"]\n"))
        }
        Words::Keepalived => {
            for event in ["master", "backup", "fault", "stop"] {
                inside.push_str(&format!("    notify_{event} \"{script} {event}\"\n"));
            }
            inside.push_str(&format!("    notify \"{script} any\"\n"));
            (inside, format!("global_defs {{\n    notify_fifo {pipe}\n}}\n"))
        }
    }
}

/// The lines without their last word, and those words' numbers.
fn without_sequence(text: &str) -> (Vec<String>, Vec<u64>) {
    let split = |line: &str| {
        let (line, number) = line.rsplit_once(" #").unwrap_or((line, ""));
        (line.to_owned(), number.parse::<u64>().unwrap_or_default())
    };
    text.lines().map(split).unzip()
}
