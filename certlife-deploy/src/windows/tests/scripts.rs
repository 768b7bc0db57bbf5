//! The scripts as texts: their syntax, what they must not contain, and whether their heads say what they take.

use std::collections::{BTreeMap, BTreeSet};

use certlife_core::{
    Deployer as _,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::{ChallengeHandle, TargetResponse},
};
use tree_sitter::{Node, Parser, Tree};

use super::{
    super::{
        script::{BOOTSTRAP, LIBRARY, SCRIPTS},
        *,
    },
    Case, SITE,
    machine::{CENTRAL_PASSWORD, CENTRAL_PATH},
};

/// Every text with a name: what is sent, and no file besides.
fn texts() -> Vec<(&'static str, &'static str)> {
    let own = SCRIPTS.iter().map(|script| (script.name, script.text));
    own.chain([("bootstrap", BOOTSTRAP), ("library", LIBRARY)]).collect()
}

fn parsed(text: &str) -> Tree {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).unwrap();
    parser.parse(text, None).unwrap()
}

fn walk<'t>(node: Node<'t>, visit: &mut impl FnMut(Node<'t>)) {
    visit(node);
    for at in 0..node.child_count() {
        walk(node.child(u32::try_from(at).unwrap()).unwrap(), visit);
    }
}

/// What is wrong with a text, as lines.
fn complaints(text: &str) -> Vec<String> {
    let tree = parsed(text);
    let mut found = Vec::new();
    walk(tree.root_node(), &mut |node| {
        let line = node.start_position().row + 1;
        let words = node.utf8_text(text.as_bytes()).unwrap();
        if node.is_error() || node.is_missing() {
            found.push(format!("{line}: syntax: {words}"));
        }
        match node.kind() {
            "command_name" => {
                let name = words.to_ascii_lowercase();
                let banned = ["invoke-expression", "iex", "write-host", "write-output", "invoke-command"];
                if banned.contains(&name.as_str()) {
                    found.push(format!("{line}: banned: {words}"));
                }
            }
            // `"…"`: text is put together by `-f` from data, and never parsed again.
            "expandable_string_literal" | "expandable_here_string_literal" => {
                found.push(format!("{line}: interpolation: {words}"));
            }
            _ => {}
        }
    });
    found
}

#[test]
fn the_syntax_is_right_and_nothing_is_interpolated() {
    let all = texts().into_iter().flat_map(|(name, text)| {
        complaints(text).into_iter().map(move |complaint| format!("{name}.ps1:{complaint}"))
    });
    assert_eq!(all.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_is_wrong_is_found() {
    for wrong in [
        "if ($x {",
        "@{ a = }",
        "Invoke-Expression $x",
        "iex $x",
        "$a | ForEach-Object { Write-Host $_ }",
        "$path = \"C:\\$name\"",
        "& \"$name\" 1",
    ] {
        assert!(!complaints(wrong).is_empty(), "{wrong}");
    }
}

#[test]
fn every_file_is_used() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/windows/scripts");
    let files: BTreeSet<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, texts().iter().map(|(name, _)| format!("{name}.ps1")).collect());
}

/// The head of a script: what stands between `<#` and `#>`.
fn head(text: &'static str) -> &'static str {
    text.strip_prefix("<#\n").unwrap().split_once("#>").unwrap().0
}

/// The names that a part of a head explains, such as `store` in a line `  store   the name of …`.
fn explained(head: &str, part: &str) -> BTreeSet<String> {
    let lines = head.lines().skip_while(|line| *line != format!("{part}:")).skip(1);
    let entries = lines.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    entries
        .flat_map(|line| line.trim().split("   ").next().unwrap().split("  ").next().unwrap().split(", "))
        .map(str::to_owned)
        .collect()
}

/// The properties that a script reads of its parameters.
fn read_properties(text: &str) -> BTreeSet<String> {
    let names = text.split("$Request.").skip(1).map(|rest| {
        rest.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next().unwrap()
    });
    names.map(str::to_owned).collect()
}

#[test]
fn every_script_has_a_head_that_states_its_contract() {
    for (name, text) in texts() {
        let head = head(text);
        let parts = [".SYNOPSIS\n", ".DESCRIPTION\n", "Input:", "Output:"];
        assert!(parts.iter().all(|part| head.contains(part)), "{name}.ps1");
    }
    for script in SCRIPTS {
        let head = head(script.text);
        assert!(head.contains("\nErrors: "), "{}.ps1", script.name);
        assert_eq!(explained(head, "Input"), read_properties(script.text), "{}.ps1", script.name);
    }
}

#[tokio::test]
async fn what_is_sent_is_what_the_heads_name() {
    let case = Case::new();
    let windows = case.windows(|it| {
        it.keep(0)
            .binding(Binding::new(SITE).each_name(true).central(true))
            .binding(Binding::new(SITE).each_name(true).port(8443))
            .central_store(CentralStore::new(CENTRAL_PATH, CENTRAL_PASSWORD))
            .challenge_site(SITE)
    });
    windows.probe().await.unwrap();
    windows.install(&case.bundle()).await.unwrap();
    windows.uninstall(&case.www).await.unwrap();
    let response = TargetResponse::Http(HttpFile {
        host: "www.example.org".parse().unwrap(),
        path: HttpPath::new("/.well-known/acme-challenge/token").unwrap(),
        body: HttpBody::new("token.thumbprint").unwrap(),
    });
    windows.put_challenge(&response).await.unwrap();
    windows.remove_challenge(&ChallengeHandle::unknown(response)).await.unwrap();
    let mut sent = BTreeMap::new();
    for (name, parameters) in &case.machine.world().calls {
        let names: BTreeSet<_> = parameters.as_object().unwrap().keys().cloned().collect();
        sent.insert(*name, names);
    }
    let named = SCRIPTS.iter().map(|script| (script.name, explained(head(script.text), "Input")));
    assert_eq!(sent, named.collect());
}
