use super::*;

#[test]
fn all_frontends_stop_when_told_to() {
    let running = Running::start(
        "metrics_addr: 127.0.0.1:0\nhttp: { addr: '127.0.0.1:0' }\nudp: { addr: '127.0.0.1:0' }",
    )
    .unwrap();
    let addrs = ["metrics", "HTTP", "UDP"].map(|what| running.addr(what));
    drop(running);
    assert!(TcpStream::connect(addrs[0]).is_err() && TcpStream::connect(addrs[1]).is_err());
    UdpSocket::bind(addrs[2]).unwrap();
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    let error = Running::start(&format!("http: {{ addr: '{addr}' }}")).err().unwrap();
    let message = format!("{error:#}");
    assert!(message.starts_with(&format!("http.addr: {addr}: cannot listen:")), "{message}");
}
