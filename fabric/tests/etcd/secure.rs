//! An etcd that requires TLS, certificates and a user.

use etcd_client::Permission;
use jury_fabric::connector::Connector;
use jury_fabric::directory::{Etcd, EtcdConfig, EtcdUser};
use jury_fabric::secret::SecretString;
use jury_fabric::tls::{ClientTls, ClientTlsFiles, Identity};

use super::authority::Authority;
use super::private_etcd::{PrivateEtcd, Tls};
use super::watcher::{Watcher, patiently};
use super::worker;

#[tokio::test]
async fn a_worker_registers_in_an_etcd_that_wants_tls_certificates_and_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "etcd");
    let server = authority.sign("server", &["127.0.0.1"]);
    let etcd = PrivateEtcd::secure(Tls { server, client_ca: authority.ca.clone() });
    let shown = authority.sign("jury", &["jury"]);
    let identity = Identity { certificate: shown.certificate, key: shown.key };
    let files = ClientTlsFiles {
        ca: Some(authority.ca.clone()),
        identity: Some(identity),
        server_name: None,
    };
    let tls = ClientTls::open(&files).unwrap();
    with_users(&etcd, &Connector::with_tls(tls.clone())).await;

    let directory = |name: &str, password: &str| {
        let user = EtcdUser { name: name.to_owned(), password: SecretString::from(password) };
        let config = EtcdConfig::new(vec![etcd.endpoint()], "test");
        Etcd::new(&EtcdConfig { tls: Some(tls.clone()), user: Some(user), ..config }).unwrap()
    };
    let ours = directory("jury", "hunter2");
    let mut handle = ours.register(worker("a"));
    patiently("registration", handle.wait_registered()).await;
    let mut watcher = Watcher::start(&ours);
    watcher.until(&["a"]).await;

    let stranger = directory("jury", "wrong");
    let mut refused = Watcher::start(&stranger);
    let uncertified = Etcd::new(&EtcdConfig {
        tls: Some(ClientTls::open(&ClientTlsFiles { identity: None, ..files }).unwrap()),
        ..EtcdConfig::new(vec![etcd.endpoint()], "test")
    });
    let mut unseen = Watcher::start(&uncertified.unwrap());
    patiently("withdrawal", handle.withdraw()).await;
    watcher.until(&[]).await;
    assert!(refused.has_nothing_to_tell() && unseen.has_nothing_to_tell(), "who is let in is told");
}

/// Creates a user for Jury that may write only Jury's keys, and turns authentication on.
async fn with_users(etcd: &PrivateEtcd, connector: &Connector) {
    let mut client = etcd.client_over(connector, None).await;
    client.role_add("root").await.unwrap();
    client.role_add("jury").await.unwrap();
    let ours = Permission::read_write("/jury/v1/").with_prefix();
    client.role_grant_permission("jury", ours).await.unwrap();
    for (name, password, role) in [("root", "root", "root"), ("jury", "hunter2", "jury")] {
        client.user_add(name, password, None).await.unwrap();
        client.user_grant_role(name, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}
