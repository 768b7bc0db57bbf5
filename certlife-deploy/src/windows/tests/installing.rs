//! Into the store and to the bindings.

use certlife_core::{Deployer as _, ErrorKind};
use serde_json::json;

use super::{super::*, Binding, Case, SITE, SQL, builder, deployer, machine::*, names};

/// Names that would mean something to a shell, to PowerShell, to JSON, to XML or to a path.
const HOSTILE: [&str; 9] = [
    "it's \"quoted\"",
    "$(Remove-Item C:\\ -Recurse)",
    "`n`0 $env:PATH ${x} @{a=1}",
    "'; iex (New-Object Net.WebClient) #",
    "a\r\nb\tc",
    "</add><clear/>&amp;",
    "-----END CERTLIFE-----",
    "größe 日本語 \u{1f512}\u{202e}",
    "..\\..\\windows",
];

/// What a binding is that nothing was done to.
fn foreign(case: &Case, information: &str, flags: u32) -> SiteBinding {
    let bundle = case.bundle();
    let mut world = case.machine.world();
    let opened = world.open(&super::pfx(&bundle, "x"), "x").unwrap();
    let entry = Entry::with_key(&opened, "bought by hand");
    let thumbprint = Some(entry.thumbprint());
    world.my().push(entry);
    let binding =
        SiteBinding { information: information.into(), flags, thumbprint, store: Some("My".into()) };
    world.site(SITE).unwrap().bindings.push(binding.clone());
    binding
}

#[tokio::test]
async fn hostile_names_arrive_as_data() {
    let longest = "long \u{10ffff}".repeat(50);
    for name in HOSTILE.into_iter().chain([longest.as_str()]) {
        let case = Case::new();
        case.machine.world().add_site(name);
        case.machine.world().accounts.insert(name.to_owned());
        let windows = case.windows(|it| {
            it.friendly_name(name)
                .account(name)
                .binding(Binding::new(name).each_name(true))
                .challenge_site(name)
        });
        windows.probe().await.unwrap();
        let bundle = case.bundle();
        windows.install(&bundle).await.unwrap();
        assert_eq!(windows.installed(&case.www).await.unwrap().unwrap().version, Some(bundle.version));
        let entry = case.entry(&bundle).unwrap();
        assert_eq!(entry.name, format!("{name} [certlife:www:{}]", bundle.version));
        assert!(entry.readers.contains(name));
        assert_eq!(case.machine.world().site(name).unwrap().bindings.len(), 1);
        windows.uninstall(&case.www).await.unwrap();
        assert!(case.machine.world().my().is_empty(), "it is found again by its name");
        // That the texts of the scripts never change is asserted by the machine, at each call.
        assert!(case.machine.world().calls.len() >= 7);
    }
}

#[tokio::test]
async fn an_install_takes_three_scripts_and_one_commit_and_a_repeated_one_changes_nothing() {
    let case = Case::new();
    let windows = case.windows(|it| it.binding(Binding::new(SITE).each_name(true)));
    let bundle = case.bundle_for(&["www.example.org", "example.org", "*.example.net"]);
    windows.install(&bundle).await.unwrap();
    let ran = |case: &Case| case.machine.world().calls.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(ran(&case), ["look", "import", "switch"]);
    assert_eq!(case.machine.world().commits, 1);
    let mut shown: Vec<_> =
        case.machine.world().bindings().into_iter().map(|(_, it)| (it.information, it.flags)).collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            ("*:443:*.example.net".to_owned(), 1),
            ("*:443:example.org".to_owned(), 1),
            ("*:443:www.example.org".to_owned(), 1)
        ]
    );
    windows.install(&bundle).await.unwrap();
    assert_eq!(ran(&case)[3..], ["look", "import"]);
    assert_eq!(case.machine.world().commits, 1);
}

