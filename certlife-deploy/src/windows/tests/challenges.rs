//! Challenge files of an IIS site.

use certlife_core::{
    Deployer as _, ErrorKind,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::{ChallengeHandle, TargetResponse},
};

use super::{super::*, Case, SITE, machine::*};

fn response(path: &str) -> TargetResponse {
    TargetResponse::Http(HttpFile {
        host: "www.example.org".parse().unwrap(),
        path: HttpPath::new(path).unwrap(),
        body: HttpBody::new("token.thumbprint").unwrap(),
    })
}

fn windows(case: &Case) -> Windows {
    case.windows(|it| it.challenge_site(SITE))
}

const TOKEN: &str = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

#[tokio::test]
async fn directories_that_were_made_disappear_and_those_of_others_stay() {
    let case = Case::new();
    let windows = windows(&case);
    case.machine.world().site(SITE).unwrap().directories.insert(".well-known".into(), Directory::default());
    windows.put_challenge(&response(TOKEN)).await.unwrap();
    assert_eq!(case.machine.world().site(SITE).unwrap().get(TOKEN).as_deref(), Some("token.thumbprint"));
    windows.remove_challenge(&ChallengeHandle::unknown(response(TOKEN))).await.unwrap();
    let mut world = case.machine.world();
    let site = world.site(SITE).unwrap();
    assert_eq!(site.directories.keys().collect::<Vec<_>>(), [".well-known"]);
    assert!(site.files.is_empty());
}

#[tokio::test]
async fn a_directory_of_others_is_used_if_iis_shows_what_is_in_it() {
    let case = Case::new();
    let windows = windows(&case);
    for directory in [".well-known", ".well-known/acme-challenge", ".well-known/pki-validation"] {
        case.machine.world().site(SITE).unwrap().directories.insert(directory.into(), Directory::default());
    }
    let error = windows.put_challenge(&response(TOKEN)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    // With an extension it is shown anyway.
    windows.put_challenge(&response("/.well-known/pki-validation/A0.txt")).await.unwrap();
    let config = ".well-known/acme-challenge/web.config";
    case.machine.world().site(SITE).unwrap().files.insert(config.into(), "theirs".into());
    windows.put_challenge(&response(TOKEN)).await.unwrap();
    windows.remove_challenge(&ChallengeHandle::unknown(response(TOKEN))).await.unwrap();
    assert_eq!(case.machine.world().site(SITE).unwrap().files[config], "theirs");
}

#[tokio::test]
async fn links_are_not_followed() {
    for link in [".well-known", ".well-known/acme-challenge"] {
        let case = Case::new();
        {
            let mut world = case.machine.world();
            let directories = &mut world.site(SITE).unwrap().directories;
            directories.insert(".well-known".into(), Directory::default());
            directories.insert(link.into(), Directory { is_link: true });
        }
        let error = windows(&case).put_challenge(&response(TOKEN)).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Conflict(words) if words.as_str().contains("link")),
            "{error}"
        );
        assert!(case.machine.world().site(SITE).unwrap().files.is_empty());
    }
}

#[tokio::test]
async fn a_file_of_others_is_neither_replaced_nor_removed() {
    let case = Case::new();
    let windows = windows(&case);
    windows.put_challenge(&response(TOKEN)).await.unwrap();
    let path = TOKEN.trim_start_matches('/');
    *case.machine.world().site(SITE).unwrap().files.get_mut(path).unwrap() = "theirs".into();
    let error = windows.put_challenge(&response(TOKEN)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    windows.remove_challenge(&ChallengeHandle::unknown(response(TOKEN))).await.unwrap();
    assert_eq!(case.machine.world().site(SITE).unwrap().files[path], "theirs");
}

#[tokio::test]
async fn names_that_mean_something_on_windows_are_refused_before_anything_is_sent() {
    let case = Case::new();
    let windows = windows(&case);
    for path in [
        "/.well-known/web.config",
        "/.well-known/acme-challenge/WEB.CONFIG",
        "/.well-known/acme-challenge/nul",
        "/.well-known/COM1.txt",
        "/.well-known/con/token",
        "/.well-known/token.",
        "/.well-known/dir./token",
        "/.well-known/page.aspx",
        "/.well-known/page.cshtml",
        "/.well-known/acme-challenge/token.config",
    ] {
        let error = windows.put_challenge(&response(path)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{path}: {error}");
        windows.remove_challenge(&ChallengeHandle::unknown(response(path))).await.unwrap();
    }
    assert_eq!(case.machine.world().ran("put-challenge"), 0);
}
