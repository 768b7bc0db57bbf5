use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
};

use certlife_core::{
    Deployer as _, ErrorKind,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::{ChallengeHandle, TargetResponse},
};

use super::{super::*, Case};

fn case() -> Case {
    Case::new(|root| Local::builder(root.join("certificates")).web_root(root.join("web")))
}

fn file(path: &str, body: &str) -> TargetResponse {
    TargetResponse::Http(HttpFile {
        host: "www.example.org".parse().unwrap(),
        path: HttpPath::new(path).unwrap(),
        body: HttpBody::new(body).unwrap(),
    })
}

const TOKEN: &str = "/.well-known/acme-challenge/token";

#[tokio::test]
async fn our_directories_come_and_go_and_others_stay() {
    let case = case();
    let well_known = case.machine.path("web/.well-known");
    let handle = case.local.put_challenge(&file(TOKEN, "a")).await.unwrap();
    for (path, rights) in [("", 0o755), ("acme-challenge", 0o755), ("acme-challenge/token", 0o644)] {
        assert_eq!(fs::metadata(well_known.join(path)).unwrap().mode() & 0o7777, rights, "{path}");
    }
    case.local.remove_challenge(&handle).await.unwrap();
    assert_eq!(fs::read_dir(case.machine.path("web")).unwrap().count(), 0);

    // Somebody else's directory, and somebody else's file in a directory of ours.
    fs::create_dir(&well_known).unwrap();
    case.local.put_challenge(&file(TOKEN, "a")).await.unwrap();
    fs::write(well_known.join("acme-challenge/theirs"), "").unwrap();
    case.local.remove_challenge(&handle).await.unwrap();
    assert!(well_known.join("acme-challenge/theirs").exists());
    fs::remove_file(well_known.join("acme-challenge/theirs")).unwrap();
    case.local.remove_challenge(&handle).await.unwrap();
    assert_eq!(fs::read_dir(&well_known).unwrap().count(), 0);
}

#[tokio::test]
async fn directories_are_removed_by_whoever_is_last() {
    let case = case();
    let responses = ["a", "b", "c"].map(|token| file(&format!("{TOKEN}-{token}"), token));
    for response in &responses {
        case.local.put_challenge(response).await.unwrap();
    }
    for response in responses {
        let after_restart = case.machine.local();
        after_restart.remove_challenge(&ChallengeHandle::unknown(response)).await.unwrap();
    }
    assert_eq!(fs::read_dir(case.machine.path("web")).unwrap().count(), 0);
}

#[tokio::test]
async fn files_of_others_are_neither_overwritten_nor_removed() {
    let case = case();
    fs::create_dir_all(case.machine.path("web/.well-known/acme-challenge")).unwrap();
    case.write("web/.well-known/acme-challenge/token", "theirs");
    let error = case.local.put_challenge(&file(TOKEN, "ours")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    case.local.remove_challenge(&ChallengeHandle::unknown(file(TOKEN, "ours"))).await.unwrap();
    case.local.remove_challenge(&ChallengeHandle::unknown(file(TOKEN, "theirs-too"))).await.unwrap();
    assert_eq!(case.read("web/.well-known/acme-challenge/token"), "theirs");
    assert_eq!(fs::read_dir(case.machine.path("web/.well-known/acme-challenge")).unwrap().count(), 1);
}

#[tokio::test]
async fn planted_links_are_not_followed() {
    for planted in
        ["web/.well-known", "web/.well-known/acme-challenge", "web/.well-known/acme-challenge/token"]
    {
        let case = case();
        fs::create_dir(case.machine.path("victim")).unwrap();
        let link = case.machine.path(planted);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(case.machine.path("victim"), &link).unwrap();
        let error = case.local.put_challenge(&file(TOKEN, "a")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{planted}: {error}");
        let _ = case.local.remove_challenge(&ChallengeHandle::unknown(file(TOKEN, "a"))).await;
        assert_eq!(fs::read_dir(case.machine.path("victim")).unwrap().count(), 0);
        assert!(link.is_symlink());
    }
}

#[tokio::test]
async fn many_at_once_by_several_processes_are_all_served() {
    let case = case();
    let responses: Vec<_> = (0..40).map(|n| file(&format!("{TOKEN}-{n}"), "body")).collect();
    for _ in 0..3 {
        let locals: Vec<_> = responses.iter().map(|_| case.machine.local()).collect();
        let both = responses.iter().zip(&locals).map(async |(response, local)| {
            let handle = local.put_challenge(response).await.unwrap();
            let TargetResponse::Http(file) = response else { unreachable!() };
            assert_eq!(case.read(&format!("web{}", file.path)), "body");
            local.remove_challenge(&handle).await.unwrap();
        });
        futures_util::future::join_all(both).await;
    }
    for response in responses {
        case.local.remove_challenge(&ChallengeHandle::unknown(response)).await.unwrap();
    }
}

#[tokio::test]
async fn a_web_root_that_cannot_be_written_to_is_told() {
    let case = case();
    fs::remove_dir(case.machine.path("web")).unwrap();
    case.write("web", "a file");
    for error in [
        case.local.probe().await.unwrap_err(),
        case.local.put_challenge(&file(TOKEN, "a")).await.unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    }
    fs::remove_file(case.machine.path("web")).unwrap();
    let error = case.local.put_challenge(&file(TOKEN, "a")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    assert!(!case.machine.path("web").exists(), "a web root is never made");
}