#[tokio::test]
async fn a_binding_says_address_port_host_and_sni() {
    for (binding, information, flags) in [
        (Binding::new(SITE).certificate("www"), "*:443:", 0),
        (Binding::new(SITE).host("www.example.org"), "*:443:www.example.org", 1),
        (Binding::new(SITE).host("WWW.example.org").sni(false).port(8443), "*:8443:www.example.org", 0),
        (
            Binding::new(SITE).host("www.example.org").address("192.0.2.1".parse().unwrap()),
            "192.0.2.1:443:www.example.org",
            1,
        ),
        (
            Binding::new(SITE).certificate("www").address("2001:db8::1".parse().unwrap()),
            "[2001:db8::1]:443:",
            0,
        ),
    ] {
        let case = Case::new();
        let windows = case.windows(|it| it.store("WebHosting").binding(binding));
        let bundle = case.bundle();
        windows.install(&bundle).await.unwrap();
        let [(site, shown)] = &case.machine.world().bindings()[..] else { panic!("one binding") };
        assert_eq!((site.as_str(), shown.information.as_str(), shown.flags), (SITE, information, flags));
        assert_eq!(shown.store.as_deref(), Some("WebHosting"));
        assert_eq!(
            case.machine.world().stores["WebHosting"][0].thumbprint(),
            *shown.thumbprint.as_ref().unwrap()
        );
    }
}

#[tokio::test]
async fn a_binding_shows_the_certificate_that_covers_its_host_or_is_named() {
    let case = Case::new();
    let windows = case.windows(|it| {
        it.binding(Binding::new(SITE).host("www.example.org"))
            .binding(Binding::new(SITE).host("shop.example.net"))
            .binding(Binding::new(SITE).host("*.example.com"))
            .binding(Binding::new(SITE).host("other.example.org").certificate("www"))
            .binding(Binding::new(SITE).each_name(true).port(8443).certificate("mail"))
    });
    windows.install(&case.bundle_for(&["www.example.org", "*.example.net", "a.example.com"])).await.unwrap();
    let mut shown: Vec<_> =
        case.machine.world().bindings().into_iter().map(|(_, it)| it.information).collect();
    shown.sort();
    assert_eq!(shown, ["*:443:other.example.org", "*:443:shop.example.net", "*:443:www.example.org"]);
}

#[tokio::test]
async fn what_a_binding_showed_before_comes_back() {
    for give_up in [true, false] {
        let case = Case::new();
        // 4: no HTTP/2.
        let before = foreign(&case, "*:443:WWW.example.org", 1 | 4);
        let windows = case.windows(|it| it.binding(Binding::new("default web site").each_name(true)));
        let bundle = case.bundle_for(&["www.example.org", "new.example.org"]);
        let receipt = windows.install(&bundle).await.unwrap();
        assert_eq!(receipt.replaced, None);
        assert_eq!(case.served("www.example.org"), Some(bundle.chain.fingerprint()));
        assert_eq!(case.served("new.example.org"), Some(bundle.chain.fingerprint()));
        let flags: Vec<_> = case.machine.world().bindings().iter().map(|(_, it)| it.flags).collect();
        assert_eq!(flags, [1 | 4, 1], "what is not ours to choose stays");
        let next = case.bundle_for(&["www.example.org", "new.example.org"]);
        let second = windows.install(&next).await.unwrap();
        if give_up {
            windows.uninstall(&case.www).await.unwrap();
        } else {
            windows.rollback(&second).await.unwrap();
            windows.rollback(&receipt).await.unwrap();
        }
        assert_eq!(case.machine.world().bindings(), [(SITE.to_owned(), before)], "{give_up}");
    }
}

#[tokio::test]
async fn a_binding_whose_old_certificate_is_gone_is_removed() {
    let case = Case::new();
    let before = foreign(&case, "*:443:www.example.org", 1);
    let windows = case.windows(|it| it.binding(Binding::new(SITE).each_name(true)));
    windows.install(&case.bundle()).await.unwrap();
    case.machine.world().my().retain(|entry| Some(entry.thumbprint()) != before.thumbprint);
    windows.uninstall(&case.www).await.unwrap();
    assert_eq!(case.machine.world().bindings(), []);
}

