use super::*;

fn options() -> DevOptions {
    DevOptions { nodes: 3, base_port: 7001, data_dir: None, restart: false, settings: Vec::new() }
}

fn refusal(options: &DevOptions) -> String {
    check(options).unwrap_err().to_string()
}

#[test]
fn options_are_checked_at_their_limits() {
    assert_eq!(refusal(&DevOptions { nodes: 0, ..options() }), "--nodes 0: must be 1 to 7");
    assert_eq!(refusal(&DevOptions { nodes: 8, ..options() }), "--nodes 8: must be 1 to 7");
    let text = refusal(&DevOptions { base_port: 65_329, ..options() });
    assert_eq!(text, "--base-port 65329: must be 1 to 65328");
    assert_eq!(
        refusal(&DevOptions { base_port: 0, ..options() }),
        "--base-port 0: must be 1 to 65328"
    );
    let settings = vec![("peer.listen".to_owned(), "127.0.0.1:1".to_owned())];
    assert_eq!(
        refusal(&DevOptions { settings, ..options() }),
        "--peer.listen: dev gives every node its own; leave it out"
    );
    let settings = vec![("consensus.lease_ms".to_owned(), "1".to_owned())];
    let text = refusal(&DevOptions { settings, ..options() });
    assert!(text.starts_with("flag --consensus.lease_ms: consensus.lease_ms = \"1\""), "{text}");
}

#[test]
fn port_in_use_is_named_before_anything_starts() {
    let (taken, base_port) = loop {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        // The taken port is to be the one of node 2 for peers.
        if let Some(base) = port.checked_sub(PORT_SPAN + 1)
            && (1024..=65_000).contains(&base)
        {
            break (taken, base);
        }
    };
    let text = refusal(&DevOptions { base_port, ..options() });
    let port = taken.local_addr().unwrap().port();
    let named = format!("port {port} (peers of node 2) cannot be used: ");
    assert!(text.starts_with(&named) || text.starts_with("port "), "{text}");
    assert!(text.ends_with("choose another --base-port"), "{text}");
}

#[test]
fn own_settings_are_settings() {
    for own in OWN_SETTINGS {
        assert!(crate::settings::keys().iter().any(|key| key.path == *own), "{own}");
    }
}

#[test]
fn temporary_data_is_removed_only_after_an_orderly_stop() {
    let data = Data::open(None).unwrap();
    let path = data.path().to_owned();
    assert!(path.is_dir());
    data.close(true);
    assert!(!path.exists());

    let data = Data::open(None).unwrap();
    let path = data.path().to_owned();
    data.close(false);
    assert!(path.is_dir());
    std::fs::remove_dir_all(path).unwrap();

    let own = TempDir::new().unwrap();
    let data = Data::open(Some(&own.path().join("a/b"))).unwrap();
    let path = data.path().to_owned();
    data.close(true);
    assert!(path.is_dir());
}
