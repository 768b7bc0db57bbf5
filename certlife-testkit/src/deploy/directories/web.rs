//! Challenge files under a web root: beside those of others, and gone without a trace.

use std::{fs, sync::Arc};

use certlife_core::{
    Deployer, ErrorKind,
    deploy::{ChallengeHandle, TargetResponse},
};
use futures_util::future::join_all;

use super::{
    super::suite::{http_file, ok},
    Case, DirectoryFixture, DirectorySettings,
    files::link,
    folder,
};

const TOKEN: &str = "/.well-known/acme-challenge/token";

/// Directories that are made for a file can be read by a web server and go with the last file; one that was there
/// before stays, and one with somebody else's file as long as that.
pub async fn our_directories_come_and_go_and_others_stay(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let handle = ok(case.deployer.put_challenge(&file(TOKEN, "a")).await);
    for (path, rights) in [("", 0o755), ("/acme-challenge", 0o755), ("/acme-challenge/token", 0o644)] {
        let path = fx.folder().path(&format!("web/.well-known{path}"));
        assert_eq!(folder::mode(&path), rights, "{}", path.display());
    }
    ok(case.deployer.remove_challenge(&handle).await);
    assert_eq!(entries(&case, "web"), Vec::<String>::new());

    case.make_directory("web/.well-known");
    ok(case.deployer.put_challenge(&file(TOKEN, "a")).await);
    case.write("web/.well-known/acme-challenge/theirs", "theirs");
    ok(case.deployer.remove_challenge(&handle).await);
    assert_eq!(entries(&case, "web/.well-known/acme-challenge"), ["theirs"]);
    let theirs = fx.folder().path("web/.well-known/acme-challenge/theirs");
    fs::remove_file(theirs).unwrap_or_else(|error| panic!("{error}"));
    ok(case.deployer.remove_challenge(&handle).await);
    assert_eq!(entries(&case, "web/.well-known"), Vec::<String>::new());
}

/// Each file is removed by another process, and the last one takes the directories with it.
pub async fn directories_are_removed_by_whoever_is_last(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let responses = ["a", "b", "c"].map(|token| file(&format!("{TOKEN}-{token}"), token));
    for response in &responses {
        ok(case.deployer.put_challenge(response).await);
    }
    for response in responses {
        let after_restart = fx.configured(DirectorySettings::default());
        ok(after_restart.remove_challenge(&ChallengeHandle::unknown(response)).await);
    }
    assert_eq!(entries(&case, "web"), Vec::<String>::new());
}

/// A file of somebody else with the same name is in the way, and stays as it is.
pub async fn files_of_others_are_neither_overwritten_nor_removed(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    case.make_directory("web/.well-known/acme-challenge");
    case.write("web/.well-known/acme-challenge/token", "theirs");
    let error = case.deployer.put_challenge(&file(TOKEN, "ours")).await.err();
    assert!(is_conflict(error.as_ref()), "{error:?}");
    for body in ["ours", "theirs-too"] {
        ok(case.deployer.remove_challenge(&ChallengeHandle::unknown(file(TOKEN, body))).await);
    }
    assert_eq!(case.read("web/.well-known/acme-challenge/token"), "theirs");
    assert_eq!(entries(&case, "web/.well-known/acme-challenge"), ["token"]);
}

/// A link on the way to a file, or in its place, leads nobody astray.
pub async fn planted_links_under_the_web_root_are_not_followed(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    case.make_directory("victim");
    for planted in
        ["web/.well-known", "web/.well-known/acme-challenge", "web/.well-known/acme-challenge/token"]
    {
        let (parent, _) = planted.rsplit_once('/').expect("it is in a directory");
        case.make_directory(parent);
        let path = fx.folder().path(planted);
        link(&format!("{}victim", "../".repeat(planted.matches('/').count())), &path);
        let error = case.deployer.put_challenge(&file(TOKEN, "a")).await.err();
        assert!(is_conflict(error.as_ref()), "{planted}: {error:?}");
        let _ = case.deployer.remove_challenge(&ChallengeHandle::unknown(file(TOKEN, "a"))).await;
        assert_eq!(entries(&case, "victim"), Vec::<String>::new());
        assert!(path.is_symlink());
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Directories that one process removes while another needs them are made again.
pub async fn many_responses_at_once_by_several_processes_are_all_served(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let responses: Vec<_> = (0..20).map(|n| file(&format!("{TOKEN}-{n}"), "body")).collect();
    for _ in 0..3 {
        let deployers: Vec<Arc<dyn Deployer>> =
            responses.iter().map(|_| fx.configured(DirectorySettings::default())).collect();
        let both = responses.iter().zip(&deployers).map(async |(response, deployer)| {
            let handle = ok(deployer.put_challenge(response).await);
            let TargetResponse::Http(file) = response else { unreachable!("it is a file") };
            assert_eq!(case.read(&format!("web{}", file.path)), "body");
            ok(deployer.remove_challenge(&handle).await);
        });
        join_all(both).await;
    }
    for response in responses {
        ok(case.deployer.remove_challenge(&ChallengeHandle::unknown(response)).await);
    }
}

/// A web root that is missing, or is a file, is told by the probe and by whoever places a response.
pub async fn a_web_root_is_never_made(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let web = fx.folder().path("web");
    fs::remove_dir(&web).unwrap_or_else(|error| panic!("{error}"));
    for make in [false, true] {
        if make {
            case.write("web", "a file");
        }
        for error in
            [case.deployer.probe().await.err(), case.deployer.put_challenge(&file(TOKEN, "a")).await.err()]
        {
            let kind = error.as_ref().map(certlife_core::Error::kind);
            assert!(matches!(kind, Some(ErrorKind::Io(_))), "{error:?}");
        }
        assert!(!web.is_dir());
    }
}

fn file(path: &str, body: &str) -> TargetResponse {
    http_file("www.example.org", path, body)
}

fn is_conflict(error: Option<&certlife_core::Error>) -> bool {
    error.is_some_and(|error| matches!(error.kind(), ErrorKind::Conflict(_)))
}

/// The names in a directory of the folder, sorted.
fn entries<F: DirectoryFixture>(case: &Case<'_, F>, directory: &str) -> Vec<String> {
    let found = fs::read_dir(case.fx.folder().path(directory)).into_iter().flatten().flatten();
    let mut names: Vec<_> = found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