#[tokio::test]
async fn a_binding_that_somebody_took_over_is_left_alone() {
    let case = Case::new();
    let windows = case.windows(|it| it.binding(Binding::new(SITE).each_name(true)));
    windows.install(&case.bundle()).await.unwrap();
    let theirs = foreign(&case, "*:443:theirs.example.org", 1).thumbprint;
    {
        let mut world = case.machine.world();
        let bindings = &mut world.site(SITE).unwrap().bindings;
        bindings.retain(|it| it.information.contains("www"));
        bindings[0].thumbprint.clone_from(&theirs);
    }
    windows.uninstall(&case.www).await.unwrap();
    let [(_, left)] = &case.machine.world().bindings()[..] else { panic!("it is left") };
    assert_eq!(left.thumbprint, theirs);
}

#[tokio::test]
async fn bindings_of_others_are_not_taken() {
    let case = Case::new();
    case.machine.world().add_site("other");
    let www = case.windows(|it| it.binding(Binding::new(SITE).certificate("www")));
    www.install(&case.bundle()).await.unwrap();
    let before = case.machine.world().bindings();
    let mail = CertificateId::new("mail").unwrap();
    let bundle = case.issuer.bundle(&mail, &["mail.example.org".parse().unwrap()]);
    for (site, words) in [(SITE, "shows the certificate www"), ("other", "has the binding *:443:")] {
        let windows = case.windows(|it| it.binding(Binding::new(site).certificate("mail")));
        let error = windows.install(&bundle).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict(it) if it.as_str().contains(words)), "{error}");
        assert_eq!(case.machine.world().bindings(), before);
        assert!(case.entry(&bundle).is_none(), "nothing was sent");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named_and_nothing_changes() {
    for (windows, name) in [
        (builder().store("Webhoster"), "the certificate store Webhoster"),
        (builder().account("nobody"), "the account nobody"),
        (builder().binding(Binding::new("shop").each_name(true)), "the IIS site shop"),
        (builder().challenge_site("shop"), "the IIS site shop"),
    ] {
        let case = Case::new();
        let windows = deployer(windows, &case.machine);
        let challenge = windows.capabilities().challenges.len() == 1;
        let mut errors = vec![windows.probe().await.unwrap_err()];
        errors.extend(windows.install(&case.bundle()).await.err());
        assert!(errors.len() == 2 || challenge, "{name}");
        for error in errors {
            assert!(matches!(error.kind(), ErrorKind::NotFound(found) if found == name), "{error}");
        }
        assert!(case.machine.world().bindings().is_empty());
    }
    let case = Case::new();
    case.machine.world().sites = None;
    let windows = case.windows(|it| it.binding(Binding::new(SITE).each_name(true)));
    let error = windows.install(&case.bundle()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(what) if what.contains("IIS")), "{error}");
}

#[tokio::test]
async fn keys_may_be_read_and_exported_by_those_alone_that_were_named() {
    let case = Case::new();
    let bundle = case.bundle();
    case.windows(|it| it).install(&bundle).await.unwrap();
    let entry = case.entry(&bundle).unwrap();
    assert!(entry.readers.is_empty() && !entry.exportable);
    // A right that was added to the settings reaches what is installed.
    case.windows(|it| it.account(SQL)).install(&bundle).await.unwrap();
    assert_eq!(case.entry(&bundle).unwrap().readers, [SQL.to_owned()].into());
    let next = case.bundle();
    case.windows(|it| it.exportable(true)).install(&next).await.unwrap();
    assert!(case.entry(&next).unwrap().exportable);
}

