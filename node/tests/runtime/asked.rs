//! A running node lets itself be asked under the names that its configuration lists, and under no others.

use super::net::{Net, folders};

#[test]
fn a_node_is_asked_under_the_names_of_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 1);
    let mut config = dirs[0].config().unwrap();
    config.http.allowed_hosts = vec!["node.example".into()];
    dirs[0].write_config(&config).unwrap();

    let net = Net::start(&dirs, |_, _| {});
    let url = format!("{}/health", dirs[0].run_info().unwrap().http);
    let asked_as = |host: &str| {
        let request = ureq::get(&url).header("host", host).config();
        let answer = request.http_status_as_error(false).build().call();
        answer.unwrap().status().as_u16()
    };
    let statuses = ["node.example", "other.example"].map(asked_as);
    assert_eq!(statuses, [200, 403]);
    net.stop();
}
