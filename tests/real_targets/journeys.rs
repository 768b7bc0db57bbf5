//! What happens to a certificate on a server: it arrives, a broken configuration keeps the old one, drift is found.

use std::time::Duration;

use certlife_core::{
    Fingerprint, Party,
    engine::OnDrift,
    model::{DeploymentState, EventKind, Rollout},
};

use crate::{
    server::{CERTIFICATE, Server},
    site::Site,
    web,
    world::World,
};

const HOUR: Duration = Duration::from_hours(1);

/// The whole life of a certificate on one server.
async fn journey(server: Server) {
    let world = World::with([("server", server)].into(), OnDrift::Repair).await;
    let (server, id) = (&world.servers["server"], CERTIFICATE.parse().unwrap());
    world.engine.ensure(world.wish()).await.unwrap();
    world.work(HOUR).await;
    let first = world.current().await;
    is_live(&world, first).await;

    // A check that fails keeps the old version, and the deployment says why.
    server.break_configuration(true);
    world.engine.renew(&id).await.unwrap();
    world.work(Duration::from_mins(1)).await;
    let second = world.current().await;
    assert_ne!(second, first);
    server.serves(first).await;
    let failing = world.deployment("server").await;
    assert_eq!(failing.state, DeploymentState::Failing);
    let failure = failing.failure.unwrap();
    assert_eq!(failure.code, "command_failed");
    for part in ["/bin/sh: exit status: ", "broken"] {
        assert!(failure.message.as_str().contains(part), "{failure:?}");
    }
    let explanation = world.engine.explain(&id).await.unwrap();
    assert!(explanation.sentences.iter().any(|said| said.contains("broken")), "{explanation:#?}");

    // Mended, the next attempt brings the new version.
    server.break_configuration(false);
    world.work(HOUR).await;
    is_live(&world, second).await;

    // Somebody else's certificate is on the wire, though the files are as they were.
    server.tamper().await;
    world.engine.check_target(&id, &"server".parse().unwrap()).await.unwrap();
    world.work(HOUR).await;
    is_live(&world, second).await;
    assert_eq!(world.told(|kind| matches!(kind, EventKind::DriftFound { .. })).await, 1);
}

async fn is_live(world: &World, wanted: Fingerprint) {
    let deployment = world.deployment("server").await;
    assert_eq!(deployment.state, DeploymentState::Live, "{:?}", deployment.failure);
    let evidence = deployment.evidence.unwrap();
    assert_eq!(evidence.fingerprint, wanted);
    let server = &world.servers["server"];
    assert_eq!(evidence.served_at, server.endpoints().last().map(|endpoint| endpoint.address));
    // Workers of before the reload may still take a connection or two.
    server.serves(wanted).await;
}

/// A journey of each kind of server, by each deployer.
macro_rules! journeys {
    ($($name:ident: $server:path),+) => {
        mod by_local {
            $(#[tokio::test]
            async fn $name() {
                super::journey($server(crate::site::Site::here()).await).await;
            })+
        }

        mod by_ssh {
            $(#[tokio::test]
            async fn $name() {
                super::journey($server(crate::site::Site::over_ssh()).await).await;
            })+
        }
    };
}

journeys! {
    nginx_over_tls: crate::web::nginx,
    haproxy_over_tls: crate::web::haproxy,
    postfix_over_starttls: crate::mail::postfix,
    dovecot_over_starttls_and_stls: crate::mail::dovecot,
    slapd_over_starttls: crate::web::slapd,
    postgresql_over_its_own_request: crate::web::postgresql
}

#[tokio::test]
async fn drift_that_is_only_told_stays_on_the_wire_until_somebody_asks() {
    let server = web::nginx(Site::here()).await;
    let world = World::with([("server", server)].into(), OnDrift::Tell).await;
    let (server, id, target) =
        (&world.servers["server"], CERTIFICATE.parse().unwrap(), "server".parse().unwrap());
    world.engine.ensure(world.wish()).await.unwrap();
    world.work(HOUR).await;
    let own = world.current().await;
    server.tamper().await;
    world.work(Duration::from_hours(49)).await;
    let endpoint = &server.endpoints()[0];
    assert_ne!(server.shown_by(endpoint).await.unwrap(), own);
    let explanation = world.engine.explain(&id).await.unwrap();
    assert_eq!(explanation.who_acts, Party::Operator);
    assert!(explanation.deployments[0].waits_for_person());
    world.engine.redeploy(&id, &target).await.unwrap();
    world.work(HOUR).await;
    is_live(&world, own).await;
}

#[tokio::test]
async fn a_wave_that_fails_on_a_real_server_spares_the_next() {
    // One is on this machine, the other is reached by SSH.
    let (canary, balancer) = (web::nginx(Site::here()).await, web::haproxy(Site::over_ssh()).await);
    let servers = [("canary", canary), ("balancer", balancer)].into();
    let world = World::with(servers, OnDrift::Repair).await;
    let id = CERTIFICATE.parse().unwrap();
    let wish = world.wish().rollout(Rollout::OneByOne(vec!["canary".parse().unwrap()]));
    world.engine.ensure(wish).await.unwrap();
    world.work(HOUR).await;
    let first = world.current().await;
    world.servers["balancer"].serves(first).await;

    world.servers["canary"].break_configuration(true);
    world.engine.renew(&id).await.unwrap();
    world.work(HOUR).await;
    let held = world.engine.explain(&id).await.unwrap().rollout.unwrap().held.unwrap();
    assert_eq!(held.target.as_str(), "canary");
    world.servers["balancer"].serves(first).await;

    world.servers["canary"].break_configuration(false);
    world.engine.continue_rollout(&id).await.unwrap();
    world.work(3 * HOUR).await;
    let second = world.current().await;
    world.servers["canary"].serves(second).await;
    world.servers["balancer"].serves(second).await;
}