#[tokio::test]
async fn each_pfx_has_a_password_of_its_own() {
    let case = Case::new();
    let windows = case.windows(|it| it);
    let bundle = case.bundle();
    for _ in 0..3 {
        windows.install(&bundle).await.unwrap();
    }
    let world = case.machine.world();
    let imports = world.calls.iter().filter(|(name, _)| *name == "import");
    let passwords: Vec<_> = imports.map(|(_, it)| it["password"].as_str().unwrap().to_owned()).collect();
    assert!(passwords.iter().all(|password| password.len() == 32));
    assert!(passwords[0] != passwords[1] && passwords[1] != passwords[2] && passwords[0] != passwords[2]);
}

#[tokio::test]
async fn old_windows_takes_the_old_form_alone() {
    let case = Case::new();
    case.machine.world().is_old = true;
    let bundle = case.bundle();
    let error = deployer(builder(), &case.machine).install(&bundle).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Rejected(words) if words.as_str().contains("`legacy`")),
        "{error}"
    );
    case.windows(|it| it.pfx(Pfx::Legacy)).install(&bundle).await.unwrap();
    // And new Windows takes the new one, which is the default.
    case.machine.world().is_old = false;
    let next = case.bundle();
    deployer(builder(), &case.machine).install(&next).await.unwrap();
    assert!(case.entry(&next).unwrap().key.is_some());
}

#[tokio::test]
async fn a_key_that_was_lost_on_the_machine_is_brought_again() {
    let case = Case::new();
    let windows = case.windows(|it| it.binding(Binding::new(SITE).each_name(true)));
    let bundle = case.bundle();
    let receipt = windows.install(&bundle).await.unwrap();
    case.machine.world().my()[0].key = None;
    assert_eq!(windows.installed(&case.www).await.unwrap(), None);
    assert_eq!(windows.install(&bundle).await.unwrap(), receipt);
    assert_eq!(case.served("www.example.org"), Some(bundle.chain.fingerprint()));
}

#[tokio::test]
async fn a_lost_state_is_found_again_by_friendly_names() {
    for bound in [true, false] {
        let case = Case::new();
        let windows =
            case.windows(|it| if bound { it.binding(Binding::new(SITE).each_name(true)) } else { it });
        let (first, second) = (case.bundle(), case.bundle());
        windows.install(&first).await.unwrap();
        let receipt = windows.install(&second).await.unwrap();
        case.machine.world().states.clear();
        let installed = windows.installed(&case.www).await.unwrap().unwrap();
        assert_eq!(installed.version, Some(second.version));
        let again = Bundle { replaces: Some(first.version), ..second.clone() };
        assert_eq!(windows.install(&again).await.unwrap(), receipt);
        case.machine.world().states.clear();
        windows.rollback(&receipt).await.unwrap();
        assert_eq!(windows.installed(&case.www).await.unwrap().unwrap().version, Some(first.version));
        case.machine.world().states.clear();
        windows.uninstall(&case.www).await.unwrap();
        let mut world = case.machine.world();
        assert!(world.my().is_empty() && world.bindings().is_empty());
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_told_and_kept() {
    let case = Case::new();
    let windows = case.windows(|it| it);
    windows.install(&case.bundle()).await.unwrap();
    for spoiled in ["", "{", "[]", r#"{"live":null}"#] {
        case.machine.world().states.insert("www".into(), spoiled.into());
        for error in [
            windows.install(&case.bundle()).await.unwrap_err(),
            windows.installed(&case.www).await.unwrap_err(),
            windows.uninstall(&case.www).await.unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{error}");
        }
        assert_eq!(case.machine.world().states["www"], spoiled);
    }
}

#[tokio::test]
async fn a_probe_tells_what_the_machine_is() {
    let summary = Case::new().windows(|it| it).probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), r"TEST\deploy on TEST, by test");
    let details = json!(summary.details);
    assert_eq!((&details["powershell"], &details["iis"]), (&json!("5.1.20348.2760"), &json!("Version 10.0")));
}

#[test]
fn the_marker_is_what_names_begin_with() {
    assert!(names::marker(&CertificateId::new("www").unwrap()).starts_with(names::MARKER));
}
