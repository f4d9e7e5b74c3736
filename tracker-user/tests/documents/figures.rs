//! Limits and defaults.

use tracker_user::config;

use super::read;

/// The number with commas, as the documents write it.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The value of a constant: a number, or one shifted by another.
fn constant(file: &str, name: &str) -> u64 {
    let text = read(file);
    let (_, rest) = text
        .split_once(&format!("const {name}: "))
        .unwrap_or_else(|| panic!("{file} has no constant {name}"));
    let value = rest.split_once(" = ").unwrap().1.split(';').next().unwrap();
    let (number, shift) = value.split_once(" << ").unwrap_or((value, "0"));
    let parsed = |text: &str| {
        text.replace('_', "").parse::<u64>().unwrap_or_else(|_| panic!("{file}: {name} = {value}"))
    };
    parsed(number) << parsed(shift)
}

/// Rows of tables in docs/operations.md: the section, how the row begins, the unit, the unit's power of two, and the
/// constant that it tells.
const LIMITS: &str = "\
Limits: announces waiting for growth | | 0 | tracker-common/src/table/owner/waiting.rs QUEUE_MAX
Limits: endpoints in the kernel | per family | 0 | tracker-common/src/abi.rs ENDPOINTS_MAX
Limits: interfaces that the kernel | | 0 | tracker-common/src/abi.rs LINKS
Limits: own addresses | | 0 | tracker-common/src/abi.rs LOCAL_MAX
Limits: HTTP parameters, routes | each | 0 | tracker-user/src/http/query.rs PARAMETERS_MAX
Limits: HTTP parameters, routes | each | 0 | tracker-user/src/config/route.rs ROUTES_MAX
Limits: message of a browser | KiB | 10 | tracker-user/src/http/webtorrent/session.rs MESSAGE_BYTES_MAX
Limits: offers and answers | | 0 | tracker-user/src/http/webtorrent/outlet.rs WAITING_MAX
Limits: offers and answers | KiB | 10 | tracker-user/src/http/webtorrent/outlet.rs WAITING_BYTES_EACH_MAX
Limits: offers and answers | MiB | 20 | tracker-user/src/http/webtorrent/outlet.rs WAITING_BYTES_MAX
Limits: bytes of a TCP connection | KiB | 10 | tracker-user/src/daemon/listen.rs UNSENT_BYTES
Limits: metrics connections | | 0 | tracker-user/src/metrics/server.rs CONNECTIONS_MAX
Limits: peers whose changes wait | | 0 | tracker-user/src/replication/queue.rs QUEUE_MAX
Limits: peers that leave during | | 0 | tracker-user/src/replication/departed.rs DEPARTED_MAX
Limits: questions of `passkey` | keys | 0 | tracker-user/src/middleware/passkey/cache.rs BATCH_MAX
Limits: networks of a file | | 0 | tracker-user/src/middleware/lists/networks.rs NETWORKS_MAX
Limits: keys of one `kid` | | 0 | tracker-user/src/middleware/jwt/keys.rs KEYS_PER_ID_MAX
Limits: grants | | 0 | tracker-user/src/dataplane/grants.rs GRANTS_MAX
Limits: distinct `error` labels | | 0 | tracker-user/src/metrics/requests.rs ERRORS_MAX
Files: configuration | MiB | 20 | tracker-user/src/files.rs CONFIG_BYTES_MAX
Files: list | KiB | 10 | tracker-user/src/files.rs LINE_BYTES_MAX
Files: `.torrent` file | MiB | 20 | tracker-user/src/files.rs METAINFO_BYTES_MAX
Files: snapshot | GiB | 30 | tracker-user/src/files.rs SNAPSHOT_BYTES_MAX
";

#[test]
fn limits_are_told_as_they_are() {
    let operations = read("docs/operations.md");
    for limit in LIMITS.lines() {
        let [row, unit, shift, constant_of] =
            limit.split(" |").map(str::trim).collect::<Vec<_>>()[..]
        else {
            panic!("{limit}")
        };
        let (section, row) = row.split_once(": ").unwrap();
        let (file, name) = constant_of.split_once(' ').unwrap();
        let (_, section) = operations.split_once(&format!("\n## {section}\n")).unwrap();
        let line = section.lines().find(|line| line.starts_with(&format!("| {row}")));
        let line = line.unwrap_or_else(|| panic!("there is no row {row}"));
        let value = with_commas(constant(file, name) >> shift.parse::<u32>().unwrap());
        let value = format!("{value} {unit}");
        assert!(line.contains(value.trim()), "{name} is {value}: {line}");
    }
}

#[test]
fn defaults_of_limits_are_told_as_they_are() {
    let defaults = config::to_yaml(&config::shipped()).unwrap();
    let (_, limits) = defaults.split_once("\n    limits:\n").unwrap();
    let operations = read("docs/operations.md");
    let (_, floods) = operations.split_once("\n## Floods\n").unwrap();
    let mut told = 0;
    for row in floods.lines().take_while(|line| !line.starts_with("## ")) {
        let Some(row) = row.strip_prefix("| `") else { continue };
        let cell = row.split(" | ").next().unwrap();
        for (key, rest) in cell.split(", `").filter_map(|part| part.split_once("` (")) {
            let value = rest.split(')').next().unwrap();
            if value == "no limit" {
                continue;
            }
            let line =
                limits.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
            let number = value.trim_end_matches("/s").replace(',', "");
            assert_eq!(line, Some(&*number), "{key}");
            told += 1;
        }
    }
    assert!(told >= 6, "{told} defaults are told");
}
